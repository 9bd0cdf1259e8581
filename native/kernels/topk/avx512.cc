#include "kernels/topk/topk.h"

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

inline __mmask16 first(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }
inline int64_t ones(unsigned bits) { return __builtin_popcount(bits); }

// Mask bytes of n <= 16 elements.
inline void put(uint8_t* mask, unsigned bits, int64_t n) {
  mask[0] = static_cast<uint8_t>(bits);
  if (n > 8) mask[1] = static_cast<uint8_t>(bits >> 8);
}
inline unsigned get(const uint8_t* mask, int64_t n) { return mask[0] | (n > 8 ? static_cast<unsigned>(mask[1]) << 8 : 0u); }

}  // namespace

int64_t topk_mark_f32_avx512(TopkArgs& a) {
  const __m512 t = _mm512_set1_ps(a.hi);
  int64_t set = 0, ties = 0;
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 m = first(a.n - i);
    const __m512 x = _mm512_maskz_loadu_ps(m, a.x + i);
    const unsigned above = _mm512_mask_cmp_ps_mask(m, x, t, _CMP_GT_OQ);
    set += ones(above);
    ties += ones(_mm512_mask_cmp_ps_mask(m, x, t, _CMP_EQ_OQ));
    put(a.mask + i / 8, above, a.n - i);
  }
  a.ties = ties;
  return set;
}

int64_t topk_bracket_f32_avx512(TopkArgs& a) {
  const __m512 lo = _mm512_set1_ps(a.lo), hi = _mm512_set1_ps(a.hi);
  const __m512i step = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int64_t set = 0, found = 0;
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 m = first(a.n - i);
    const __m512 x = _mm512_maskz_loadu_ps(m, a.x + i);
    const unsigned above = _mm512_mask_cmp_ps_mask(m, x, hi, _CMP_GT_OQ);
    const unsigned inside = _mm512_mask_cmp_ps_mask(m, x, lo, _CMP_GE_OQ) & ~above;
    set += ones(above);
    put(a.mask + i / 8, above, a.n - i);
    if (inside) {
      if (found <= a.capacity) {
        const __mmask16 keep = static_cast<__mmask16>(inside);
        const __m512i at = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(i)), step);
        _mm512_storeu_si512(a.values + found, _mm512_maskz_compress_epi32(keep, _mm512_castps_si512(x)));
        _mm512_storeu_si512(a.positions + found, _mm512_maskz_compress_epi32(keep, at));
      }
      found += ones(inside);
    }
  }
  a.ties = found;
  return set;
}

int64_t topk_pack_f32_avx512(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 m = first(a.n - i);
    put(a.mask + i / 8, _mm512_mask_cmp_ps_mask(m, _mm512_maskz_loadu_ps(m, a.x + i), _mm512_setzero_ps(), _CMP_NEQ_UQ), a.n - i);
  }
  return 0;
}

int64_t topk_unpack_f32_avx512(TopkArgs& a) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 keep = static_cast<__mmask16>(get(a.mask + i / 8, a.n - i));
    _mm512_mask_storeu_ps(a.out + i, first(a.n - i), _mm512_maskz_mov_ps(keep, one));
  }
  return 0;
}

int64_t topk_apply_f32_avx512(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 m = first(a.n - i);
    const __mmask16 keep = static_cast<__mmask16>(get(a.mask + i / 8, a.n - i) & m);
    _mm512_mask_storeu_ps(a.out + i, m, _mm512_maskz_loadu_ps(keep, a.x + i));
  }
  return 0;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
