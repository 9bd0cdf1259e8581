// pack_bits, unpack_bits with 512-bit vectors, one code for all widths: as the 256-bit rows, and a shuffle of words joins the lanes (a lane
// holds 2 * bits bytes, whole words). Masks serve the ragged end.
#include "kernels/quant/quant.h"
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

inline __mmask64 first64(int64_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

}  // namespace

int64_t quant_pack_bits_avx512(QuantArgs& a) {
  const int b = a.bits;
  if (b > 7) return quant_pack_bits_scalar(a);
  const int8_t* q = static_cast<const int8_t*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  alignas(64) int8_t order[64];
  alignas(64) int16_t join[32];
  for (int i = 0; i < 64; i++) order[i] = static_cast<int8_t>(i % 16 < 2 * b ? i % 16 % b + i % 16 / b * 8 : -128);
  for (int i = 0; i < 32; i++) join[i] = static_cast<int16_t>(i < 4 * b ? i / b * 8 + i % b : 0);
  const __m512i close = _mm512_load_si512(order), lanes = _mm512_load_si512(join);
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(1 << (b - 1))), over = _mm512_set1_epi8(static_cast<char>(0xFF << b));
  const __m512i pairs = _mm512_set1_epi16(static_cast<short>(1 | 1 << (8 + b))), fours = _mm512_set1_epi32(1 | 1 << (16 + 2 * b));
  const __m512i up = _mm512_set1_epi64(32 - 4 * b);  // shifts the low word only
  const __m128i down = _mm_cvtsi32_si128(32 - 4 * b);
  for (int64_t i = 0; i < a.n; i += 64, out += 8 * b) {
    const int64_t m = a.n - i < 64 ? a.n - i : 64;
    const __mmask64 valid = first64(m);
    const __m512i u = _mm512_maskz_add_epi8(valid, _mm512_maskz_loadu_epi8(valid, q + i), offset);
    const __mmask64 misfit = _mm512_test_epi8_mask(u, over);
    if (misfit) return i + __builtin_ctzll(misfit);
    const __m512i dwords = _mm512_madd_epi16(_mm512_maddubs_epi16(pairs, u), fours);  // u < 128 is the signed factor: 2^7 is none
    const __m512i bytes = _mm512_shuffle_epi8(_mm512_srl_epi64(_mm512_sllv_epi32(dwords, up), down), close);
    _mm512_mask_storeu_epi8(out, first64((m * b + 7) / 8), _mm512_permutexvar_epi16(lanes, bytes));
  }
  return -1;
}

int64_t quant_unpack_bits_avx512(QuantArgs& a) {
  const int b = a.bits;
  if (b > 7) return quant_unpack_bits_scalar(a);
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  alignas(64) int8_t order[64];
  alignas(64) int16_t part[32];
  for (int i = 0; i < 64; i++) order[i] = static_cast<int8_t>(i % 8 < b ? i % 16 / 8 * b + i % 8 : -128);
  for (int i = 0; i < 32; i++) part[i] = static_cast<int16_t>(i % 8 < b ? i / 8 * b + i % 8 : 0);
  const __m512i open = _mm512_load_si512(order), lanes = _mm512_load_si512(part), offset = _mm512_set1_epi8(static_cast<char>(1 << (b - 1)));
  const __m512i even = _mm512_set1_epi16(static_cast<short>((1 << b) - 1)), odd = _mm512_slli_epi16(even, 8);
  const __m128i by64 = _mm_cvtsi32_si128(32 - 4 * b), by32 = _mm_cvtsi32_si128(16 - 2 * b), by16 = _mm_cvtsi32_si128(8 - b);
  for (int64_t i = 0; i < a.n; i += 64, in += 8 * b) {
    const int64_t m = a.n - i < 64 ? a.n - i : 64;
    __m512i v = _mm512_maskz_loadu_epi8(first64((m * b + 7) / 8), in);
    v = _mm512_shuffle_epi8(_mm512_permutexvar_epi16(lanes, v), open);
    // Each half gets its fields at its lowest bits, with bits of the other half above, which the masks take away at the end.
    v = _mm512_mask_blend_epi32(0xAAAA, v, _mm512_sll_epi64(v, by64));
    v = _mm512_mask_blend_epi16(0xAAAAAAAA, v, _mm512_sll_epi32(v, by32));
    v = _mm512_or_si512(_mm512_and_si512(v, even), _mm512_and_si512(_mm512_sll_epi16(v, by16), odd));
    _mm512_mask_storeu_epi8(q + i, first64(m), _mm512_sub_epi8(v, offset));
  }
  return -1;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
