// Sums and extremes of contiguous runs over the vector in scope, the same bits on every instruction set: a run is cut into blocks of 2048
// elements; within a block element i goes to lane i % 64 (at most 32 additions a lane), the 64 lanes are folded by halves, and the block
// sums are added in double. Error of a f32 sum: <= 38 * 2^-24 * sum|x|.
#pragma once
#include "simd/vec_common.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace simd {
namespace {

constexpr int64_t kFoldBlock = 2048;
constexpr int kFoldLanes = 64;

// Source: V full(i) gives lanes i.., V part(i, n) gives n lanes and zeros behind them.
template <class V, class Source> TERSOR_VEC_INLINE double fold_sum(const Source& source, int64_t n) {
  constexpr int L = V::lanes, A = kFoldLanes / L;
  if (n <= L) return n == 0 ? 0.0 : static_cast<double>(sum_lanes(V(0) + source.part(0, n)));
  double total = 0;
  for (int64_t start = 0; start < n; start += kFoldBlock) {
    const int64_t end = n - start < kFoldBlock ? n : start + kFoldBlock;
    V acc[A];
    for (int k = 0; k < A; k++) acc[k] = V(0);
    int64_t i = start;
    for (; i + kFoldLanes <= end; i += kFoldLanes)
      for (int k = 0; k < A; k++) acc[k] = acc[k] + source.full(i + k * L);
    for (int k = 0; k < A; k++) {
      const int64_t rest = end - i - k * L;
      if (rest >= L) acc[k] = acc[k] + source.full(i + k * L);
      else if (rest > 0) acc[k] = acc[k] + source.part(i + k * L, rest);
    }
    for (int s = A / 2; s > 0; s /= 2)
      for (int k = 0; k < s; k++) acc[k] = acc[k] + acc[k + s];
    total += static_cast<double>(sum_lanes(acc[0]));
  }
  return total;
}

template <class V> struct Values {
  const typename V::element* x;
  TERSOR_VEC_INLINE V full(int64_t i) const { return load(x + i); }
  TERSOR_VEC_INLINE V part(int64_t i, int64_t n) const { return load_part(x + i, n); }
};

template <class V> TERSOR_VEC_INLINE double run_sum(const typename V::element* x, int64_t n) { return fold_sum<V>(Values<V>{x}, n); }

struct Larger {
  template <class V> static TERSOR_VEC_INLINE V of(V a, V b) { return max(a, b); }
  template <class V> static TERSOR_VEC_INLINE typename V::element lanes(V a) { return max_lanes(a); }
  template <class T> static TERSOR_VEC_INLINE bool better(T a, T b) { return a > b; }
};
struct Smaller {
  template <class V> static TERSOR_VEC_INLINE V of(V a, V b) { return min(a, b); }
  template <class V> static TERSOR_VEC_INLINE typename V::element lanes(V a) { return min_lanes(a); }
  template <class T> static TERSOR_VEC_INLINE bool better(T a, T b) { return a < b; }
};

// Largest (or smallest) of n >= 1 elements; NaN when any is NaN. Which of +0 and -0 is found is not specified.
template <class V, class Which> TERSOR_VEC_INLINE typename V::element run_extreme(const typename V::element* x, int64_t n) {
  using T = typename V::element;
  constexpr int L = V::lanes;
  V acc[4];
  for (int k = 0; k < 4; k++) acc[k] = V(x[0]);
  M32 nan = is_nan(acc[0]);
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L)
    for (int k = 0; k < 4; k++) {
      const V v = load(x + i + k * L);
      nan = nan | is_nan(v);
      acc[k] = Which::of(v, acc[k]);  // keeps acc where v is NaN
    }
  for (; i + L <= n; i += L) {
    const V v = load(x + i);
    nan = nan | is_nan(v);
    acc[0] = Which::of(v, acc[0]);
  }
  if (i < n) {
    const V v = select(lanes_below(n - i), load_part(x + i, n - i), acc[0]);
    nan = nan | is_nan(v);
    acc[0] = Which::of(v, acc[0]);
  }
  if (any(nan)) return static_cast<T>(NAN);
  return Which::lanes(Which::of(Which::of(acc[0], acc[1]), Which::of(acc[2], acc[3])));
}

// Position of the first element equal to `value`, or of the first NaN when it is NaN; n when there is none.
template <class V> TERSOR_VEC_INLINE int64_t run_find(const typename V::element* x, int64_t n, typename V::element value) {
  const bool nan = value != value;
  const V wanted(value);
  for (int64_t i = 0; i < n; i += V::lanes) {
    const int64_t rest = n - i < V::lanes ? n - i : V::lanes;
    const V v = load_part(x + i, rest);
    const uint32_t hits = mask_bits((nan ? is_nan(v) : v == wanted) & lanes_below(rest));
    if (hits == 0) continue;
#if defined(__GNUC__)
    return i + __builtin_ctz(hits);
#else
    int64_t lane = 0;
    while (!(hits >> lane & 1u)) lane++;
    return i + lane;
#endif
  }
  return n;
}

}  // namespace
}  // namespace simd
}  // namespace tersor
TERSOR_VEC_END
