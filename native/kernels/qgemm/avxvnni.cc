// u8 x s8 -> s32 with vpdpbusd in its VEX form, 256 bits: 12 sums, 3 vectors of B, 1 broadcast of A.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/qgemm/epilogue.h"
#include "kernels/qgemm/int_vectors.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVXVNNI)
#define TERSOR_QGEMM_END TERSOR_TARGET_END
#define TERSOR_QGEMM_NV 3
#define TERSOR_QGEMM_HEIGHTS(X) X(4) X(3) X(2) X(1)

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

using IV = __m256i;
constexpr int kGroup = 4;
TERSOR_VEC_INLINE IV dot(IV acc, IV a, IV b) { return _mm256_dpbusd_avx_epi32(acc, a, b); }
TERSOR_VEC_INLINE IV bload(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
TERSOR_VEC_INLINE void qstore_part(void* p, IV v, int64_t n) {
  const __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i b = _mm_packus_epi16(w, w);
  if (n == 8) {
    _mm_storel_epi64(static_cast<__m128i*>(p), b);
  } else {
    alignas(16) uint8_t lanes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(lanes), b);
    for (int64_t i = 0; i < n; i++) static_cast<uint8_t*>(p)[i] = lanes[i];
  }
}
TERSOR_QGEMM_INT256

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/generic.h"

TERSOR_QGEMM_BEGIN
namespace tersor {
void qgemm_u8s8s32_4x24_avxvnni(const QgemmBlock& q) { qblock(q); }
void qgemm_u8s8s32_4x24_avxvnni_quantize(const QgemmQuantize& q) { qquantize(q); }
}  // namespace tersor
TERSOR_QGEMM_END
#endif
