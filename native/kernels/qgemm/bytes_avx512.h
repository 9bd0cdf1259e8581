// Codes and vectors of 32-bit lanes, sixteen lanes; to be included behind simd/vec_avx512.h. n: how many, at least 1.
#pragma once
#include <cstring>

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// The low 8 bits of the first n lanes.
TERSOR_VEC_INLINE void store_bytes(void* p, simd::I32 v, int64_t n) {
  const __m128i bytes = _mm512_maskz_cvtepi32_epi8(0xffff, v.v);
  if (n == simd::F32::lanes) _mm_storeu_si128(static_cast<__m128i*>(p), bytes);
  else _mm_mask_storeu_epi8(p, simd::first_lanes(n), bytes);
}
// n codes as integers in [0, 255]; lanes behind them are unspecified. Exactly n bytes are read.
TERSOR_VEC_INLINE simd::I32 load_bytes(const void* p, int64_t n) {
  const __m128i bytes = n >= simd::F32::lanes ? _mm_loadu_si128(static_cast<const __m128i*>(p)) : _mm_maskz_loadu_epi8(simd::first_lanes(n), p);
  return simd::I32(_mm512_cvtepu8_epi32(bytes));
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
