// The bodies, written once over the vector in scope.
#pragma once
#include "kernels/nonlinear/nonlinear.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace simd {
namespace {

// e^x - 1 for x <= 0, accurate near 0: 2^n (e^r - 1) + (2^n - 1).
TERSOR_VEC_INLINE F32 exp_minus_one(F32 x) {
  const F32 c = max(F32(-87.0f), x);
  const F32 n = round_even(c * F32(1.442695041f));
  F32 r = fma(n, F32(-6.931471825e-01f), c);
  r = fma(n, F32(1.904654212e-09f), r);
  F32 p = fma(F32(1.381434966e-03f), r, F32(8.368850686e-03f));
  p = fma(p, r, F32(4.166840017e-02f));
  p = fma(p, r, F32(1.666651964e-01f));
  p = fma(p, r, F32(4.999999404e-01f));
  p = fma(r * r, p, r);
  const F32 s = power_of_two(to_int(n));
  return fma(s, p, s - F32(1.0f));
}
#if defined(TERSOR_VEC_SCALAR)
TERSOR_VEC_INLINE F64 exp_minus_one(F64 x) { return F64(std::expm1(x.v)); }
#endif

// log(1 + e) for e in [0, 1]: the logarithm of the rounded sum, corrected by what rounding took (Kahan).
template <class V> TERSOR_VEC_INLINE V log_one_plus(V e) {
  const V u = V(1) + e, d = u - V(1);
  return select(d == V(0), e, log(u) * (e / d));
}

template <class V> TERSOR_VEC_INLINE V between(V x, V limit) { return max(-limit, min(limit, x)); }

template <class V> TERSOR_VEC_INLINE V hard_sigmoid(V x) { return min(V(1), max(V(0), x + V(3)) / V(6)); }
template <class V> TERSOR_VEC_INLINE V hard_swish_slope(V x) {
  return select(x > V(3), V(1), select(x > V(-3), (x + x + V(3)) / V(6), select(is_nan(x), x, V(0))));
}

template <class V> TERSOR_VEC_INLINE V silu_slope(V x) {
  const V s = sigmoid(x);
  return s * fma(between(x, V(100)), V(1) - s, V(1));
}

// Phi(x) + x phi(x)
template <class V> TERSOR_VEC_INLINE V gelu_slope(V x) {
  using T = typename V::element;
  const V c = between(x, V(40)), density = exp(V(T(-0.5)) * c * c) * V(T(0.39894228040143267794));
  return fma(c, density, fma(V(T(0.5)), erf(x * V(T(0.70710678118654752440))), V(T(0.5))));
}

template <class V> TERSOR_VEC_INLINE V gelu_tanh_slope(V x) {
  using T = typename V::element;
  const V c = between(x, V(40)), s = sigmoid(gelu_argument(x));
  const V slope = V(T(1.59576912160573071176)) * fma(c * c, V(T(0.134145)), V(1));
  return fma(c * s * (V(1) - s), slope, s);
}

// tanh(log(1 + e^x)) = w / (w + 2) with w = e^x (e^x + 2); beyond 20 it is 1.
template <class V> TERSOR_VEC_INLINE V mish(V x) {
  const V e = exp(min(V(20), x)), w = e * (e + V(2));
  return x * (w / (w + V(2)));
}
template <class V> TERSOR_VEC_INLINE V mish_slope(V x) {
  const V c = between(x, V(20)), e = exp(c), w = e * (e + V(2)), t = V(1) / (w + V(2));
  return fma(c * (V(4) * (w + V(1)) * t * t), e / (V(1) + e), w * t);
}

}  // namespace
}  // namespace simd
namespace {

#define TERSOR_NONLINEAR(name, formula, derivative)                       \
  struct Nonlinear_##name {                                               \
    template <class V> static TERSOR_VEC_INLINE V of(V x, V p, V q) {     \
      using namespace simd;                                               \
      (void)p, (void)q;                                                   \
      return formula;                                                     \
    }                                                                     \
    template <class V> static TERSOR_VEC_INLINE V slope(V x, V p, V q) {  \
      using namespace simd;                                               \
      (void)p, (void)q;                                                   \
      return derivative;                                                  \
    }                                                                     \
  };
#include "kernels/nonlinear/nonlinear.def"
#undef TERSOR_NONLINEAR

template <class F, class V> void nonlinear_run(const NonlinearArgs<typename V::element>& a) {
  const V p(a.p), q(a.q);
  for (int64_t i = 0; i < a.n; i += V::lanes) {
    const int64_t rest = a.n - i;
    const bool whole = rest >= V::lanes;
    const V x = whole ? simd::load(a.x + i) : simd::load_part(a.x + i, rest);
    V y;
    if (a.dy) y = (whole ? simd::load(a.dy + i) : simd::load_part(a.dy + i, rest)) * F::slope(x, p, q);
    else y = F::of(x, p, q);
    if (whole) simd::store(a.y + i, y);
    else simd::store_part(a.y + i, y, rest);
  }
}

template <class V> void nonlinear_switch(const NonlinearArgs<typename V::element>& a) {
  switch (a.op) {
#define TERSOR_NONLINEAR(name, formula, slope) \
  case NonlinearOp::name: return nonlinear_run<Nonlinear_##name, V>(a);
#include "kernels/nonlinear/nonlinear.def"
#undef TERSOR_NONLINEAR
    default: return;
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
