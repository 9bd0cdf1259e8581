// Copies between strided tensors of one shape and element type.
#pragma once
#include "ops/util.h"

namespace tersor {

// dst may have any strides that do not map two elements to one place; src may be broadcast (stride 0) and need not be aligned. The two
// do not overlap.
Status strided_copy(const TensorRef& src, const TensorRef& dst, const Cancel* cancel);

}  // namespace tersor
