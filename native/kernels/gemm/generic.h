// Body of the vector rows, over the vector in scope (simd/vec_<isa>.h). The including file defines
//   TERSOR_GEMM_NV       vectors of a panel
//   TERSOR_GEMM_PANELS   panels side by side in the main tile
//   TERSOR_GEMM_TALLEST  rows of the main tile
//   TERSOR_GEMM_HEIGHTS(X), TERSOR_GEMM_WIDE_HEIGHTS(X)  the tile heights compiled for one panel and, where PANELS > 1, for the main tile; tallest first
// Not guarded: each ISA file includes it once.
#include "kernels/gemm/gemm.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using V = simd::F32;
constexpr int kLanes = V::lanes, kTileVectors = TERSOR_GEMM_NV, kPanels = TERSOR_GEMM_PANELS, kTallest = TERSOR_GEMM_TALLEST;
constexpr int kWidth = kTileVectors * kLanes;
constexpr bool kManyRegisters = kTallest * kTileVectors * kPanels > 16;  // 32, not 16
constexpr int kUnroll = 4;       // of k, in tall tiles
constexpr int kOnePass = 14;      // up to so many rows one pass over single panels is better than two over pairs of them
constexpr int kStripes = kWidth * kUnroll * 4 / 64;  // of a panel, see Next
constexpr int kLeast = kTileVectors * kPanels * kLanes / 32 > 1 ? kTileVectors * kPanels * kLanes / 32 : 1;  // stripes that a tile takes at least
constexpr int64_t kAhead = 16;    // steps of k by which packed B is asked for: about the latency of L3

// Live lanes of a vector whose first element is `left` elements before the end.
TERSOR_VEC_INLINE int live_lanes(int64_t left) { return left >= kLanes ? kLanes : left <= 0 ? 0 : static_cast<int>(left); }

// One k of a tile: NV vectors of B from NP panels, MR values of A. Pointers to every third row of A: the two rows between are reached by scaled index.
template <int MR, int NV, int NP, bool EDGE, bool HINT>
TERSOR_VEC_INLINE void one_k(V (&acc)[MR][NV], const float* const (&p)[(MR + 2) / 3], int64_t row, int64_t k, const float* from, int64_t panel, int64_t ahead,
                             const int (&live)[NV]) {
  constexpr int kEach = NV / NP;
  V x[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; v++) {
    const float* at = from + v / kEach * panel + v % kEach * kLanes;
    x[v] = EDGE ? simd::load_part(at, live[v]) : simd::load(at);
    if (HINT && v % kEach * kLanes % 16 == 0) __builtin_prefetch(at + ahead, 0, 3);
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    const V a = V(p[i / 3][i % 3 * row + k]);
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) acc[i][v] = simd::fma(a, x[v], acc[i][v]);
  }
}

// Memory wanted soon: in each kUnroll steps of k a tile asks for one line of each of `stripes` stripes, which lie `stripe` bytes apart.
struct Share {
  const char* at;
  int64_t step, stripe;
  int stripes;
};

