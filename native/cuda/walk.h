// Elementwise loops over N inputs of any strides (0 = broadcast) and one row-major result. The host merges dimensions and decides how wide accesses are; the
// kernel gives each thread several vectors a block apart, loads all of them before it computes, and stores.
//
// A functor says what is computed:
//   struct F { using In = float; using Out = float; static constexpr int inputs = 2;
//              template <int n> __device__ void apply(const In (&x)[2][n], Out (&y)[n]) const; };
#pragma once
#include "cuda/launch.h"
#include "cuda/numeric.h"

namespace tersor {
namespace cuda {

constexpr int kWalkThreads = 256;

// Elements of a thread: 16, or what F::elements says. Functors with many long formulas take 8: half the code, and still enough bytes in flight.
template <class F, class = void> struct WalkElements {
  static constexpr int value = 16;
};
template <class F> struct WalkElements<F, std::void_t<decltype(F::elements)>> {
  static constexpr int value = F::elements;
};

template <int N> struct WalkDims {  // innermost last; at least one dimension
  int rank = 0;
  int64_t shape[kMaxRank + 1];
  int64_t stride[N][kMaxRank + 1];

  void push(int64_t n, const int64_t (&s)[N]) {
    bool merges = rank > 0;
    for (int k = 0; k < N && merges; k++) merges = stride[k][rank - 1] == s[k] * n;
    if (!merges) rank++;
    shape[rank - 1] = merges ? shape[rank - 1] * n : n;
    for (int k = 0; k < N; k++) stride[k][rank - 1] = s[k];
  }
};

// The result's dimensions with each input's strides; inputs are broadcast as NumPy does.
template <int N> WalkDims<N> walk_dims(const TensorRef* const (&in)[N], const TensorRef& y) {
  WalkDims<N> w;
  for (int i = 0; i < y.rank; i++) {
    if (y.shape[i] == 1) continue;
    int64_t s[N];
    for (int k = 0; k < N; k++) {
      const int from = in[k]->rank - y.rank + i;
      s[k] = from < 0 || in[k]->shape[from] == 1 ? 0 : in[k]->stride[from];
    }
    w.push(y.shape[i], s);
  }
  if (w.rank == 0) {
    w.rank = 1;
    w.shape[0] = 1;
    for (int k = 0; k < N; k++) w.stride[k][0] = 0;
  }
  return w;
}

// What a kernel gets. Indices count vectors of W elements; the last dimension is shape[last] / W of them.
template <int N, class In, class Out> struct WalkArgs {
  const In* x[N];
  Out* y;
  int rank;
  uint32_t count;              // vectors
  int tail;                    // elements of the last vector of a single dimension where it is not full, else 0
  int64_t step[N];             // of the innermost dimension
  int64_t stride[N][kMaxRank]; // by vectors in the last dimension
  FastDivide extent[kMaxRank];
};

template <class F, int W, int U>
__global__ void __launch_bounds__(kWalkThreads) walk_kernel(const __grid_constant__ WalkArgs<F::inputs, typename F::In, typename F::Out> a, const F f) {
  using In = typename F::In;
  using Out = typename F::Out;
  constexpr int N = F::inputs;
  In x[N][W * U];
  Out y[W * U];
  const uint32_t first = blockIdx.x * static_cast<uint32_t>(kWalkThreads * U) + threadIdx.x;
  TERSOR_UNROLL
  for (int u = 0; u < U; u++) {
    const uint32_t i = first + static_cast<uint32_t>(u * kWalkThreads);
    int64_t at[N];
    TERSOR_UNROLL
    for (int k = 0; k < N; k++) at[k] = 0;
    uint32_t rest = i;
    TERSOR_UNROLL
    for (int d = kMaxRank - 1; d > 0; d--) {
      if (d >= a.rank) continue;
      const uint32_t q = a.extent[d].quotient(rest), r = rest - q * a.extent[d].d;
      TERSOR_UNROLL
      for (int k = 0; k < N; k++) at[k] += static_cast<int64_t>(r) * a.stride[k][d];
      rest = q;
    }
    TERSOR_UNROLL
    for (int k = 0; k < N; k++) {
      const In* p = a.x[k] + at[k] + static_cast<int64_t>(rest) * a.stride[k][0];
      if (i >= a.count) continue;
      if (W > 1 && a.step[k] == 1 && (a.tail == 0 || i + 1 < a.count)) {
        const Vec<In, W> v = load_vec<In, W>(p);
        TERSOR_UNROLL
        for (int e = 0; e < W; e++) x[k][u * W + e] = v.v[e];
      } else {
        TERSOR_UNROLL
        for (int e = 0; e < W; e++) x[k][u * W + e] = e == 0 || a.tail == 0 || i + 1 < a.count || e < a.tail ? p[e * a.step[k]] : p[0];
      }
    }
  }
  f.template apply<W * U>(x, y);
  TERSOR_UNROLL
  for (int u = 0; u < U; u++) {
    const uint32_t i = first + static_cast<uint32_t>(u * kWalkThreads);
    if (i >= a.count) continue;
    Out* to = a.y + static_cast<int64_t>(i) * W;
    if (W > 1 && (a.tail == 0 || i + 1 < a.count)) {
      Vec<Out, W> v;
      TERSOR_UNROLL
      for (int e = 0; e < W; e++) v.v[e] = y[u * W + e];
      store_vec<Out, W>(to, v);
    } else {
      TERSOR_UNROLL
      for (int e = 0; e < W; e++)
        if (a.tail == 0 || i + 1 < a.count || e < a.tail) to[e] = y[u * W + e];
    }
  }
}

namespace walk_detail {

template <int W, class F, int N> Status run(Stream& s, const F& f, const WalkDims<N>& w, const typename F::In* const (&x)[N], typename F::Out* y) {
  const int last = w.rank - 1;
  WalkArgs<N, typename F::In, typename F::Out> a{};
  int64_t count = 1;
  for (int d = 0; d < w.rank; d++) {
    const int64_t n = d == last ? ceil_div(w.shape[d], int64_t(W)) : w.shape[d];
    a.extent[d] = FastDivide(static_cast<uint32_t>(n));
    count *= n;
  }
  a.rank = w.rank;
  a.count = static_cast<uint32_t>(count);
  a.tail = static_cast<int>(w.shape[last] % W);
  a.y = y;
  for (int k = 0; k < N; k++) {
    a.x[k] = x[k];
    a.step[k] = w.stride[k][last];
    for (int d = 0; d < w.rank; d++) a.stride[k][d] = w.stride[k][d] * (d == last ? W : 1);
  }
  constexpr int most = WalkElements<F>::value / W, U = most > 4 ? 4 : most > 1 ? most : 1;
  return launch<walk_kernel<F, W, U>>(s, ceil_div(count, int64_t(kWalkThreads * U)), kWalkThreads, 0, a, f);
}

}  // namespace walk_detail

// y[i] = f(x...) over the dimensions; more than 2^30 elements go in several launches.
template <class F, int N> Status walk(Stream& s, const F& f, WalkDims<N> w, const typename F::In* const (&x)[N], typename F::Out* y) {
  using In = typename F::In;
  using Out = typename F::Out;
  int64_t n = 1;
  for (int d = 0; d < w.rank; d++) n *= w.shape[d];
  if (n == 0) return {};
  if (n > int64_t(1) << 30) {  // halve the outermost dimension
    int d = 0;
    while (w.shape[d] == 1) d++;
    const int64_t whole = w.shape[d], half = whole / 2;
    const In* rest[N];
    for (int k = 0; k < N; k++) rest[k] = x[k] + half * w.stride[k][d];
    w.shape[d] = half;
    TERSOR_TRY(walk(s, f, w, x, y));
    w.shape[d] = whole - half;
    return walk(s, f, w, rest, y + n / whole * half);
  }
  constexpr int W = 16 / static_cast<int>(sizeof(In) > sizeof(Out) ? sizeof(In) : sizeof(Out));
  const int last = w.rank - 1;
  bool wide = (w.rank == 1 || w.shape[last] % W == 0) && aligned(y, W * static_cast<int64_t>(sizeof(Out)));
  for (int k = 0; k < N; k++) {
    if (w.stride[k][last] == 0) continue;
    wide = wide && w.stride[k][last] == 1 && aligned(x[k], W * static_cast<int64_t>(sizeof(In)));
    for (int d = 0; d < last; d++) wide = wide && w.stride[k][d] % W == 0;
  }
  return wide ? walk_detail::run<W>(s, f, w, x, y) : walk_detail::run<1>(s, f, w, x, y);
}

}  // namespace cuda
}  // namespace tersor
