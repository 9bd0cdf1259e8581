// u8 or s8 x s8 -> s32 with products of 2 x 8 by 8 x 2 matrices of bytes (usmmla, smmla): 24 vectors of 2 x 2 sums for 6 rows x 16 columns.
// Its layout has kr = 8: a vector of B is 8 k of 2 columns. Both signs of A are native, so nothing is corrected.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include <arm_neon.h>

#include "kernels/qgemm/qgemm.h"
#include "simd/vec_common.h"

TERSOR_TARGET_BEGIN(TERSOR_TARGET_NEONI8MM)
namespace tersor {
namespace {

template <bool SIGNED> TERSOR_VEC_INLINE int32x4_t product(int32x4_t acc, uint8x16_t a, int8x16_t b) {
  return SIGNED ? vmmlaq_s32(acc, vreinterpretq_s8_u8(a), b) : vusmmlaq_s32(acc, a, b);
}

// Rows [i, i + MR), the last one twice where MR is odd, times NP panels.
template <int MR, int NP, bool SIGNED> void tile(const QgemmBlock& q, int64_t i, const int8_t* from, int64_t j) {
  constexpr int kPairs = (MR + 1) / 2, kWide = NP * 8;
  int32x4_t acc[kPairs][kWide];
#pragma GCC unroll 4
  for (int p = 0; p < kPairs; p++)
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) acc[p][v] = vdupq_n_s32(0);
  const uint8_t* a[2 * kPairs];
  const int8_t* b[NP];
#pragma GCC unroll 8
  for (int r = 0; r < 2 * kPairs; r++) a[r] = static_cast<const uint8_t*>(q.a) + (i + (r < MR ? r : MR - 1)) * q.a_row;
#pragma GCC unroll 4
  for (int p = 0; p < NP; p++) b[p] = from + p * q.panel_bytes;
  for (int64_t k = 0; k < q.k; k += 8) {
    uint8x16_t x[kPairs];
#pragma GCC unroll 4
    for (int p = 0; p < kPairs; p++) x[p] = vcombine_u8(vld1_u8(a[2 * p] + k), vld1_u8(a[2 * p + 1] + k));
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) {
      TERSOR_LOAD_HERE;
      const int8x16_t y = vld1q_s8(b[v / 8] + v % 8 * 16);
#pragma GCC unroll 4
      for (int p = 0; p < kPairs; p++) acc[p][v] = product<SIGNED>(acc[p][v], x[p], y);
    }
#pragma GCC unroll 4
    for (int p = 0; p < NP; p++) b[p] += 128;
  }
  alignas(16) int32_t sums[2 * kPairs * NP * 16];
#pragma GCC unroll 4
  for (int p = 0; p < kPairs; p++)
#pragma GCC unroll 8
    for (int v = 0; v < kWide; v += 2) {  // {r0c0 r0c1 r1c0 r1c1} of two pairs of columns -> four columns of each row
      int32_t* const to = sums + 2 * p * NP * 16 + 2 * v;
      vst1q_s32(to, vcombine_s32(vget_low_s32(acc[p][v]), vget_low_s32(acc[p][v + 1])));
      vst1q_s32(to + NP * 16, vcombine_s32(vget_high_s32(acc[p][v]), vget_high_s32(acc[p][v + 1])));
    }
  const int64_t left = q.n - j, live = left < NP * 16 ? left : NP * 16;
  qgemm_width_neon.finish(*q.out, sums, NP * 16, q.row0 + i, MR, q.col0 + j, live);
}

// Rows [i, end) in tiles of MR rows; NP panels at a time stay in cache while the rows pass by.
template <int MR, int NP, bool SIGNED> void band(const QgemmBlock& q, int64_t i, int64_t end) {
  const int8_t* b = q.b;
  int64_t j = 0;
  for (; j + (NP - 1) * 16 < q.n; j += NP * 16, b += NP * q.panel_bytes)
    for (int64_t r = i; r < end; r += MR) tile<MR, NP, SIGNED>(q, r, b, j);
  for (; j < q.n; j += 16, b += q.panel_bytes)
    for (int64_t r = i; r < end; r += MR) tile<MR, 1, SIGNED>(q, r, b, j);
}

template <bool SIGNED> void rows(const QgemmBlock& q) {
  const int64_t full = q.m / 6 * 6;
  if (full > 0) band<6, 1, SIGNED>(q, 0, full);
  switch (q.m - full) {
    case 1: return band<1, 2, SIGNED>(q, full, q.m);
    case 2: return band<2, 2, SIGNED>(q, full, q.m);
    case 3: return band<3, 1, SIGNED>(q, full, q.m);
    case 4: return band<4, 1, SIGNED>(q, full, q.m);
    case 5: return band<5, 1, SIGNED>(q, full, q.m);
    default: return;
  }
}

}  // namespace

void qgemm_u8s8s32_6x16_neoni8mm(const QgemmBlock& q) { q.a_signed ? rows<true>(q) : rows<false>(q); }

}  // namespace tersor
TERSOR_TARGET_END
#endif
