// u8 x s8 -> s32 through 16-bit pairs, 256 bits: 12 sums, 2 vectors of B, 1 broadcast of A. vpmaddubsw would saturate (255 * 127 * 2 > 32767),
// so both sides are widened: A when it is quantized, B when it is loaded.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/qgemm/epilogue.h"
#include "kernels/qgemm/int_vectors.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
#define TERSOR_QGEMM_END TERSOR_TARGET_END
#define TERSOR_QGEMM_NV 2
#define TERSOR_QGEMM_HEIGHTS(X) X(6) X(4) X(3) X(2) X(1)

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

using IV = __m256i;
constexpr int kGroup = 2;
TERSOR_VEC_INLINE IV dot(IV acc, IV a, IV b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
TERSOR_VEC_INLINE IV bload(const int8_t* p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
TERSOR_VEC_INLINE void qstore_part(void* p, IV v, int64_t n) {
  const __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  if (n == 8) {
    _mm_storeu_si128(static_cast<__m128i*>(p), w);
  } else {
    alignas(16) uint16_t lanes[8];
    _mm_store_si128(reinterpret_cast<__m128i*>(lanes), w);
    for (int64_t i = 0; i < n; i++) static_cast<uint16_t*>(p)[i] = lanes[i];
  }
}
TERSOR_QGEMM_INT256

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/generic.h"

TERSOR_QGEMM_BEGIN
namespace tersor {
void qgemm_u8s8s32_6x16_avx2(const QgemmBlock& q) { qblock(q); }
void qgemm_u8s8s32_6x16_avx2_quantize(const QgemmQuantize& q) { qquantize(q); }
}  // namespace tersor
TERSOR_QGEMM_END
#endif
