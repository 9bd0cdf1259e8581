// Body of the integer rows. The including file defines, inside TERSOR_DOT_BEGIN / _END (a target region) in an anonymous namespace, over vectors
// of kLanes sums: Sum, Weight (four bytes, repeated), Quads (four bytes of x per lane); Sum none(), Sum add(Sum, Sum), Weight weight(const int8_t*),
// Quads quads(const uint8_t*), Quads weave(const uint8_t* of four columns: kLanes bytes each), Sum dot(Sum, Quads, Weight),
// void store_less(float* y, Sum, int32_t correction), Weight weights(const int8_t*) (kLanes * 4 different bytes), void store_sums(int32_t*, Sum). Not guarded: each ISA file includes it once.
#include "kernels/spmm/block_dot.h"

TERSOR_DOT_BEGIN
namespace tersor {
namespace {

constexpr int kLanes = simd::F32::lanes;

// 1x16: each weight serves NV vectors of x; two sets of sums hide the latency of the dot product.
template <int NV> void row16_rows(const SpmmDot& s) {
  for (int64_t r = 0; r < s.rows; r++)
    for (int g = 0; g < s.lanes; g += NV * kLanes) {
      Sum acc[2][NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) acc[0][v] = acc[1][v] = none();
      for (int64_t e = s.begin[r]; e < s.end[r]; e++) {
        const uint8_t* x = s.x + (static_cast<int64_t>(s.columns[e]) * 4 * s.lanes + g) * 4;
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++) {
          const Weight w = weight(s.values + e * 16 + q * 4);
#pragma GCC unroll 4
          for (int v = 0; v < NV; v++) acc[q & 1][v] = dot(acc[q & 1][v], quads(x + (q * s.lanes + v * kLanes) * 4), w);
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) store_less(s.y + r * s.lanes + g + v * kLanes, add(acc[0][v], acc[1][v]), s.correction[r]);
    }
}

// 4x4: each vector of x serves four rows.
template <int NV> void square4_rows(const SpmmDot& s) {
  for (int64_t r = 0; r < s.rows; r++)
    for (int g = 0; g < s.lanes; g += NV * kLanes) {
      Sum acc[4][NV];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) acc[i][v] = none();
      for (int64_t e = s.begin[r]; e < s.end[r]; e++) {
        const uint8_t* x = s.x + (static_cast<int64_t>(s.columns[e]) * s.lanes + g) * 4;
        Quads in[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) in[v] = quads(x + v * kLanes * 4);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          const Weight w = weight(s.values + e * 16 + i * 4);
#pragma GCC unroll 4
          for (int v = 0; v < NV; v++) acc[i][v] = dot(acc[i][v], in[v], w);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) store_less(s.y + (r * 4 + i) * s.lanes + g + v * kLanes, acc[i][v], s.correction[r * 4 + i]);
    }
}

// 16x1: four columns of x are woven into quads, which then serve R rows of the sixteen.
template <int R> void column16_rows(const SpmmDot& s) {
  for (int64_t r = 0; r < s.rows; r++)
    for (int h = 0; h < 16; h += R)
      for (int g = 0; g < s.lanes; g += kLanes) {
        Sum acc[R];
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) acc[i] = none();
        for (int64_t e = s.begin[r]; e < s.end[r]; e++) {
          const uint16_t* c = s.columns + e * 4;
          const Quads in = weave(s.x + static_cast<int64_t>(c[0]) * s.lanes + g, s.x + static_cast<int64_t>(c[1]) * s.lanes + g,
                                 s.x + static_cast<int64_t>(c[2]) * s.lanes + g, s.x + static_cast<int64_t>(c[3]) * s.lanes + g);
#pragma GCC unroll 16
          for (int i = 0; i < R; i++) acc[i] = dot(acc[i], in, weight(s.values + (e * 16 + h + i) * 4));
        }
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) store_less(s.y + (r * 16 + h + i) * s.lanes + g, acc[i], s.correction[r * 16 + h + i]);
      }
}

