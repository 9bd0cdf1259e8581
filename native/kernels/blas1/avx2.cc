#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/blas1/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

// Sums 4 j to 4 j + 3 in sum[j].
double blas1_dot_f32_8_avx2(const float* a, const float* b, int64_t n) {
  __m256d s0 = _mm256_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  float last_a[16] = {}, last_b[16] = {};
  while (i < n) {
    const float *x = a + i, *y = b + i;
    if (n - i < 16) {
      for (int64_t l = 0; l < n - i; l++) last_a[l] = x[l], last_b[l] = y[l];
      x = last_a, y = last_b;
    }
    s0 = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(x)), _mm256_cvtps_pd(_mm_loadu_ps(y)), s0);
    s1 = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + 4)), _mm256_cvtps_pd(_mm_loadu_ps(y + 4)), s1);
    s2 = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + 8)), _mm256_cvtps_pd(_mm_loadu_ps(y + 8)), s2);
    s3 = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + 12)), _mm256_cvtps_pd(_mm_loadu_ps(y + 12)), s3);
    i += 16;
  }
  const __m256d four = _mm256_add_pd(_mm256_add_pd(s0, s2), _mm256_add_pd(s1, s3));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
void blas1_axpby_f32_8_avx2(float* y, const float* x, int64_t n, float alpha, float beta) { axpby_run<simd::F32>(y, x, n, alpha, beta); }

}  // namespace tersor
TERSOR_VEC_END
#endif
