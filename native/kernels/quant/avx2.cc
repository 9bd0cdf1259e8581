#include "kernels/quant/quant.h"

#include <cmath>

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace {

constexpr int kAhead = 4096;  // bytes: one stream with prefetches a page ahead reads as fast as many streams do

inline void fetch(const void* p) { _mm_prefetch(static_cast<const char*>(p) + kAhead, _MM_HINT_T0); }
inline __m256i first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 8 ? n : 8)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline unsigned nans(__m256 v) { return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q))); }

// Eight values -> eight clamped, rounded integers.
inline __m256i rounded(__m256 x, __m256 scale, __m256 lo, __m256 hi, __m256i zero, unsigned* nan) {
  const __m256 t = _mm256_div_ps(x, scale);
  *nan = nans(t);
  return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(t, lo), hi)), zero);
}

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
  __m256 lo[4], hi[4], nan = _mm256_setzero_ps();
  for (int j = 0; j < 4; j++) {
    lo[j] = _mm256_set1_ps(INFINITY);
    hi[j] = _mm256_set1_ps(-INFINITY);
  }
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256 v[4];
    for (int j = 0; j < 4; j++) {
      if (j % 2 == 0) fetch(x + i + 8 * j);
      v[j] = _mm256_loadu_ps(x + i + 8 * j);
      lo[j] = _mm256_min_ps(v[j], lo[j]);
      hi[j] = _mm256_max_ps(v[j], hi[j]);
    }
    nan = _mm256_or_ps(nan, _mm256_or_ps(_mm256_cmp_ps(v[0], v[1], _CMP_UNORD_Q), _mm256_cmp_ps(v[2], v[3], _CMP_UNORD_Q)));
  }
  for (; i < n; i += 8) {
    const __m256i m = first(n - i);
    const __m256 v = _mm256_maskload_ps(x + i, m);
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    lo[0] = _mm256_blendv_ps(lo[0], _mm256_min_ps(v, lo[0]), _mm256_castsi256_ps(m));
    hi[0] = _mm256_blendv_ps(hi[0], _mm256_max_ps(v, hi[0]), _mm256_castsi256_ps(m));
  }
  const __m256 l = _mm256_min_ps(_mm256_min_ps(lo[0], lo[1]), _mm256_min_ps(lo[2], lo[3]));
  const __m256 h = _mm256_max_ps(_mm256_max_ps(hi[0], hi[1]), _mm256_max_ps(hi[2], hi[3]));
  *low = _mm_min_ps(_mm256_castps256_ps128(l), _mm256_extractf128_ps(l, 1));
  *high = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  if (!_mm256_testz_si256(_mm256_castps_si256(nan), _mm256_castps_si256(nan))) *low = *high = _mm_set1_ps(NAN);
}

}  // namespace

int64_t quant_range_f32_avx2(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  for (int64_t r = 0; r < a.runs; r += 4) {  // four runs share the last steps across lanes
    const int64_t runs = a.runs - r < 4 ? a.runs - r : 4;
    __m128 lo[4], hi[4];
    for (int64_t j = 0; j < 4; j++) {
      if (j < runs) range(x + (r + j) * a.n, a.n, lo + j, hi + j);
      else lo[j] = hi[j] = _mm_setzero_ps();
    }
    const __m128 l = fold(lo[0], lo[1], lo[2], lo[3], Min{}), h = fold(hi[0], hi[1], hi[2], hi[3], Max{});
    const __m128i m = _mm256_castsi256_si128(first(runs));
    _mm_maskstore_ps(a.lo + r, m, l);
    _mm_maskstore_ps(a.hi + r, m, h);
  }
  return -1;
}

