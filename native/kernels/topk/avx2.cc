#include "kernels/topk/topk.h"

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace {

// Lanes below n, as a vector of all-ones lanes. n >= 8: all.
inline __m256i first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 8 ? n : 8)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline unsigned bits(__m256 lanes) { return static_cast<unsigned>(_mm256_movemask_ps(lanes)); }
inline int64_t ones(unsigned bits) { return __builtin_popcount(bits); }
// Byte of a mask -> lanes.
inline __m256i spread(uint8_t byte) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(byte), bit), bit);
}

}  // namespace

int64_t topk_mark_f32_avx2(TopkArgs& a) {
  const __m256 t = _mm256_set1_ps(a.hi);
  int64_t set = 0, ties = 0;
  for (int64_t i = 0; i < a.n; i += 8) {
    const __m256i m = first(a.n - i);
    const __m256 x = _mm256_maskload_ps(a.x + i, m);
    const unsigned above = bits(_mm256_and_ps(_mm256_cmp_ps(x, t, _CMP_GT_OQ), _mm256_castsi256_ps(m)));
    set += ones(above);
    ties += ones(bits(_mm256_and_ps(_mm256_cmp_ps(x, t, _CMP_EQ_OQ), _mm256_castsi256_ps(m))));
    a.mask[i / 8] = static_cast<uint8_t>(above);
  }
  a.ties = ties;
  return set;
}

int64_t topk_bracket_f32_avx2(TopkArgs& a) {
  const __m256 lo = _mm256_set1_ps(a.lo), hi = _mm256_set1_ps(a.hi);
  int64_t set = 0, found = 0;
  for (int64_t i = 0; i < a.n; i += 8) {
    const __m256i m = first(a.n - i);
    const __m256 x = _mm256_maskload_ps(a.x + i, m);
    const unsigned above = bits(_mm256_and_ps(_mm256_cmp_ps(x, hi, _CMP_GT_OQ), _mm256_castsi256_ps(m)));
    unsigned inside = bits(_mm256_and_ps(_mm256_cmp_ps(x, lo, _CMP_GE_OQ), _mm256_castsi256_ps(m))) & ~above;
    set += ones(above);
    a.mask[i / 8] = static_cast<uint8_t>(above);
    for (; inside; inside &= inside - 1, found++) {
      if (found >= a.capacity) continue;
      const int64_t p = i + __builtin_ctz(inside);
      __builtin_memcpy(a.values + found, a.x + p, 4);
      a.positions[found] = static_cast<int32_t>(p);
    }
  }
  a.ties = found;
  return set;
}

int64_t topk_pack_f32_avx2(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 8) {
    const __m256 x = _mm256_maskload_ps(a.x + i, first(a.n - i));
    a.mask[i / 8] = static_cast<uint8_t>(bits(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
  }
  return 0;
}

int64_t topk_unpack_f32_avx2(TopkArgs& a) {
  const __m256 one = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < a.n; i += 8)
    _mm256_maskstore_ps(a.out + i, first(a.n - i), _mm256_and_ps(_mm256_castsi256_ps(spread(a.mask[i / 8])), one));
  return 0;
}

int64_t topk_apply_f32_avx2(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 8) {
    const __m256i m = first(a.n - i);
    _mm256_maskstore_ps(a.out + i, m, _mm256_maskload_ps(a.x + i, _mm256_and_si256(m, spread(a.mask[i / 8]))));
  }
  return 0;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
