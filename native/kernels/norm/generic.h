// The bodies, written once over the vector in scope.
#pragma once
#include "kernels/norm/norm.h"
#include "simd/fold.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

template <class V> struct Two {
  V a, b;
};

// Two sums in one pass, added to *a and *b. Element i goes to lane i % 32 of a block of 1024 (at most 32 additions a lane); lanes are folded by
// halves, blocks added in double: the same bits on every instruction set. Source: Two<V> at(i, n) gives n lanes from i, zeros behind them.
template <class V, class Source> TERSOR_VEC_INLINE void fold_two(const Source& source, int64_t n, double* a, double* b) {
  constexpr int L = V::lanes, A = 32 / L;
  constexpr int64_t kBlock = 1024;
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t end = n - start < kBlock ? n : start + kBlock;
    V sa[A], sb[A];
    for (int k = 0; k < A; k++) sa[k] = sb[k] = V(0);
    int64_t i = start;
    for (; i + 32 <= end; i += 32)
      for (int k = 0; k < A; k++) {
        const Two<V> t = source.full(i + k * L);
        sa[k] = sa[k] + t.a, sb[k] = sb[k] + t.b;
      }
    for (int k = 0; k < A; k++) {
      const int64_t rest = end - i - k * L;
      if (rest <= 0) continue;
      const Two<V> t = rest >= L ? source.full(i + k * L) : source.part(i + k * L, rest);
      sa[k] = sa[k] + t.a, sb[k] = sb[k] + t.b;
    }
    for (int s = A / 2; s > 0; s /= 2)
      for (int k = 0; k < s; k++) sa[k] = sa[k] + sa[k + s], sb[k] = sb[k] + sb[k + s];
    *a += static_cast<double>(sum_lanes(sa[0]));
    *b += static_cast<double>(sum_lanes(sb[0]));
  }
}

// x - m and its square: m is a first estimate of the mean.
template <class V> struct Moments {
  const typename V::element* x;
  V m;
  TERSOR_VEC_INLINE Two<V> full(int64_t i) const {
    const V d = simd::load(x + i) - m;
    return {d, d * d};
  }
  TERSOR_VEC_INLINE Two<V> part(int64_t i, int64_t n) const {
    const V d = keep_first(simd::load_part(x + i, n) - m, n);
    return {d, d * d};
  }
};

template <class V> struct Normalised {
  const typename V::element* x;
  const typename V::element* residual;
  V m, d, s, b;
  bool relu;
  TERSOR_VEC_INLINE V finish(V v, V more) const {
    V t = simd::fma((v - m) - d, s, b);
    if (residual) t = t + more;
    return relu ? max(V(0), t) : t;
  }
  TERSOR_VEC_INLINE V full(int64_t i) const { return finish(simd::load(x + i), residual ? simd::load(residual + i) : V(0)); }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const { return finish(simd::load_part(x + i, n), residual ? simd::load_part(residual + i, n) : V(0)); }
};

template <class V> void batch_norm_run(const BatchNormArgs<typename V::element>& a) {
  using T = typename V::element;
  const double count = static_cast<double>(a.runs) * static_cast<double>(a.n);
  double sum = 0;
  for (int64_t r = 0; r < a.runs; r++) sum += simd::run_sum<V>(a.x + r * a.stride, a.n);
  const T m = static_cast<T>(sum / count);
  double left = 0, squares = 0;
  for (int64_t r = 0; r < a.runs; r++) fold_two<V>(Moments<V>{a.x + r * a.stride, V(m)}, a.n, &left, &squares);
  const double shift = left / count;
  double variance = squares / count - shift * shift;
  variance = variance < 0 ? 0 : variance;
  *a.mean = static_cast<T>(static_cast<double>(m) + shift);
  *a.variance = static_cast<T>(variance);
  const V vm(m), vd(static_cast<T>(shift)), vs(static_cast<T>(static_cast<double>(a.gamma) / __builtin_sqrt(variance + a.eps))), vb(a.beta);
  for (int64_t r = 0; r < a.runs; r++) {
    const Normalised<V> from = {a.x + r * a.stride, a.residual ? a.residual + r * a.stride : nullptr, vm, vd, vs, vb, a.relu};
    T* y = a.y + r * a.stride;
    int64_t i = 0;
    for (; i + V::lanes <= a.n; i += V::lanes) simd::store(y + i, from.full(i));
    if (i < a.n) simd::store_part(y + i, from.part(i, a.n - i), a.n - i);
  }
}

// The gradient behind the ReLU: dy where y > 0, all of it without y.
template <class V> struct Gated {
  const typename V::element* dy;
  const typename V::element* y;
  TERSOR_VEC_INLINE V full(int64_t i) const { return y ? select(simd::load(y + i) > V(0), simd::load(dy + i), V(0)) : simd::load(dy + i); }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const {
    return y ? select(simd::load_part(y + i, n) > V(0), simd::load_part(dy + i, n), V(0)) : simd::load_part(dy + i, n);
  }
};

// g and g h.
template <class V> struct Upstreams {
  const typename V::element* x;
  Gated<V> g;
  V m, s;
  TERSOR_VEC_INLINE Two<V> full(int64_t i) const {
    const V d = g.full(i);
    return {d, d * ((simd::load(x + i) - m) * s)};
  }
  TERSOR_VEC_INLINE Two<V> part(int64_t i, int64_t n) const {
    const V d = g.part(i, n);
    return {d, keep_first(d * ((simd::load_part(x + i, n) - m) * s), n)};
  }
};

