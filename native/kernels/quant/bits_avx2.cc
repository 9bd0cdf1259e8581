// pack_bits, unpack_bits with 256-bit vectors, one code for all widths: fields are joined (cut) in pairs, fours and eights by multiply-adds and
// shifts, and byte shuffles close the gaps between groups of eight. Shifts instead of pext/pdep, which some processors do in microcode.
#include "kernels/quant/quant.h"
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace {

inline int64_t rest(const QuantArgs& a, int64_t done, int64_t in_block, int64_t out_block, QuantKernel kernel) {
  QuantArgs tail = a;
  tail.in = static_cast<const uint8_t*>(a.in) + done / 8 * in_block;
  tail.out = static_cast<uint8_t*>(a.out) + done / 8 * out_block;
  tail.n = a.n - done;
  const int64_t found = kernel(tail);
  return found < 0 ? -1 : done + found;
}

}  // namespace

int64_t quant_pack_bits_avx2(QuantArgs& a) {
  const int b = a.bits;
  if (b > 7) return quant_pack_bits_scalar(a);
  const int8_t* q = static_cast<const int8_t*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  alignas(32) int8_t order[32];  // the low b bytes of each half of a lane
  for (int i = 0; i < 32; i++) order[i] = static_cast<int8_t>(i % 16 < 2 * b ? i % 16 % b + i % 16 / b * 8 : -128);
  const __m256i close = _mm256_load_si256(reinterpret_cast<const __m256i*>(order));
  const __m256i offset = _mm256_set1_epi8(static_cast<char>(1 << (b - 1))), over = _mm256_set1_epi8(static_cast<char>(0xFF << b));
  const __m256i pairs = _mm256_set1_epi16(static_cast<short>(1 | 1 << (8 + b))), fours = _mm256_set1_epi32(1 | 1 << (16 + 2 * b));
  const __m256i up = _mm256_set1_epi64x(32 - 4 * b);  // shifts the low word only
  const __m128i down = _mm_cvtsi32_si128(32 - 4 * b);
  int64_t i = 0;
  // Stores are 16 bytes wide, of which 2 b count: the last must still end inside the result.
  for (; (a.n - i - 16) / 8 * b >= 16; i += 32, out += 4 * b) {
    const __m256i u = _mm256_add_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + i)), offset);
    if (!_mm256_testz_si256(u, over)) break;  // below, the first value that does not fit is found
    const __m256i words = _mm256_maddubs_epi16(pairs, u);  // u < 128 is the signed factor: 2^7 is none
    const __m256i dwords = _mm256_madd_epi16(words, fours);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_srl_epi64(_mm256_sllv_epi32(dwords, up), down), close);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(bytes));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * b), _mm256_extracti128_si256(bytes, 1));
  }
  return rest(a, i, 8, b, quant_pack_bits_scalar);
}

int64_t quant_unpack_bits_avx2(QuantArgs& a) {
  const int b = a.bits;
  if (b > 7) return quant_unpack_bits_scalar(a);
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  alignas(32) int8_t order[32];
  for (int i = 0; i < 32; i++) order[i] = static_cast<int8_t>(i % 8 < b ? i % 16 / 8 * b + i % 8 : -128);
  const __m256i open = _mm256_load_si256(reinterpret_cast<const __m256i*>(order));
  const __m256i offset = _mm256_set1_epi8(static_cast<char>(1 << (b - 1)));
  const __m256i even = _mm256_set1_epi16(static_cast<short>((1 << b) - 1)), odd = _mm256_slli_epi16(even, 8);
  const __m128i by64 = _mm_cvtsi32_si128(32 - 4 * b), by32 = _mm_cvtsi32_si128(16 - 2 * b), by16 = _mm_cvtsi32_si128(8 - b);
  int64_t i = 0;
  for (; (a.n - i - 16) / 8 * b >= 16; i += 32, in += 4 * b) {  // loads of 16 bytes, of which 2 b count
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in)), high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 2 * b));
    __m256i v = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), open);
    // Each half gets its fields at its lowest bits, with bits of the other half above, which the masks take away at the end.
    v = _mm256_blend_epi32(v, _mm256_sll_epi64(v, by64), 0xAA);
    v = _mm256_blend_epi16(v, _mm256_sll_epi32(v, by32), 0xAA);
    v = _mm256_or_si256(_mm256_and_si256(v, even), _mm256_and_si256(_mm256_sll_epi16(v, by16), odd));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), _mm256_sub_epi8(v, offset));
  }
  rest(a, i, b, 8, quant_unpack_bits_scalar);
  return -1;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
