#include "kernels/pool/pool.h"

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

struct Best {
  __m512 value;
  __m512i index;
};

inline Best better(Best best, __m512 v, __m512i index) {
  const __mmask16 ordered = _mm512_cmp_ps_mask(best.value, best.value, _CMP_ORD_Q);
  const __mmask16 take = _mm512_mask_cmp_ps_mask(ordered, v, best.value, _CMP_NLE_UQ);
  return {_mm512_mask_mov_ps(best.value, take, v), _mm512_mask_mov_epi32(best.index, take, index)};
}

inline __mmask16 first(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : n <= 0 ? 0 : (1u << n) - 1); }

}  // namespace

void pool_max2x2_f32_avx512(const PoolArgs& a) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i odd = _mm512_add_epi32(even, one);
  for (int64_t i = 0; i < a.ho; i++) {
    const float* top = static_cast<const float*>(a.x) + 2 * i * a.w;
    const float* low = top + a.w;
    float* y = static_cast<float*>(a.y) + i * a.wo;
    int32_t* index = a.index + i * a.wo;
    for (int64_t j = 0; j < a.wo; j += 16) {
      const int64_t n = a.wo - j;
      const __mmask16 m0 = first(2 * n), m1 = first(2 * n - 16), m = first(n);
      const __m512i p = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(2 * i * a.w + 2 * j)), even);
      const __m512i q = _mm512_add_epi32(p, _mm512_set1_epi32(static_cast<int>(a.w)));
      const __m512 t0 = _mm512_maskz_loadu_ps(m0, top + 2 * j), t1 = _mm512_maskz_loadu_ps(m1, top + 2 * j + 16);
      const __m512 l0 = _mm512_maskz_loadu_ps(m0, low + 2 * j), l1 = _mm512_maskz_loadu_ps(m1, low + 2 * j + 16);
      Best best = {_mm512_permutex2var_ps(t0, even, t1), p};
      best = better(best, _mm512_permutex2var_ps(t0, odd, t1), _mm512_add_epi32(p, one));
      best = better(best, _mm512_permutex2var_ps(l0, even, l1), q);
      best = better(best, _mm512_permutex2var_ps(l0, odd, l1), _mm512_add_epi32(q, one));
      _mm512_mask_storeu_ps(y + j, m, best.value);
      _mm512_mask_storeu_epi32(index + j, m, best.index);
    }
  }
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
