// The bodies, written once over the vector in scope.
#pragma once
#include "kernels/layer_norm/layer_norm.h"
#include "simd/fold.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// x - m: m is a first estimate of the mean.
template <class V> struct Deviations {
  const typename V::element* x;
  V m;
  TERSOR_VEC_INLINE V full(int64_t i) const { return simd::load(x + i) - m; }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const { return keep_first(simd::load_part(x + i, n) - m, n); }
};

// ((x - m) - d)^2: d is what the estimate lacks.
template <class V> struct SquaredDeviations {
  const typename V::element* x;
  V m, d;
  TERSOR_VEC_INLINE V full(int64_t i) const {
    const V t = (simd::load(x + i) - m) - d;
    return t * t;
  }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const {
    const V t = (simd::load_part(x + i, n) - m) - d;
    return keep_first(t * t, n);
  }
};

template <class V> void layer_norm_run(const LayerNormArgs<typename V::element>& a) {
  using T = typename V::element;
  const int64_t n = a.n;
  for (int64_t r = 0; r < a.rows; r++) {
    const T* x = a.x + r * n;
    T* y = a.y + r * n;
    const double count = static_cast<double>(n);
    const T m = static_cast<T>(simd::run_sum<V>(x, n) / count);
    const double shift = simd::fold_sum<V>(Deviations<V>{x, V(m)}, n) / count;
    const T d = static_cast<T>(shift);
    const double variance = simd::fold_sum<V>(SquaredDeviations<V>{x, V(m), V(d)}, n) / count;
    const T rstd = static_cast<T>(1.0 / __builtin_sqrt(variance + a.eps));
    a.mean[r] = static_cast<T>(static_cast<double>(m) + shift);
    a.rstd[r] = rstd;
    const V vm(m), vd(d), vs(rstd);
    for (int64_t i = 0; i < n; i += V::lanes) {
      const int64_t rest = n - i;
      const bool whole = rest >= V::lanes;
      V t = (((whole ? simd::load(x + i) : simd::load_part(x + i, rest)) - vm) - vd) * vs;
      if (a.gamma) t = t * (whole ? simd::load(a.gamma + i) : simd::load_part(a.gamma + i, rest));
      if (a.beta) t = t + (whole ? simd::load(a.beta + i) : simd::load_part(a.beta + i, rest));
      if (whole) simd::store(y + i, t);
      else simd::store_part(y + i, t, rest);
    }
  }
}

// g = dy gamma, and g h.
template <class V, bool TimesH> struct Upstream {
  const typename V::element* x;
  const typename V::element* dy;
  const typename V::element* gamma;
  V m, s;
  TERSOR_VEC_INLINE V full(int64_t i) const {
    V g = simd::load(dy + i);
    if (gamma) g = g * simd::load(gamma + i);
    return TimesH ? g * ((simd::load(x + i) - m) * s) : g;
  }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const {
    V g = simd::load_part(dy + i, n);
    if (gamma) g = g * simd::load_part(gamma + i, n);
    return keep_first(TimesH ? g * ((simd::load_part(x + i, n) - m) * s) : g, n);
  }
};

template <class V> void layer_norm_grad_run(const LayerNormGradArgs<typename V::element>& a) {
  using T = typename V::element;
  const int64_t n = a.n;
  for (int64_t r = 0; r < a.rows; r++) {
    const T* x = a.x + r * n;
    const T* dy = a.dy + r * n;
    T* dx = a.dx + r * n;
    const V m(a.mean[r]), s(a.rstd[r]);
    const V avg_g(static_cast<T>(simd::fold_sum<V>(Upstream<V, false>{x, dy, a.gamma, m, s}, n) / static_cast<double>(n)));
    const V avg_gh(static_cast<T>(simd::fold_sum<V>(Upstream<V, true>{x, dy, a.gamma, m, s}, n) / static_cast<double>(n)));
    for (int64_t i = 0; i < n; i += V::lanes) {
      const int64_t rest = n - i;
      const bool whole = rest >= V::lanes;
      const V h = ((whole ? simd::load(x + i) : simd::load_part(x + i, rest)) - m) * s;
      const V d = whole ? simd::load(dy + i) : simd::load_part(dy + i, rest);
      const V g = a.gamma ? d * (whole ? simd::load(a.gamma + i) : simd::load_part(a.gamma + i, rest)) : d;
      const V out = s * ((g - avg_g) - h * avg_gh);
      if (whole) {
        simd::store(a.dgamma + i, fma(d, h, simd::load(a.dgamma + i)));
        simd::store(a.dbeta + i, simd::load(a.dbeta + i) + d);
        simd::store(dx + i, out);
      } else {
        simd::store_part(a.dgamma + i, fma(d, h, simd::load_part(a.dgamma + i, rest)), rest);
        simd::store_part(a.dbeta + i, simd::load_part(a.dbeta + i, rest) + d, rest);
        simd::store_part(dx + i, out, rest);
      }
    }
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
