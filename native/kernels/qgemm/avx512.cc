// u8 x s8 -> s32 through 16-bit pairs (vpmaddwd cannot saturate on them), 512 bits: for AVX-512 without VNNI.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/qgemm/epilogue.h"
#include "kernels/qgemm/int_vectors.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
#define TERSOR_QGEMM_END TERSOR_TARGET_END
#define TERSOR_QGEMM_NV 2
#define TERSOR_QGEMM_HEIGHTS(X) X(12) X(8) X(4) X(2) X(1)

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

using IV = __m512i;
constexpr int kGroup = 2;
TERSOR_VEC_INLINE IV dot(IV acc, IV a, IV b) { return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)); }
TERSOR_VEC_INLINE IV bload(const int8_t* p) { return _mm512_maskz_cvtepi8_epi16(~0u, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
TERSOR_VEC_INLINE void qstore_part(void* p, IV v, int64_t n) {
  _mm256_mask_storeu_epi16(p, simd::first_lanes(n), _mm512_maskz_cvtepi32_epi16(0xffff, v));
}
TERSOR_QGEMM_INT512

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/generic.h"

TERSOR_QGEMM_BEGIN
namespace tersor {
void qgemm_u8s8s32_12x32_avx512(const QgemmBlock& q) { qblock(q); }
void qgemm_u8s8s32_12x32_avx512_quantize(const QgemmQuantize& q) { qquantize(q); }
}  // namespace tersor
TERSOR_QGEMM_END
#endif
