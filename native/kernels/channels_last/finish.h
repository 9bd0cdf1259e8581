// What stands behind the sums of a convolution, over the vector in scope: activation, scale and shift.
#pragma once
#include "kernels/channels_last/channels_last.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using V = simd::F32;
constexpr int kLanes = V::lanes;

TERSOR_VEC_INLINE V conv_gate(V v) { return v * simd::min(V(1.0f), simd::max(V(0.0f), simd::fma(v, V(1.0f / 6.0f), V(0.5f)))); }

// The activations that need an exponential, with scale and shift.
TERSOR_VEC_INLINE V conv_late(const ConvFinish& f, V v) {
  const V s = simd::sigmoid(v);
  return simd::fma(f.act == ConvAct::silu ? v * s : s, V(f.scale), V(f.shift));
}

TERSOR_VEC_INLINE bool conv_is_late(const ConvFinish& f) { return f.act == ConvAct::silu || f.act == ConvAct::sigmoid; }

// N sums in registers, their activation and scale.
template <int N> TERSOR_VEC_INLINE void conv_finish(const ConvFinish& f, V* v) {
  if (f.act == ConvAct::clip) {
    const V lo(f.lo), hi(f.hi);
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) v[i] = simd::min(hi, simd::max(lo, v[i]));
  } else if (f.act == ConvAct::hard_swish) {
#pragma GCC unroll 24
    for (int i = 0; i < N; i++) v[i] = conv_gate(v[i]);
  } else {
    return;
  }
  if (f.scale == 1 && f.shift == 0) return;
  const V scale(f.scale), shift(f.shift);
#pragma GCC unroll 24
  for (int i = 0; i < N; i++) v[i] = simd::fma(v[i], scale, shift);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
