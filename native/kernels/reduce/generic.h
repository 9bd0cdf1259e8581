// The bodies, written once over the vector in scope.
#pragma once
#include "kernels/reduce/reduce.h"
#include "simd/fold.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int64_t kColumnBlock = 32;  // rows added in the element type before a column goes to its double

// K vectors of columns at once; n < lanes only in the last one.
template <class V, int K> TERSOR_VEC_INLINE void sum_strip(const ReduceArgs<typename V::element>& a, int64_t c, int64_t n) {
  using T = typename V::element;
  constexpr int L = V::lanes;
  for (int64_t start = 0; start < a.rows; start += kColumnBlock) {
    const int64_t end = a.rows - start < kColumnBlock ? a.rows : start + kColumnBlock;
    V acc[K];
    for (int k = 0; k < K; k++) acc[k] = V(0);
    const T* p = a.x + start * a.row_stride + c;
    if (n == K * L) {
      for (int64_t r = start; r < end; r++, p += a.row_stride)
        for (int k = 0; k < K; k++) acc[k] = acc[k] + simd::load(p + k * L);
    } else {
      for (int64_t r = start; r < end; r++, p += a.row_stride) acc[0] = acc[0] + simd::load_part(p, n);
    }
    T part[K * L];
    for (int k = 0; k < K; k++) simd::store(part + k * L, acc[k]);
    for (int64_t i = 0; i < n; i++) a.sums[c + i] += static_cast<double>(part[i]);
  }
}

template <class V> void sum_columns(const ReduceArgs<typename V::element>& a) {
  constexpr int L = V::lanes;
  int64_t c = 0;
  for (; c + 4 * L <= a.cols; c += 4 * L) sum_strip<V, 4>(a, c, 4 * L);
  for (; c < a.cols; c += L) sum_strip<V, 1>(a, c, a.cols - c < L ? a.cols - c : L);
}

template <class V, class Which> void extreme_rows(const ReduceArgs<typename V::element>& a) {
  using T = typename V::element;
  if (a.cols == 0) return;
  for (int64_t r = 0; r < a.rows; r++) {
    const T v = simd::run_extreme<V, Which>(a.x + r * a.row_stride, a.cols);
    T& best = a.extremes[r];
    if (best == best && (v != v || Which::better(v, best))) best = v;
  }
}

template <class V, class Which> void extreme_columns(const ReduceArgs<typename V::element>& a) {
  constexpr int L = V::lanes;
  for (int64_t c = 0; c < a.cols; c += L) {
    const int64_t n = a.cols - c < L ? a.cols - c : L;
    V best = simd::load_part(a.extremes + c, n);
    for (int64_t r = 0; r < a.rows; r++) {
      const V v = n == L ? simd::load(a.x + r * a.row_stride + c) : simd::load_part(a.x + r * a.row_stride + c, n);
      best = select(is_nan(best), best, Which::of(best, v));  // of() gives v when v is NaN
    }
    simd::store_part(a.extremes + c, best, n);
  }
}

// x - x is 0 for finite x, NaN otherwise.
template <class T> void count_nonfinite_rows(const ReduceArgs<T>& a) {
  for (int64_t r = 0; r < a.rows; r++) {
    const T* x = a.x + r * a.row_stride;
    int64_t count = 0;
    for (int64_t start = 0; start < a.cols; start += 4096) {
      const int64_t end = a.cols - start < 4096 ? a.cols : start + 4096;
      int32_t part = 0;
      for (int64_t i = start; i < end; i++) part += x[i] - x[i] == T(0) ? 0 : 1;
      count += part;
    }
    a.sums[r] += static_cast<double>(count);
  }
}

template <class V> void reduce_run(const ReduceArgs<typename V::element>& a) {
  switch (a.op) {
    case ReduceOp::sum_rows:
      for (int64_t r = 0; r < a.rows; r++) a.sums[r] += simd::run_sum<V>(a.x + r * a.row_stride, a.cols);
      return;
    case ReduceOp::sum_columns: return sum_columns<V>(a);
    case ReduceOp::max_rows: return extreme_rows<V, simd::Larger>(a);
    case ReduceOp::max_columns: return extreme_columns<V, simd::Larger>(a);
    case ReduceOp::min_rows: return extreme_rows<V, simd::Smaller>(a);
    case ReduceOp::min_columns: return extreme_columns<V, simd::Smaller>(a);
    case ReduceOp::count_nonfinite_rows: return count_nonfinite_rows<typename V::element>(a);
    case ReduceOp::argmax_rows:
      for (int64_t r = 0; r < a.rows; r++) {
        const typename V::element* x = a.x + r * a.row_stride;
        a.index[r] = static_cast<int32_t>(simd::run_find<V>(x, a.cols, simd::run_extreme<V, simd::Larger>(x, a.cols)));
      }
      return;
    default: return;
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
