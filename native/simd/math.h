// Transcendental functions over the vector in scope (vec_<isa>.h must be included first): the same polynomials and the same order of
// operations on every instruction set, hence the same bits. Errors against long double, over all lanes and special values
// (native/test/simd_test.cc holds them to these bounds):
//   exp, log, tanh, sigmoid, erf <= 4 ulp everywhere; sin, cos <= 4 ulp for every finite x; gelu: |error| <= 2^-22 max(|gelu(x)|, |x| / 2)
// Polynomials are minimax fits (Remez) made for these intervals. Infinities, NaN, signed zeros and subnormals follow IEEE.
#pragma once
#include "simd/vec_common.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace simd {
namespace {

// 2^n for integer-valued n in [-126, 127].
TERSOR_VEC_INLINE F32 power_of_two(I32 n) { return as_float((n + I32(127)) << 23); }

// e^x = 2^n e^r, |r| <= ln 2 / 2. The scale is applied in two steps so that results reach into subnormals and up to FLT_MAX.
TERSOR_VEC_INLINE F32 exp(F32 x) {
  x = min(F32(89.0f), x);  // NaN stays: min gives its second argument
  x = max(F32(-104.0f), x);
  const F32 n = round_even(x * F32(1.442695041f));
  F32 r = fma(n, F32(-6.931471825e-01f), x);
  r = fma(n, F32(1.904654212e-09f), r);
  F32 p = fma(F32(1.381434966e-03f), r, F32(8.368850686e-03f));
  p = fma(p, r, F32(4.166840017e-02f));
  p = fma(p, r, F32(1.666651964e-01f));
  p = fma(p, r, F32(4.999999404e-01f));
  p = fma(r * r, p, r) + F32(1.0f);
  const I32 i = to_int(n), half = i >> 1;
  return p * power_of_two(half) * power_of_two(i - half);
}

// log(2^e m) = e ln 2 + log(m), m in [sqrt(1/2), sqrt(2)).
TERSOR_VEC_INLINE F32 log(F32 x) {
  const M32 tiny = x < F32(1.17549435e-38f);
  const F32 scaled = select(tiny, x * F32(8388608.0f), x);
  const I32 raw = bits(scaled);
  // Exponent such that the mantissa lies in [sqrt(1/2), sqrt(2)): 0x3f3504f3 are the bits of sqrt(1/2).
  const I32 e = (raw - I32(0x3f3504f3)) >> 23;
  const F32 f = as_float(raw - (e << 23)) - F32(1.0f);
  const F32 n = to_float(e) - select(tiny, F32(23.0f), F32(0.0f));
  F32 p = fma(F32(-7.859571278e-02f), f, F32(1.288163513e-01f));
  p = fma(p, f, F32(-1.312876344e-01f));
  p = fma(p, f, F32(1.418119520e-01f));
  p = fma(p, f, F32(-1.662455350e-01f));
  p = fma(p, f, F32(2.000228614e-01f));
  p = fma(p, f, F32(-2.500081062e-01f));
  p = fma(p, f, F32(3.333331645e-01f));
  const F32 f2 = f * f;
  F32 y = fma(f * f2, p, n * F32(-1.904654212e-09f));
  y = fma(F32(-0.5f), f2, y) + f;
  y = fma(n, F32(6.931471825e-01f), y);
  y = select(x == F32(0.0f), F32(-INFINITY), y);
  y = select(x == F32(INFINITY), x, y);
  return select((x >= F32(0.0f)), y, F32(NAN));
}

TERSOR_VEC_INLINE F32 copy_sign(F32 magnitude, F32 sign) { return as_float((bits(magnitude) & I32(0x7fffffff)) | (bits(sign) & I32(INT32_MIN))); }

// Odd polynomial below 5/8, 1 - 2 / (e^2|x| + 1) above.
TERSOR_VEC_INLINE F32 tanh(F32 x) {
  const F32 a = abs(x), t = x * x;
  F32 p = fma(F32(-5.720822606e-03f), t, F32(2.065380849e-02f));
  p = fma(p, t, F32(-5.374443159e-02f));
  p = fma(p, t, F32(1.333150119e-01f));
  p = fma(p, t, F32(-3.333328366e-01f));
  const F32 small = fma(x * t, p, x);
  const F32 big = F32(1.0f) - F32(2.0f) / (exp(a + a) + F32(1.0f));
  return copy_sign(select(a < F32(0.62f), small, big), x);  // of both: the polynomial turns -0 into +0
}

// 1 / (1 + e^-x) with the exponential of -|x|, which cannot overflow; for x < 0 the quotient keeps tiny results accurate.
TERSOR_VEC_INLINE F32 sigmoid(F32 x) {
  const F32 e = exp(-abs(x));
  return select(x < F32(0.0f), e, F32(1.0f)) / (F32(1.0f) + e);
}

// Odd polynomial below 1, 1 - e^q(|x|) above, where q fits log erfc on [1, 4]; beyond 4 the float result is 1.
TERSOR_VEC_INLINE F32 erf(F32 x) {
  const F32 a = abs(x), t = x * x;
  F32 p = fma(F32(7.856424054e-05f), t, F32(-8.011825848e-04f));
  p = fma(p, t, F32(5.188611336e-03f));
  p = fma(p, t, F32(-2.685401216e-02f));
  p = fma(p, t, F32(1.128359139e-01f));
  p = fma(p, t, F32(-3.761262596e-01f));
  p = fma(p, t, F32(1.283791661e-01f));
  const F32 small = fma(x, p, x);
  const F32 c = min(F32(4.0f), a);
  F32 q = fma(F32(1.855706505e-04f), c, F32(-2.939574886e-03f));
  q = fma(q, c, F32(2.180519141e-02f));
  q = fma(q, c, F32(-1.030371040e-01f));
  q = fma(q, c, F32(-6.382259727e-01f));
  q = fma(q, c, F32(-1.127039909e+00f));
  q = fma(q, c, F32(-3.537608718e-04f));
  return select(a < F32(1.0f), small, copy_sign(F32(1.0f) - exp(q), x));
}

// x / 2 (1 + erf(x / sqrt 2)) with erf(|x| / sqrt 2) = 1 - 2^q, q fitted to log2 erfc on [0, 4 sqrt 2] so that the error of 2^q is small: gelu needs
// erf to an absolute error only, so one range and half the instructions of erf do.
TERSOR_VEC_INLINE F32 gelu(F32 x) {
  const F32 h = F32(0.5f) * x, c = min(F32(5.65685425f), abs(x));  // NaN stays
  F32 q = fma(F32(-2.834907718e-06f), c, F32(3.937763540e-05f));
  q = fma(q, c, F32(-1.861800120e-04f));
  q = fma(q, c, F32(-1.369368547e-04f));
  q = fma(q, c, F32(7.063420489e-03f));
  q = fma(q, c, F32(-5.249617994e-02f));
  q = fma(q, c, F32(-4.592081904e-01f));
  q = fma(q, c, F32(-1.151105165f)) * c;
  const F32 n = round_even(q), f = q - n;
  F32 p = fma(F32(1.547630090e-04f), f, F32(1.340026967e-03f));
  p = fma(p, f, F32(9.618003853e-03f));
  p = fma(p, f, F32(5.550327897e-02f));
  p = fma(p, f, F32(2.402265072e-01f));
  p = fma(p, f, F32(6.931471825e-01f));
  p = fma(p, f, F32(1.0f));
  const F32 e = as_float(bits(p) + (to_int(n) << 23));  // 2^n p, n in [-26, 0]
  return fma(abs(h), F32(1.0f) - e, h);
}

// 2 sqrt(2 / pi) (x + 0.044715 x^3): the tanh form of gelu (Hendrycks, Gimpel 2016) is x sigmoid of it.
template <class V> TERSOR_VEC_INLINE V gelu_argument(V x) {
  using T = typename V::element;
  return V(T(1.59576912160573071176)) * fma(x * x * x, V(T(0.044715)), x);
}
TERSOR_VEC_INLINE F32 gelu_tanh(F32 x) { return x * sigmoid(gelu_argument(x)); }

// sin and cos of r in [-pi/4, pi/4].
TERSOR_VEC_INLINE F32 sin_reduced(F32 r) {
  const F32 t = r * r;
  F32 p = fma(F32(2.717519237e-06f), t, F32(-1.983925176e-04f));
  p = fma(p, t, F32(8.333329111e-03f));
  p = fma(p, t, F32(-1.666666716e-01f));
  return fma(r * t, p, r);
}
TERSOR_VEC_INLINE F32 cos_reduced(F32 r) {
  const F32 t = r * r;
  F32 p = fma(F32(2.443076664e-05f), t, F32(-1.388730248e-03f));
  p = fma(p, t, F32(4.166664556e-02f));
  return fma(t * t, p, fma(F32(-0.5f), t, F32(1.0f)));
}

constexpr float kMaxReduced = 1e5f;

// x - n pi/2 in three steps (Cody and Waite; exact first step thanks to fma) for |x| <= kMaxReduced.
TERSOR_VEC_INLINE F32 reduce_quarter(F32 x, I32* quadrant) {
  const F32 n = round_even(x * F32(6.366197467e-01f));
  *quadrant = to_int(n);
  F32 r = fma(n, F32(-1.570796371e+00f), x);
  r = fma(n, F32(4.371138829e-08f), r);
  return fma(n, F32(1.715124510e-15f), r);
}

// Larger arguments are rare: one lane at a time through the double functions of libm.
TERSOR_VEC_INLINE F32 large_lanes(F32 x, F32 y, bool cosine) {
  const M32 large = !(abs(x) <= F32(kMaxReduced));
  if (!any(large)) return y;
  float in[F32::lanes], out[F32::lanes];
  store(in, x);
  store(out, y);
  for (int i = 0; i < F32::lanes; i++) {
    const double d = static_cast<double>(in[i]);
    if (!(d <= kMaxReduced && d >= -kMaxReduced)) out[i] = static_cast<float>(cosine ? ::cos(d) : ::sin(d));
  }
  return load(out);
}

// Octants: quadrant q takes sin, cos, -sin, -cos; cos x = sin(x + pi/2).
TERSOR_VEC_INLINE F32 by_quadrant(F32 s, F32 c, I32 q) {
  const F32 v = select((q & I32(1)) == I32(0), s, c);
  return as_float(bits(v) ^ ((q & I32(2)) << 30));
}
TERSOR_VEC_INLINE void sin_cos(F32 x, F32* sine, F32* cosine) {  // |x| <= kMaxReduced
  I32 q;
  const F32 r = reduce_quarter(x, &q);
  const F32 s = sin_reduced(r), c = cos_reduced(r);
  *sine = by_quadrant(s, c, q);
  *cosine = by_quadrant(s, c, q + I32(1));
}
TERSOR_VEC_INLINE F32 sin(F32 x) {
  I32 q;
  const F32 r = reduce_quarter(x, &q);
  const F32 y = select(x == F32(0.0f), x, by_quadrant(sin_reduced(r), cos_reduced(r), q));
  return large_lanes(x, y, false);
}
TERSOR_VEC_INLINE F32 cos(F32 x) {
  I32 q;
  const F32 r = reduce_quarter(x, &q);
  return large_lanes(x, by_quadrant(sin_reduced(r), cos_reduced(r), q + I32(1)), true);
}

#if defined(TERSOR_VEC_SCALAR)
// Doubles use libm, whose last bit may differ between processors; the laws that run in f64 allow for it.
TERSOR_VEC_INLINE F64 exp(F64 x) { return F64(std::exp(x.v)); }
TERSOR_VEC_INLINE F64 log(F64 x) { return F64(std::log(x.v)); }
TERSOR_VEC_INLINE F64 tanh(F64 x) { return F64(std::tanh(x.v)); }
TERSOR_VEC_INLINE F64 erf(F64 x) { return F64(std::erf(x.v)); }
TERSOR_VEC_INLINE F64 sin(F64 x) { return F64(std::sin(x.v)); }
TERSOR_VEC_INLINE F64 cos(F64 x) { return F64(std::cos(x.v)); }
TERSOR_VEC_INLINE F64 sigmoid(F64 x) {
  const double e = std::exp(-std::fabs(x.v));
  return F64((x.v < 0 ? e : 1.0) / (1.0 + e));
}
TERSOR_VEC_INLINE F64 gelu(F64 x) { return F64(0.5 * x.v * (1.0 + std::erf(x.v * 0.70710678118654752440))); }
#endif

}  // namespace
}  // namespace simd
}  // namespace tersor
TERSOR_VEC_END
