// Bodies for one row of x over the vector in scope. The including file defines, inside TERSOR_VEC_BEGIN / _END in an anonymous namespace:
//   simd::F32 sixteen_at<P>(const P* p, part): values p[part * lanes ..] of a block as floats; simd::F32 repeat4(const float* p);
//   void sum_fours(simd::F32 v, float* out): the sum of each group of four lanes;
//   simd::F32 stored<P>(uint32_t mask, const P* v, const P* end): lane i = the next value where bit i is set, else 0; reads below end only;
//   simd::F32 values_of(const P* v, n): n values, other lanes 0; int bit_count(uint32_t), long_bit_count(uint64_t);
//   simd::F32 picked(const uint8_t* bits, n, const float* x): lane i = x[i / 2 * 4 + two bits of the n bytes].
// Not guarded: each ISA file includes it once.
#include "kernels/spmm/vector.h"

#if defined(__GNUC__)
#define TERSOR_SPMM_AHEAD(p, bytes) __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + (bytes)))
#else
#define TERSOR_SPMM_AHEAD(p, bytes) static_cast<void>(p)
#endif

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int kLanes = simd::F32::lanes, kParts = 16 / kLanes;

TERSOR_VEC_INLINE float spmm_finish(const SpmmVector& s, int64_t r, float sum) {
  const float y = s.scale ? sum * s.scale[r * s.scale_step] : sum;
  return s.bias ? y + s.bias[r] : y;
}

template <class P> void row16_rows(const SpmmVector& s) {
  const P* values = static_cast<const P*>(s.values);
  for (int64_t r = 0; r < s.rows; r++) {
    simd::F32 acc[4] = {simd::F32(0.0f), simd::F32(0.0f), simd::F32(0.0f), simd::F32(0.0f)};
    int64_t e = s.indptr[r];
    const int64_t end = s.indptr[r + 1];
    constexpr int kUnroll = 4 / kParts;  // blocks whose sums are independent
    for (; e + kUnroll <= end; e += kUnroll)
#pragma GCC unroll 4
      for (int t = 0; t < 4; t++)
        acc[t] = simd::fma(sixteen_at(values + (e + t / kParts) * 16, t % kParts),
                           simd::load(s.x + static_cast<int64_t>(s.index16[e + t / kParts]) * 16 + t % kParts * kLanes), acc[t]);
    for (; e < end; e++)
#pragma GCC unroll 2
      for (int p = 0; p < kParts; p++)
        acc[p] = simd::fma(sixteen_at(values + e * 16, p), simd::load(s.x + static_cast<int64_t>(s.index16[e]) * 16 + p * kLanes), acc[p]);
    s.y[r] = spmm_finish(s, r, simd::sum_lanes((acc[0] + acc[1]) + (acc[2] + acc[3])));
  }
}

// Blocks of several rows end in 4 or 16 sums.
inline void store_rows(const SpmmVector& s, int64_t first, int n, const float* sums) {
  for (int i = 0; i < n && first + i < s.rows; i++) s.y[first + i] = spmm_finish(s, first + i, sums[i]);
}

template <class P, bool Square> void tall_rows(const SpmmVector& s) {
  const P* values = static_cast<const P*>(s.values);
  constexpr int kRows = Square ? 4 : 16;
  for (int64_t b = 0; b * kRows < s.rows; b++) {
    simd::F32 acc[4][kParts];
#pragma GCC unroll 4
    for (int t = 0; t < 4; t++)
#pragma GCC unroll 2
      for (int p = 0; p < kParts; p++) acc[t][p] = simd::F32(0.0f);
    int64_t e = s.indptr[b];
    const int64_t end = s.indptr[b + 1];
    for (; e + 4 <= end; e += 4)
#pragma GCC unroll 4
      for (int t = 0; t < 4; t++) {
        const int64_t c = s.index16[e + t];
        const simd::F32 x = Square ? repeat4(s.x + c * 4) : simd::F32(s.x[c]);
#pragma GCC unroll 2
        for (int p = 0; p < kParts; p++) acc[t][p] = simd::fma(sixteen_at(values + (e + t) * 16, p), x, acc[t][p]);
      }
    for (; e < end; e++) {
      const int64_t c = s.index16[e];
      const simd::F32 x = Square ? repeat4(s.x + c * 4) : simd::F32(s.x[c]);
#pragma GCC unroll 2
      for (int p = 0; p < kParts; p++) acc[0][p] = simd::fma(sixteen_at(values + e * 16, p), x, acc[0][p]);
    }
    float sums[16];
#pragma GCC unroll 2
    for (int p = 0; p < kParts; p++) {
      const simd::F32 t = (acc[0][p] + acc[1][p]) + (acc[2][p] + acc[3][p]);
      if (Square) sum_fours(t, sums + p * (kLanes / 4));
      else simd::store(sums + p * kLanes, t);
    }
    store_rows(s, b * kRows, kRows, sums);
  }
}

