// Reductions and scans over the lanes of a warp and the threads of a block (one dimension, whole warps), in a fixed order: the same bits every time.
//   const double s = block_reduce<256>(v, Add{}, 0.0);     every thread gets the result
// op(a, b) is a functor; `identity` stands for threads that have nothing.
#pragma once
#include "cuda/device.h"

namespace tersor {
namespace cuda {

struct Add {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
// The larger (smaller) one; NaN as soon as one of them is.
struct Largest {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return b > a || b != b ? (a != a ? a : b) : a; }
};
struct Smallest {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return b < a || b != b ? (a != a ? a : b) : a; }
};

// A halving tree over groups of `width` lanes (a power of two); every lane gets the result.
template <int width = 32, class T, class Op> __device__ __forceinline__ T warp_reduce(T v, Op op) {
  TERSOR_UNROLL
  for (int by = width / 2; by > 0; by /= 2) v = op(v, __shfl_xor_sync(kFullMask, v, by));
  return v;
}
template <class T> __device__ __forceinline__ T warp_sum(T v) { return warp_reduce<32>(v, Add{}); }

// Sum of the lanes up to this one.
template <class T> __device__ __forceinline__ T warp_scan(T v) {
  TERSOR_UNROLL
  for (int by = 1; by < 32; by *= 2) {
    const T before = __shfl_up_sync(kFullMask, v, static_cast<unsigned>(by));
    if (lane_id() >= by) v = v + before;
  }
  return v;
}

// Two barriers; may be called again at once.
template <int threads, class T, class Op> __device__ __forceinline__ T block_reduce(T v, Op op, T identity) {
  static_assert(threads % 32 == 0 && threads <= 1024, "whole warps");
  constexpr int warps = threads / 32;
  v = warp_reduce<32>(v, op);
  if (warps == 1) return v;
  TERSOR_SHARED(T, part, warps);
  if (lane_id() == 0) part[warp_id()] = v;
  __syncthreads();
  v = lane_id() < warps ? part[lane_id()] : identity;
  __syncthreads();
  return warp_reduce<32>(v, op);
}
template <int threads, class T> __device__ __forceinline__ T block_sum(T v) { return block_reduce<threads>(v, Add{}, T(0)); }

// Inclusive sum over the threads up to this one; *total: over all.
template <int threads, class T> __device__ __forceinline__ T block_scan(T v, T* total) {
  static_assert(threads % 32 == 0 && threads <= 1024, "whole warps");
  constexpr int warps = threads / 32;
  TERSOR_SHARED(T, part, warps);
  v = warp_scan(v);
  if (lane_id() == 31) part[warp_id()] = v;
  __syncthreads();
  T before = T(0), sum = T(0);
  for (int w = 0; w < warps; w++) {
    if (w == warp_id()) before = sum;
    sum = sum + part[w];
  }
  *total = sum;
  __syncthreads();
  return before + v;
}

}  // namespace cuda
}  // namespace tersor
