// u8 or s8 x s8 -> s32 without dot products: products of bytes in 16 bits (smull), added in pairs to 32-bit sums (sadalp). Each holds one product
// only, so nothing can overflow. Two sums a column, 16 vectors for 2 rows x 16 columns.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include <arm_neon.h>

#include "kernels/qgemm/qgemm.h"
#include "simd/vec_common.h"

#define TERSOR_QGEMM_BEGIN
#define TERSOR_QGEMM_END

namespace tersor {
namespace {

TERSOR_VEC_INLINE int32x4_t column_part(int32x4_t acc, int8x16_t b) { return vpadalq_s16(acc, vpaddlq_s8(b)); }
TERSOR_VEC_INLINE int32x4_t column_total(int32x4_t acc) { return vshlq_n_s32(acc, 7); }

// Four k, group G of the 16 in each vector of A. Sums: two lanes a column.
template <int G, int MR, int NP> TERSOR_VEC_INLINE void group(int32x4_t (&acc)[MR][NP * 8], const int8x16_t (&a)[MR], const int8_t* const (&b)[NP]) {
  int8x16_t x[MR];
#pragma GCC unroll 4
  for (int r = 0; r < MR; r++) x[r] = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(a[r]), G));
#pragma GCC unroll 8
  for (int v = 0; v < NP * 4; v++) {
    TERSOR_LOAD_HERE;
    const int8x16_t y = vld1q_s8(b[v / 4] + G * 64 + v % 4 * 16);
#pragma GCC unroll 4
    for (int r = 0; r < MR; r++) {
      acc[r][2 * v] = vpadalq_s16(acc[r][2 * v], vmull_s8(vget_low_s8(x[r]), vget_low_s8(y)));
      acc[r][2 * v + 1] = vpadalq_s16(acc[r][2 * v + 1], vmull_high_s8(x[r], y));
    }
  }
}

template <int MR, int NP> void tile(const QgemmBlock& q, int64_t i, const int8_t* from, int64_t j, const int32_t* start) {
  constexpr int kWide = NP * 4;
  int32x4_t acc[MR][2 * kWide];
#pragma GCC unroll 16
  for (int v = 0; v < 2 * kWide; v++)
#pragma GCC unroll 4
    for (int r = 0; r < MR; r++) acc[r][v] = vdupq_n_s32(0);
  const uint8x16_t flip = vdupq_n_u8(q.a_signed ? 0 : 128);
  const uint8_t* a[MR];
  const int8_t* b[NP];
#pragma GCC unroll 4
  for (int r = 0; r < MR; r++) a[r] = static_cast<const uint8_t*>(q.a) + (i + r) * q.a_row;
#pragma GCC unroll 4
  for (int p = 0; p < NP; p++) b[p] = from + p * q.panel_bytes;
  for (int64_t k = 0; k < q.k; k += 16) {
    int8x16_t x[MR];
#pragma GCC unroll 4
    for (int r = 0; r < MR; r++) x[r] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(a[r] + k), flip));
    group<0>(acc, x, b);
    group<1>(acc, x, b);
    group<2>(acc, x, b);
    group<3>(acc, x, b);
#pragma GCC unroll 4
    for (int p = 0; p < NP; p++) b[p] += 256;
  }
  alignas(16) int32_t sums[MR * NP * 16];
#pragma GCC unroll 4
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int v = 0; v < kWide; v++)
      vst1q_s32(sums + r * NP * 16 + v * 4, vaddq_s32(vpaddq_s32(acc[r][2 * v], acc[r][2 * v + 1]), vld1q_s32(start + 4 * v)));
  const int64_t left = q.n - j, live = left < NP * 16 ? left : NP * 16;
  qgemm_width_neon.finish(*q.out, sums, NP * 16, q.row0 + i, MR, q.col0 + j, live);
}

}  // namespace
}  // namespace tersor

#include "kernels/qgemm/signed_bands.h"

namespace tersor {

void qgemm_u8s8s32_2x16_neon(const QgemmBlock& q) {
  const int64_t full = q.m / 2 * 2;
  if (full > 0) band<2, 1>(q, 0, full);
  if (full < q.m) band<1, 2>(q, full, q.m);
}

}  // namespace tersor
#endif
