// Body of the vector rows, over the vector in scope. The including file defines, besides the vector (simd/vec_<isa>.h):
//   TERSOR_BF16_BEGIN / _END (its region), TERSOR_BF16_NV (vectors of a tile), TERSOR_BF16_TOP and _HEIGHTS(X) (the tile heights compiled,
//   tallest first), TERSOR_BF16_THIN1 and _THIN2 (vectors of a tile of 1 and of 2 rows when the block has no more),
//   TERSOR_BF16_FINISH (its bf16_finish) and, if it multiplies pairs of bf16 in one instruction, TERSOR_BF16_DOT(acc, a, b) on V, I32, I32.
// Without TERSOR_BF16_DOT, A is f32 and the two bf16 of each 32-bit lane of B are widened by a shift and by a mask.
// A few registers are left free: g++ 12 spills sums when the tile takes them all (f32 AVX-512: 14 rows lose 12 % to 10 rows).
// Not guarded: each ISA file includes it once.
#include "simd/prefetch.h"

TERSOR_BF16_BEGIN
namespace tersor {
namespace {

using V = simd::F32;
constexpr int kLanes = V::lanes, kPanel = static_cast<int>(kBf16Panel);
#if defined(TERSOR_BF16_DOT)
using Element = uint16_t;
#else
using Element = float;
#endif

// Sums of rows [i, i + MR) and of NV vectors of columns from j on: part of one panel, or whole panels.
template <int MR, int NV> void tile(const Bf16Block& q, int64_t a_row, int64_t i, int64_t j) {
  constexpr int kPointers = (MR + 2) / 3, kPer = NV * kLanes >= kPanel ? kPanel / kLanes : NV, kPanels = NV / kPer, kWidth = NV * kLanes;
  const char* b[kPanels];
  const Element* p[kPointers];
  V acc[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) acc[r][v] = V(0.0f);
  const int64_t panel = bf16_panel_elements(q.k) * 2;
#pragma GCC unroll 16
  for (int g = 0; g < kPanels; g++) b[g] = reinterpret_cast<const char*>(q.b) + (j / kPanel + g) * panel + j % kPanel * 4;
#pragma GCC unroll 16
  for (int r = 0; r < kPointers; r++) p[r] = static_cast<const Element*>(q.a) + (i + 3 * r) * a_row;
  const int64_t end = (q.k + 1) / 2 * (kPanel * 4);
  for (int64_t at = 0; at < end; at += kPanel * 4) {
    if (kPanels == 1 && MR > 2) {  // the next panel is on its way while this one is used; a prefetch never faults
      TERSOR_PREFETCH_L2(b[0] + panel + at);
      if (kPer * kLanes * 4 > 64) TERSOR_PREFETCH_L2(b[0] + panel + at + 64);
    }
#if defined(TERSOR_BF16_DOT)
    simd::I32 x[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) x[v] = simd::load(reinterpret_cast<const int32_t*>(b[v / kPer] + at) + v % kPer * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      int32_t pair;
      memcpy(&pair, p[r / 3] + (r % 3) * a_row, 4);
      const simd::I32 a(pair);
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) acc[r][v] = TERSOR_BF16_DOT(acc[r][v], a, x[v]);
    }
#else
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      V x[NV];
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) {
        const simd::I32 w = simd::load(reinterpret_cast<const int32_t*>(b[v / kPer] + at) + v % kPer * kLanes);
        x[v] = simd::as_float(half ? w & simd::I32(static_cast<int32_t>(0xffff0000u)) : w << 16);
      }
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) {
        const V a = V(p[r / 3][(r % 3) * a_row + half]);
#pragma GCC unroll 16
        for (int v = 0; v < NV; v++) acc[r][v] = simd::fma(a, x[v], acc[r][v]);
      }
    }
#endif
#pragma GCC unroll 16
    for (int r = 0; r < kPointers; r++) p[r] += 2;
  }
  const int64_t left = q.n - j, n = left < kWidth ? left : kWidth;
  if (q.c && !q.bias && q.act == Act::none && n == kWidth) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) simd::store(q.c + (i + r) * q.y_row + j + v * kLanes, acc[r][v]);
    return;
  }
  float sums[MR * kWidth];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) simd::store(sums + r * kWidth + v * kLanes, acc[r][v]);
  TERSOR_BF16_FINISH({sums, kWidth, MR, n, q.bias ? q.bias + j : nullptr, q.act, q.c ? q.c + i * q.y_row + j : nullptr,
                      q.h ? q.h + i * q.y_row + j : nullptr, q.y_row});
}

// One or two rows are bound by memory: several panels at once, for as many streams of reads as it takes to keep memory busy.
template <int MR, int NV> void thin(const Bf16Block& q, int64_t a_row) {
  constexpr int kGroup = NV * kLanes;
  int64_t j = 0;
  for (; j + kGroup <= q.n; j += kGroup) tile<MR, NV>(q, a_row, 0, j);
  constexpr int kOne = kPanel / kLanes;
  for (; j < q.n; j += kPanel) tile<MR, kOne>(q, a_row, 0, j);
}

// Panel by panel: it stays in L1/L2 while all rows of A pass by. The last two strips share their rows evenly.
inline void block(const Bf16Block& q) {
  const int64_t a_row = bf16_a_row(q.k, 1, 2, sizeof(Element));
  if (q.m == 1) return thin<1, TERSOR_BF16_THIN1>(q, a_row);
  if (q.m == 2) return thin<2, TERSOR_BF16_THIN2>(q, a_row);
  constexpr int kTop = TERSOR_BF16_TOP;
  for (int64_t j = 0; j < q.n; j += TERSOR_BF16_NV * kLanes)
    for (int64_t i = 0; i < q.m;) {
      const int64_t left = q.m - i, take = left > kTop && left < 2 * kTop ? (left + 1) / 2 : left;
#define TERSOR_ROWS(MR)                         \
  if (take >= MR) {                             \
    tile<MR, TERSOR_BF16_NV>(q, a_row, i, j);   \
    i += MR;                                    \
    continue;                                   \
  }
      TERSOR_BF16_HEIGHTS(TERSOR_ROWS)
#undef TERSOR_ROWS
    }
}

// Row-major A: converted values, then zeros up to the end of the row.
inline void pack_rows(const Bf16Pack& a) {
  const int64_t a_row = bf16_a_row(a.k, 1, 2, sizeof(Element));
  for (int64_t i = 0; i < a.m; i++) {
    Element* out = static_cast<Element*>(a.out) + i * a_row;
#if defined(TERSOR_BF16_DOT)
    if (a.bf16) memcpy(out, static_cast<const uint16_t*>(a.x) + i * a.x_row, static_cast<size_t>(a.k) * 2);
    else TERSOR_BF16_NARROW(static_cast<const float*>(a.x) + i * a.x_row, a.k, out);
#else
    if (!a.bf16) round_to_bf16(static_cast<const float*>(a.x) + i * a.x_row, a.k, out);
    else
      for (int64_t k = 0; k < a.k; k++) out[k] = f32_from_bf16(static_cast<const uint16_t*>(a.x)[i * a.x_row + k]);
#endif
    for (int64_t k = a.k; k < a_row; k++) out[k] = 0;
  }
}

}  // namespace
}  // namespace tersor
TERSOR_BF16_END