namespace {

// x / scale, correctly rounded, without a division: see avx512.cc.
inline __m256 quotient(__m256 x, __m256 scale, __m256 inverse) {
  __m256 q = _mm256_mul_ps(x, inverse);
  q = _mm256_fmadd_ps(_mm256_fnmadd_ps(q, scale, x), inverse, q);
  return _mm256_fmadd_ps(_mm256_fnmadd_ps(q, scale, x), inverse, q);
}

// Codes of n values, n a multiple of 32, as quotients without divisions. Returns the first NaN or -1.
template <bool Stream> int64_t quantize32(const QuantArgs& a, const float* x, int8_t* q, int64_t n) {
  const __m256 scale = _mm256_set1_ps(a.scale), inverse = _mm256_set1_ps(1 / a.scale), top = _mm256_set1_ps(a.scale * 2097152.0f);
  const __m256 bottom = _mm256_sub_ps(_mm256_setzero_ps(), top);
  const __m256i zero = _mm256_set1_epi16(static_cast<int16_t>(a.zero)), qmin = _mm256_set1_epi8(static_cast<int8_t>(a.qmin));
  const __m256i qmax = _mm256_set1_epi8(static_cast<int8_t>(a.qmax)), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  int64_t bad = -1;
  for (int64_t i = 0; i < n; i += 32) {
    __m256 v[4];
    __m256i r[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      if (j % 2 == 0) fetch(x + i + 8 * j);
      v[j] = _mm256_loadu_ps(x + i + 8 * j);
      r[j] = _mm256_cvtps_epi32(quotient(_mm256_min_ps(_mm256_max_ps(v[j], bottom), top), scale, inverse));
    }
    const __m256 nan = _mm256_or_ps(_mm256_cmp_ps(v[0], v[1], _CMP_UNORD_Q), _mm256_cmp_ps(v[2], v[3], _CMP_UNORD_Q));
    if (!_mm256_testz_ps(nan, nan) && bad < 0) {
      bad = i;
      while (x[bad] == x[bad]) bad++;
    }
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(r[0], r[1]), zero), high = _mm256_adds_epi16(_mm256_packs_epi32(r[2], r[3]), zero);
    const __m256i bytes = _mm256_min_epi8(_mm256_max_epi8(_mm256_packs_epi16(low, high), qmin), qmax);
    const __m256i codes = _mm256_permutevar8x32_epi32(bytes, order);  // packs interleave the 128-bit halves
    __m256i* out = reinterpret_cast<__m256i*>(q + i);
    Stream ? _mm256_stream_si256(out, codes) : _mm256_storeu_si256(out, codes);
  }
  if (Stream) _mm_sfence();
  return bad;
}

// Codes of n values by division.
inline int64_t quantize_part(const QuantArgs& a, const float* x, int8_t* q, int64_t n) {
  const __m256 lo = _mm256_set1_ps(a.qmin - a.zero), hi = _mm256_set1_ps(a.qmax - a.zero), scale = _mm256_set1_ps(a.scale);
  const __m256i zero = _mm256_set1_epi32(static_cast<int>(a.zero));
  int64_t bad = -1;
  for (int64_t i = 0; i < n; i += 8) {
    unsigned nan;
    alignas(32) int32_t part[8];
    const __m256i r = rounded(_mm256_maskload_ps(x + i, first(n - i)), scale, lo, hi, zero, &nan);
    if (nan && bad < 0) bad = i + __builtin_ctz(nan);
    _mm256_store_si256(reinterpret_cast<__m256i*>(part), r);
    for (int64_t j = 0; j < 8 && i + j < n; j++) q[i + j] = static_cast<int8_t>(part[j]);
  }
  return bad;
}

// Elements of `bytes` each until p is at a cache line.
inline int64_t to_line(const void* p, int64_t bytes) { return static_cast<int64_t>((0 - reinterpret_cast<uintptr_t>(p)) & 63) / bytes; }

// n a multiple of 16
template <bool Stream> void dequantize16(const QuantArgs& a, const int8_t* q, float* x, int64_t n) {
  const __m256 zero = _mm256_set1_ps(a.zero), scale = _mm256_set1_ps(a.scale);
  for (int64_t i = 0; i < n; i += 16) {
    if (i % 64 == 0) fetch(q + i);
#pragma GCC unroll 2
    for (int64_t j = i; j < i + 16; j += 8) {
      const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q + j))));
      const __m256 w = _mm256_mul_ps(_mm256_sub_ps(v, zero), scale);
      Stream ? _mm256_stream_ps(x + j, w) : _mm256_storeu_ps(x + j, w);
    }
  }
  if (Stream) _mm_sfence();
}

inline void dequantize_part(const QuantArgs& a, const int8_t* q, float* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = (static_cast<float>(q[i]) - a.zero) * a.scale;
}

}  // namespace

