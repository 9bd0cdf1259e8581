// What kernels over rows share. A row is read by WIDTH = 32 threads (a warp; eight rows a block) when it is short, else by the 256 threads of a block.
// Sums run over a thread's own elements first, then over threads in a fixed tree: the same bits on every device.
#pragma once
#include "cuda/collect.h"
#include "cuda/launch.h"

namespace tersor {
namespace cuda {

constexpr int kRowThreads = 256;
constexpr int64_t kWarpRow = 1024;  // longest row of a warp: it lies in L1 when it is read again

template <int WIDTH> __device__ inline int64_t row_of_thread() {
  return WIDTH == 32 ? static_cast<int64_t>(blockIdx.x) * (kRowThreads / 32) + threadIdx.x / 32 : static_cast<int64_t>(blockIdx.x);
}
template <int WIDTH> __device__ inline int row_lane() { return WIDTH == 32 ? static_cast<int>(threadIdx.x % 32) : static_cast<int>(threadIdx.x); }

// Sum over the threads of a row, in all of them. Every thread of the warp (or block) must call it.
template <int WIDTH, class T> __device__ inline T row_total(T v) {
  if (WIDTH == 32) return warp_sum(v);
  return block_sum<kRowThreads>(v);
}

// Blocks for `rows` rows of n elements.
inline bool is_warp_row(int64_t n) { return n <= kWarpRow; }
inline int64_t row_blocks(int64_t rows, int64_t n) { return is_warp_row(n) ? (rows + kRowThreads / 32 - 1) / (kRowThreads / 32) : rows; }

}  // namespace cuda
}  // namespace tersor
