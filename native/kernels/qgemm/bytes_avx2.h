// Codes and vectors of 32-bit lanes, eight lanes; to be included behind simd/vec_avx2.h. n: how many, at least 1.
#pragma once
#include <cstring>

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// The low 8 bits of the first n lanes.
TERSOR_VEC_INLINE void store_bytes(void* p, simd::I32 v, int64_t n) {
  const __m256i low = _mm256_shuffle_epi8(v.v, _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1, -1,
                                                                -1, -1, -1, -1, -1, -1));
  const __m128i bytes = _mm_or_si128(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  if (n == simd::F32::lanes) {
    _mm_storel_epi64(static_cast<__m128i*>(p), bytes);
  } else {
    alignas(16) uint8_t lanes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(lanes), bytes);
    for (int64_t i = 0; i < n; i++) static_cast<uint8_t*>(p)[i] = lanes[i];
  }
}
// n codes as integers in [0, 255]; lanes behind them are unspecified. Exactly n bytes are read.
TERSOR_VEC_INLINE simd::I32 load_bytes(const void* p, int64_t n) {
  int64_t eight = 0;
  memcpy(&eight, p, static_cast<size_t>(n >= simd::F32::lanes ? simd::F32::lanes : n));
  return simd::I32(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(eight)));
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
