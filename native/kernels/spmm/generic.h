// Body of the vector rows, over the vector in scope. The including file defines, inside TERSOR_VEC_BEGIN / _END in an anonymous namespace:
//   simd::F32 gather(const float* x, <columns pointer>, uint32_t last, n) (x at min(column, last) of n entries, other
//   lanes 0), simd::F32 values_of(<values pointer>, n) (as float, other lanes 0), uint32_t max_u16/max_i32(columns, n);
//   simd::F32 quads(const float* p, int64_t step): four floats at p, p + step, ..., and low, high, low2, high2: interleave
//   floats, or pairs of floats, of the lower or upper half of each group of four.
// Not guarded: each ISA file includes it once.
#include "kernels/spmm/spmm.h"
#include "simd/prefetch.h"

#if defined(__GNUC__)
#define TERSOR_SPMM_AHEAD(p, bytes) __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + (bytes)))
#else
#define TERSOR_SPMM_AHEAD(p, bytes) static_cast<void>(p)
#endif

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int kLanes = simd::F32::lanes;

TERSOR_VEC_INLINE float finish(const SpmmArgs& s, int64_t r, float sum) {
  const float y = s.scale ? sum * s.scale[r * s.scale_step] : sum;
  return s.bias ? y + s.bias[r] : y;
}

// The prefetches reach past the page that the hardware's streams stop at.
template <class E, class C> void gather_rows(const SpmmArgs& s) {
  const E* values = static_cast<const E*>(s.values);
  const C* columns = static_cast<const C*>(s.columns);
  const uint32_t last = static_cast<uint32_t>(s.cols - 1);
  for (int64_t r = 0; r < s.rows; r++) {
    int64_t e = s.indptr[r];
    const int64_t end = s.indptr[r + 1];
    simd::F32 even(0.0f), odd(0.0f);
    for (; e + 2 * kLanes <= end; e += 2 * kLanes) {
      for (unsigned b = 0; b < 2 * kLanes * sizeof(E); b += 64) TERSOR_SPMM_AHEAD(values + e, 2048 + b);
      for (unsigned b = 0; b < 2 * kLanes * sizeof(C); b += 64) TERSOR_SPMM_AHEAD(columns + e, 1024 + b);
      even = simd::fma(values_of(values + e, kLanes), gather(s.x, columns + e, last, kLanes), even);
      odd = simd::fma(values_of(values + e + kLanes, kLanes), gather(s.x, columns + e + kLanes, last, kLanes), odd);
    }
    if (e + kLanes <= end) {
      even = simd::fma(values_of(values + e, kLanes), gather(s.x, columns + e, last, kLanes), even);
      e += kLanes;
    }
    if (e < end) odd = simd::fma(values_of(values + e, end - e), gather(s.x, columns + e, last, end - e), odd);
    s.y[r] = finish(s, r, simd::sum_lanes(even + odd));
  }
}

inline void gather_types(const SpmmArgs& s) {
  if (s.quantized) s.wide ? gather_rows<int8_t, int32_t>(s) : gather_rows<int8_t, uint16_t>(s);
  else s.wide ? gather_rows<float, int32_t>(s) : gather_rows<float, uint16_t>(s);
}

// Eight sums in flight hide the latency of the multiply-add: narrow panels keep several sets of sums and rotate them.
constexpr int sets_for(int nv) { return nv >= 8 ? 1 : nv >= 4 ? 2 : 4; }

template <int NV> TERSOR_VEC_INLINE void take(simd::F32* acc, const float* x, float value) {
  const simd::F32 w(value);
#pragma GCC unroll 16
  for (int v = 0; v < NV; v++) acc[v] = simd::fma(w, simd::load(x + v * kLanes), acc[v]);
}
template <int S, int NV> TERSOR_VEC_INLINE void store_sums(float* y, const simd::F32 (&acc)[S][NV], bool accumulate) {
#pragma GCC unroll 16
  for (int v = 0; v < NV; v++) {
    simd::F32 t = acc[0][v];
    if (S == 2) t = t + acc[S - 1][v];
    if (S == 4) t = (t + acc[1 % S][v]) + (acc[2 % S][v] + acc[S - 1][v]);
    if (accumulate) t = t + simd::load(y + v * kLanes);
    simd::store(y + v * kLanes, t);
  }
}

