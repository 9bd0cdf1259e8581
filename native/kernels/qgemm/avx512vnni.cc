// u8 x s8 -> s32 with vpdpbusd, 512 bits: 24 sums, 3 vectors of B, 1 broadcast of A.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/qgemm/epilogue.h"
#include "kernels/qgemm/int_vectors.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512VNNI)
#define TERSOR_QGEMM_END TERSOR_TARGET_END
#define TERSOR_QGEMM_NV 3
#define TERSOR_QGEMM_HEIGHTS(X) X(8) X(6) X(4) X(3) X(2) X(1)

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

using IV = __m512i;
constexpr int kGroup = 4;
TERSOR_VEC_INLINE IV dot(IV acc, IV a, IV b) { return _mm512_dpbusd_epi32(acc, a, b); }
TERSOR_VEC_INLINE IV bload(const int8_t* p) { return _mm512_loadu_si512(p); }
TERSOR_VEC_INLINE void qstore_part(void* p, IV v, int64_t n) {
  _mm_mask_storeu_epi8(p, simd::first_lanes(n), _mm512_maskz_cvtepi32_epi8(0xffff, v));
}
TERSOR_QGEMM_INT512

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/generic.h"

TERSOR_QGEMM_BEGIN
namespace tersor {
void qgemm_u8s8s32_8x48_avx512vnni(const QgemmBlock& q) { qblock(q); }
void qgemm_u8s8s32_8x48_avx512vnni_quantize(const QgemmQuantize& q) { qquantize(q); }
}  // namespace tersor
TERSOR_QGEMM_END
#endif
