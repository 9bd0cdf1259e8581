// Long vectors (contracts: ops/blas1.cc): inner_product, axpby in place, orthogonalize. Sums have the very order of the CPU, so they have its bits: chunks of
// 8192 elements; in a chunk 16 chains in f64, chain l the elements i with i mod 16 = l in order, then a halving tree; the chunks' sums one after the other.
// Half a warp takes a chunk, a lane a chain; the last block to finish adds the chunks up (12207 of them, at 1e8 elements, take about 60 us on paper: one
// chain of additions; that is the price of the order). Results stay on the device: a step of power iteration waits for nobody.
// Bytes (f32): inner_product 8 n, axpby 12 n (8 n with beta = 0), orthogonalize 4 n (2 rows + 4); what fits into L2 is read from DRAM once.
#include "cuda/bitset.h"
#include "cuda/launch.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int64_t kVectorChunk = 8192;
constexpr int kAhead = 32;  // elements of a chain that are on their way at once

// partial[c * rows + r] = chunk c of row r of q with v; then out[r] = their sum, or its root.
template <class T>
__global__ void __launch_bounds__(256) dots_kernel(const T* q, const T* v, int64_t n, int64_t rows, bool root, double* partial, double* out, unsigned* finished) {
  TERSOR_SHARED(int, last, 1);
  const int lane = lane_id(), chain = lane & 15;
  const int64_t chunks = (n + kVectorChunk - 1) / kVectorChunk, items = chunks * rows, stride = warps_of_grid() * 2;
  for (int64_t pair = warp_of_grid() * 2; pair < items; pair += stride) {
    const int64_t item = pair + lane / 16, c = item / rows, r = item % rows;
    const bool live = item < items;
    const T* a = q + (live ? r * n + c * kVectorChunk : 0);
    const T* b = v + (live ? c * kVectorChunk : 0);
    const int64_t count = !live ? 0 : n - c * kVectorChunk < kVectorChunk ? n - c * kVectorChunk : kVectorChunk;
    double sum = 0;
    int64_t i = chain;
    for (; i + 16 * (kAhead - 1) < count; i += 16 * kAhead) {
      T x[kAhead], y[kAhead];
      TERSOR_UNROLL
      for (int j = 0; j < kAhead; j++) x[j] = a[i + 16 * j], y[j] = b[i + 16 * j];
      TERSOR_UNROLL
      for (int j = 0; j < kAhead; j++) sum += static_cast<double>(x[j]) * static_cast<double>(y[j]);
    }
    for (; i < count; i += 16) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    for (int half = 8; half > 0; half /= 2) sum += __shfl_down_sync(kFullMask, sum, half, 16);
    if (live && chain == 0) partial[item] = sum;
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last[0] = atomicAdd(finished, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last[0]) return;
  __threadfence();
  const volatile double* sums = partial;
  for (int64_t r = warp_id(); r < rows; r += 8) {
    double total = 0, next = lane < chunks ? sums[lane * rows + r] : 0;
    for (int64_t base = 0; base < chunks; base += 32) {
      const double mine = next;
      if (base + 32 + lane < chunks) next = sums[(base + 32 + lane) * rows + r];
      const int many = static_cast<int>(chunks - base < 32 ? chunks - base : 32);
      for (int j = 0; j < many; j++) total += __shfl_sync(kFullMask, mine, j);
    }
    if (lane == 0) out[r] = root ? sqrt(total) : total;
  }
}

template <class T> __global__ void __launch_bounds__(256) axpby_kernel(T* y, const T* x, int64_t n, T alpha, T beta) {
  const int64_t step = int64_t(gridDim.x) * 1024;
  for (int64_t i = (int64_t(blockIdx.x) * 256 + threadIdx.x) * 4; i < n; i += step) {
    T a[4], b[4] = {T(0), T(0), T(0), T(0)};
    load_four(x, i, n, a);
    if (beta != 0) load_four(static_cast<const T*>(y), i, n, b);
    TERSOR_UNROLL
    for (int j = 0; j < 4; j++) a[j] = beta == 0 ? alpha * a[j] : fma(alpha, a[j], beta * b[j]);
    store_four(y, i, n, a);
  }
}

// v -= sum_r c[r] q[r], row after row
template <class T> __global__ void __launch_bounds__(256) purge_kernel(T* v, const T* q, int64_t n, int64_t rows, const double* c) {
  const int64_t step = int64_t(gridDim.x) * 1024;
  for (int64_t i = (int64_t(blockIdx.x) * 256 + threadIdx.x) * 4; i < n; i += step) {
    T a[4];
    load_four(static_cast<const T*>(v), i, n, a);
    for (int64_t r = 0; r < rows; r++) {
      T b[4];
      load_four(q + r * n, i, n, b);
      const T alpha = static_cast<T>(-c[r]);
      TERSOR_UNROLL
      for (int j = 0; j < 4; j++) a[j] = fma(alpha, b[j], a[j]);
    }
    store_four(v, i, n, a);
  }
}

template <class T> Status dots(Stream& s, const T* q, const T* v, int64_t n, int64_t rows, bool root, double* out) {
  const int64_t chunks = ceil_div(n, kVectorChunk);
  double* partial;
  unsigned* finished;
  TERSOR_TRY(s.scratch(chunks * rows, &partial));
  TERSOR_TRY(s.scratch(1, &finished));
  TERSOR_TRY(s.fill(finished, 0, sizeof *finished));
  const int64_t blocks = blocks_for(s, chunks * rows, 16, 8);
  return launch<dots_kernel<T>>(s, blocks < 1 ? 1 : blocks, 256, 0, q, v, n, rows, root, partial, out, finished);
}

template <class T> Status inner_product(Stream& s, inner_product_args& x) {
  TensorRef a, b;
  TERSOR_TRY(dense(s, x.a, &a));
  TERSOR_TRY(dense(s, x.b, &b));
  return dots(s, a.as<const T>(), b.as<const T>(), a.size(), 1, false, x.y.as<double>());
}

template <class T> Status axpby(Stream& s, axpby_args& a) {
  TensorRef x;
  TERSOR_TRY(dense(s, a.x, &x));
  const int64_t n = a.y.size();
  return launch<axpby_kernel<T>>(s, blocks_for(s, n, 1024, 16), 256, 0, a.y.as<T>(), x.as<const T>(), n, static_cast<T>(a.alpha), static_cast<T>(a.beta));
}

template <class T> Status orthogonalize(Stream& s, orthogonalize_args& a) {
  TensorRef basis;
  TERSOR_TRY(dense(s, a.basis, &basis));
  const int64_t n = a.v.size();
  T* const v = a.v.as<T>();
  const T* const q = basis.as<const T>();
  if (a.rows > 0) {
    TERSOR_TRY(dots(s, q, static_cast<const T*>(v), n, a.rows, false, a.coefficients.as<double>()));
    TERSOR_TRY(launch<purge_kernel<T>>(s, blocks_for(s, n, 1024, 16), 256, 0, v, q, n, a.rows, a.coefficients.as<const double>()));
  }
  return dots(s, static_cast<const T*>(v), static_cast<const T*>(v), n, 1, true, a.norm.as<double>());
}

}  // namespace

Status inner_product_cuda(Stream& s, inner_product_args& a) { return a.a.dtype == DType::f32 ? inner_product<float>(s, a) : inner_product<double>(s, a); }
Status axpby_cuda(Stream& s, axpby_args& a) { return a.y.dtype == DType::f32 ? axpby<float>(s, a) : axpby<double>(s, a); }
Status orthogonalize_cuda(Stream& s, orthogonalize_args& a) { return a.v.dtype == DType::f32 ? orthogonalize<float>(s, a) : orthogonalize<double>(s, a); }

}  // namespace cuda
}  // namespace tersor
