// What the pooling kernels share with the convolutions that pool: the window, and max_unpool2d as a step of another op.
#pragma once
#include "cuda/nn.h"

namespace tersor {
namespace cuda {

// As ops/pool_common.h has it.
struct Pooling {
  int64_t h, w, ho, wo, kh, kw, sh, sw, ph, pw;
};
struct Span {
  int64_t begin, end, padded;
};
__device__ inline Span span_of(int64_t i, int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t first = i * stride - padding, last = first + kernel;
  return {first > 0 ? first : 0, last < size ? last : size, (last < size + padding ? last : size + padding) - first};
}

// y, index [planes, ho, wo] of x [planes, h, w].
template <class T> Status pool_max(Stream& stream, const Pooling& p, const T* x, T* y, int32_t* index, int64_t planes);
// dx [planes, plane]: zeros, and dy [planes, out] added at index, in the order of the positions.
template <class T> Status pool_unpool(Stream& stream, const T* dy, const int32_t* index, T* dx, int64_t planes, int64_t out, int64_t plane, const IndexCheck& check);

}  // namespace cuda
}  // namespace tersor