// Squares: the widest tile the registers hold.
inline void dots(const SpmmDot& s) {
  constexpr int kSquare = kLanes == 16 ? 4 : 2;
  const bool wide = s.lanes % (4 * kLanes) == 0;
  if (s.shape == SpmmShape::column16) return column16_rows<kLanes>(s);
  if (s.shape == SpmmShape::row16) return wide ? row16_rows<4>(s) : row16_rows<16 / kLanes>(s);
  s.lanes % (kSquare * kLanes) == 0 ? square4_rows<kSquare>(s) : square4_rows<16 / kLanes>(s);
}

// Dot products with ones. Rows repeat with a period that divides the two vectors.
inline void row_sums(const SpmmDot& s, int32_t zero, int32_t* out) {
  const int br = spmm_block_rows(s.shape), bytes = s.shape == SpmmShape::column16 ? 64 : 16;
  alignas(64) static const uint8_t ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const Quads one = quads(ones);
  constexpr int64_t kStep = kLanes * 8;
  for (int64_t r = 0; r < s.rows; r++) {
    const int8_t* p = s.values + static_cast<int64_t>(s.begin[r]) * bytes;
    int64_t n = static_cast<int64_t>(s.end[r] - s.begin[r]) * bytes;
    Sum even = none(), odd = none();
    for (; n >= kStep; n -= kStep, p += kStep) {
      even = dot(even, one, weights(p));
      odd = dot(odd, one, weights(p + kLanes * 4));
    }
    if (n > 0) {
      int8_t rest[kStep] = {0};
      memcpy(rest, p, static_cast<size_t>(n));
      even = dot(even, one, weights(rest));
      odd = dot(odd, one, weights(rest + kLanes * 4));
    }
    int32_t part[2 * kLanes];
    store_sums(part, even);
    store_sums(part + kLanes, odd);
    for (int i = 0; i < br; i++) out[r * br + i] = 0;
    for (int i = 0; i < 2 * kLanes; i++) out[r * br + i % br] += zero * part[i];
  }
}

// Codes of columns [c, c + kLanes) of one row of x, n of them within the matrix.
TERSOR_VEC_INLINE void codes(const SpmmQuantize& s, const float* x, int64_t n, int32_t* out) {
  const simd::F32 t = (n == kLanes ? simd::load(x) : simd::load_part(x, n)) / simd::F32(s.scale);
  const simd::F32 lo(static_cast<float>(-s.zero)), hi(static_cast<float>(255 - s.zero));
  const simd::F32 limited = simd::select(simd::is_nan(t), simd::F32(0.0f), simd::min(simd::max(t, lo), hi));
  simd::store(out, simd::to_int(limited) + simd::I32(s.zero));
}

inline void quantize(const SpmmQuantize& s) {
  int32_t code[kLanes];
  for (int l = 0; l < s.lanes; l++)
    for (int64_t c = 0; c < s.padded; c += kLanes) {
      const int64_t stop = s.padded - c < kLanes ? s.padded - c : kLanes;
      int64_t n = l >= s.width || c >= s.cols ? 0 : s.cols - c < kLanes ? s.cols - c : kLanes;
      if (n > 0) codes(s, s.x + l * s.x_row + c, n, code);
      for (; n < stop; n++) code[n] = s.zero;
      if (s.quads)
        for (int64_t j = 0; j < stop; j += 4) {
          const uint32_t four = static_cast<uint32_t>(code[j]) | static_cast<uint32_t>(code[j + 1]) << 8 | static_cast<uint32_t>(code[j + 2]) << 16 |
                                static_cast<uint32_t>(code[j + 3]) << 24;
          memcpy(s.out + ((c + j) / 4 * s.lanes + l) * 4, &four, 4);
        }
      else
        for (int64_t j = 0; j < stop; j++) s.out[(c + j) * s.lanes + l] = static_cast<uint8_t>(code[j]);
    }
}

}  // namespace
}  // namespace tersor
TERSOR_DOT_END
