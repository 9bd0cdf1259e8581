// Blocks of 16 images: 16 x 16 transposes. Of four columns at a time: the loads place four values of each image in the quarter of a vector
// where they belong, so that only the 4 x 4 transposes inside the quarters need the shuffle port.
#include "kernels/lanes/lanes.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/lanes/generic.h"

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

inline __m512 quarters(const float* p, int64_t step) {  // four values of images 0, 4, 8, 12
  const __m512 a = _mm512_castps128_ps512(_mm_loadu_ps(p));
  const __m512 b = _mm512_insertf32x4(a, _mm_loadu_ps(p + 4 * step), 1);
  const __m512 c = _mm512_insertf32x4(b, _mm_loadu_ps(p + 8 * step), 2);
  return _mm512_insertf32x4(c, _mm_loadu_ps(p + 12 * step), 3);
}

// 4 x 4 transposes inside the quarters.
inline void transpose4(__m512 (&r)[4]) {
  const __m512 a = _mm512_unpacklo_ps(r[0], r[1]), b = _mm512_unpackhi_ps(r[0], r[1]);
  const __m512 c = _mm512_unpacklo_ps(r[2], r[3]), d = _mm512_unpackhi_ps(r[2], r[3]);
  r[0] = _mm512_shuffle_ps(a, c, 0x44), r[1] = _mm512_shuffle_ps(a, c, 0xee);
  r[2] = _mm512_shuffle_ps(b, d, 0x44), r[3] = _mm512_shuffle_ps(b, d, 0xee);
}

inline void gather4(const LanesGather& g, int64_t p) {
  __m512 r[4];
  for (int q = 0; q < 4; q++) r[q] = quarters(g.image + q * g.image_step + p, g.image_step);
  transpose4(r);
  for (int q = 0; q < 4; q++)
    if (g.at[p + q] >= 0) _mm512_storeu_ps(g.block + int64_t(g.at[p + q]) * 16, r[q]);
}

inline void scatter16(const LanesScatter& s, int64_t p) {
  __m512 r[4][4];  // [columns 4 c ..][image % 4], quarter l: images 4 l ..
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) r[c][q] = _mm512_loadu_ps(s.block + int64_t(s.at[p + 4 * c + q]) * 16);
    transpose4(r[c]);
  }
  float* const to = s.image + p;
#pragma GCC unroll 4
  for (int q = 0; q < 4; q++) {  // 4 x 4 transposes of quarters
    const __m512 a = _mm512_shuffle_f32x4(r[0][q], r[1][q], 0x44), b = _mm512_shuffle_f32x4(r[0][q], r[1][q], 0xee);
    const __m512 c = _mm512_shuffle_f32x4(r[2][q], r[3][q], 0x44), d = _mm512_shuffle_f32x4(r[2][q], r[3][q], 0xee);
    _mm512_storeu_ps(to + q * s.image_step, _mm512_shuffle_f32x4(a, c, 0x88));
    _mm512_storeu_ps(to + (4 + q) * s.image_step, _mm512_shuffle_f32x4(a, c, 0xdd));
    _mm512_storeu_ps(to + (8 + q) * s.image_step, _mm512_shuffle_f32x4(b, d, 0x88));
    _mm512_storeu_ps(to + (12 + q) * s.image_step, _mm512_shuffle_f32x4(b, d, 0xdd));
  }
}

}  // namespace

void lanes_f32_16_avx512_gather(const LanesGather& g) {
  if (g.images < 16 || g.n < 4) return lanes_gather_reference(g, 16);
  int64_t p = 0;
  for (; p + 4 <= g.n; p += 4) gather4(g, p);
  if (p < g.n) gather4(g, g.n - 4);  // some columns twice
}

void lanes_f32_16_avx512_scatter(const LanesScatter& s) {
  if (s.images < 16 || s.n < 16) return lanes_scatter_reference(s, 16);
  int64_t p = 0;
  for (; p + 16 <= s.n; p += 16) scatter16(s, p);
  if (p < s.n) scatter16(s, s.n - 16);
}

TERSOR_LANES_WINDOWS(lanes_f32_16_avx512, 16)

TERSOR_TARGET_END
}  // namespace tersor
#endif
