// The bodies, written once over the vector in scope. Several rows of the image go together: narrow images give enough independent sums to hide
// the latency of the multiply-add.
#pragma once
#include "kernels/depthwise/depthwise.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

template <class V, int R, int N, bool EDGE>
TERSOR_VEC_INLINE void depthwise_tile(const DepthwiseArgs<typename V::element>& a, int64_t r, int64_t j, int64_t live) {
  using T = typename V::element;
  V acc[R][N];
  for (int i = 0; i < R; i++)
    for (int v = 0; v < N; v++) acc[i][v] = V(a.init);
  const T* x = a.x + r * a.x_row + j;
  for (int64_t t = 0; t < a.taps; t++) {
    const T* from = x + a.offset[t];
    const V w(a.w[t]);
    for (int i = 0; i < R; i++)
      for (int v = 0; v < N; v++)
        acc[i][v] = simd::fma(w, EDGE ? simd::load_part(from + i * a.x_row, live) : simd::load(from + i * a.x_row + v * V::lanes), acc[i][v]);
  }
  T* y = a.y + r * a.y_row + j;
  for (int i = 0; i < R; i++)
    for (int v = 0; v < N; v++)
      if (EDGE) simd::store_part(y + i * a.y_row, acc[i][v], live);
      else simd::store(y + i * a.y_row + v * V::lanes, acc[i][v]);
}

template <class V, int R> TERSOR_VEC_INLINE void depthwise_band(const DepthwiseArgs<typename V::element>& a, int64_t r) {
  constexpr int L = V::lanes;
  int64_t j = 0;
  if (L > 1)
    for (; j + 2 * L <= a.n; j += 2 * L) depthwise_tile<V, R, (L > 1 ? 2 : 1), false>(a, r, j, 0);
  for (; j + L <= a.n; j += L) depthwise_tile<V, R, 1, false>(a, r, j, 0);
  if (L > 1 && j < a.n) depthwise_tile<V, R, 1, true>(a, r, j, a.n - j);
}

template <class V> void depthwise_run(const DepthwiseArgs<typename V::element>& a) {
  constexpr int R = V::lanes > 1 ? 4 : 1;
  int64_t r = 0;
  for (; r + R <= a.rows; r += R) depthwise_band<V, R>(a, r);
  for (; r < a.rows; r++) depthwise_band<V, 1>(a, r);
}

template <class V, int N> TERSOR_VEC_INLINE void depthwise_dot_taps(const DepthwiseDotArgs<typename V::element>& a, int64_t t) {
  using T = typename V::element;
  constexpr int L = V::lanes;
  constexpr int64_t kRun = 64;  // vectors added in the element type before they go to double
  const T* x[N];
  for (int k = 0; k < N; k++) x[k] = a.x + a.offset[t + k];
  V acc[N];
  for (int k = 0; k < N; k++) acc[k] = V(T(0));
  int64_t added = 0;
  for (int64_t r = 0; r < a.rows; r++) {
    const T* d = a.d + r * a.d_row;
    const int64_t at = r * a.x_row;
    for (int64_t j = 0; j < a.n; j += L) {
      const int64_t rest = a.n - j;
      if (rest >= L) {
        const V v = simd::load(d + j);
        for (int k = 0; k < N; k++) acc[k] = simd::fma(v, simd::load(x[k] + at + j), acc[k]);
      } else {
        const V v = simd::load_part(d + j, rest);
        for (int k = 0; k < N; k++) acc[k] = simd::fma(v, simd::load_part(x[k] + at + j, rest), acc[k]);
      }
      if (++added < kRun) continue;
      added = 0;
      for (int k = 0; k < N; k++) {
        a.sum[t + k] += static_cast<double>(sum_lanes(acc[k]));
        acc[k] = V(T(0));
      }
    }
  }
  for (int k = 0; k < N; k++) a.sum[t + k] += static_cast<double>(sum_lanes(acc[k]));
}

template <class V> void depthwise_dot_run(const DepthwiseDotArgs<typename V::element>& a) {
  constexpr int N = V::lanes > 1 ? 9 : 3;
  int64_t t = 0;
  for (; t + N <= a.taps; t += N) depthwise_dot_taps<V, N>(a, t);
  if (V::lanes > 1)
    for (; t + 5 <= a.taps; t += 5) depthwise_dot_taps<V, (V::lanes > 1 ? 5 : 1)>(a, t);
  for (; t < a.taps; t++) depthwise_dot_taps<V, 1>(a, t);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
