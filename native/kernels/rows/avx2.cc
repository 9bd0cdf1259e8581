// Selected rows and ternary projection, 256 bits. A triple of x has 8 sums of subsets: one register that vpermps picks from, once for + and once for -.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#define TERSOR_ROWS_TALL 2

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using V = simd::F32;
TERSOR_VEC_INLINE V load_wide(const float* p) { return simd::load(p); }
TERSOR_VEC_INLINE V load_wide(const float* p, int64_t n) { return simd::load_part(p, n); }
TERSOR_VEC_INLINE V load_wide(const int8_t* p) {
  return V(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
}
TERSOR_VEC_INLINE V load_wide(const int8_t* p, int64_t n) {
  int8_t part[8] = {};
  memcpy(part, p, static_cast<size_t>(n));
  return load_wide(part);
}
TERSOR_VEC_INLINE void fetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/rows/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int kTriples = 5, kTable = 8;

inline void tables(const float* x, int64_t k, float* out) {
  const int64_t triples = (k + 3 * kTriples - 1) / (3 * kTriples) * kTriples;
  const __m256 first = _mm256_castsi256_ps(_mm256_setr_epi32(0, -1, 0, -1, 0, -1, 0, -1));
  const __m256 second = _mm256_castsi256_ps(_mm256_setr_epi32(0, 0, -1, -1, 0, 0, -1, -1));
  const __m256 third = _mm256_castsi256_ps(_mm256_setr_epi32(0, 0, 0, 0, -1, -1, -1, -1));
  for (int64_t t = 0; t < triples; t++, out += kTable) {
    const int64_t at = 3 * t;
    const __m256 a = _mm256_and_ps(first, _mm256_set1_ps(at < k ? x[at] : 0.0f)), b = _mm256_and_ps(second, _mm256_set1_ps(at + 1 < k ? x[at + 1] : 0.0f));
    const __m256 c = _mm256_and_ps(third, _mm256_set1_ps(at + 2 < k ? x[at + 2] : 0.0f));
    _mm256_storeu_ps(out, _mm256_add_ps(_mm256_add_ps(a, b), c));
  }
}

template <int NP> void project_panels(const RowsProject& p, int64_t j) {
  const char* at[NP];
  __m256 acc[NP];
#pragma GCC unroll 8
  for (int q = 0; q < NP; q++) at[q] = p.packed + (j / 8 + q) * p.words * 32, acc[q] = _mm256_setzero_ps();
  const float* table = p.tables;
  for (int64_t i = 0; i < p.words; i++) {
    __m256i w[NP];
#pragma GCC unroll 8
    for (int q = 0; q < NP; q++) w[q] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[q] + i * 32));
#pragma GCC unroll 5
    for (int t = 0; t < kTriples; t++, table += kTable) {
      const __m256 sums = _mm256_loadu_ps(table);
#pragma GCC unroll 8
      for (int q = 0; q < NP; q++) {
        acc[q] = _mm256_add_ps(acc[q], _mm256_permutevar8x32_ps(sums, t == 0 ? w[q] : _mm256_srli_epi32(w[q], 6 * t)));
        acc[q] = _mm256_sub_ps(acc[q], _mm256_permutevar8x32_ps(sums, _mm256_srli_epi32(w[q], 6 * t + 3)));
      }
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < NP; q++) {
    const int64_t left = p.n - j - q * 8;
    simd::store_part(p.y + j + q * 8, simd::F32(_mm256_mul_ps(acc[q], _mm256_set1_ps(p.scale))), left < 8 ? left : 8);
  }
}

}  // namespace

void rows_avx2_dot_f32(const RowsDot& d) { rows_dot<float>(d); }
void rows_avx2_dot_i8(const RowsDot& d) { rows_dot<int8_t>(d); }
void rows_avx2_tables(const float* x, int64_t k, float* out) { tables(x, k, out); }
void rows_avx2_project(const RowsProject& p) {
  int64_t j = 0;
  for (; j + 24 < p.n; j += 32) project_panels<4>(p, j);
  for (; j < p.n; j += 8) project_panels<1>(p, j);
}

}  // namespace tersor
TERSOR_VEC_END
#endif
