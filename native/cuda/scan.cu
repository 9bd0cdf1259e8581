// argmax over the last axis, counts, cumulative sums. Bound by memory: the input once; cumsum moves it twice (three times where few long rows are cut into
// chunks). Orders are fixed by the shape.
#include "cuda/collect.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/numeric.h"

namespace tersor {
namespace cuda {
namespace {

// --- argmax: the first of the largest; the first NaN where there is one ---
template <class T> struct Best {
  T value;
  int32_t index;  // -1: nothing yet
};
template <class T> __device__ __forceinline__ bool better(const Best<T>& b, const Best<T>& a) {  // b than a
  if (b.index < 0 || a.index < 0) return a.index < 0 && b.index >= 0;
  const bool nan_a = a.value != a.value, nan_b = b.value != b.value;
  if (nan_a != nan_b) return nan_b;
  if (nan_a || a.value == b.value) return b.index < a.index;
  return b.value > a.value;
}

// One chunk of a row a group of `group` lanes (32) or the whole block (256): row = item / chunks.
template <class T>
__global__ void __launch_bounds__(kThreads) argmax_kernel(const T* x, Best<T>* part, int32_t* y, int64_t rows, int64_t n, int64_t chunk, int64_t chunks, int group) {
  const int64_t item = static_cast<int64_t>(blockIdx.x) * (kThreads / group) + static_cast<int>(threadIdx.x) / group, row = item / chunks;
  const int64_t begin = (item - row * chunks) * chunk, end = begin + chunk < n ? begin + chunk : n;
  Best<T> best{T(0), -1};
  if (row < rows)
    for (int64_t i = begin + static_cast<int>(threadIdx.x) % group; i < end; i += 4 * group) {
      T v[4];
      TERSOR_UNROLL
      for (int u = 0; u < 4; u++)
        if (i + u * group < end) v[u] = x[row * n + i + u * group];
      TERSOR_UNROLL
      for (int u = 0; u < 4; u++) {
        const Best<T> next{v[u], static_cast<int32_t>(i + u * group)};
        if (i + u * group < end && better(next, best)) best = next;
      }
    }
  TERSOR_UNROLL
  for (int by = 16; by > 0; by /= 2) {
    const Best<T> other{__shfl_xor_sync(kFullMask, best.value, by), __shfl_xor_sync(kFullMask, best.index, by)};
    if (better(other, best)) best = other;
  }
  if (group > 32) {
    TERSOR_SHARED(Best<T>, of_warp, kThreads / 32);
    if (lane_id() == 0) of_warp[warp_id()] = best;
    __syncthreads();
    for (int w = 0; w < kThreads / 32; w++)
      if (better(of_warp[w], best)) best = of_warp[w];
  }
  if (row >= rows || static_cast<int>(threadIdx.x) % group != 0) return;
  if (y) y[row] = best.index;
  else part[item] = best;
}

template <class T> __global__ void __launch_bounds__(kThreads) argmax_finish_kernel(const Best<T>* part, int32_t* y, int64_t rows, int64_t chunks) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  Best<T> best = part[row * chunks];
  for (int64_t c = 1; c < chunks; c++)
    if (better(part[row * chunks + c], best)) best = part[row * chunks + c];
  y[row] = best.index;
}

template <class T> Status argmax_typed(Stream& s, argmax_args& a) {
  TensorRef x;
  TERSOR_TRY(dense(s, a.x, &x));
  const int64_t rows = a.y.size(), n = x.dim(-1);
  if (rows == 0) return {};
  const int group = n <= 2048 ? 32 : kThreads;
  int64_t chunks = 1;
  if (rows < 512) {
    chunks = ceil_div(n, int64_t(32) * kThreads);
    const int64_t most = ceil_div(int64_t(1024), rows);
    chunks = chunks < most ? chunks : most;
  }
  const int64_t chunk = ceil_div(n, chunks);
  chunks = ceil_div(n, chunk);
  Best<T>* part = nullptr;
  if (chunks > 1) TERSOR_TRY(s.scratch(rows * chunks, &part));
  int32_t* y = chunks == 1 ? a.y.as<int32_t>() : nullptr;
  TERSOR_TRY(launch<argmax_kernel<T>>(s, ceil_div(rows * chunks * group, int64_t(kThreads)), kThreads, 0, x.as<T>(), part, y, rows, n, chunk, chunks, group));
  if (chunks == 1) return {};
  return launch<argmax_finish_kernel<T>>(s, ceil_div(rows, int64_t(kThreads)), kThreads, 0, part, a.y.as<int32_t>(), rows, chunks);
}

// --- counts: integer atomics, exact in any order ---
// Counts v where (v & mask) != 0, or, `all`, where it is mask.
template <class T> __global__ void __launch_bounds__(kThreads) count_values_kernel(const T* x, int64_t n, T mask, bool all, bool wide, unsigned long long* count) {
  constexpr int W = 16 / static_cast<int>(sizeof(T));
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  unsigned long long found = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i * W < n; i += step) {
    T v[W];
    if (wide && i * W + W <= n) {
      const Vec<T, W> part = load_vec<T, W>(x + i * W);
      TERSOR_UNROLL
      for (int e = 0; e < W; e++) v[e] = part.v[e];
    } else {
      TERSOR_UNROLL
      for (int e = 0; e < W; e++) v[e] = i * W + e < n ? x[i * W + e] : T(0);
    }
    TERSOR_UNROLL
    for (int e = 0; e < W; e++) {
      const T bits = static_cast<T>(v[e] & mask);
      found += all ? bits == mask : bits != 0;
    }
  }
  found = block_sum<kThreads>(found);
  if (threadIdx.x == 0 && found > 0) atomicAdd(count, found);
}

template <class T> Status count_typed(Stream& s, const TensorRef& input, const TensorRef& out, uint64_t mask, bool all) {
  TERSOR_TRY(s.fill(out.data, 0, out.bytes()));
  TensorRef x;
  TERSOR_TRY(dense(s, input, &x));
  return launch<count_values_kernel<T>>(s, blocks_for(s, x.bytes(), 16 * kThreads * 4, 16), kThreads, 0, x.as<T>(), x.size(), static_cast<T>(mask), all, aligned(x.data, 16),
                                 out.as<unsigned long long>());
}

Status count_bits(Stream& s, const TensorRef& x, const TensorRef& out, uint64_t mask, bool all) {
  switch (dtype_bytes(x.dtype)) {
    case 8: return count_typed<unsigned long long>(s, x, out, mask, all);
    case 4: return count_typed<uint32_t>(s, x, out, mask, all);
    case 2: return count_typed<uint16_t>(s, x, out, mask, all);
    default: return count_typed<uint8_t>(s, x, out, mask, all);
  }
}

// --- cumsum over [outer, n, inner] in f64 ---
struct Scan {
  int64_t outer, n, inner;
  bool exclusive, reverse;
  __device__ __forceinline__ int64_t place(int64_t i) const { return reverse ? n - 1 - i : i; }
};

// inner > 1: a thread a column, coalesced along the columns.
template <class T> __global__ void __launch_bounds__(kThreads) scan_columns_kernel(const Scan l, const T* x, T* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= l.outer * l.inner) return;
  const int64_t base = i / l.inner * l.n * l.inner + i % l.inner;
  double sum = 0;
  for (int64_t r = 0; r < l.n; r++) {
    const int64_t at = base + l.place(r) * l.inner;
    const double before = sum;
    sum += static_cast<double>(x[at]);
    y[at] = static_cast<T>(l.exclusive ? before : sum);
  }
}

