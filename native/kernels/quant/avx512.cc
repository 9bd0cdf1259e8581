#include "kernels/quant/quant.h"

#include <cmath>

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

constexpr int kAhead = 4096;  // bytes: one stream with prefetches a page ahead reads as fast as many streams do

inline void fetch(const void* p) { _mm_prefetch(static_cast<const char*>(p) + kAhead, _MM_HINT_T0); }
inline __mmask16 first(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }
inline __mmask64 first64(int64_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }
inline __mmask32 first32(int64_t n) { return n >= 32 ? ~0u : (1u << n) - 1; }

// a, b, c, d -> one vector of the smallest (largest) value of each.
template <class Op> inline __m128 fold(__m128 a, __m128 b, __m128 c, __m128 d, Op op) {
  const __m128 ab = op(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b)), cd = op(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
  return op(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}
struct Min {
  __m128 operator()(__m128 a, __m128 b) const { return _mm_min_ps(a, b); }
};
struct Max {
  __m128 operator()(__m128 a, __m128 b) const { return _mm_max_ps(a, b); }
};

// The smallest and largest of each fourth of n values; NaN in all lanes when one is NaN.
inline void range(const float* x, int64_t n, __m128* low, __m128* high) {
  __m512 lo[4], hi[4];
  for (int j = 0; j < 4; j++) {
    lo[j] = _mm512_set1_ps(INFINITY);
    hi[j] = _mm512_set1_ps(-INFINITY);
  }
  unsigned nan = 0;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __m512 v[4];
    for (int j = 0; j < 4; j++) {
      fetch(x + i + 16 * j);
      v[j] = _mm512_loadu_ps(x + i + 16 * j);
      lo[j] = _mm512_min_ps(v[j], lo[j]);
      hi[j] = _mm512_max_ps(v[j], hi[j]);
    }
    nan |= _mm512_cmp_ps_mask(v[0], v[1], _CMP_UNORD_Q) | _mm512_cmp_ps_mask(v[2], v[3], _CMP_UNORD_Q);
  }
  for (; i < n; i += 16) {
    const __mmask16 m = first(n - i);
    const __m512 v = _mm512_maskz_loadu_ps(m, x + i);
    nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    lo[0] = _mm512_mask_min_ps(lo[0], m, v, lo[0]);
    hi[0] = _mm512_mask_max_ps(hi[0], m, v, hi[0]);
  }
  const __m512 l = _mm512_min_ps(_mm512_min_ps(lo[0], lo[1]), _mm512_min_ps(lo[2], lo[3]));
  const __m512 h = _mm512_max_ps(_mm512_max_ps(hi[0], hi[1]), _mm512_max_ps(hi[2], hi[3]));
  const __m256 l8 = _mm256_min_ps(_mm512_castps512_ps256(l), _mm512_extractf32x8_ps(l, 1));
  const __m256 h8 = _mm256_max_ps(_mm512_castps512_ps256(h), _mm512_extractf32x8_ps(h, 1));
  *low = _mm_min_ps(_mm256_castps256_ps128(l8), _mm256_extractf128_ps(l8, 1));
  *high = _mm_max_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
  if (nan) *low = *high = _mm_set1_ps(NAN);
}

}  // namespace

int64_t quant_range_f32_avx512(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  for (int64_t r = 0; r < a.runs; r += 4) {  // four runs share the last steps across lanes
    const int64_t runs = a.runs - r < 4 ? a.runs - r : 4;
    __m128 lo[4], hi[4];
    for (int64_t j = 0; j < 4; j++) {
      if (j < runs) range(x + (r + j) * a.n, a.n, lo + j, hi + j);
      else lo[j] = hi[j] = _mm_setzero_ps();
    }
    const __m128 l = fold(lo[0], lo[1], lo[2], lo[3], Min{}), h = fold(hi[0], hi[1], hi[2], hi[3], Max{});
    const __mmask8 m = static_cast<__mmask8>(first(runs));
    _mm_mask_storeu_ps(a.lo + r, m, l);
    _mm_mask_storeu_ps(a.hi + r, m, h);
  }
  return -1;
}

namespace {

// x / scale, correctly rounded, without a division: Markstein's theorem wants a correctly rounded inverse, a quotient within one unit in the last place (so
// the first correction) and an exact remainder. Quotients below 1/4 may differ, their integer does not.
inline __m512 quotient(__m512 x, __m512 scale, __m512 inverse) {
  __m512 q = _mm512_mul_ps(x, inverse);
  q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, scale, x), inverse, q);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, scale, x), inverse, q);
}

