// Integer products of blocks with vpdpbusd, 512 bits.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#define TERSOR_DOT_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512VNNI)
#define TERSOR_DOT_END TERSOR_TARGET_END

TERSOR_DOT_BEGIN
namespace tersor {
namespace {

using Sum = __m512i;
using Quads = __m512i;
using Weight = __m512i;
TERSOR_VEC_INLINE Sum none() { return _mm512_setzero_si512(); }
TERSOR_VEC_INLINE Sum add(Sum a, Sum b) { return _mm512_add_epi32(a, b); }
TERSOR_VEC_INLINE Quads quads(const uint8_t* p) { return _mm512_loadu_si512(p); }
TERSOR_VEC_INLINE Weight weight(const int8_t* p) {
  int32_t four;
  memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
// Sixteen bytes of four columns each -> four bytes of each of sixteen lanes: a transpose of 4 x 4 dwords, then of 4 x 4 bytes in each.
TERSOR_VEC_INLINE Quads weave(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
  __m512i z = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
  z = _mm512_mask_broadcast_i32x4(z, 0x00f0, _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  z = _mm512_mask_broadcast_i32x4(z, 0x0f00, _mm_loadu_si128(reinterpret_cast<const __m128i*>(c)));
  z = _mm512_mask_broadcast_i32x4(z, 0xf000, _mm_loadu_si128(reinterpret_cast<const __m128i*>(d)));
  const __m512i dwords = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
  return _mm512_shuffle_epi8(_mm512_maskz_permutexvar_epi32(0xffff, dwords, z), bytes);
}
TERSOR_VEC_INLINE Sum dot(Sum s, Quads x, Weight w) { return _mm512_dpbusd_epi32(s, x, w); }
TERSOR_VEC_INLINE Weight weights(const int8_t* p) { return _mm512_loadu_si512(p); }
TERSOR_VEC_INLINE void store_sums(int32_t* p, Sum s) { _mm512_storeu_si512(p, s); }
TERSOR_VEC_INLINE void store_less(float* y, Sum s, int32_t correction) {
  _mm512_storeu_ps(y, _mm512_maskz_cvtepi32_ps(0xffff, _mm512_sub_epi32(s, _mm512_set1_epi32(correction))));
}

}  // namespace
}  // namespace tersor
TERSOR_DOT_END

#include "kernels/spmm/block_dot_generic.h"

TERSOR_DOT_BEGIN
namespace tersor {

void spmm_blocks_u8s8_avx512vnni(const SpmmDot& s) { dots(s); }
void spmm_blocks_u8s8_avx512vnni_sums(const SpmmDot& s, int32_t zero, int32_t* out) { row_sums(s, zero, out); }
void spmm_blocks_u8s8_avx512vnni_quantize(const SpmmQuantize& s) { quantize(s); }

}  // namespace tersor
TERSOR_DOT_END
#endif
