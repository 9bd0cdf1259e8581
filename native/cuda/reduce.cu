// sum, amax, amin over a list of axes, f32 and f64, strided inputs. What is kept and what is reduced are index spaces of their own; one of them runs through
// memory (else the input is copied dense first):
//   rows      the reduced one: a group of 1 to 32 lanes, or a whole block, goes along each result's elements
//   columns   the kept one: a block has up to 32 vectors of columns beside each other and 8 or more rows above each other
// Few results with many elements are cut into chunks whose partial results a second launch combines. Chunks and groups follow from the shape alone and all
// orders are fixed: the same bits on every device. Sums: pairs of a 16-byte vector in f32, everything else in f64 (CPU: kernels/reduce/reduce.h); extremes are
// NaN as soon as an element is. Bound by memory: the input's bytes, once; four 16-byte loads in flight a thread.
#include <cmath>

#include "cuda/collect.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/numeric.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kFlight = 4;

template <class T> struct Summing {
  using In = T;
  using Acc = double;
  __device__ Acc identity() const { return 0; }
  __device__ Acc join(Acc a, Acc b) const { return a + b; }
  template <int n> __device__ Acc fold(const T (&v)[n]) const {
    if (n == 4) return static_cast<double>((v[0] + v[1 % n]) + (v[2 % n] + v[3 % n]));
    return n == 2 ? static_cast<double>(v[0]) + static_cast<double>(v[1 % n]) : static_cast<double>(v[0]);
  }
  __device__ Acc raise(T v) const { return static_cast<double>(v); }
};
template <class T> struct Choosing {
  using In = T;
  using Acc = T;
  bool largest;
  __device__ Acc identity() const { return largest ? -static_cast<T>(INFINITY) : static_cast<T>(INFINITY); }
  __device__ Acc join(Acc a, Acc b) const { return largest ? Largest{}(a, b) : Smallest{}(a, b); }
  template <int n> __device__ Acc fold(const T (&v)[n]) const {
    Acc a = v[0];
    TERSOR_UNROLL
    for (int i = 1; i < n; i++) a = join(a, v[i]);
    return a;
  }
  __device__ Acc raise(T v) const { return v; }
};

// An index space: dimensions outermost first, neighbours merged.
struct Space {
  int rank = 0;
  bool fast = true;  // all indices fit in 31 bits
  int64_t shape[kMaxRank], stride[kMaxRank];
  FastDivide extent[kMaxRank];

  void push(int64_t n, int64_t s) {
    const bool merges = rank > 0 && stride[rank - 1] == s * n;
    if (!merges) rank++;
    shape[rank - 1] = merges ? shape[rank - 1] * n : n;
    stride[rank - 1] = s;
  }
  int64_t close(int vector) {  // counts in vectors along the last dimension; the number of indices
    int64_t count = 1;
    if (rank == 0) push(1, 0);
    shape[rank - 1] /= vector;
    stride[rank - 1] *= vector;
    for (int d = 0; d < rank; d++) count *= shape[d];
    fast = count < INT32_MAX;
    for (int d = 0; d < rank && fast; d++) extent[d] = FastDivide(static_cast<uint32_t>(shape[d]));
    return count;
  }
  __device__ __forceinline__ int64_t offset(int64_t i) const {
    if (rank == 1) return i * stride[0];
    int64_t at = 0;
    if (fast) {
      uint32_t rest = static_cast<uint32_t>(i);
      for (int d = rank - 1; d > 0; d--) {
        const uint32_t q = extent[d].quotient(rest);
        at += static_cast<int64_t>(rest - q * extent[d].d) * stride[d];
        rest = q;
      }
      return at + static_cast<int64_t>(rest) * stride[0];
    }
    for (int d = rank - 1; d > 0; d--) {
      const int64_t q = i / shape[d];
      at += (i - q * shape[d]) * stride[d];
      i = q;
    }
    return at + i * stride[0];
  }
};

