// Integer products of blocks without a dot product of bytes: even and odd bytes as 16-bit pairs, so that nothing saturates.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#define TERSOR_DOT_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
#define TERSOR_DOT_END TERSOR_TARGET_END

TERSOR_DOT_BEGIN
namespace tersor {
namespace {

using Sum = __m256i;
using Quads = __m256i;
TERSOR_VEC_INLINE Sum none() { return _mm256_setzero_si256(); }
TERSOR_VEC_INLINE Sum add(Sum a, Sum b) { return _mm256_add_epi32(a, b); }
TERSOR_VEC_INLINE Quads quads(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
TERSOR_VEC_INLINE Quads weave(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
  const __m128i ab = _mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)), _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b)));
  const __m128i cd = _mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(c)), _mm_loadl_epi64(reinterpret_cast<const __m128i*>(d)));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi16(ab, cd)), _mm_unpackhi_epi16(ab, cd), 1);
}
TERSOR_VEC_INLINE void store_sums(int32_t* p, Sum s) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), s); }
TERSOR_VEC_INLINE void store_less(float* y, Sum s, int32_t correction) {
  _mm256_storeu_ps(y, _mm256_cvtepi32_ps(_mm256_sub_epi32(s, _mm256_set1_epi32(correction))));
}
struct Weight {
  __m256i even, odd;
};
TERSOR_VEC_INLINE Weight halves(__m256i w) { return {_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)}; }
TERSOR_VEC_INLINE Weight weight(const int8_t* p) {
  int32_t four;
  memcpy(&four, p, 4);
  return halves(_mm256_set1_epi32(four));
}
TERSOR_VEC_INLINE Weight weights(const int8_t* p) { return halves(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
TERSOR_VEC_INLINE Sum dot(Sum s, Quads x, Weight w) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)), w.even);
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), w.odd);
  return _mm256_add_epi32(s, _mm256_add_epi32(even, odd));
}

}  // namespace
}  // namespace tersor
TERSOR_DOT_END

#include "kernels/spmm/block_dot_generic.h"

TERSOR_DOT_BEGIN
namespace tersor {

void spmm_blocks_u8s8_avx2(const SpmmDot& s) { dots(s); }
void spmm_blocks_u8s8_avx2_sums(const SpmmDot& s, int32_t zero, int32_t* out) { row_sums(s, zero, out); }
void spmm_blocks_u8s8_avx2_quantize(const SpmmQuantize& s) { quantize(s); }

}  // namespace tersor
TERSOR_DOT_END
#endif
