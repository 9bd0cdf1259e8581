// Body of the vector rows, over the vector in scope. The including file defines, inside TERSOR_VEC_BEGIN / _END in an anonymous namespace:
//   simd::F32 gather(const float* x, <columns pointer>, uint32_t last, n) (x at min(column, last) of n entries, other
//   lanes 0), simd::F32 values_of(<values pointer>, n) (as float, other lanes 0), uint32_t max_u16/max_i32(columns, n).
// Not guarded: each ISA file includes it once.
#include "kernels/spmm/spmm.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int kLanes = simd::F32::lanes;

TERSOR_VEC_INLINE float finish(const SpmmArgs& s, int64_t r, float sum) {
  const float y = s.scale ? sum * s.scale[r * s.scale_step] : sum;
  return s.bias ? y + s.bias[r] : y;
}

template <class E, class C> void gather_rows(const SpmmArgs& s) {
  const E* values = static_cast<const E*>(s.values);
  const C* columns = static_cast<const C*>(s.columns);
  const uint32_t last = static_cast<uint32_t>(s.cols - 1);
  for (int64_t r = 0; r < s.rows; r++) {
    int64_t e = s.indptr[r];
    const int64_t end = s.indptr[r + 1];
    simd::F32 even(0.0f), odd(0.0f);
    for (; e + 2 * kLanes <= end; e += 2 * kLanes) {
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

// NV vectors of lanes; entries alternate between two sets of sums where the registers allow, to hide the latency of the multiply-add.
template <int NV, class E, class C> void panel_rows(const SpmmArgs& s) {
  constexpr int kSets = NV <= 4 ? 2 : 1;
  const E* values = static_cast<const E*>(s.values);
  const C* columns = static_cast<const C*>(s.columns);
  for (int64_t r = 0; r < s.rows; r++) {
    simd::F32 acc[kSets][NV];
#pragma GCC unroll 2
    for (int t = 0; t < kSets; t++)
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) acc[t][v] = simd::F32(0.0f);
    int64_t e = s.indptr[r];
    const int64_t end = s.indptr[r + 1];
    for (; e + kSets <= end; e += kSets) {
#pragma GCC unroll 2
      for (int t = 0; t < kSets; t++) {
        const simd::F32 w(static_cast<float>(values[e + t]));
        const float* x = s.x + static_cast<int64_t>(columns[e + t]) * kSpmmLanes;
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) acc[t][v] = simd::fma(w, simd::load(x + v * kLanes), acc[t][v]);
      }
    }
    if (e < end) {
      const simd::F32 w(static_cast<float>(values[e]));
      const float* x = s.x + static_cast<int64_t>(columns[e]) * kSpmmLanes;
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) acc[0][v] = simd::fma(w, simd::load(x + v * kLanes), acc[0][v]);
    }
    const simd::F32 scale(s.scale ? s.scale[r * s.scale_step] : 1.0f), bias(s.bias ? s.bias[r] : 0.0f);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      simd::F32 y = kSets == 2 ? acc[0][v] + acc[kSets - 1][v] : acc[0][v];
      if (s.scale) y = y * scale;
      if (s.bias) y = y + bias;
      simd::store(s.y + r * kSpmmLanes + v * kLanes, y);
    }
  }
}

template <int NV> inline void panel_types(const SpmmArgs& s) {
  if (s.quantized) s.wide ? panel_rows<NV, int8_t, int32_t>(s) : panel_rows<NV, int8_t, uint16_t>(s);
  else s.wide ? panel_rows<NV, float, int32_t>(s) : panel_rows<NV, float, uint16_t>(s);
}

inline void panel(const SpmmArgs& s) {
  constexpr int kUnit = 16 / kLanes;
  switch ((s.width + 15) / 16) {
    case 1: return panel_types<kUnit>(s);
    case 2: return panel_types<2 * kUnit>(s);
    case 3: return panel_types<3 * kUnit>(s);
    default: return panel_types<4 * kUnit>(s);
  }
}

inline void gather_types(const SpmmArgs& s) {
  if (s.quantized) s.wide ? gather_rows<int8_t, int32_t>(s) : gather_rows<int8_t, uint16_t>(s);
  else s.wide ? gather_rows<float, int32_t>(s) : gather_rows<float, uint16_t>(s);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
