// Finish and quantize, sixteen lanes.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/qgemm/bytes_avx512.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using simd::I32;
constexpr int kLanes = simd::F32::lanes;
TERSOR_VEC_INLINE I32 high_mul(I32 a, I32 b) {
  const __m512i nudge = _mm512_set1_epi64(int64_t(1) << 30);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(a.v, b.v), nudge);
  const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32)), nudge);
  return I32(_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1)));
}
TERSOR_VEC_INLINE I32 shift_left(I32 a, I32 n) { return I32(_mm512_sllv_epi32(a.v, n.v)); }
TERSOR_VEC_INLINE I32 shift_right(I32 a, I32 n) { return I32(_mm512_srav_epi32(a.v, n.v)); }
TERSOR_VEC_INLINE I32 min_int(I32 a, I32 b) { return I32(_mm512_min_epi32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 max_int(I32 a, I32 b) { return I32(_mm512_max_epi32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 load_ints(const int32_t* p, int64_t n) { return I32(_mm512_maskz_loadu_epi32(simd::first_lanes(n), p)); }
TERSOR_VEC_INLINE void store_ints(int32_t* p, I32 v, int64_t n) { _mm512_mask_storeu_epi32(p, simd::first_lanes(n), v.v); }

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/qgemm/finish.h"

namespace tersor {
const QgemmWidth qgemm_width_avx512 = {finish_tile, quantize, dynamic};
}  // namespace tersor
#endif