// Vectors begin, begin + step, ... below end of one result, folded in this order.
template <int W, class R> __device__ typename R::Acc accumulate(const R& r, const Space& reduced, const typename R::In* x, int64_t begin, int64_t end, int64_t step) {
  using T = typename R::In;
  typename R::Acc acc = r.identity();
  for (int64_t i = begin; i < end; i += kFlight * step) {
    Vec<T, W> v[kFlight];
    TERSOR_UNROLL
    for (int u = 0; u < kFlight; u++)
      if (i + u * step < end) v[u] = load_vec<T, W>(x + reduced.offset(i + u * step));
    TERSOR_UNROLL
    for (int u = 0; u < kFlight; u++)
      if (i + u * step < end) acc = r.join(acc, r.template fold<W>(v[u].v));
  }
  return acc;
}

// One result a group of `group` lanes (a power of two, at most 32).
template <int W, class R, class Out>
__global__ void __launch_bounds__(kThreads) reduce_rows_kernel(const R r, const __grid_constant__ Space kept, const __grid_constant__ Space reduced, const typename R::In* x, Out* y,
                                                        int64_t results, int64_t vectors, int group) {
  const int64_t k = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / group;
  const int lane = static_cast<int>(threadIdx.x) & (group - 1);
  typename R::Acc acc = r.identity();
  if (k < results) acc = accumulate<W>(r, reduced, x + kept.offset(k), lane, vectors, group);
  for (int by = group / 2; by > 0; by /= 2) acc = r.join(acc, __shfl_xor_sync(kFullMask, acc, by));
  if (k < results && lane == 0) y[k] = static_cast<Out>(acc);
}

// One chunk of a result a block; y[result * chunks + chunk].
template <int W, class R, class Out>
__global__ void __launch_bounds__(kThreads) chunk_kernel(const R r, const __grid_constant__ Space kept, const __grid_constant__ Space reduced, const typename R::In* x, Out* y,
                                                         int64_t vectors, int64_t chunk, int64_t chunks) {
  using Acc = typename R::Acc;
  const int64_t k = blockIdx.x / chunks, begin = (blockIdx.x - k * chunks) * chunk, end = begin + chunk < vectors ? begin + chunk : vectors;
  Acc acc = accumulate<W>(r, reduced, x + kept.offset(k), begin + threadIdx.x, end, kThreads);
  TERSOR_UNROLL
  for (int by = 16; by > 0; by /= 2) acc = r.join(acc, __shfl_xor_sync(kFullMask, acc, by));
  TERSOR_SHARED(Acc, part, kThreads / 32);
  if (lane_id() == 0) part[warp_id()] = acc;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int w = 1; w < kThreads / 32; w++) acc = r.join(acc, part[w]);
  y[blockIdx.x] = static_cast<Out>(acc);
}

// `across` vectors of W columns (a power of two, at most 32) and 256 / across rows; kept counts vectors. y[chunk * results + result].
template <int W, class R, class Out>
__global__ void __launch_bounds__(kThreads) columns_kernel(const R r, const __grid_constant__ Space kept, const __grid_constant__ Space reduced, const typename R::In* x, Out* y,
                                                           int64_t kept_vectors, int64_t rows, int64_t chunk, int64_t tiles, int across) {
  using T = typename R::In;
  using Acc = typename R::Acc;
  TERSOR_SHARED(Acc, part, kThreads * W);
  const int column = static_cast<int>(threadIdx.x) & (across - 1), above = static_cast<int>(threadIdx.x) / across, down = kThreads / across;
  const int64_t part_index = blockIdx.x / tiles, k = (blockIdx.x - part_index * tiles) * across + column;
  const int64_t begin = part_index * chunk, end = begin + chunk < rows ? begin + chunk : rows;
  Acc acc[W];
  TERSOR_UNROLL
  for (int e = 0; e < W; e++) acc[e] = r.identity();
  if (k < kept_vectors) {
    const T* p = x + kept.offset(k);
    for (int64_t i = begin + above; i < end; i += static_cast<int64_t>(kFlight) * down) {
      Vec<T, W> v[kFlight];
      TERSOR_UNROLL
      for (int u = 0; u < kFlight; u++)
        if (i + static_cast<int64_t>(u) * down < end) v[u] = load_vec<T, W>(p + reduced.offset(i + static_cast<int64_t>(u) * down));
      TERSOR_UNROLL
      for (int u = 0; u < kFlight; u++)
        if (i + static_cast<int64_t>(u) * down < end) {
          TERSOR_UNROLL
          for (int e = 0; e < W; e++) acc[e] = r.join(acc[e], r.raise(v[u].v[e]));
        }
    }
  }
  TERSOR_UNROLL
  for (int e = 0; e < W; e++) part[e * kThreads + static_cast<int>(threadIdx.x)] = acc[e];
  for (int half = down / 2; half > 0; half /= 2) {
    __syncthreads();
    if (above < half) {
      TERSOR_UNROLL
      for (int e = 0; e < W; e++) {
        Acc& own = part[e * kThreads + static_cast<int>(threadIdx.x)];
        own = r.join(own, part[e * kThreads + static_cast<int>(threadIdx.x) + half * across]);
      }
    }
  }
  if (above > 0 || k >= kept_vectors) return;
  TERSOR_UNROLL
  for (int e = 0; e < W; e++) y[(part_index * kept_vectors + k) * W + e] = static_cast<Out>(part[e * kThreads + static_cast<int>(threadIdx.x)]);
}

