// Body of the vector rows, over the vector in scope (simd/vec_<isa>.h). The including file defines
//   TERSOR_GEMM_MR, TERSOR_GEMM_NV (register tile: rows, vectors) and TERSOR_GEMM_HEIGHTS(X) (the tile heights compiled, tallest first).
// Not guarded: each ISA file includes it once.
#include "kernels/gemm/gemm.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using V = simd::F32;
constexpr int kLanes = V::lanes, kTileRows = TERSOR_GEMM_MR, kTileVectors = TERSOR_GEMM_NV;
constexpr bool kManyRegisters = kTileRows * kTileVectors > 16;  // 32, not 16

// Live lanes of a vector whose first element is `left` elements before the end.
TERSOR_VEC_INLINE int live_lanes(int64_t left) { return left >= kLanes ? kLanes : left <= 0 ? 0 : static_cast<int>(left); }

// C tile of MR rows and NV vectors, n columns live. Pointers to every third row of A: the two rows between are reached by scaled index.
template <int MR, int NV, bool OFFSET, bool EDGE>
TERSOR_VEC_INLINE void tile(const GemmStrip<float>& s, int64_t i0, int64_t j0, const float* b, int64_t n) {
  constexpr int kPointers = (MR + 2) / 3;
  int live[NV];
  V acc[MR][NV];
  float* const c = s.c + i0 * s.c_row + j0;
#pragma GCC unroll 16
  for (int v = 0; v < NV; v++) live[v] = live_lanes(n - v * kLanes);
  if (s.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) {
        const float* at = c + i * s.c_row + v * kLanes;
        acc[i][v] = EDGE ? simd::load_part(at, live[v]) : simd::load(at);
      }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) {
      V init = V(0.0f);
      if (s.bias_n) init = EDGE ? simd::load_part(s.bias_n + j0 + v * kLanes, live[v]) : simd::load(s.bias_n + j0 + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < MR; i++) acc[i][v] = s.bias_n || !s.bias_m ? init : V(s.bias_m[i0 + i]);
    }
  }
  if (!EDGE && MR == kTileRows && s.accumulate) {  // the next tile of C comes from far while this one is computed
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
      for (int v = 0; v < NV * kLanes; v += 16) __builtin_prefetch(c + i * s.c_row + NV * kLanes + v, 0, 2);
  }
  const int64_t row = s.a_row, col = s.a_col, step = s.b_row;
  const float* p[kPointers];
#pragma GCC unroll 16
  for (int i = 0; i < kPointers; i++) p[i] = s.a + (i0 + 3 * i) * row;
  const int64_t* offset = s.offset;
  for (int64_t k = s.k; k > 0; k--) {
    const float* from = OFFSET ? b + *offset++ : b;
    V x[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) x[v] = EDGE ? simd::load_part(from + v * kLanes, live[v]) : simd::load(from + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const V a = V(p[i / 3][(i % 3) * row]);
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) acc[i][v] = simd::fma(a, x[v], acc[i][v]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kPointers; i++) p[i] += col;
    if (!OFFSET) b += step;
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) {
      float* at = c + i * s.c_row + v * kLanes;
      if (EDGE) simd::store_part(at, acc[i][v], live[v]);
      else simd::store(at, acc[i][v]);
    }
}

// Asks for the lines of g that belong to the tile at column j of n.
TERSOR_VEC_INLINE void look_ahead(const GemmAhead& g, int64_t j, int64_t n, int64_t width) {
  const int64_t total = g.end - g.begin;
  int64_t at = g.begin + total * j / n;
  const int64_t end = j + width >= n ? g.end : g.begin + total * (j + width) / n;
  if (at >= end) return;
  int64_t row = at / g.lines, line = at % g.lines;
  for (; at < end; at++) {
    __builtin_prefetch(g.base + row * g.pitch + line * 64, 0, 2);
    if (++line == g.lines) line = 0, row++;
  }
}

template <int MR, bool OFFSET> void tile_rows(const GemmStrip<float>& s, int64_t i0) {
  constexpr int kWidth = kTileVectors * kLanes;
  int64_t j = 0;
  const float* b = s.b;
  constexpr int kThin = MR > 2 ? 1 : kManyRegisters || MR == 1 ? 8 : 4;  // vectors that fit the registers
  if (!OFFSET && MR <= 2 && s.b_panel == kWidth)  // few rows of plain B: wider tiles hide the latency of the multiply-add
    for (; j + kThin * kLanes <= s.n; j += kThin * kLanes, b += kThin * kLanes) tile<MR, kThin, false, false>(s, i0, j, b, kThin * kLanes);
  for (; j < s.n; j += kWidth, b += s.b_panel) {
    const int64_t n = s.n - j;
    if (!OFFSET && MR == kTileRows) {
      look_ahead(s.ahead[0], j, s.n, kWidth);
      look_ahead(s.ahead[1], j, s.n, kWidth);
    }
    if (n >= kWidth) tile<MR, kTileVectors, OFFSET, false>(s, i0, j, b, n);
    else if (n > kLanes) tile<MR, kTileVectors, OFFSET, true>(s, i0, j, b, n);
    else tile<MR, 1, OFFSET, true>(s, i0, j, b, n);
  }
}

