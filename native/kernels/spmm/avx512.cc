// CSR and blocks x dense with 512-bit vectors: hardware gathers for one row of x, up to 128 lanes of sums for panels.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE simd::F32 gather_at(const float* x, __m512i column, uint32_t last, int64_t n) {
  const __m512i at = _mm512_min_epu32(column, _mm512_set1_epi32(static_cast<int>(last)));
  return simd::F32(_mm512_mask_i32gather_ps(_mm512_setzero_ps(), simd::first_lanes(n), at, x, 4));
}
TERSOR_VEC_INLINE simd::F32 gather(const float* x, const int32_t* c, uint32_t last, int64_t n) {
  return gather_at(x, _mm512_maskz_loadu_epi32(simd::first_lanes(n), c), last, n);
}
TERSOR_VEC_INLINE simd::F32 gather(const float* x, const uint16_t* c, uint32_t last, int64_t n) {
  return gather_at(x, _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_maskz_loadu_epi16(simd::first_lanes(n), c)), last, n);
}
TERSOR_VEC_INLINE simd::F32 values_of(const float* v, int64_t n) { return simd::load_part(v, n); }
TERSOR_VEC_INLINE simd::F32 values_of(const int8_t* v, int64_t n) {
  return simd::F32(_mm512_cvtepi32_ps(_mm512_maskz_cvtepi8_epi32(0xffff, _mm_maskz_loadu_epi8(simd::first_lanes(n), v))));
}

TERSOR_VEC_INLINE simd::F32 quads(const float* p, int64_t step) {
  const __m256 lo = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
  const __m256 hi = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + 2 * step)), _mm_loadu_ps(p + 3 * step), 1);
  return simd::F32(_mm512_insertf32x8(_mm512_castps256_ps512(lo), hi, 1));
}
TERSOR_VEC_INLINE simd::F32 low(simd::F32 a, simd::F32 b) { return simd::F32(_mm512_unpacklo_ps(a.v, b.v)); }
TERSOR_VEC_INLINE simd::F32 high(simd::F32 a, simd::F32 b) { return simd::F32(_mm512_unpackhi_ps(a.v, b.v)); }
TERSOR_VEC_INLINE simd::F32 low2(simd::F32 a, simd::F32 b) { return simd::F32(_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a.v), _mm512_castps_pd(b.v)))); }
TERSOR_VEC_INLINE simd::F32 high2(simd::F32 a, simd::F32 b) { return simd::F32(_mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a.v), _mm512_castps_pd(b.v)))); }

inline uint32_t max_u16(const uint16_t* c, int64_t n) {
  __m512i most = _mm512_setzero_si512();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) most = _mm512_max_epu16(most, _mm512_loadu_si512(c + i));
  if (i < n) most = _mm512_max_epu16(most, _mm512_maskz_loadu_epi16((1u << (n - i)) - 1u, c + i));
  const __m512i low = _mm512_and_si512(most, _mm512_set1_epi32(0xffff)), high = _mm512_srli_epi32(most, 16);
  return _mm512_reduce_max_epu32(_mm512_max_epu32(low, high));
}
inline uint32_t max_i32(const int32_t* c, int64_t n) {
  __m512i most = _mm512_setzero_si512();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) most = _mm512_max_epu32(most, _mm512_loadu_si512(c + i));
  if (i < n) most = _mm512_max_epu32(most, _mm512_maskz_loadu_epi32(simd::first_lanes(n - i), c + i));
  return _mm512_reduce_max_epu32(most);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/spmm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void spmm_csr_1x64_avx512(const SpmmArgs& s) { gather_types(s); }
void spmm_csr_1x64_avx512_panel(const SpmmPanel& s) { panel(s); }
void spmm_csr_1x64_avx512_transpose(const SpmmTranspose& s) { transpose(s); }
uint32_t spmm_csr_1x64_avx512_max(const void* columns, bool wide, int64_t n) {
  return wide ? max_i32(static_cast<const int32_t*>(columns), n) : max_u16(static_cast<const uint16_t*>(columns), n);
}

}  // namespace tersor
TERSOR_VEC_END
#endif