constexpr int kTileEach = 4;  // elements of a thread in a tile

// inner = 1: a block a chunk of a row, tile by tile. before: what stands in front of each chunk, or null; totals: the chunk's sum is all that is wanted.
template <class T> __global__ void __launch_bounds__(kThreads) scan_rows_kernel(const Scan l, const T* x, T* y, const double* before, double* totals, int64_t chunk, int64_t chunks) {
  TERSOR_SHARED(T, tile, kThreads * kTileEach);
  const int64_t row = blockIdx.x / chunks, begin = (blockIdx.x - row * chunks) * chunk, end = begin + chunk < l.n ? begin + chunk : l.n;
  const int me = static_cast<int>(threadIdx.x);
  double carry = before ? before[blockIdx.x] : 0.0;
  for (int64_t at = begin; at < end; at += kThreads * kTileEach) {
    TERSOR_UNROLL
    for (int e = 0; e < kTileEach; e++) {
      const int64_t i = at + e * kThreads + me;
      tile[e * kThreads + me] = i < end ? x[row * l.n + l.place(i)] : T(0);
    }
    __syncthreads();
    double part[kTileEach], sum = 0;
    TERSOR_UNROLL
    for (int e = 0; e < kTileEach; e++) {
      part[e] = sum;
      sum += static_cast<double>(tile[me * kTileEach + e]);
    }
    double all;
    const double front = carry + (block_scan<kThreads>(sum, &all) - sum);
    if (y) {
      TERSOR_UNROLL
      for (int e = 0; e < kTileEach; e++) {
        const double upto = front + part[e];
        const T own = tile[me * kTileEach + e];
        tile[me * kTileEach + e] = static_cast<T>(l.exclusive ? upto : upto + static_cast<double>(own));
      }
      __syncthreads();
      TERSOR_UNROLL
      for (int e = 0; e < kTileEach; e++) {
        const int64_t i = at + e * kThreads + me;
        if (i < end) y[row * l.n + l.place(i)] = tile[e * kThreads + me];
      }
    }
    carry += all;
    __syncthreads();
  }
  if (totals && me == 0) totals[blockIdx.x] = carry;
}