// C tile of MR rows and NV vectors in NP panels, n columns live. MORE: `next` has more than kLeast stripes.
template <int MR, int NV, int NP, bool OFFSET, bool EDGE, bool MORE>
TERSOR_VEC_INLINE void tile(const GemmStrip<float>& s, int64_t i0, int64_t j0, const float* b, int64_t n, Share next) {
  constexpr int kPointers = (MR + 2) / 3;
  constexpr bool kTall = !OFFSET && !EDGE && MR * NV >= (kManyRegisters ? 16 : 8);
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
  if (kTall) {  // the C that is stored by this tile, or read by the next one, comes from far while the sums are computed
    const float* far = s.accumulate ? c + MR * s.c_row : c;
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
      for (int v = 0; v < NV * kLanes; v += 16) __builtin_prefetch(far + i * s.c_row + v, 0, 3);
  }
  const int64_t row = s.a_row, col = s.a_col, step = s.b_row, panel = s.b_panel;
  const float* p[kPointers];
#pragma GCC unroll 16
  for (int i = 0; i < kPointers; i++) p[i] = s.a + (i0 + 3 * i) * row;
  const int64_t* offset = s.offset;
  int64_t k = s.k;
  if (kTall && col == 1) {
    const int64_t ahead = step == kWidth ? kAhead * kWidth : NV * kLanes;  // of panels the coming rows, of plain B the columns to the right
    for (; k >= kUnroll; k -= kUnroll) {
#pragma GCC unroll 4
      for (int u = 0; u < kUnroll; u++) {
        one_k<MR, NV, NP, EDGE, true>(acc, p, row, u, b, panel, ahead, live);
        b += step;
      }
#pragma GCC unroll 16
      for (int i = 0; i < kPointers; i++) p[i] += kUnroll;
#pragma GCC unroll 4
      for (int l = 0; l < kLeast; l++) __builtin_prefetch(next.at + l * next.stripe, 0, 2);
      for (int l = kLeast; MORE && l < next.stripes; l++) __builtin_prefetch(next.at + l * next.stripe, 0, 2);
      next.at += next.step;
    }
  }
  for (; k > 0; k--) {
    one_k<MR, NV, NP, EDGE, false>(acc, p, row, 0, OFFSET ? b + *offset++ : b, panel, 0, live);
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

// What a row of tiles asks for while it is computed: the panels that follow it, in stripes of a line for each kUnroll steps of k. One stream leaves half
// of the memory's speed unused, so several are read side by side; few tiles take more stripes each, so that all is there when its turn comes.
struct Next {
  const char* at;
  int64_t panel = 0, stripe = 0;
  int count = 0, each = kLeast, taken = 0;  // stripes in all, of a tile, asked for so far
  // b: the first of `panels` panels, or null. tiles: how many follow each other in the row.
  TERSOR_VEC_INLINE Next(const GemmStrip<float>& s, const float* b, int tiles, int panels) : at(reinterpret_cast<const char*>(s.a)) {
    if (!b || s.b_row != kWidth || s.b_panel == kWidth) return;
    at = reinterpret_cast<const char*>(b);
    panel = s.b_panel * 4, stripe = s.k / kUnroll * 64;
    count = kStripes * panels;
    const bool side_by_side = s.b_panel == s.k * kWidth;  // then the stripes of a tile may lie in two panels
    const int share = (count + tiles - 1) / tiles, most = side_by_side ? count : kStripes;
    while (each < share && each < most) each += side_by_side ? 1 : each;
  }
  TERSOR_VEC_INLINE Share from() const {
    if (taken >= count) return {at, 0, 0, kLeast};
    const char* const first = at + taken / kStripes * panel + taken % kStripes * stripe;
    return each == kLeast ? Share{first, 64 * kLeast, 64, kLeast} : Share{first, 64, stripe, each};
  }
  TERSOR_VEC_INLINE void advance() { taken += each; }
};

// All rows at one panel, which may be the last one, with fewer columns.
template <bool OFFSET, bool MORE> void one_panel(const GemmStrip<float>& s, int64_t j, const float* b, int tiles) {
  const int64_t n = s.n - j;
  Next next(s, n > kWidth ? b + s.b_panel : s.next, tiles, 1);
  int64_t i = 0;
  while (i < s.m) {
    const int64_t left = s.m - i;
#define TERSOR_ROWS(MR)                                                                                                 \
  if (left >= MR) {                                                                                                     \
    if (n >= kWidth) tile<MR, kTileVectors, 1, OFFSET, false, MORE>(s, i, j, b, n, next.from());                        \
    else if (n > kLanes) tile<MR, kTileVectors, 1, OFFSET, true, false>(s, i, j, b, n, Share{});                        \
    else tile<MR, 1, 1, OFFSET, true, false>(s, i, j, b, n, Share{});                                                   \
    next.advance();                                                                                                     \
    i += MR;                                                                                                            \
    continue;                                                                                                           \
  }
    TERSOR_GEMM_HEIGHTS(TERSOR_ROWS)
#undef TERSOR_ROWS
  }
}

#ifdef TERSOR_GEMM_WIDE_HEIGHTS
// All rows at kPanels whole panels.
template <bool OFFSET, bool MORE> void wide_panels(const GemmStrip<float>& s, int64_t j, const float* b, int tiles) {
  Next next(s, s.n - j > kPanels * kWidth ? b + kPanels * s.b_panel : s.next, tiles, kPanels);
  for (int64_t i = 0; i < s.m;) {
    // Whole tiles, but what is left at the end is cut in halves rather than to a thin rest.
    const int64_t left = s.m - i, height = left >= 2 * kTallest ? kTallest : left > kTallest ? (left + 1) / 2 : left;
#define TERSOR_ROWS(MR) \
  if (height == MR) tile<MR, kTileVectors * kPanels, kPanels, OFFSET, false, MORE>(s, i, j, b, s.n - j, next.from());
    TERSOR_GEMM_WIDE_HEIGHTS(TERSOR_ROWS)
#undef TERSOR_ROWS
    next.advance();
    i += height;
  }
}
#endif

template <bool OFFSET> inline void strip(const GemmStrip<float>& s) {
  if (s.m < 1) return;
  int64_t j = 0;
  const float* b = s.b;
  if (!OFFSET && s.m <= 2 && s.b_panel == kWidth) {  // few rows of plain B: wider tiles hide the latency of the multiply-add
    constexpr int kTwo = kManyRegisters ? 8 : 4;     // vectors that two rows have registers for
    const int64_t width = kLanes * (s.m == 1 ? 8 : kTwo);
    const Share none{reinterpret_cast<const char*>(s.a), 0, 0, kLeast};
    for (; j + width <= s.n; j += width, b += width)
      if (s.m == 1) tile<1, 8, 1, false, false, false>(s, 0, j, b, s.n - j, none);
      else tile<2, kTwo, 1, false, false, false>(s, 0, j, b, s.n - j, none);
  }
  // Tiles in a row of them; where they are too few to bring what follows, each asks for more.
  constexpr bool kPacks = !OFFSET;
#ifdef TERSOR_GEMM_WIDE_HEIGHTS
  const int wide = (s.m + kTallest - 1) / kTallest;
  if (s.m <= kTallest || s.m > kOnePass) {
    for (; j + kPanels * kWidth <= s.n; j += kPanels * kWidth, b += kPanels * s.b_panel)
      if (kPacks && wide * kLeast < kStripes * kPanels) wide_panels<OFFSET, kPacks>(s, j, b, wide);
      else wide_panels<OFFSET, false>(s, j, b, wide);
  }
  const int narrow = (s.m + kOnePass - 1) / kOnePass;
#else
  const int narrow = (s.m + kTallest - 1) / kTallest;
#endif
  for (; j < s.n; j += kWidth, b += s.b_panel)
    if (kPacks && narrow * kLeast < kStripes) one_panel<OFFSET, kPacks>(s, j, b, narrow);
    else one_panel<OFFSET, false>(s, j, b, narrow);
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