int64_t quant_quantize_f32_avx2(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  if (!(a.scale >= 0x1p-90f && a.scale <= 0x1p90f && a.zero >= -32640 && a.zero <= 32640)) return quantize_part(a, x, q, a.n);
  const bool stream = a.stream && a.n >= kStreamFrom;
  const int64_t head = stream ? to_line(q, 1) : 0, middle = (a.n - head) / 32 * 32, rest = head + middle;
  const int64_t b0 = quantize_part(a, x, q, head);
  const int64_t b1 = stream ? quantize32<true>(a, x + head, q + head, middle) : quantize32<false>(a, x + head, q + head, middle);
  const int64_t b2 = quantize_part(a, x + rest, q + rest, a.n - rest);
  return b0 >= 0 ? b0 : b1 >= 0 ? head + b1 : b2 >= 0 ? rest + b2 : -1;
}

int64_t quant_dequantize_f32_avx2(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  float* x = static_cast<float*>(a.out);
  const bool stream = a.stream && a.n >= kStreamFrom && reinterpret_cast<uintptr_t>(x) % 4 == 0;
  const int64_t head = stream ? to_line(x, 4) : 0, middle = (a.n - head) / 16 * 16, rest = head + middle;
  dequantize_part(a, q, x, head);
  stream ? dequantize16<true>(a, q + head, x + head, middle) : dequantize16<false>(a, q + head, x + head, middle);
  dequantize_part(a, q + rest, x + rest, a.n - rest);
  return -1;
}

int64_t quant_pack4_avx2(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  const __m256i eight = _mm256_set1_epi8(8), weights = _mm256_set1_epi16(0x1001), high = _mm256_set1_epi8(static_cast<char>(0xF0));
  int64_t i = 0;
  for (; i + 32 <= a.n; i += 32) {
    const __m256i u = _mm256_add_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + i)), eight);
    const unsigned fits = static_cast<unsigned>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(u, high), _mm256_setzero_si256())));
    if (fits != ~0u) return i + __builtin_ctz(~fits);
    const __m256i words = _mm256_maddubs_epi16(u, weights);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i / 2), bytes);
  }
  for (; i < a.n; i += 2) {
    const unsigned u = static_cast<unsigned>(q[i] + 8), v = static_cast<unsigned>(q[i + 1] + 8);
    if ((u | v) > 15) return u > 15 ? i : i + 1;
    out[i / 2] = static_cast<uint8_t>(u | v << 4);
  }
  return -1;
}

int64_t quant_unpack4_avx2(QuantArgs& a) {
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  const __m256i low = _mm256_set1_epi16(15), eight = _mm256_set1_epi8(8);
  int64_t i = 0;
  for (; i + 32 <= a.n; i += 32) {
    const __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i / 2)));
    const __m256i both = _mm256_or_si256(_mm256_and_si256(v, low), _mm256_slli_epi16(_mm256_srli_epi16(v, 4), 8));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), _mm256_sub_epi8(both, eight));
  }
  for (; i < a.n; i += 2) {
    q[i] = static_cast<int8_t>((in[i / 2] & 15) - 8);
    q[i + 1] = static_cast<int8_t>((in[i / 2] >> 4) - 8);
  }
  return -1;
}

int64_t quant_bins_f32_avx2(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int32_t* out = static_cast<int32_t*>(a.out);
  const __m256d origin = _mm256_set1_pd(a.origin), inverse = _mm256_set1_pd(a.inverse), top = _mm256_set1_pd(a.bins - 1);
  int64_t bad = -1, i = 0;
  for (; i + 16 <= a.n; i += 16) {
    fetch(x + i);
    const __m256 nan = _mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(x + i + 8), _CMP_UNORD_Q);
    if (!_mm256_testz_ps(nan, nan) && bad < 0) {
      bad = i;
      while (x[bad] == x[bad]) bad++;
    }
#pragma GCC unroll 4
    for (int j = 0; j < 16; j += 4) {
      __m256d b = _mm256_mul_pd(_mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + i + j)), origin), inverse);
      b = _mm256_min_pd(_mm256_max_pd(b, _mm256_setzero_pd()), top);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i + j), _mm256_cvttpd_epi32(b));
    }
  }
  for (; i < a.n; i += 4) {
    const __m128i m = _mm256_castsi256_si128(first(a.n - i));
    __m256d b = _mm256_cvtps_pd(_mm_maskload_ps(x + i, m));
    b = _mm256_mul_pd(_mm256_sub_pd(b, origin), inverse);
    const unsigned nan = static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(b, b, _CMP_UNORD_Q)));
    if (nan && bad < 0) bad = i + __builtin_ctz(nan);
    b = _mm256_min_pd(_mm256_max_pd(b, _mm256_setzero_pd()), top);
    _mm_maskstore_epi32(out + i, m, _mm256_cvttpd_epi32(b));
  }
  return bad;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