// Combines partial results: one warp a result, `chunks` of them `step` apart.
template <class R> __global__ void __launch_bounds__(kThreads) finish_kernel(const R r, const typename R::Acc* part, typename R::In* y, int64_t results, int64_t chunks, int64_t step, int64_t between) {
  const int64_t k = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  typename R::Acc acc = r.identity();
  if (k < results)
    for (int64_t c = lane_id(); c < chunks; c += 32) acc = r.join(acc, part[k * between + c * step]);
  TERSOR_UNROLL
  for (int by = 16; by > 0; by /= 2) acc = r.join(acc, __shfl_xor_sync(kFullMask, acc, by));
  if (k < results && lane_id() == 0) y[k] = static_cast<typename R::In>(acc);
}

template <class R> Status finish(Stream& s, const R& r, const typename R::Acc* part, typename R::In* y, int64_t results, int64_t chunks, int64_t step, int64_t between) {
  return launch<finish_kernel<R>>(s, ceil_div(results * 32, int64_t(kThreads)), kThreads, 0, r, part, y, results, chunks, step, between);
}

int64_t power_of_two_above(int64_t n, int64_t most) {
  int64_t p = 1;
  while (p < n && p < most) p *= 2;
  return p;
}

template <int W, class R> Status reduce_rows(Stream& s, const R& r, Space kept, Space reduced, const typename R::In* x, typename R::In* y) {
  using T = typename R::In;
  using Acc = typename R::Acc;
  const int64_t results = kept.close(1), vectors = reduced.close(W);
  if (vectors <= 1024 && results * 32 < int64_t(INT32_MAX) * kThreads) {
    const int64_t group = power_of_two_above(ceil_div(vectors, int64_t(kFlight)), 32);
    return launch<reduce_rows_kernel<W, R, T>>(s, ceil_div(results * group, int64_t(kThreads)), kThreads, 0, r, kept, reduced, x, y, results, vectors, static_cast<int>(group));
  }
  // At least 8 rounds of loads a chunk, at most 1024 chunks, no more than make 2048 blocks.
  int64_t chunks = ceil_div(vectors, int64_t(8) * kFlight * kThreads);
  const int64_t most = results >= 2048 ? 1 : ceil_div(int64_t(2048), results);
  chunks = chunks < most ? chunks : most;
  chunks = chunks < 1024 ? chunks : 1024;
  const int64_t chunk = ceil_div(vectors, chunks);
  chunks = ceil_div(vectors, chunk);
  if (chunks == 1) return launch<chunk_kernel<W, R, T>>(s, results, kThreads, 0, r, kept, reduced, x, y, vectors, chunk, chunks);
  Acc* part;
  TERSOR_TRY(s.scratch(results * chunks, &part));
  auto first = launch<chunk_kernel<W, R, Acc>>(s, results * chunks, kThreads, 0, r, kept, reduced, x, part, vectors, chunk, chunks);
  TERSOR_TRY(first);
  return finish(s, r, part, y, results, chunks, 1, chunks);
}

