// Act of simd/activation.h for one value in a thread: what the epilogues of products fuse, with the bits of the CPU's rows.
#pragma once
#include "cuda/vec.h"
#include "simd/act.h"

namespace tersor {
namespace cuda {

__device__ __forceinline__ float act_of(Act act, float x) {
  switch (act) {
    case Act::relu: return simd::max(simd::F32(0.0f), simd::F32(x)).v;
    case Act::gelu: return simd::gelu(simd::F32(x)).v;
    case Act::tanh: return simd::tanh(simd::F32(x)).v;
    case Act::sigmoid: return simd::sigmoid(simd::F32(x)).v;
    case Act::gelu_tanh: return simd::gelu_tanh(simd::F32(x)).v;
    default: return x;
  }
}

}  // namespace cuda
}  // namespace tersor
