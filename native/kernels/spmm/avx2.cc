// CSR and blocks x dense with 256-bit vectors: hardware gathers for one row of x, up to 64 lanes of sums for panels.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE simd::F32 gather_at(const float* x, __m256i column, uint32_t last, int64_t n) {
  const __m256i at = _mm256_min_epu32(column, _mm256_set1_epi32(static_cast<int>(last)));
  return simd::F32(_mm256_mask_i32gather_ps(_mm256_setzero_ps(), x, at, _mm256_castsi256_ps(simd::first_lanes(n)), 4));
}
TERSOR_VEC_INLINE simd::F32 gather(const float* x, const int32_t* c, uint32_t last, int64_t n) {
  return gather_at(x, _mm256_maskload_epi32(c, simd::first_lanes(n)), last, n);
}
TERSOR_VEC_INLINE simd::F32 gather(const float* x, const uint16_t* c, uint32_t last, int64_t n) {
  alignas(16) uint16_t part[8] = {0};
  if (n < 8) {
    for (int64_t i = 0; i < n; i++) part[i] = c[i];
    c = part;
  }
  return gather_at(x, _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(c))), last, n);
}
TERSOR_VEC_INLINE simd::F32 values_of(const float* v, int64_t n) { return simd::load_part(v, n); }
TERSOR_VEC_INLINE simd::F32 values_of(const int8_t* v, int64_t n) {
  alignas(8) int8_t part[8] = {0};
  if (n < 8) {
    for (int64_t i = 0; i < n; i++) part[i] = v[i];
    v = part;
  }
  return simd::F32(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(v)))));
}

TERSOR_VEC_INLINE simd::F32 quads(const float* p, int64_t step) {
  return simd::F32(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1));
}
TERSOR_VEC_INLINE simd::F32 low(simd::F32 a, simd::F32 b) { return simd::F32(_mm256_unpacklo_ps(a.v, b.v)); }
TERSOR_VEC_INLINE simd::F32 high(simd::F32 a, simd::F32 b) { return simd::F32(_mm256_unpackhi_ps(a.v, b.v)); }
TERSOR_VEC_INLINE simd::F32 low2(simd::F32 a, simd::F32 b) { return simd::F32(_mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a.v), _mm256_castps_pd(b.v)))); }
TERSOR_VEC_INLINE simd::F32 high2(simd::F32 a, simd::F32 b) { return simd::F32(_mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a.v), _mm256_castps_pd(b.v)))); }

inline uint32_t max_u16(const uint16_t* c, int64_t n) {
  __m256i most = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) most = _mm256_max_epu16(most, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(c + i)));
  alignas(32) uint16_t lanes[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), most);
  uint32_t result = 0;
  for (int l = 0; l < 16; l++) result = lanes[l] > result ? lanes[l] : result;
  for (; i < n; i++) result = c[i] > result ? c[i] : result;
  return result;
}
inline uint32_t max_i32(const int32_t* c, int64_t n) {
  __m256i most = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) most = _mm256_max_epu32(most, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(c + i)));
  alignas(32) uint32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), most);
  uint32_t result = 0;
  for (int l = 0; l < 8; l++) result = lanes[l] > result ? lanes[l] : result;
  for (; i < n; i++) result = static_cast<uint32_t>(c[i]) > result ? static_cast<uint32_t>(c[i]) : result;
  return result;
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/spmm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void spmm_csr_1x64_avx2(const SpmmArgs& s) { gather_types(s); }
void spmm_csr_1x64_avx2_panel(const SpmmPanel& s) { panel(s); }
void spmm_csr_1x64_avx2_transpose(const SpmmTranspose& s) { transpose(s); }
uint32_t spmm_csr_1x64_avx2_max(const void* columns, bool wide, int64_t n) {
  return wide ? max_i32(static_cast<const int32_t*>(columns), n) : max_u16(static_cast<const uint16_t*>(columns), n);
}

}  // namespace tersor
TERSOR_VEC_END
#endif