template <class P> inline void blocks(const SpmmVector& s) {
  if (s.shape == SpmmShape::row16) row16_rows<P>(s);
  else if (s.shape == SpmmShape::square4) tall_rows<P, true>(s);
  else tall_rows<P, false>(s);
}

TERSOR_VEC_INLINE uint64_t word_at(const uint8_t* bits, int64_t b, int64_t bytes) {
  uint64_t word = 0;
  if (b + 8 <= bytes) memcpy(&word, bits + b, 8);
  else
    for (int64_t i = b; i < bytes; i++) word |= static_cast<uint64_t>(bits[i]) << (8 * (i - b));
  return word;
}

template <class P> void bitmask_rows(const SpmmVector& s) {
  const P* values = static_cast<const P*>(s.values);
  const P* stop = values + s.indptr[s.rows];
  const int64_t bytes = (s.cols + 7) / 8;
  for (int64_t r = 0; r < s.rows; r++) {
    const uint8_t* bits = s.bits + r * s.index_row;
    const P* v = values + s.indptr[r];
    if (stop - v < bytes * 8) {  // too many bits could lead behind the values: counted first. Elsewhere the walk itself counts.
      int64_t count = 0;
      for (int64_t b = 0; b < bytes; b += 8) count += long_bit_count(word_at(bits, b, bytes));
      if (count != s.indptr[r + 1] - s.indptr[r]) {
        *s.damaged = true;
        continue;
      }
    }
    simd::F32 acc[4] = {simd::F32(0.0f), simd::F32(0.0f), simd::F32(0.0f), simd::F32(0.0f)};
    for (int64_t b = 0; b < bytes; b += 8) {
      const uint64_t word = word_at(bits, b, bytes);
      const float* x = s.x + b * 8;
      TERSOR_SPMM_AHEAD(v, 2048);
      TERSOR_SPMM_AHEAD(v, 2112);
#pragma GCC unroll 2
      for (int t = 0; t < 64 / kLanes; t += 4) {
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
          const uint32_t mask = static_cast<uint32_t>(word >> ((t + u) * kLanes)) & ((1u << kLanes) - 1u);
          acc[u] = simd::fma(stored(mask, v, stop), simd::load(x + (t + u) * kLanes), acc[u]);
          v += bit_count(mask);
        }
      }
    }
    if (v != values + s.indptr[r + 1] || (s.cols % 8 && bits[s.cols / 8] >> (s.cols % 8))) *s.damaged = true;
    s.y[r] = spmm_finish(s, r, simd::sum_lanes((acc[0] + acc[1]) + (acc[2] + acc[3])));
  }
}

// kLanes values stand for 2 * kLanes columns.
template <class P> void two_of_four_rows(const SpmmVector& s) {
  const P* values = static_cast<const P*>(s.values);
  for (int64_t r = 0; r < s.rows; r++) {
    const P* v = values + r * s.value_row;
    const uint8_t* bits = s.bits + r * s.index_row;
    simd::F32 even(0.0f), odd(0.0f);
    int64_t i = 0;
    for (; i + 2 * kLanes <= s.value_row; i += 2 * kLanes) {
      even = simd::fma(values_of(v + i, kLanes), picked(bits + i / 4, kLanes / 4, s.x + 2 * i), even);
      odd = simd::fma(values_of(v + i + kLanes, kLanes), picked(bits + (i + kLanes) / 4, kLanes / 4, s.x + 2 * (i + kLanes)), odd);
    }
    for (; i < s.value_row; i += kLanes) {
      const int64_t n = s.value_row - i < kLanes ? s.value_row - i : kLanes;
      even = simd::fma(values_of(v + i, n), picked(bits + i / 4, (n + 3) / 4, s.x + 2 * i), even);
    }
    s.y[r] = spmm_finish(s, r, simd::sum_lanes(even + odd));
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
