// One row of x with 256-bit vectors: values are permuted to their lanes by a table over the mask, or x permuted to the values.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

namespace tersor {
namespace {

// Byte l of entry m: how many bits of m lie below bit l, that is, which stored value belongs to lane l.
struct RankTable {
  uint64_t rank[256];
  constexpr RankTable() : rank() {
    for (int m = 0; m < 256; m++) {
      uint64_t below = 0;
      for (int l = 0; l < 8; l++) {
        rank[m] |= below << (8 * l);
        below += m >> l & 1;
      }
    }
  }
};
constexpr RankTable kRanks;

}  // namespace
}  // namespace tersor

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE int bit_count(uint32_t mask) { return __builtin_popcount(mask); }
TERSOR_VEC_INLINE int long_bit_count(uint64_t word) { return __builtin_popcountll(word); }
TERSOR_VEC_INLINE simd::F32 values_of(const float* v, int64_t n) { return n == 8 ? simd::load(v) : simd::load_part(v, n); }
TERSOR_VEC_INLINE simd::F32 values_of(const int8_t* v, int64_t n) {
  alignas(8) int8_t part[8] = {0};
  if (n < 8) {
    for (int64_t i = 0; i < n; i++) part[i] = v[i];
    v = part;
  }
  return simd::F32(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(v)))));
}
template <class P> TERSOR_VEC_INLINE simd::F32 sixteen_at(const P* v, int part) { return values_of(v + part * 8, 8); }
TERSOR_VEC_INLINE simd::F32 repeat4(const float* p) {
  const __m128 four = _mm_loadu_ps(p);
  return simd::F32(_mm256_insertf128_ps(_mm256_castps128_ps256(four), four, 1));
}
TERSOR_VEC_INLINE void sum_fours(simd::F32 v, float* out) {
  const __m256 pair = _mm256_add_ps(v.v, _mm256_permute_ps(v.v, 0xb1));
  const __m256 four = _mm256_add_ps(pair, _mm256_permute_ps(pair, 0x4e));
  out[0] = _mm256_cvtss_f32(four);
  out[1] = _mm_cvtss_f32(_mm256_extractf128_ps(four, 1));
}
template <class P> TERSOR_VEC_INLINE simd::F32 stored(uint32_t mask, const P* v, const P* stop) {
  const simd::F32 next = values_of(v, stop - v >= 8 ? 8 : stop - v);
  const __m256i rank = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(&kRanks.rank[mask])));
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask)), bit), bit);
  return simd::F32(_mm256_and_ps(_mm256_permutevar8x32_ps(next.v, rank), _mm256_castsi256_ps(set)));
}
// x is read as 16 floats: lanes 0-3 pick from the first eight, lanes 4-7 from the others.
TERSOR_VEC_INLINE simd::F32 picked(const uint8_t* bits, int64_t n, const float* x) {
  uint32_t word = bits[0];
  if (n > 1) word |= static_cast<uint32_t>(bits[1]) << 8;
  const __m256i shift = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14), group = _mm256_setr_epi32(0, 0, 4, 4, 0, 0, 4, 4);
  const __m256i two = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(word)), shift), _mm256_set1_epi32(3));
  const __m256i at = _mm256_or_si256(two, group);
  return simd::F32(_mm256_blend_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(x), at), _mm256_permutevar8x32_ps(_mm256_loadu_ps(x + 8), at), 0xf0));
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/spmm/vector_generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void spmm_blocks_f32_avx2(const SpmmVector& s) { s.quantized ? blocks<int8_t>(s) : blocks<float>(s); }
void spmm_bitmask_f32_avx2(const SpmmVector& s) { s.quantized ? bitmask_rows<int8_t>(s) : bitmask_rows<float>(s); }
void spmm_two_of_four_f32_avx2(const SpmmVector& s) { s.quantized ? two_of_four_rows<int8_t>(s) : two_of_four_rows<float>(s); }

}  // namespace tersor
TERSOR_VEC_END
#endif
