// The activations that products fuse (ops/enums.def: activation, in the same order).
#pragma once
#include <cstdint>

namespace tersor {

enum class Act : int32_t { none, relu, gelu, tanh, sigmoid, gelu_tanh };

}  // namespace tersor
