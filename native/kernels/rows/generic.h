// Body of the vector rows, over the vector in scope. The including file defines before the inclusion, in an anonymous namespace of tersor:
//   V (V(0.0f), fma, sum_lanes, V::lanes), V load_wide(const float*), V load_wide(const int8_t*), and with a second argument the first n lanes, zeros behind
//   them; void fetch(const void*)
//   and TERSOR_ROWS_TALL (rows of x that share a pass over four rows of w).
// Not guarded: each ISA file includes it once.
#include "kernels/rows/rows.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int kLanes = V::lanes;
constexpr int64_t kAhead = 1024;  // bytes of a row that are asked for in advance

// MR rows of x with NR entries of the list. Places behind the end repeat the first one; their sums are dropped.
template <class T, int MR, int NR> void rows_tile(const RowsDot& d, int64_t i, int64_t s) {
  const int64_t live = d.count - s < NR ? d.count - s : NR, left = d.count + d.more - s;
  const T* const base = static_cast<const T*>(d.w);
  const T* w[NR];
  const T* next[NR];  // where the next entries of the list begin
#pragma GCC unroll 8
  for (int j = 0; j < NR; j++) {
    w[j] = base + d.index[s + (j < live ? j : 0)] * d.w_row;
    next[j] = NR + j < left ? base + d.index[s + NR + j] * d.w_row : w[j];
  }
  V acc[MR][NR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) acc[r][j] = V(0.0f);
  const float* x = d.x + i * d.x_row;
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T)), kSteps = kLine / kLanes, kReach = kAhead / static_cast<int64_t>(sizeof(T));
  int64_t k = 0;
  for (; k + kLine <= d.k; k += kLine) {
    if (MR == 1)
#pragma GCC unroll 8
      for (int j = 0; j < NR; j++) fetch(k + kReach < d.k ? w[j] + k + kReach : next[j] + (k + kReach - d.k < d.k ? k + kReach - d.k : 0));
#pragma GCC unroll 8
    for (int64_t q = 0; q < kSteps; q++) {
      V v[MR];
#pragma GCC unroll 8
      for (int r = 0; r < MR; r++) v[r] = load_wide(x + r * d.x_row + k + q * kLanes);
#pragma GCC unroll 8
      for (int j = 0; j < NR; j++) {
        const V u = load_wide(w[j] + k + q * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < MR; r++) acc[r][j] = fma(v[r], u, acc[r][j]);
      }
    }
  }
  for (; k < d.k; k += kLanes) {
    const int64_t n = d.k - k < kLanes ? d.k - k : kLanes;
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) {
      const V u = load_wide(w[j] + k, n);
#pragma GCC unroll 8
      for (int r = 0; r < MR; r++) acc[r][j] = fma(load_wide(x + r * d.x_row + k, n), u, acc[r][j]);
    }
  }
  float sum[MR][NR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) sum[r][j] = sum_lanes(acc[r][j]);
  for (int64_t j = 0; j < live; j++) {
    const int64_t row = d.index[s + j], at = d.scatter ? row : s + j;
    for (int r = 0; r < MR; r++) {
      float y = sum[r][j];
      if (d.scale) y = y * d.scale[row * d.scale_step];
      if (d.bias) y = y + d.bias[row];
      d.y[(i + r) * d.y_row + at] = y;
    }
  }
}

template <class T> void rows_dot(const RowsDot& d) {
  if (d.m == 1) {
    for (int64_t s = 0; s < d.count; s += 8) rows_tile<T, 1, 8>(d, 0, s);
    return;
  }
  for (int64_t s = 0; s < d.count; s += 4) {
    int64_t i = 0;
    for (; i + TERSOR_ROWS_TALL <= d.m; i += TERSOR_ROWS_TALL) rows_tile<T, TERSOR_ROWS_TALL, 4>(d, i, s);
    for (; i < d.m; i++) rows_tile<T, 1, 4>(d, i, s);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