// Codes of n values, n a multiple of 64, as quotients without divisions. Returns the first NaN or -1.
template <bool Stream> int64_t quantize64(const QuantArgs& a, const float* x, int8_t* q, int64_t n) {
  const __m512 scale = _mm512_set1_ps(a.scale), inverse = _mm512_set1_ps(1 / a.scale), top = _mm512_set1_ps(a.scale * 2097152.0f);
  const __m512 bottom = _mm512_sub_ps(_mm512_setzero_ps(), top);
  const __m512i zero = _mm512_set1_epi16(static_cast<int16_t>(a.zero)), qmin = _mm512_set1_epi8(static_cast<int8_t>(a.qmin));
  const __m512i qmax = _mm512_set1_epi8(static_cast<int8_t>(a.qmax)), order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  int64_t bad = -1;
  for (int64_t i = 0; i < n; i += 64) {
    __m512 v[4];
    __m512i r[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      fetch(x + i + 16 * j);
      v[j] = _mm512_loadu_ps(x + i + 16 * j);
      r[j] = _mm512_cvtps_epi32(quotient(_mm512_min_ps(_mm512_max_ps(v[j], bottom), top), scale, inverse));
    }
    const unsigned nan = _mm512_cmp_ps_mask(v[0], v[1], _CMP_UNORD_Q) | _mm512_cmp_ps_mask(v[2], v[3], _CMP_UNORD_Q);
    if (nan && bad < 0) {
      bad = i;
      while (x[bad] == x[bad]) bad++;
    }
    const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(r[0], r[1]), zero), high = _mm512_adds_epi16(_mm512_packs_epi32(r[2], r[3]), zero);
    const __m512i bytes = _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), qmin), qmax);
    const __m512i codes = _mm512_permutexvar_epi32(order, bytes);  // packs interleave the 128-bit quarters
    if (Stream) _mm512_stream_si512(reinterpret_cast<__m512i*>(q + i), codes);
    else _mm512_storeu_si512(q + i, codes);
  }
  if (Stream) _mm_sfence();
  return bad;
}

// Codes of n values by division.
inline int64_t quantize_part(const QuantArgs& a, const float* x, int8_t* q, int64_t n) {
  const __m512 lo = _mm512_set1_ps(a.qmin - a.zero), hi = _mm512_set1_ps(a.qmax - a.zero), scale = _mm512_set1_ps(a.scale);
  const __m512i zero = _mm512_set1_epi32(static_cast<int>(a.zero));
  int64_t bad = -1;
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 m = first(n - i);
    __m512 t = _mm512_div_ps(_mm512_maskz_loadu_ps(m, x + i), scale);
    const unsigned nan = _mm512_cmp_ps_mask(t, t, _CMP_UNORD_Q);
    if (nan && bad < 0) bad = i + __builtin_ctz(nan);
    t = _mm512_min_ps(_mm512_max_ps(t, lo), hi);
    _mm_mask_storeu_epi8(q + i, m, _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(t), zero)));
  }
  return bad;
}

// Elements of `bytes` each until p is at a cache line.
inline int64_t to_line(const void* p, int64_t bytes) { return static_cast<int64_t>((0 - reinterpret_cast<uintptr_t>(p)) & 63) / bytes; }

template <bool Stream> void dequantize64(const QuantArgs& a, const int8_t* q, float* x, int64_t n) {
  const __m512 zero = _mm512_set1_ps(a.zero), scale = _mm512_set1_ps(a.scale);
  for (int64_t i = 0; i < n; i += 64) {
    fetch(q + i);
#pragma GCC unroll 4
    for (int64_t j = i; j < i + 64; j += 16) {
      const __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q + j))));
      const __m512 w = _mm512_mul_ps(_mm512_sub_ps(v, zero), scale);
      if (Stream) _mm512_stream_ps(x + j, w);
      else _mm512_storeu_ps(x + j, w);
    }
  }
  if (Stream) _mm_sfence();
}

inline void dequantize_part(const QuantArgs& a, const int8_t* q, float* x, int64_t n) {
  const __m512 zero = _mm512_set1_ps(a.zero), scale = _mm512_set1_ps(a.scale);
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 m = first(n - i);
    const __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(m, q + i)));
    _mm512_mask_storeu_ps(x + i, m, _mm512_mul_ps(_mm512_sub_ps(v, zero), scale));
  }
}

}  // namespace