// Sums of chunks to what stands in front of them; a thread a row.
__global__ void __launch_bounds__(kThreads) scan_totals_kernel(double* totals, int64_t rows, int64_t chunks) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  double sum = 0;
  for (int64_t c = 0; c < chunks; c++) {
    const double own = totals[row * chunks + c];
    totals[row * chunks + c] = sum;
    sum += own;
  }
}

template <class T> Status cumsum_typed(Stream& s, cumsum_args& a) {
  TensorRef x;
  TERSOR_TRY(dense(s, a.x, &x));
  const int axis = static_cast<int>(a.axis < 0 ? a.axis + x.rank : a.axis);
  Scan l{1, x.shape[axis], 1, a.exclusive, a.reverse};
  for (int i = 0; i < x.rank; i++)
    if (i != axis) (i < axis ? l.outer : l.inner) *= x.shape[i];
  if (a.y.size() == 0) return {};
  if (l.inner > 1) return launch<scan_columns_kernel<T>>(s, ceil_div(l.outer * l.inner, int64_t(kThreads)), kThreads, 0, l, x.as<T>(), a.y.as<T>());
  int64_t chunks = 1;
  if (l.outer < 512) {
    chunks = ceil_div(l.n, int64_t(8) * kThreads * kTileEach);
    const int64_t most = ceil_div(int64_t(1024), l.outer);
    chunks = chunks < most ? chunks : most;
  }
  const int64_t tile = kThreads * kTileEach, chunk = ceil_div(ceil_div(l.n, chunks), tile) * tile;
  chunks = ceil_div(l.n, chunk);
  double* totals = nullptr;
  if (chunks > 1) {
    TERSOR_TRY(s.scratch(l.outer * chunks, &totals));
    TERSOR_TRY(launch<scan_rows_kernel<T>>(s, l.outer * chunks, kThreads, 0, l, x.as<T>(), nullptr, nullptr, totals, chunk, chunks));
    TERSOR_TRY(launch<scan_totals_kernel>(s, ceil_div(l.outer, int64_t(kThreads)), kThreads, 0, totals, l.outer, chunks));
  }
  return launch<scan_rows_kernel<T>>(s, l.outer * chunks, kThreads, 0, l, x.as<T>(), a.y.as<T>(), totals, nullptr, chunk, chunks);
}

}  // namespace

Status argmax_float(Stream& s, argmax_args& a) { return a.x.dtype == DType::f64 ? argmax_typed<double>(s, a) : argmax_typed<float>(s, a); }

Status count_nonfinite_any(Stream& s, count_nonfinite_args& a) {
  switch (a.x.dtype) {
    case DType::f64: return count_bits(s, a.x, a.count, 0x7ff0000000000000ull, true);
    case DType::f32: return count_bits(s, a.x, a.count, 0x7f800000u, true);
    case DType::f16: return count_bits(s, a.x, a.count, 0x7c00u, true);
    case DType::bf16: return count_bits(s, a.x, a.count, 0x7f80u, true);
    default: return s.fill(a.count.data, 0, a.count.bytes());
  }
}
Status count_nonzero_any(Stream& s, count_nonzero_args& a) {
  const bool is_float = a.x.dtype == DType::f64 || a.x.dtype == DType::f32 || a.x.dtype == DType::f16 || a.x.dtype == DType::bf16;
  const int bits = static_cast<int>(8 * dtype_bytes(a.x.dtype));
  return count_bits(s, a.x, a.count, is_float ? ~0ull >> (65 - bits) : ~0ull >> (64 - bits), false);
}

Status cumsum_float(Stream& s, cumsum_args& a) { return a.x.dtype == DType::f64 ? cumsum_typed<double>(s, a) : cumsum_typed<float>(s, a); }

}  // namespace cuda
}  // namespace tersor