template <int S, int NV, class C> TERSOR_VEC_INLINE void take_four(simd::F32 (&acc)[S][NV], const SpmmPanel& s, const C* columns, int64_t e) {
#pragma GCC unroll 4
  for (int t = 0; t < 4; t++) take<NV>(acc[t % S], s.x + static_cast<int64_t>(columns[e + t]) * s.x_pitch, s.values[e + t]);
}

// A segment ends where a prediction fails, so there are no single entries but at the row's end. What is written next comes from far
// cache levels: asked for here, where loads have time.
template <int NV, class C> void entry_rows(const SpmmPanel& s) {
  constexpr int kSets = sets_for(NV);
  const bool last = s.last;
  const C* columns = static_cast<const C*>(s.columns);
  for (int64_t r = 0; r < s.rows; r++) {
    simd::F32 acc[kSets][NV];
#pragma GCC unroll 4
    for (int t = 0; t < kSets; t++)
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) acc[t][v] = simd::F32(0.0f);
    int64_t e = s.cursor[r];
    const int64_t end = s.end[r];
    float* y = s.y + r * s.y_pitch;
    for (int64_t b = 0; b < s.ahead_bytes; b += 64) TERSOR_PREFETCH_L2(s.ahead + r * s.ahead_pitch + b / 4);
    for (; e + 8 <= end && (last || static_cast<int64_t>(columns[e + 4]) < s.limit); e += 8) {
      take_four<kSets, NV>(acc, s, columns, e);
      take_four<kSets, NV>(acc, s, columns, e + 4);
    }
    if (last) {
      if (e + 4 <= end) {
        take_four<kSets, NV>(acc, s, columns, e);
        e += 4;
      }
      for (; e < end; e++) take<NV>(acc[0], s.x + static_cast<int64_t>(columns[e]) * s.x_pitch, s.values[e]);
    }
    s.cursor[r] = static_cast<int32_t>(e);
    store_sums<kSets, NV>(y, acc, s.accumulate);
  }
}

template <int NV> void row16_rows(const SpmmPanel& s) {
  constexpr int kSets = sets_for(NV);
  const uint16_t* columns = static_cast<const uint16_t*>(s.columns);
  for (int64_t r = 0; r < s.rows; r++) {
    const int64_t begin = s.cursor[r], end = s.end[r];
    int64_t e = begin;
    for (int g = 0; g < s.lanes; g += NV * kLanes) {
      simd::F32 acc[kSets][NV];
#pragma GCC unroll 4
      for (int t = 0; t < kSets; t++)
#pragma GCC unroll 16
        for (int v = 0; v < NV; v++) acc[t][v] = simd::F32(0.0f);
      for (e = begin; e < end && columns[e] < s.limit; e++) {
        const float* x = s.x + static_cast<int64_t>(columns[e]) * 16 * s.x_pitch + g;
        for (int j = 0; j < 16; j += 4) {
#pragma GCC unroll 4
          for (int t = 0; t < 4; t++) take<NV>(acc[t % kSets], x + (j + t) * s.x_pitch, s.values[e * 16 + j + t]);
        }
      }
      store_sums<kSets, NV>(s.y + r * s.y_pitch + g, acc, s.accumulate);
    }
    s.cursor[r] = static_cast<int32_t>(e);
  }
}

// Blocks of several rows: each vector of x that was read serves BR rows, so the loads are few and x may lie in the second cache level.
// R rows at a time fit the registers.
template <int BR, int BC, int R, int NV> void block_rows(const SpmmPanel& s) {
  const uint16_t* columns = static_cast<const uint16_t*>(s.columns);
  for (int64_t r = 0; r < s.rows; r++) {
    const int64_t begin = s.cursor[r], end = s.end[r];
    int64_t e = begin;
    for (int h = 0; h < BR; h += R)
      for (int g = 0; g < s.lanes; g += NV * kLanes) {
        float* y = s.y + (r * BR + h) * s.y_pitch + g;
        simd::F32 acc[R][NV];
#pragma GCC unroll 16
        for (int i = 0; i < R; i++)
#pragma GCC unroll 16
          for (int v = 0; v < NV; v++) acc[i][v] = s.accumulate ? simd::load(y + i * s.y_pitch + v * kLanes) : simd::F32(0.0f);
        for (e = begin; e < end && columns[e] < s.limit; e++) {
          const float* x = s.x + static_cast<int64_t>(columns[e]) * BC * s.x_pitch + g;
          const float* w = s.values + (e * BR + h) * BC;
#pragma GCC unroll 4
          for (int j = 0; j < BC; j++) {
            simd::F32 in[NV];
#pragma GCC unroll 16
            for (int v = 0; v < NV; v++) in[v] = simd::load(x + j * s.x_pitch + v * kLanes);
#pragma GCC unroll 16
            for (int i = 0; i < R; i++) {
              const simd::F32 weight(w[i * BC + j]);
#pragma GCC unroll 16
              for (int v = 0; v < NV; v++) acc[i][v] = simd::fma(weight, in[v], acc[i][v]);
            }
          }
        }
#pragma GCC unroll 16
        for (int i = 0; i < R; i++)
#pragma GCC unroll 16
          for (int v = 0; v < NV; v++) simd::store(y + i * s.y_pitch + v * kLanes, acc[i][v]);
      }
    s.cursor[r] = static_cast<int32_t>(e);
  }
}