int64_t quant_quantize_f32_avx512(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  if (!(a.scale >= 0x1p-90f && a.scale <= 0x1p90f && a.zero >= -32640 && a.zero <= 32640)) return quantize_part(a, x, q, a.n);
  const bool stream = a.stream && a.n >= kStreamFrom;
  const int64_t head = stream ? to_line(q, 1) : 0, middle = (a.n - head) / 64 * 64, rest = head + middle;
  const int64_t b0 = quantize_part(a, x, q, head);
  const int64_t b1 = stream ? quantize64<true>(a, x + head, q + head, middle) : quantize64<false>(a, x + head, q + head, middle);
  const int64_t b2 = quantize_part(a, x + rest, q + rest, a.n - rest);
  return b0 >= 0 ? b0 : b1 >= 0 ? head + b1 : b2 >= 0 ? rest + b2 : -1;
}

int64_t quant_dequantize_f32_avx512(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  float* x = static_cast<float*>(a.out);
  const bool stream = a.stream && a.n >= kStreamFrom && reinterpret_cast<uintptr_t>(x) % 4 == 0;
  const int64_t head = stream ? to_line(x, 4) : 0, middle = (a.n - head) / 64 * 64, rest = head + middle;
  dequantize_part(a, q, x, head);
  stream ? dequantize64<true>(a, q + head, x + head, middle) : dequantize64<false>(a, q + head, x + head, middle);
  dequantize_part(a, q + rest, x + rest, a.n - rest);
  return -1;
}

int64_t quant_pack4_avx512(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  const __m512i eight = _mm512_set1_epi8(8), weights = _mm512_set1_epi16(0x1001);  // low byte * 1 + high byte * 16
  for (int64_t i = 0; i < a.n; i += 64) {
    const __mmask64 m = first64(a.n - i);
    const __m512i u = _mm512_add_epi8(_mm512_maskz_loadu_epi8(m, q + i), eight);
    const __mmask64 over = _mm512_mask_cmpgt_epu8_mask(m, u, _mm512_set1_epi8(15));
    if (over) return i + __builtin_ctzll(over);
    const __m256i packed = _mm512_cvtepi16_epi8(_mm512_maddubs_epi16(u, weights));
    _mm256_mask_storeu_epi8(out + i / 2, first32((a.n - i) / 2), packed);
  }
  return -1;
}

int64_t quant_unpack4_avx512(QuantArgs& a) {
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  const __m512i low = _mm512_set1_epi16(15), eight = _mm512_set1_epi8(8);
  for (int64_t i = 0; i < a.n; i += 64) {
    const __m512i v = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(first32((a.n - i) / 2), in + i / 2));
    const __m512i both = _mm512_or_si512(_mm512_and_si512(v, low), _mm512_slli_epi16(_mm512_srli_epi16(v, 4), 8));
    _mm512_mask_storeu_epi8(q + i, first64(a.n - i), _mm512_sub_epi8(both, eight));
  }
  return -1;
}

int64_t quant_bins_f32_avx512(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int32_t* out = static_cast<int32_t*>(a.out);
  const __m512d origin = _mm512_set1_pd(a.origin), inverse = _mm512_set1_pd(a.inverse), top = _mm512_set1_pd(a.bins - 1);
  int64_t bad = -1, i = 0;
  for (; i + 16 <= a.n; i += 16) {
    fetch(x + i);
    const __m256 low = _mm256_loadu_ps(x + i), high = _mm256_loadu_ps(x + i + 8);
    if (_mm256_cmp_ps_mask(low, high, _CMP_UNORD_Q) && bad < 0) {
      bad = i;
      while (x[bad] == x[bad]) bad++;
    }
    const __m512d l = _mm512_mul_pd(_mm512_sub_pd(_mm512_cvtps_pd(low), origin), inverse);
    const __m512d h = _mm512_mul_pd(_mm512_sub_pd(_mm512_cvtps_pd(high), origin), inverse);
    const __m256i lo = _mm512_cvttpd_epi32(_mm512_min_pd(_mm512_max_pd(l, _mm512_setzero_pd()), top));
    const __m256i hi = _mm512_cvttpd_epi32(_mm512_min_pd(_mm512_max_pd(h, _mm512_setzero_pd()), top));
    _mm512_storeu_si512(out + i, _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1));
  }
  for (; i < a.n; i += 8) {
    const __mmask8 m = static_cast<__mmask8>(first(a.n - i));
    __m512d b = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, x + i));
    b = _mm512_mul_pd(_mm512_sub_pd(b, origin), inverse);
    const unsigned nan = _mm512_mask_cmp_pd_mask(m, b, b, _CMP_UNORD_Q);
    if (nan && bad < 0) bad = i + __builtin_ctz(nan);
    b = _mm512_min_pd(_mm512_max_pd(b, _mm512_setzero_pd()), top);
    _mm256_mask_storeu_epi32(out + i, m, _mm512_cvttpd_epi32(b));
  }
  return bad;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
