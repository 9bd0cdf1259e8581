// The bodies, written once over the vector in scope.
#pragma once
#include "kernels/attention/attention.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

template <class T> TERSOR_VEC_INLINE int64_t columns_seen(const AttentionBlock<T>& b, int64_t r) {
  const int64_t seen = b.visible + r;
  return seen >= b.n ? b.n : seen > 0 ? seen : 0;
}

// Lanes of a row: the scores with what is added, hidden ones at -infinity.
template <class V> struct Scores {
  using T = typename V::element;
  V scale;
  const T *s, *bias, *mask;
  TERSOR_VEC_INLINE V at(int64_t j, int64_t n) const {
    const bool whole = n >= V::lanes;
    V t = (whole ? simd::load(s + j) : simd::load_part(s + j, n)) * scale;
    if (!bias && !mask) return t;
    V added(0);
    if (bias) added = whole ? simd::load(bias + j) : simd::load_part(bias + j, n);
    if (mask) added = added + (whole ? simd::load(mask + j) : simd::load_part(mask + j, n));
    t = t + added;
    return select(added < V(static_cast<T>(kHiddenScore)), V(static_cast<T>(-INFINITY)), t);
  }
};
template <class V, class T> TERSOR_VEC_INLINE Scores<V> scores_of(const AttentionBlock<T>& b, int64_t r) {
  return {V(b.scale), b.s + r * b.ld, b.column_bias, b.mask ? b.mask + r * b.mask_row : nullptr};
}

template <class V> TERSOR_VEC_INLINE void put(typename V::element* p, V x, int64_t n) {
  if (n >= V::lanes) simd::store(p, x);
  else simd::store_part(p, x, n);
}
TERSOR_VEC_INLINE simd::F32 chances(const float* p, int64_t n, simd::F32) { return n >= simd::F32::lanes ? simd::load(p) : simd::load_part(p, n); }
#if defined(TERSOR_VEC_SCALAR)
TERSOR_VEC_INLINE simd::F64 chances(const float* p, int64_t, simd::F64) { return simd::F64(static_cast<double>(*p)); }
#endif

template <class V> void soften(const AttentionBlock<typename V::element>& b) {
  using T = typename V::element;
  constexpr int64_t L = V::lanes;
  const V keep(static_cast<T>(b.keep));
  for (int64_t r = 0; r < b.rows; r++) {
    const Scores<V> scores = scores_of<V>(b, r);
    const int64_t seen = columns_seen(b, r);
    T* s = b.s + r * b.ld;
    const V hidden(static_cast<T>(-INFINITY));
    V top = hidden;
    for (int64_t j = 0; j < seen; j += L) {
      const int64_t n = seen - j;
      V t = scores.at(j, n);
      put(s + j, t, n);
      if (n < L) t = select(simd::lanes_below(n), t, hidden);
      top = max(t, top);  // a NaN leaves it; the sum takes note
    }
    T m = simd::max_lanes(top);
    if (b.max[r] > m) m = b.max[r];
    const V shift(m > static_cast<T>(-INFINITY) ? m : T(0));
    V total(0);
    for (int64_t j = 0; j < seen; j += L) {
      const int64_t n = seen - j;
      V p = exp((n >= L ? simd::load(s + j) : simd::load_part(s + j, n)) - shift);
      if (n < L) p = keep_first(p, n);
      total = total + p;
      if (b.uniform) p = select(chances(b.uniform + r * b.uniform_row + j, n, p) < keep, p, V(0));
      put(s + j, p, n);
    }
    for (int64_t j = seen; j < b.n; j++) s[j] = T(0);
    const T before = b.max[r], factor = !(before > static_cast<T>(-INFINITY)) ? T(0) : before == m ? T(1) : simd::max_lanes(exp(V(before - m)));
    b.sum[r] = b.sum[r] * factor + simd::sum_lanes(total);
    b.factor[r] = factor;
    b.max[r] = m;
  }
}

template <class V> void slopes(const AttentionBlock<typename V::element>& b) {
  using T = typename V::element;
  constexpr int64_t L = V::lanes;
  const V keep(static_cast<T>(b.keep)), gain(static_cast<T>(1) / static_cast<T>(b.keep)), scale(b.scale);
  for (int64_t r = 0; r < b.rows; r++) {
    const Scores<V> scores = scores_of<V>(b, r);
    const int64_t seen = b.lse[r] == static_cast<T>(INFINITY) ? 0 : columns_seen(b, r);
    T *s = b.s + r * b.ld, *d = b.d + r * b.d_ld;
    const V lse(b.lse[r]), delta(b.delta[r]);
    for (int64_t j = 0; j < seen; j += L) {
      const int64_t n = seen - j;
      V p = exp(scores.at(j, n) - lse), u = n >= L ? simd::load(d + j) : simd::load_part(d + j, n), out = p;
      if (b.uniform) {
        const auto kept = chances(b.uniform + r * b.uniform_row + j, n, p) < keep;
        u = select(kept, u * gain, V(0));
        out = select(kept, p * gain, V(0));
      }
      put(d + j, p * (u - delta) * scale, n);
      put(s + j, out, n);
    }
    for (int64_t j = seen; j < b.n; j++) s[j] = d[j] = T(0);
  }
}

template <class V> void scale_rows(const AttentionBlock<typename V::element>& b) {
  constexpr int64_t L = V::lanes;
  for (int64_t r = 0; r < b.rows; r++) {
    auto* s = b.s + r * b.ld;
    const V factor(b.factor[r]);
    for (int64_t j = 0; j < b.n; j += L) put(s + j, (b.n - j >= L ? simd::load(s + j) : simd::load_part(s + j, b.n - j)) * factor, b.n - j);
  }
}

template <class V> void dot_rows(const AttentionBlock<typename V::element>& b) {
  constexpr int64_t L = V::lanes;
  for (int64_t r = 0; r < b.rows; r++) {
    const auto *s = b.s + r * b.ld, *d = b.d + r * b.d_ld;
    V total(0);
    for (int64_t j = 0; j < b.n; j += L) {
      const int64_t n = b.n - j;
      total = n >= L ? fma(simd::load(s + j), simd::load(d + j), total) : fma(simd::load_part(s + j, n), simd::load_part(d + j, n), total);
    }
    b.delta[r] = simd::sum_lanes(total);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
