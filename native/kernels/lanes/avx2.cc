// Blocks of 8 images: 8 x 8 transposes.
#include "kernels/lanes/lanes.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/lanes/generic.h"

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace {

inline void transpose4(__m256 (&r)[4]) {  // inside the halves
  const __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
  const __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
  r[0] = _mm256_shuffle_ps(a, c, 0x44), r[1] = _mm256_shuffle_ps(a, c, 0xee);
  r[2] = _mm256_shuffle_ps(b, d, 0x44), r[3] = _mm256_shuffle_ps(b, d, 0xee);
}

inline void gather4(const LanesGather& g, int64_t p) {
  __m256 r[4];
  for (int q = 0; q < 4; q++) {
    const float* from = g.image + q * g.image_step + p;
    r[q] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)), _mm_loadu_ps(from + 4 * g.image_step), 1);
  }
  transpose4(r);
  for (int q = 0; q < 4; q++)
    if (g.at[p + q] >= 0) _mm256_storeu_ps(g.block + int64_t(g.at[p + q]) * 8, r[q]);
}

inline void scatter8(const LanesScatter& s, int64_t p) {
  __m256 r[2][4];
  for (int c = 0; c < 2; c++) {
    for (int q = 0; q < 4; q++) r[c][q] = _mm256_loadu_ps(s.block + int64_t(s.at[p + 4 * c + q]) * 8);
    transpose4(r[c]);
  }
  for (int q = 0; q < 4; q++) {
    _mm256_storeu_ps(s.image + q * s.image_step + p, _mm256_permute2f128_ps(r[0][q], r[1][q], 0x20));
    _mm256_storeu_ps(s.image + (4 + q) * s.image_step + p, _mm256_permute2f128_ps(r[0][q], r[1][q], 0x31));
  }
}

}  // namespace

void lanes_f32_8_avx2_gather(const LanesGather& g) {
  if (g.images < 8 || g.n < 4) return lanes_gather_reference(g, 8);
  int64_t p = 0;
  for (; p + 4 <= g.n; p += 4) gather4(g, p);
  if (p < g.n) gather4(g, g.n - 4);  // some columns twice
}

void lanes_f32_8_avx2_scatter(const LanesScatter& s) {
  if (s.images < 8 || s.n < 8) return lanes_scatter_reference(s, 8);
  int64_t p = 0;
  for (; p + 8 <= s.n; p += 8) scatter8(s, p);
  if (p < s.n) scatter8(s, s.n - 8);
}

TERSOR_LANES_WINDOWS(lanes_f32_8_avx2, 8)

TERSOR_TARGET_END
}  // namespace tersor
#endif