template <int W, class R> Status reduce_columns(Stream& s, const R& r, Space kept, Space reduced, const typename R::In* x, typename R::In* y) {
  using T = typename R::In;
  using Acc = typename R::Acc;
  const int64_t vectors = kept.close(W), rows = reduced.close(1), results = vectors * W;
  const int64_t across = power_of_two_above(vectors, 32), down = kThreads / across, tiles = ceil_div(vectors, across);
  int64_t chunks = tiles >= 1024 ? 1 : ceil_div(int64_t(1024), tiles);
  const int64_t most = ceil_div(rows, 4 * kFlight * down);
  chunks = chunks < most ? chunks : most;
  chunks = chunks < 512 ? chunks : 512;
  const int64_t chunk = ceil_div(rows, chunks);
  chunks = ceil_div(rows, chunk);
  if (chunks == 1) return launch<columns_kernel<W, R, T>>(s, tiles, kThreads, 0, r, kept, reduced, x, y, vectors, rows, chunk, tiles, static_cast<int>(across));
  Acc* part;
  TERSOR_TRY(s.scratch(results * chunks, &part));
  auto first = launch<columns_kernel<W, R, Acc>>(s, tiles * chunks, kThreads, 0, r, kept, reduced, x, part, vectors, rows, chunk, tiles, static_cast<int>(across));
  TERSOR_TRY(first);
  return finish(s, r, part, y, results, chunks, results, 1);
}

// Whether W elements of every index of `outer` and of the last dimension of `inner` may be read at once.
bool wide(const void* x, const Space& outer, const Space& inner, int64_t W, int64_t bytes) {
  bool fits = aligned(x, W * bytes) && inner.shape[inner.rank - 1] % W == 0;
  for (int d = 0; d < outer.rank; d++) fits = fits && outer.stride[d] % W == 0;
  for (int d = 0; d + 1 < inner.rank; d++) fits = fits && inner.stride[d] % W == 0;
  return fits;
}

template <class R> Status reduce_typed(Stream& s, const R& r, const TensorRef& input, const IntList& axes, TensorRef& y) {
  using T = typename R::In;
  constexpr int W = 16 / static_cast<int>(sizeof(T));
  if (y.size() == 0) return {};
  if (input.size() == 0) return s.fill(y.data, 0, y.bytes());
  uint32_t gone = axes.n == 0 ? (1u << input.rank) - 1 : 0;
  for (int i = 0; i < axes.n; i++) gone |= 1u << (axes.v[i] < 0 ? axes.v[i] + input.rank : axes.v[i]);
  TensorRef x = input;
  for (int attempt = 0; attempt < 2; attempt++) {
    Space kept, reduced;
    for (int i = 0; i < x.rank; i++)
      if (x.shape[i] != 1) (gone & (1u << i) ? reduced : kept).push(x.shape[i], x.stride[i]);
    if (reduced.rank > 0 && reduced.stride[reduced.rank - 1] == 1) {
      if (wide(x.data, kept, reduced, W, sizeof(T))) return reduce_rows<W>(s, r, kept, reduced, x.as<T>(), y.as<T>());
      return reduce_rows<1>(s, r, kept, reduced, x.as<T>(), y.as<T>());
    }
    if (kept.rank > 0 && kept.stride[kept.rank - 1] == 1) {
      if (wide(x.data, reduced, kept, W, sizeof(T))) return reduce_columns<W>(s, r, kept, reduced, x.as<T>(), y.as<T>());
      return reduce_columns<1>(s, r, kept, reduced, x.as<T>(), y.as<T>());
    }
    if (kept.rank == 0 && reduced.rank == 0) return s.copy(y.data, x.data, y.bytes());  // one element
    if (attempt == 1) break;
    TERSOR_TRY(dense(s, x, &x));
    if (x.data == input.data) break;
  }
  return fail(Code::internal, "%s: a dense input that has no innermost dimension", s.op());
}

template <class Args> Status choose(Stream& s, Args& a, bool largest) {
  if (a.x.dtype == DType::f64) return reduce_typed(s, Choosing<double>{largest}, a.x, a.axes, a.y);
  return reduce_typed(s, Choosing<float>{largest}, a.x, a.axes, a.y);
}

}  // namespace

Status sum_float(Stream& s, sum_args& a) {
  if (a.x.dtype == DType::f64) return reduce_typed(s, Summing<double>{}, a.x, a.axes, a.y);
  return reduce_typed(s, Summing<float>{}, a.x, a.axes, a.y);
}
Status amax_float(Stream& s, amax_args& a) { return choose(s, a, true); }
Status amin_float(Stream& s, amin_args& a) { return choose(s, a, false); }

}  // namespace cuda
}  // namespace tersor
