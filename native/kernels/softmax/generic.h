// The body, written once over the vector in scope.
#pragma once
#include "kernels/softmax/softmax.h"
#include "simd/fold.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// exp(x - m) on the way through fold_sum; also writes it when `y` is given.
template <class V, bool Write> struct Exponentials {
  using T = typename V::element;
  const T* x;
  T* y;
  V m;
  TERSOR_VEC_INLINE V full(int64_t i) const {
    const V e = exp(simd::load(x + i) - m);
    if (Write) simd::store(y + i, e);
    return e;
  }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const {
    const V e = keep_first(exp(simd::load_part(x + i, n) - m), n);
    if (Write) simd::store_part(y + i, e, n);
    return e;
  }
};

template <class V, class F> TERSOR_VEC_INLINE void map_row(const typename V::element* x, typename V::element* y, int64_t n, const F& f) {
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) simd::store(y + i, f(simd::load(x + i)));
  if (i < n) simd::store_part(y + i, f(simd::load_part(x + i, n - i)), n - i);
}
template <class V> struct Times {
  V a;
  TERSOR_VEC_INLINE V operator()(V x) const { return x * a; }
};
template <class V> struct MinusTwice {
  V a, b;
  TERSOR_VEC_INLINE V operator()(V x) const { return (x - a) - b; }
};

template <class V> void softmax_run(const SoftmaxArgs<typename V::element>& a) {
  using T = typename V::element;
  if (a.n == 0) return;
  for (int64_t r = 0; r < a.rows; r++) {
    const T* x = a.x + r * a.n;
    T* y = a.y + r * a.n;
    const T m = simd::run_extreme<V, simd::Larger>(x, a.n);
    if (m == static_cast<T>(-INFINITY)) {
      for (int64_t i = 0; i < a.n; i++) y[i] = a.log ? static_cast<T>(-INFINITY) : T(0);
    } else if (a.log) {
      const double s = simd::fold_sum<V>(Exponentials<V, false>{x, nullptr, V(m)}, a.n);
      map_row<V>(x, y, a.n, MinusTwice<V>{V(m), log(V(static_cast<T>(s)))});
    } else {
      const double s = simd::fold_sum<V>(Exponentials<V, true>{x, y, V(m)}, a.n);
      map_row<V>(y, y, a.n, Times<V>{V(static_cast<T>(1.0 / s))});
    }
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
