// u8 or s8 x s8 -> s32 with sdot by element: 24 sums, 1 vector of B (4 k of 4 columns) after the other, 16 k of six rows of A.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include <arm_neon.h>

#include "kernels/qgemm/qgemm.h"
#include "simd/vec_common.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_NEONDOT)
#define TERSOR_QGEMM_END TERSOR_TARGET_END

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE int32x4_t column_part(int32x4_t acc, int8x16_t b) { return vdotq_s32(acc, b, vdupq_n_s8(-128)); }
TERSOR_VEC_INLINE int32x4_t column_total(int32x4_t acc) { return vnegq_s32(acc); }

// Four k, group G of the 16 in each vector of A.
template <int G, int MR, int NP> TERSOR_VEC_INLINE void group(int32x4_t (&acc)[MR][NP * 4], const int8x16_t (&a)[MR], const int8_t* const (&b)[NP]) {
#pragma GCC unroll 16
  for (int v = 0; v < NP * 4; v++) {
    TERSOR_LOAD_HERE;
    const int8x16_t y = vld1q_s8(b[v / 4] + G * 64 + v % 4 * 16);
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) acc[r][v] = vdotq_laneq_s32(acc[r][v], y, a[r], G);
  }
}

template <int MR, int NP> void tile(const QgemmBlock& q, int64_t i, const int8_t* from, int64_t j, const int32_t* start) {
  constexpr int kWide = NP * 4;
  int32x4_t acc[MR][kWide];
#pragma GCC unroll 16
  for (int v = 0; v < kWide; v++)
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) acc[r][v] = vld1q_s32(start + 4 * v);
  const uint8x16_t flip = vdupq_n_u8(q.a_signed ? 0 : 128);
  const uint8_t* a[MR];
  const int8_t* b[NP];
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++) a[r] = static_cast<const uint8_t*>(q.a) + (i + r) * q.a_row;
#pragma GCC unroll 8
  for (int p = 0; p < NP; p++) b[p] = from + p * q.panel_bytes;
  for (int64_t k = 0; k < q.k; k += 16) {
    int8x16_t x[MR];
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) x[r] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(a[r] + k), flip));
    group<0>(acc, x, b);
    group<1>(acc, x, b);
    group<2>(acc, x, b);
    group<3>(acc, x, b);
#pragma GCC unroll 8
    for (int p = 0; p < NP; p++) b[p] += 256;
  }
  alignas(16) int32_t sums[MR * NP * 16];
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) vst1q_s32(sums + r * NP * 16 + v * 4, acc[r][v]);
  const int64_t left = q.n - j, live = left < NP * 16 ? left : NP * 16;
  qgemm_width_neon.finish(*q.out, sums, NP * 16, q.row0 + i, MR, q.col0 + j, live);
}

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/signed_bands.h"

TERSOR_QGEMM_BEGIN
namespace tersor {

void qgemm_u8s8s32_6x16_neondot(const QgemmBlock& q) {
  const int64_t full = q.m / 6 * 6;
  if (full > 0) band<6, 1>(q, 0, full);
  switch (q.m - full) {
    case 1: return band<1, 4>(q, full, q.m);
    case 2: return band<2, 2>(q, full, q.m);
    case 3: return band<3, 1>(q, full, q.m);
    case 4: return band<4, 1>(q, full, q.m);
    case 5: return band<5, 1>(q, full, q.m);
    default: return;
  }
}

}  // namespace tersor
TERSOR_QGEMM_END
#endif
