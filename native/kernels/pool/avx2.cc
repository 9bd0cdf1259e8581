#include "kernels/pool/pool.h"

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace {

struct Best {
  __m256 value;
  __m256i index;
};

inline Best better(Best best, __m256 v, __m256i index) {
  const __m256 take = _mm256_and_ps(_mm256_cmp_ps(v, best.value, _CMP_NLE_UQ), _mm256_cmp_ps(best.value, best.value, _CMP_ORD_Q));
  return {_mm256_blendv_ps(best.value, v, take), _mm256_blendv_epi8(best.index, index, _mm256_castps_si256(take))};
}

// 16 values -> the 8 at even and the 8 at odd positions, in order.
inline __m256 evens(__m256 a, __m256 b) {
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)), 0xD8));
}
inline __m256 odds(__m256 a, __m256 b) {
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD)), 0xD8));
}

}  // namespace

void pool_max2x2_f32_avx2(const PoolArgs& a) {
  const __m256i twice = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
  const __m256i one = _mm256_set1_epi32(1);
  for (int64_t i = 0; i < a.ho; i++) {
    const float* top = static_cast<const float*>(a.x) + 2 * i * a.w;
    const float* low = top + a.w;
    float* y = static_cast<float*>(a.y) + i * a.wo;
    int32_t* index = a.index + i * a.wo;
    int64_t j = 0;
    for (; j + 8 <= a.wo; j += 8) {
      const __m256i p = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(2 * i * a.w + 2 * j)), twice);
      const __m256i q = _mm256_add_epi32(p, _mm256_set1_epi32(static_cast<int>(a.w)));
      const __m256 t0 = _mm256_loadu_ps(top + 2 * j), t1 = _mm256_loadu_ps(top + 2 * j + 8);
      const __m256 l0 = _mm256_loadu_ps(low + 2 * j), l1 = _mm256_loadu_ps(low + 2 * j + 8);
      Best best = {evens(t0, t1), p};
      best = better(best, odds(t0, t1), _mm256_add_epi32(p, one));
      best = better(best, evens(l0, l1), q);
      best = better(best, odds(l0, l1), _mm256_add_epi32(q, one));
      _mm256_storeu_ps(y + j, best.value);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(index + j), best.index);
    }
    for (; j < a.wo; j++) {
      const float v[4] = {top[2 * j], top[2 * j + 1], low[2 * j], low[2 * j + 1]};
      int best = 0;
      for (int c = 1; c < 4; c++)
        if (!(v[c] <= v[best]) && v[best] == v[best]) best = c;
      y[j] = v[best];
      index[j] = static_cast<int32_t>(2 * i * a.w + 2 * j + (best & 1) + (best >> 1) * a.w);
    }
  }
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
