// One row of x with 512-bit vectors: values are expanded to their lanes by the mask, or x permuted to the values.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE int bit_count(uint32_t mask) { return __builtin_popcount(mask); }
TERSOR_VEC_INLINE int long_bit_count(uint64_t word) { return __builtin_popcountll(word); }
TERSOR_VEC_INLINE simd::F32 values_of(const float* v, int64_t n) { return simd::load_part(v, n); }
TERSOR_VEC_INLINE simd::F32 values_of(const int8_t* v, int64_t n) {
  return simd::F32(_mm512_cvtepi32_ps(_mm512_maskz_cvtepi8_epi32(0xffff, _mm_maskz_loadu_epi8(simd::first_lanes(n), v))));
}
TERSOR_VEC_INLINE simd::F32 sixteen_at(const float* v, int) { return simd::load(v); }
TERSOR_VEC_INLINE simd::F32 sixteen_at(const int8_t* v, int) {
  return simd::F32(_mm512_cvtepi32_ps(_mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(v)))));
}
TERSOR_VEC_INLINE simd::F32 repeat4(const float* p) { return simd::F32(_mm512_maskz_broadcast_f32x4(0xffff, _mm_loadu_ps(p))); }
TERSOR_VEC_INLINE void sum_fours(simd::F32 v, float* out) {
  const __m512 pair = _mm512_add_ps(v.v, _mm512_maskz_permute_ps(0xffff, v.v, 0xb1));
  const __m512 four = _mm512_add_ps(pair, _mm512_maskz_permute_ps(0xffff, pair, 0x4e));
  _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, four)));
}
TERSOR_VEC_INLINE simd::F32 stored(uint32_t mask, const float* v, const float*) {
  return simd::F32(_mm512_maskz_expandloadu_ps(static_cast<__mmask16>(mask), v));
}
TERSOR_VEC_INLINE simd::F32 stored(uint32_t mask, const int8_t* v, const int8_t* stop) {
  const simd::F32 next = stop - v >= 16 ? sixteen_at(v, 0) : values_of(v, stop - v);
  return simd::F32(_mm512_maskz_expand_ps(static_cast<__mmask16>(mask), next.v));
}
// x is read as 32 floats; lane i picks within group i / 2.
TERSOR_VEC_INLINE simd::F32 picked(const uint8_t* bits, int64_t n, const float* x) {
  uint32_t word = 0;
  if (n == 4) memcpy(&word, bits, 4);
  else
    for (int64_t i = 0; i < n; i++) word |= static_cast<uint32_t>(bits[i]) << (8 * i);
  const __m512i shift = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i group = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
  const __m512i two = _mm512_and_si512(_mm512_srlv_epi32(_mm512_set1_epi32(static_cast<int>(word)), shift), _mm512_set1_epi32(3));
  return simd::F32(_mm512_permutex2var_ps(_mm512_loadu_ps(x), _mm512_or_si512(two, group), _mm512_loadu_ps(x + 16)));
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/spmm/vector_generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void spmm_blocks_f32_avx512(const SpmmVector& s) { s.quantized ? blocks<int8_t>(s) : blocks<float>(s); }
void spmm_bitmask_f32_avx512(const SpmmVector& s) { s.quantized ? bitmask_rows<int8_t>(s) : bitmask_rows<float>(s); }
void spmm_two_of_four_f32_avx512(const SpmmVector& s) { s.quantized ? two_of_four_rows<int8_t>(s) : two_of_four_rows<float>(s); }

}  // namespace tersor
TERSOR_VEC_END
#endif
