// Eight lanes: AVX2 + FMA. Vocabulary: vec_common.h.
#pragma once
#include "simd/vec_common.h"
#include <immintrin.h>

#define TERSOR_VEC_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
#define TERSOR_VEC_END TERSOR_TARGET_END

TERSOR_VEC_BEGIN
namespace tersor {
namespace simd {
namespace {

struct M32 {
  __m256 v;
};
struct F32 {
  using element = float;
  static constexpr int lanes = 8;
  __m256 v;
  F32() = default;
  TERSOR_VEC_INLINE explicit F32(float x) : v(_mm256_set1_ps(x)) {}
  TERSOR_VEC_INLINE explicit F32(__m256 x) : v(x) {}
};
struct I32 {
  __m256i v;
  I32() = default;
  TERSOR_VEC_INLINE explicit I32(int32_t x) : v(_mm256_set1_epi32(x)) {}
  TERSOR_VEC_INLINE explicit I32(__m256i x) : v(x) {}
};

TERSOR_VEC_INLINE I32 lane_index() { return I32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
TERSOR_VEC_INLINE __m256i first_lanes(int64_t n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane_index().v); }

TERSOR_VEC_INLINE F32 load(const float* p) { return F32(_mm256_loadu_ps(p)); }
TERSOR_VEC_INLINE F32 load_part(const float* p, int64_t n) { return F32(_mm256_maskload_ps(p, first_lanes(n))); }
TERSOR_VEC_INLINE void store(float* p, F32 a) { _mm256_storeu_ps(p, a.v); }
TERSOR_VEC_INLINE void store_part(float* p, F32 a, int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), a.v); }
TERSOR_VEC_INLINE F32 operator+(F32 a, F32 b) { return F32(_mm256_add_ps(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator-(F32 a, F32 b) { return F32(_mm256_sub_ps(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator*(F32 a, F32 b) { return F32(_mm256_mul_ps(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator/(F32 a, F32 b) { return F32(_mm256_div_ps(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator-(F32 a) { return F32(_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))); }
TERSOR_VEC_INLINE F32 fma(F32 a, F32 b, F32 c) { return F32(_mm256_fmadd_ps(a.v, b.v, c.v)); }
TERSOR_VEC_INLINE F32 sqrt(F32 a) { return F32(_mm256_sqrt_ps(a.v)); }
TERSOR_VEC_INLINE F32 abs(F32 a) { return F32(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)); }
TERSOR_VEC_INLINE F32 round_even(F32 a) { return F32(_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
TERSOR_VEC_INLINE F32 floor(F32 a) { return F32(_mm256_floor_ps(a.v)); }
TERSOR_VEC_INLINE F32 min(F32 a, F32 b) { return F32(_mm256_min_ps(a.v, b.v)); }
TERSOR_VEC_INLINE F32 max(F32 a, F32 b) { return F32(_mm256_max_ps(a.v, b.v)); }
TERSOR_VEC_INLINE M32 operator<(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
TERSOR_VEC_INLINE M32 operator<=(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
TERSOR_VEC_INLINE M32 operator>(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
TERSOR_VEC_INLINE M32 operator>=(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
TERSOR_VEC_INLINE M32 operator==(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
TERSOR_VEC_INLINE M32 is_nan(F32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
TERSOR_VEC_INLINE F32 select(M32 m, F32 a, F32 b) { return F32(_mm256_blendv_ps(b.v, a.v, m.v)); }

TERSOR_VEC_INLINE F32 keep_first(F32 a, int64_t n) { return F32(_mm256_and_ps(a.v, _mm256_castsi256_ps(first_lanes(n)))); }

TERSOR_VEC_INLINE float sum_lanes(F32 a) {
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
TERSOR_VEC_INLINE float max_lanes(F32 a) {
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}
TERSOR_VEC_INLINE float min_lanes(F32 a) {
  const __m128 q = _mm_min_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 d = _mm_min_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_min_ss(d, _mm_shuffle_ps(d, d, 1)));
}

TERSOR_VEC_INLINE I32 bits(F32 a) { return I32(_mm256_castps_si256(a.v)); }
TERSOR_VEC_INLINE F32 as_float(I32 a) { return F32(_mm256_castsi256_ps(a.v)); }
TERSOR_VEC_INLINE I32 to_int(F32 a) { return I32(_mm256_cvtps_epi32(a.v)); }
TERSOR_VEC_INLINE F32 to_float(I32 a) { return F32(_mm256_cvtepi32_ps(a.v)); }
TERSOR_VEC_INLINE I32 load(const int32_t* p) { return I32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
TERSOR_VEC_INLINE void store(int32_t* p, I32 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
TERSOR_VEC_INLINE I32 operator+(I32 a, I32 b) { return I32(_mm256_add_epi32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator-(I32 a, I32 b) { return I32(_mm256_sub_epi32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator&(I32 a, I32 b) { return I32(_mm256_and_si256(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator|(I32 a, I32 b) { return I32(_mm256_or_si256(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator^(I32 a, I32 b) { return I32(_mm256_xor_si256(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator<<(I32 a, int n) { return I32(_mm256_slli_epi32(a.v, n)); }
TERSOR_VEC_INLINE I32 operator>>(I32 a, int n) { return I32(_mm256_srai_epi32(a.v, n)); }
TERSOR_VEC_INLINE I32 shift_right_logical(I32 a, int n) { return I32(_mm256_srli_epi32(a.v, n)); }
TERSOR_VEC_INLINE I32 mul_low(I32 a, I32 b) { return I32(_mm256_mullo_epi32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 mul_high_unsigned(I32 a, I32 b) {
  const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(a.v, b.v), 32);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), _mm256_srli_epi64(b.v, 32));
  return I32(_mm256_blend_epi32(even, odd, 0xAA));
}
TERSOR_VEC_INLINE M32 operator==(I32 a, I32 b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
TERSOR_VEC_INLINE I32 select(M32 m, I32 a, I32 b) { return I32(_mm256_blendv_epi8(b.v, a.v, _mm256_castps_si256(m.v))); }
TERSOR_VEC_INLINE M32 operator&(M32 a, M32 b) { return {_mm256_and_ps(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator|(M32 a, M32 b) { return {_mm256_or_ps(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator!(M32 a) { return {_mm256_xor_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
TERSOR_VEC_INLINE uint32_t mask_bits(M32 a) { return static_cast<uint32_t>(_mm256_movemask_ps(a.v)); }
TERSOR_VEC_INLINE M32 lanes_below(int64_t n) { return {_mm256_castsi256_ps(first_lanes(n))}; }
TERSOR_VEC_INLINE bool any(M32 a) { return mask_bits(a) != 0; }
TERSOR_VEC_INLINE M32 mask_from_bits(uint32_t u) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(u)), bit), bit))};
}

}  // namespace
}  // namespace simd
}  // namespace tersor
TERSOR_VEC_END