template <class V> void batch_norm_grad_run(const BatchNormGradArgs<typename V::element>& a) {
  using T = typename V::element;
  const double count = static_cast<double>(a.runs) * static_cast<double>(a.n);
  const T rstd = static_cast<T>(1.0 / __builtin_sqrt(static_cast<double>(a.variance) + a.eps));
  const V m(a.mean), s(rstd);
  double beta = 0, gamma = 0;
  for (int64_t r = 0; r < a.runs; r++) {
    const T* const x = a.x + r * a.stride;
    Gated<V> g = {a.dy + r * a.stride, a.y ? a.y + r * a.stride : nullptr};
    if (a.dresidual) {
      T* const to = a.dresidual + r * a.stride;
      int64_t i = 0;
      for (; i + V::lanes <= a.n; i += V::lanes) simd::store(to + i, g.full(i));
      if (i < a.n) simd::store_part(to + i, g.part(i, a.n - i), a.n - i);
      g = {to, nullptr};
    }
    fold_two<V>(Upstreams<V>{x, g, m, s}, a.n, &beta, &gamma);
  }
  *a.dbeta = static_cast<T>(beta);
  *a.dgamma = static_cast<T>(gamma);
  const V scale(a.gamma * rstd), avg(static_cast<T>(beta / count)), avg_h(static_cast<T>(gamma / count));
  for (int64_t r = 0; r < a.runs; r++) {
    const T* const x = a.x + r * a.stride;
    const Gated<V> g = a.dresidual ? Gated<V>{a.dresidual + r * a.stride, nullptr} : Gated<V>{a.dy + r * a.stride, a.y ? a.y + r * a.stride : nullptr};
    T* const dx = a.dx + r * a.stride;
    int64_t i = 0;
    for (; i + V::lanes <= a.n; i += V::lanes) simd::store(dx + i, scale * ((g.full(i) - avg) - ((simd::load(x + i) - m) * s) * avg_h));
    if (i < a.n) {
      const int64_t n = a.n - i;
      simd::store_part(dx + i, scale * ((g.part(i, n) - avg) - ((simd::load_part(x + i, n) - m) * s) * avg_h), n);
    }
  }
}

template <class V> struct Squares {
  const typename V::element* x;
  TERSOR_VEC_INLINE V full(int64_t i) const {
    const V v = simd::load(x + i);
    return v * v;
  }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const {
    const V v = simd::load_part(x + i, n);
    return v * v;
  }
};

template <class V> void rms_norm_run(const RmsNormArgs<typename V::element>& a) {
  using T = typename V::element;
  for (int64_t r = 0; r < a.rows; r++) {
    const T* x = a.x + r * a.n;
    T* y = a.y + r * a.n;
    const double square = simd::fold_sum<V>(Squares<V>{x}, a.n) / static_cast<double>(a.n);
    const T rstd = static_cast<T>(1.0 / __builtin_sqrt(square + a.eps));
    a.rstd[r] = rstd;
    const V s(rstd);
    int64_t i = 0;
    for (; i + V::lanes <= a.n; i += V::lanes) {
      const V t = simd::load(x + i) * s;
      simd::store(y + i, a.gamma ? t * simd::load(a.gamma + i) : t);
    }
    if (i == a.n) continue;
    const V t = simd::load_part(x + i, a.n - i) * s;
    simd::store_part(y + i, a.gamma ? t * simd::load_part(a.gamma + i, a.n - i) : t, a.n - i);
  }
}

// g h = dy gamma x rstd.
template <class V> struct Projections {
  const typename V::element* x;
  const typename V::element* dy;
  const typename V::element* gamma;
  V s;
  TERSOR_VEC_INLINE V full(int64_t i) const {
    const V g = gamma ? simd::load(dy + i) * simd::load(gamma + i) : simd::load(dy + i);
    return g * (simd::load(x + i) * s);
  }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const {
    const V g = gamma ? simd::load_part(dy + i, n) * simd::load_part(gamma + i, n) : simd::load_part(dy + i, n);
    return keep_first(g * (simd::load_part(x + i, n) * s), n);
  }
};

template <class V> void rms_norm_grad_run(const RmsNormGradArgs<typename V::element>& a) {
  using T = typename V::element;
  for (int64_t r = 0; r < a.rows; r++) {
    const T* x = a.x + r * a.n;
    const T* dy = a.dy + r * a.n;
    T* dx = a.dx + r * a.n;
    const V s(a.rstd[r]);
    const V avg(static_cast<T>(simd::fold_sum<V>(Projections<V>{x, dy, a.gamma, s}, a.n) / static_cast<double>(a.n)));
    for (int64_t i = 0; i < a.n; i += V::lanes) {
      const int64_t rest = a.n - i;
      const bool whole = rest >= V::lanes;
      const V h = (whole ? simd::load(x + i) : simd::load_part(x + i, rest)) * s;
      const V d = whole ? simd::load(dy + i) : simd::load_part(dy + i, rest);
      const V g = a.gamma ? d * (whole ? simd::load(a.gamma + i) : simd::load_part(a.gamma + i, rest)) : d;
      const V out = s * (g - h * avg);
      if (whole) {
        if (a.dgamma) simd::store(a.dgamma + i, simd::fma(d, h, simd::load(a.dgamma + i)));
        simd::store(dx + i, out);
      } else {
        if (a.dgamma) simd::store_part(a.dgamma + i, simd::fma(d, h, simd::load_part(a.dgamma + i, rest)), rest);
        simd::store_part(dx + i, out, rest);
      }
    }
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
