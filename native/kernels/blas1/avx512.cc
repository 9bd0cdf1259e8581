#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/blas1/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

// Sums 0-7 and 8-15 in a vector each.
double blas1_dot_f32_16_avx512(const float* a, const float* b, int64_t n) {
  __m512d low = _mm512_setzero_pd(), high = low;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    low = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + i)), _mm512_cvtps_pd(_mm256_loadu_ps(b + i)), low);
    high = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + i + 8)), _mm512_cvtps_pd(_mm256_loadu_ps(b + i + 8)), high);
  }
  if (i < n) {
    const __m512 x = simd::load_part(a + i, n - i).v, y = simd::load_part(b + i, n - i).v;
    low = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm512_castps512_ps256(y)), low);
    high = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(y, 1)), high);
  }
  const __m512d eight = _mm512_add_pd(low, high);
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
void blas1_axpby_f32_16_avx512(float* y, const float* x, int64_t n, float alpha, float beta) { axpby_run<simd::F32>(y, x, n, alpha, beta); }

}  // namespace tersor
TERSOR_VEC_END
#endif