template <int NV> inline void entry_types(const SpmmPanel& s) { s.wide ? entry_rows<NV, int32_t>(s) : entry_rows<NV, uint16_t>(s); }

inline void panel(const SpmmPanel& s) {
  constexpr int kUnit = 16 / kLanes;
  const int vectors = s.lanes / kLanes;
  switch (s.shape) {
    case SpmmShape::entry:
      if (vectors == 8) entry_types<8>(s);
      else if (vectors == 4) entry_types<4>(s);
      else if (vectors == 2) entry_types<2>(s);
      else entry_types<kUnit>(s);
      return;
    case SpmmShape::row16:
      if (vectors == 8) row16_rows<8>(s);
      else if (vectors == 4) row16_rows<4>(s);
      else row16_rows<kUnit>(s);
      return;
    case SpmmShape::square4:
      if (kLanes == 16 && vectors == 4) block_rows<4, 4, 4, kLanes / 4>(s);
      else block_rows<4, 4, 4, kUnit>(s);
      return;
    case SpmmShape::column16: return block_rows<16, 1, kLanes, kLanes == 4 ? 4 : 1>(s);  // 8 or 16 sums in flight
  }
}

// kLanes rows x 8 columns at most. Groups of four come in with their rows already in the right place, which leaves transposing 4 x 4 within each group.
TERSOR_VEC_INLINE void transpose_block(const float* in, int64_t in_row, const SpmmTranspose& s, int64_t r, int64_t c, int rows, int cols) {
  const simd::F32 bias = s.bias ? simd::load_part(s.bias + r, rows) : simd::F32(0.0f);
  const simd::F32 scale = !s.scale ? simd::F32(1.0f) : s.scale_step ? simd::load_part(s.scale + r, rows) : simd::F32(*s.scale);
#pragma GCC unroll 2
  for (int q = 0; q < cols; q += 4) {
    const simd::F32 a = quads(in + q, 4 * in_row), b = quads(in + q + in_row, 4 * in_row), d = quads(in + q + 2 * in_row, 4 * in_row),
                    e = quads(in + q + 3 * in_row, 4 * in_row);
    const simd::F32 ab0 = low(a, b), ab1 = high(a, b), de0 = low(d, e), de1 = high(d, e);
    simd::F32 out[4] = {low2(ab0, de0), high2(ab0, de0), low2(ab1, de1), high2(ab1, de1)};
    for (int j = 0; j < 4 && q + j < cols; j++) {
      if (s.scale) out[j] = out[j] * scale;
      if (s.bias) out[j] = out[j] + bias;
      float* to = s.out + (c + q + j) * s.out_row + r;
      if (rows == kLanes) simd::store(to, out[j]);
      else simd::store_part(to, out[j], rows);
    }
  }
}

// Eight columns at a time: rows of `out` are often a multiple of 4096 bytes apart, and more than eight such lines in flight evict each other.
inline void transpose(const SpmmTranspose& s) {
  for (int64_t c = 0; c < s.cols; c += 8)
    for (int64_t r = 0; r < s.rows; r += kLanes) {
      const float* in = s.in + r * s.in_row + c;
      const int rows = static_cast<int>(s.rows - r < kLanes ? s.rows - r : kLanes), cols = static_cast<int>(s.cols - c < 8 ? s.cols - c : 8);
      if (rows == kLanes && cols == 8) {
        transpose_block(in, s.in_row, s, r, c, kLanes, 8);
        continue;
      }
      float whole[kLanes * 8] = {0};
      for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) whole[i * 8 + j] = in[i * s.in_row + j];
      transpose_block(whole, 8, s, r, c, rows, cols);
    }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
