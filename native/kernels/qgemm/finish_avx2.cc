// Finish and quantize, eight lanes.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/qgemm/bytes_avx2.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using simd::I32;
constexpr int kLanes = simd::F32::lanes;
TERSOR_VEC_INLINE I32 high_mul(I32 a, I32 b) {
  const __m256i nudge = _mm256_set1_epi64x(int64_t(1) << 30);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a.v, b.v), nudge);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a.v, 32), _mm256_srli_epi64(b.v, 32)), nudge);
  return I32(_mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA));
}
TERSOR_VEC_INLINE I32 shift_left(I32 a, I32 n) { return I32(_mm256_sllv_epi32(a.v, n.v)); }
TERSOR_VEC_INLINE I32 shift_right(I32 a, I32 n) { return I32(_mm256_srav_epi32(a.v, n.v)); }
TERSOR_VEC_INLINE I32 min_int(I32 a, I32 b) { return I32(_mm256_min_epi32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 max_int(I32 a, I32 b) { return I32(_mm256_max_epi32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 load_ints(const int32_t* p, int64_t n) { return I32(_mm256_maskload_epi32(p, simd::first_lanes(n))); }
TERSOR_VEC_INLINE void store_ints(int32_t* p, I32 v, int64_t n) { _mm256_maskstore_epi32(p, simd::first_lanes(n), v.v); }

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/qgemm/finish.h"

namespace tersor {
const QgemmWidth qgemm_width_avx2 = {finish_tile, quantize, dynamic};
}  // namespace tersor
#endif