template <bool OFFSET> inline void strip(const GemmStrip<float>& s) {
  int64_t i = 0;
  while (i < s.m) {
    const int64_t left = s.m - i;
#define TERSOR_ROWS(MR)           \
  if (left >= MR) {               \
    tile_rows<MR, OFFSET>(s, i);  \
    i += MR;                      \
    continue;                     \
  }
    TERSOR_GEMM_HEIGHTS(TERSOR_ROWS)
#undef TERSOR_ROWS
  }
}

// MR x NR dot products. Rows past the edge repeat the first one; their sums are dropped.
template <int MR, int NR> TERSOR_VEC_INLINE void dot_tile(const GemmDot<float>& d, int64_t i0, int64_t j0) {
  const int m = d.m - i0 < MR ? static_cast<int>(d.m - i0) : MR, n = d.n - j0 < NR ? static_cast<int>(d.n - j0) : NR;
  V acc[MR][NR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
    for (int j = 0; j < NR; j++) acc[i][j] = V(0.0f);
  const int64_t whole = d.k / kLanes * kLanes;
  const int tail = live_lanes(d.k - whole);
  for (int64_t g = 0; g < d.groups; g++) {
    const float* a[MR];
    const float* b[NR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) a[i] = d.a + g * d.a_group + (i0 + (i < m ? i : 0)) * d.a_row;
#pragma GCC unroll 16
    for (int j = 0; j < NR; j++) {
      const int64_t at = j0 + (j < n ? j : 0);
      b[j] = d.b + g * d.b_group + (d.offset ? d.offset[at] : at * d.b_row);
    }
    int64_t k = 0;
    for (; k < whole; k += kLanes) {
      V x[MR];
#pragma GCC unroll 16
      for (int i = 0; i < MR; i++) x[i] = simd::load(a[i] + k);
#pragma GCC unroll 16
      for (int j = 0; j < NR; j++) {
        const V y = simd::load(b[j] + k);
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++) acc[i][j] = simd::fma(x[i], y, acc[i][j]);
      }
    }
    if (k < d.k) {
      V x[MR];
#pragma GCC unroll 16
      for (int i = 0; i < MR; i++) x[i] = simd::load_part(a[i] + k, tail);
#pragma GCC unroll 16
      for (int j = 0; j < NR; j++) {
        const V y = simd::load_part(b[j] + k, tail);
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++) acc[i][j] = simd::fma(x[i], y, acc[i][j]);
      }
    }
  }
  float sum[MR][NR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
    for (int j = 0; j < NR; j++) sum[i][j] = simd::sum_lanes(acc[i][j]);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      float* c = d.c + (i0 + i) * d.c_row + j0 + j;
      const float init = d.accumulate ? *c : d.bias_n ? d.bias_n[j0 + j] : 0.0f;
      *c = init + sum[i][j];
    }
}

inline void dot(const GemmDot<float>& d) {
  constexpr int kTall = kManyRegisters ? 4 : 3, kWide = kManyRegisters ? 6 : 4, kThin = 8, kThinTwo = kManyRegisters ? 8 : 6;
  if (d.m == 1) {
    for (int64_t j = 0; j < d.n; j += kThin) dot_tile<1, kThin>(d, 0, j);
  } else if (d.m == 2) {
    for (int64_t j = 0; j < d.n; j += kThinTwo) dot_tile<2, kThinTwo>(d, 0, j);
  } else {
    for (int64_t j = 0; j < d.n; j += kWide)
      for (int64_t i = 0; i < d.m; i += kTall) dot_tile<kTall, kWide>(d, i, j);
  }
}

#if TERSOR_ARCH_X64
// out[p*NR .. + 7] = rows b .. b + 7 of column p, for 8 columns.
template <int NR> TERSOR_VEC_INLINE void transpose8(const float* b, int64_t b_row, float* out) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(b + i * b_row);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]), t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44), r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44), r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(out + i * NR, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * NR, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

// 8x8 transposes; NR is a multiple of 8. Two at a time, so that a cache line of B is used up before rows a power of two apart push it out
// of L1. The rows are too many streams for the hardware to foresee: the lines of the next panel are asked for, into L2 for the same reason.
template <int NR> inline void pack_transposed(const float* b, int64_t b_row, int64_t k, int n, float* out) {
  const int live = n / 8 * 8;
  int64_t p = 0;
  for (; p + 16 <= k; p += 16)
    for (int j = 0; j < live; j += 8) {
      const float* at = b + j * b_row + p;
      for (int i = 0; i < 8; i++) __builtin_prefetch(at + (NR + i) * b_row, 0, 2);
      transpose8<NR>(at, b_row, out + p * NR + j);
      transpose8<NR>(at + 8, b_row, out + (p + 8) * NR + j);
    }
  for (int64_t q = 0; q < k; q++) {
    for (int j = q < p ? live : 0; j < n; j++) out[q * NR + j] = b[j * b_row + q];
    for (int j = n; j < NR; j++) out[q * NR + j] = 0.0f;
  }
}
#endif

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
