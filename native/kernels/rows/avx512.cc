// Selected rows and ternary projection, 512 bits. A triple of x has 27 signed sums: two registers that vpermi2ps picks from.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#define TERSOR_ROWS_TALL 4

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using V = simd::F32;
TERSOR_VEC_INLINE V load_wide(const float* p) { return simd::load(p); }
TERSOR_VEC_INLINE V load_wide(const float* p, int64_t n) { return simd::load_part(p, n); }
TERSOR_VEC_INLINE V load_wide(const int8_t* p) {
  return V(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
}
TERSOR_VEC_INLINE V load_wide(const int8_t* p, int64_t n) {
  return V(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(simd::first_lanes(n), p))));
}
TERSOR_VEC_INLINE void fetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/rows/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int kTriples = 6, kTable = 32;

// Entry c = (a + 1) + 3 (b + 1) + 9 (c + 1): bit c of kPlus[v] (kMinus[v]) is 1 where sign v is + (-).
constexpr uint32_t sign_bits(int weight, int sign) {
  uint32_t bits = 0;
  for (int c = 0; c < 27; c++)
    if (c / weight % 3 == sign + 1) bits |= 1u << c;
  return bits;
}

inline void tables(const float* x, int64_t k, float* out) {
  constexpr uint32_t kPlus[3] = {sign_bits(1, 1), sign_bits(3, 1), sign_bits(9, 1)}, kMinus[3] = {sign_bits(1, -1), sign_bits(3, -1), sign_bits(9, -1)};
  const int64_t triples = (k + 3 * kTriples - 1) / (3 * kTriples) * kTriples;
  for (int64_t t = 0; t < triples; t++, out += kTable)
    for (int half = 0; half < 2; half++) {
      __m512 v = _mm512_setzero_ps();
      for (int b = 0; b < 3; b++) {
        const __m512 a = _mm512_set1_ps(3 * t + b < k ? x[3 * t + b] : 0.0f);
        v = _mm512_mask_add_ps(v, static_cast<__mmask16>(kPlus[b] >> (16 * half)), v, a);
        v = _mm512_mask_sub_ps(v, static_cast<__mmask16>(kMinus[b] >> (16 * half)), v, a);
      }
      _mm512_storeu_ps(out + 16 * half, v);
    }
}

template <int NP> void project_panels(const RowsProject& p, int64_t j) {
  const char* at[NP];
  __m512 acc[NP];
#pragma GCC unroll 8
  for (int q = 0; q < NP; q++) at[q] = p.packed + (j / 16 + q) * p.words * 64, acc[q] = _mm512_setzero_ps();
  const float* table = p.tables;
  for (int64_t i = 0; i < p.words; i++) {
    __m512i w[NP];
#pragma GCC unroll 8
    for (int q = 0; q < NP; q++) w[q] = _mm512_loadu_si512(at[q] + i * 64);
#pragma GCC unroll 6
    for (int t = 0; t < kTriples; t++, table += kTable) {
      const __m512 low = _mm512_loadu_ps(table), high = _mm512_loadu_ps(table + 16);
#pragma GCC unroll 8
      for (int q = 0; q < NP; q++)
        acc[q] = _mm512_add_ps(acc[q], _mm512_permutex2var_ps(low, t == 0 ? w[q] : _mm512_srli_epi32(w[q], static_cast<unsigned>(5 * t)), high));
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < NP; q++) {
    const int64_t left = p.n - j - q * 16;
    simd::store_part(p.y + j + q * 16, simd::F32(_mm512_mul_ps(acc[q], _mm512_set1_ps(p.scale))), left < 16 ? left : 16);
  }
}

}  // namespace

void rows_avx512_dot_f32(const RowsDot& d) { rows_dot<float>(d); }
void rows_avx512_dot_i8(const RowsDot& d) { rows_dot<int8_t>(d); }
void rows_avx512_tables(const float* x, int64_t k, float* out) { tables(x, k, out); }
void rows_avx512_project(const RowsProject& p) {
  int64_t j = 0;
  for (; j + 112 < p.n; j += 128) project_panels<8>(p, j);
  for (; j < p.n; j += 16) project_panels<1>(p, j);
}

}  // namespace tersor
TERSOR_VEC_END
#endif
