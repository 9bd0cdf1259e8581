#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/blas1/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

// Sums 2 j and 2 j + 1 in sum[j].
double blas1_dot_f32_4_neon(const float* a, const float* b, int64_t n) {
  float64x2_t sum[8];
  for (int j = 0; j < 8; j++) sum[j] = vdupq_n_f64(0);
  float last_a[16] = {}, last_b[16] = {};
  for (int64_t i = 0; i < n; i += 16) {
    const float *x = a + i, *y = b + i;
    if (n - i < 16) {
      for (int64_t l = 0; l < n - i; l++) last_a[l] = x[l], last_b[l] = y[l];
      x = last_a, y = last_b;
    }
    for (int j = 0; j < 8; j++) sum[j] = vfmaq_f64(sum[j], vcvt_f64_f32(vld1_f32(x + 2 * j)), vcvt_f64_f32(vld1_f32(y + 2 * j)));
  }
  for (int half = 4; half > 0; half /= 2)
    for (int j = 0; j < half; j++) sum[j] = vaddq_f64(sum[j], sum[j + half]);
  return vgetq_lane_f64(sum[0], 0) + vgetq_lane_f64(sum[0], 1);
}
void blas1_axpby_f32_4_neon(float* y, const float* x, int64_t n, float alpha, float beta) { axpby_run<simd::F32>(y, x, n, alpha, beta); }

}  // namespace tersor
TERSOR_VEC_END
#endif
