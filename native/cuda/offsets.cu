// Exclusive prefix sums of i32 counts: pieces of 4096 by a block each, then the sums of pieces by one block, which is enough below 2^31 counts.
#include "cuda/offsets.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kOffsetsPiece = 4096;  // 256 threads of 16

// Inclusive sum over the threads of a block of 256; *all: of the whole block.
__device__ inline int scan_block(int v, int* of_warp, int* all) {
  const int lane = lane_id(), warp = warp_id();
  for (int d = 1; d < 32; d *= 2) {
    const int other = __shfl_up_sync(kFullMask, v, d);
    if (lane >= d) v += other;
  }
  if (lane == 31) of_warp[warp] = v;
  __syncthreads();
  int sum = 0;
  for (int w = 0; w < 8; w++) {
    if (w < warp) v += of_warp[w];
    sum += of_warp[w];
  }
  __syncthreads();
  *all = sum;
  return v;
}

__global__ void __launch_bounds__(256) sums_kernel(const int32_t* counts, int64_t n, int32_t* sums) {
  TERSOR_SHARED(int, of_warp, 8);
  int sum = 0, all = 0;
  for (int i = 0; i < kOffsetsPiece / 256; i++) {
    const int64_t at = static_cast<int64_t>(blockIdx.x) * kOffsetsPiece + i * 256 + threadIdx.x;
    sum += at < n ? counts[at] : 0;
  }
  scan_block(sum, of_warp, &all);
  if (threadIdx.x == 0) sums[blockIdx.x] = all;
}

__global__ void __launch_bounds__(256) scan_sums_kernel(int32_t* sums, int64_t n) {
  TERSOR_SHARED(int, of_warp, 8);
  int before = 0;
  for (int64_t base = 0; base < n; base += 256) {
    const int64_t i = base + threadIdx.x;
    const int v = i < n ? sums[i] : 0;
    int all = 0;
    const int until = scan_block(v, of_warp, &all);
    if (i < n) sums[i] = before + until - v;
    before += all;
  }
}

__global__ void __launch_bounds__(256) offsets_kernel(const int32_t* counts, int64_t n, const int32_t* sums, int32_t* offsets) {
  TERSOR_SHARED(int, of_warp, 8);
  int before = sums[blockIdx.x];
  for (int i = 0; i < kOffsetsPiece / 256; i++) {
    const int64_t at = static_cast<int64_t>(blockIdx.x) * kOffsetsPiece + i * 256 + threadIdx.x;
    const int v = at < n ? counts[at] : 0;
    int all = 0;
    const int until = scan_block(v, of_warp, &all);
    if (at < n) offsets[at] = before + until - v;
    if (at == n - 1) offsets[n] = before + until;
    before += all;
  }
}

}  // namespace

Status offsets_from_counts(Stream& s, const int32_t* counts, int64_t n, int32_t* offsets) {
  if (n == 0) return s.fill(offsets, 0, 4);
  const int64_t pieces = (n + kOffsetsPiece - 1) / kOffsetsPiece;
  int32_t* sums;
  TERSOR_TRY(s.scratch(pieces, &sums));
  const Grid grid{static_cast<unsigned>(pieces)};
  TERSOR_TRY(launch<sums_kernel>(s, grid, 256, 0, counts, n, sums));
  TERSOR_TRY(launch<scan_sums_kernel>(s, Grid{1}, 256, 0, sums, pieces));
  return launch<offsets_kernel>(s, grid, 256, 0, counts, n, static_cast<const int32_t*>(sums), offsets);
}

}  // namespace cuda
}  // namespace tersor
