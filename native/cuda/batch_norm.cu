// batch_norm and its gradient, f32 or f64: formulas of kernels/norm/norm.h. A channel's elements, image after image, are cut into chunks of 8192, a block each: the
// chunk stays in registers while its mean and its squares around that mean are taken. The second kernel adds the chunks up (f64, fixed order, in every block
// again, which is cheaper than a launch) and writes the result: x is read twice and y written once, whatever the number of channels.
#include "cuda/kernels.h"
#include "cuda/nn.h"
#include "cuda/rows.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kBatchEach = 32;
constexpr int64_t kBatchChunk = static_cast<int64_t>(kRowThreads) * kBatchEach;

struct Channels {
  int64_t batch, channels, n;  // n: elements of a channel in one image
  int64_t count() const { return batch * n; }
  int64_t chunks() const { return (count() + kBatchChunk - 1) / kBatchChunk; }
};

// Walks over the elements of a thread: e = first, first + 256, ... of channel c; `at` is where the element lies.
struct Walk {
  int64_t b, i, step_b, step_i, stride, n, base;
  __device__ Walk(const Channels& s, int64_t c, int64_t first) : stride(s.channels * s.n), n(s.n), base(c * s.n) {
    const Divided at = divide(first, n), step = divide(kRowThreads, n);
    b = at.q, i = at.r, step_b = step.q, step_i = step.r;
  }
  __device__ int64_t at() const { return b * stride + base + i; }
  __device__ void next() {
    b += step_b, i += step_i;
    if (i >= n) i -= n, b++;
  }
};
// Chunks of all channels lie side by side in the grid: blocks that run together read neighbouring memory.
__device__ inline int64_t chunk_of_block(const Channels& s, int64_t* c) {
  *c = blockIdx.x % s.channels;
  return blockIdx.x / s.channels;
}
__device__ inline int64_t chunk_count(int64_t count, int64_t chunk) { return count - chunk * kBatchChunk < kBatchChunk ? count - chunk * kBatchChunk : kBatchChunk; }

// parts [channels][chunks][2]: mean of a chunk, squares around it.
template <class T> __global__ void batch_norm_chunks(Channels s, const T* x, double* parts) {
  int64_t c;
  const int64_t chunk = chunk_of_block(s, &c), count = chunk_count(s.batch * s.n, chunk);
  Walk walk(s, c, chunk * kBatchChunk + threadIdx.x);
  T v[kBatchEach];
  T sum = T(0);
  TERSOR_UNROLL
  for (int k = 0; k < kBatchEach; k++) {
    const bool live = static_cast<int64_t>(k) * kRowThreads + threadIdx.x < count;
    v[k] = live ? x[walk.at()] : T(0);
    sum += v[k];
    walk.next();
  }
  const double mean = row_total<kRowThreads>(static_cast<double>(sum)) / static_cast<double>(count);
  const T m = static_cast<T>(mean);
  T left = T(0), squares = T(0);
  TERSOR_UNROLL
  for (int k = 0; k < kBatchEach; k++) {
    if (static_cast<int64_t>(k) * kRowThreads + threadIdx.x >= count) continue;
    const T d = v[k] - m;
    left += d;
    squares = fma_of(d, d, squares);
  }
  const double shift = row_total<kRowThreads>(static_cast<double>(left)) / static_cast<double>(count);
  const double total = row_total<kRowThreads>(static_cast<double>(squares)) - shift * shift * static_cast<double>(count);
  if (threadIdx.x == 0) {
    double* to = parts + (c * ((s.batch * s.n + kBatchChunk - 1) / kBatchChunk) + chunk) * 2;
    to[0] = static_cast<double>(m) + shift;
    to[1] = total < 0 ? 0 : total;
  }
}

// Mean and variance of a channel from its chunks, in all threads.
__device__ inline void channel_moments(const double* parts, int64_t count, double* mean, double* variance) {
  const int64_t chunks = (count + kBatchChunk - 1) / kBatchChunk;
  double sum = 0, squares = 0;
  for (int64_t k = threadIdx.x; k < chunks; k += kRowThreads) sum += parts[2 * k] * static_cast<double>(chunk_count(count, k));
  *mean = row_total<kRowThreads>(sum) / static_cast<double>(count);
  for (int64_t k = threadIdx.x; k < chunks; k += kRowThreads) {
    const double d = parts[2 * k] - *mean;
    squares += parts[2 * k + 1] + d * d * static_cast<double>(chunk_count(count, k));
  }
  *variance = row_total<kRowThreads>(squares) / static_cast<double>(count);
}

template <class T> struct BatchForward {
  Channels s;
  const T *x, *gamma, *beta, *residual;
  const double* parts;
  T *y, *mean, *variance;
  double eps;
  bool relu;
};

template <class T> __global__ void batch_norm_apply(BatchForward<T> a) {
  int64_t c;
  const int64_t chunk = chunk_of_block(a.s, &c), all = a.s.batch * a.s.n, count = chunk_count(all, chunk);
  double mean, variance;
  channel_moments(a.parts + c * ((all + kBatchChunk - 1) / kBatchChunk) * 2, all, &mean, &variance);
  if (chunk == 0 && threadIdx.x == 0) {
    a.mean[c] = static_cast<T>(mean);
    a.variance[c] = static_cast<T>(variance);
  }
  // The mean in two parts: what T cannot hold of it is subtracted too.
  const T m = static_cast<T>(mean), d = static_cast<T>(mean - static_cast<double>(m)), beta = a.beta ? a.beta[c] : T(0);
  const T scale = static_cast<T>((a.gamma ? static_cast<double>(a.gamma[c]) : 1.0) / sqrt(variance + a.eps));
  Walk walk(a.s, c, chunk * kBatchChunk + threadIdx.x);
  TERSOR_UNROLL
  for (int k = 0; k < kBatchEach; k++) {
    if (static_cast<int64_t>(k) * kRowThreads + threadIdx.x < count) {
      const int64_t at = walk.at();
      T t = fma_of((a.x[at] - m) - d, scale, beta);
      if (a.residual) t += a.residual[at];
      a.y[at] = a.relu && !(t > T(0)) ? (t == t ? T(0) : t) : t;
    }
    walk.next();
  }
}

template <class T> struct BatchBackward {
  Channels s;
  const T *x, *gamma, *mean, *variance, *y, *dy;
  T *dx, *dgamma, *dbeta, *dresidual;
  double* parts;
  double eps;
  __device__ T gradient(int64_t at) const { return y && !(y[at] > T(0)) ? T(0) : dy[at]; }
  __device__ T rstd(int64_t c) const { return static_cast<T>(1.0 / sqrt(static_cast<double>(variance[c]) + eps)); }
};

// parts [channels][chunks][2]: sums of g and of g h.
template <class T> __global__ void batch_norm_grad_chunks(BatchBackward<T> a) {
  int64_t c;
  const int64_t chunk = chunk_of_block(a.s, &c), all = a.s.batch * a.s.n, count = chunk_count(all, chunk);
  const T m = a.mean[c], s = a.rstd(c);
  Walk walk(a.s, c, chunk * kBatchChunk + threadIdx.x);
  T sum = T(0), along = T(0);
  TERSOR_UNROLL
  for (int k = 0; k < kBatchEach; k++) {
    if (static_cast<int64_t>(k) * kRowThreads + threadIdx.x < count) {
      const int64_t at = walk.at();
      const T g = a.gradient(at);
      sum += g;
      along = fma_of(g, (a.x[at] - m) * s, along);
    }
    walk.next();
  }
  const double beta = row_total<kRowThreads>(static_cast<double>(sum)), gamma = row_total<kRowThreads>(static_cast<double>(along));
  if (threadIdx.x == 0) {
    double* to = a.parts + (c * ((all + kBatchChunk - 1) / kBatchChunk) + chunk) * 2;
    to[0] = beta;
    to[1] = gamma;
  }
}

template <class T> __global__ void batch_norm_grad_apply(BatchBackward<T> a) {
  int64_t c;
  const int64_t chunk = chunk_of_block(a.s, &c), all = a.s.batch * a.s.n, count = chunk_count(all, chunk), chunks = (all + kBatchChunk - 1) / kBatchChunk;
  const double* parts = a.parts + c * chunks * 2;
  double beta = 0, gamma = 0;
  for (int64_t k = threadIdx.x; k < chunks; k += kRowThreads) beta += parts[2 * k], gamma += parts[2 * k + 1];
  beta = row_total<kRowThreads>(beta);
  gamma = row_total<kRowThreads>(gamma);
  if (chunk == 0 && threadIdx.x == 0) {
    a.dbeta[c] = static_cast<T>(beta);
    a.dgamma[c] = static_cast<T>(gamma);
  }
  const T m = a.mean[c], s = a.rstd(c), scale = a.gamma ? a.gamma[c] * s : s;
  const T avg = static_cast<T>(beta / static_cast<double>(all)), avg_h = static_cast<T>(gamma / static_cast<double>(all));
  Walk walk(a.s, c, chunk * kBatchChunk + threadIdx.x);
  TERSOR_UNROLL
  for (int k = 0; k < kBatchEach; k++) {
    if (static_cast<int64_t>(k) * kRowThreads + threadIdx.x < count) {
      const int64_t at = walk.at();
      const T g = a.gradient(at);
      a.dx[at] = scale * ((g - avg) - ((a.x[at] - m) * s) * avg_h);
      if (a.dresidual) a.dresidual[at] = g;
    }
    walk.next();
  }
}

Channels channels_of(const TensorRef& x) {
  Channels s{x.shape[0], x.shape[1], 1};
  for (int i = 2; i < x.rank; i++) s.n *= x.shape[i];
  return s;
}

template <class T> Status forward(Stream& stream, batch_norm_args& a) {
  BatchForward<T> f{};
  f.s = channels_of(a.x);
  if (f.s.channels == 0) return {};
  TERSOR_TRY(open(stream, a.x, &f.x));
  TERSOR_TRY(open(stream, a.gamma, &f.gamma));
  TERSOR_TRY(open(stream, a.beta, &f.beta));
  TERSOR_TRY(open(stream, a.residual, &f.residual));
  f.y = a.y.as<T>(), f.mean = a.mean.as<T>(), f.variance = a.variance.as<T>(), f.eps = a.eps, f.relu = a.relu;
  const Grid grid{f.s.channels * f.s.chunks()};
  double* parts;
  TERSOR_TRY(stream.scratch(2 * f.s.channels * f.s.chunks(), &parts));
  f.parts = parts;
  TERSOR_TRY(launch<batch_norm_chunks<T>>(stream, grid, kRowThreads, 0, f.s, f.x, parts));
  return launch<batch_norm_apply<T>>(stream, grid, kRowThreads, 0, f);
}

template <class T> Status backward(Stream& stream, batch_norm_grad_args& a) {
  BatchBackward<T> b{};
  b.s = channels_of(a.x);
  if (b.s.channels == 0) return {};
  TERSOR_TRY(open(stream, a.x, &b.x));
  TERSOR_TRY(open(stream, a.gamma, &b.gamma));
  TERSOR_TRY(open(stream, a.mean, &b.mean));
  TERSOR_TRY(open(stream, a.variance, &b.variance));
  TERSOR_TRY(open(stream, a.y, &b.y));
  TERSOR_TRY(open(stream, a.dy, &b.dy));
  b.dx = a.dx.as<T>(), b.dgamma = a.dgamma.as<T>(), b.dbeta = a.dbeta.as<T>(), b.dresidual = a.residual ? a.dresidual.as<T>() : nullptr, b.eps = a.eps;
  const Grid grid{b.s.channels * b.s.chunks()};
  TERSOR_TRY(stream.scratch(2 * b.s.channels * b.s.chunks(), &b.parts));
  TERSOR_TRY(launch<batch_norm_grad_chunks<T>>(stream, grid, kRowThreads, 0, b));
  return launch<batch_norm_grad_apply<T>>(stream, grid, kRowThreads, 0, b);
}

}  // namespace

Status batch_norm(Stream& stream, batch_norm_args& a) { return a.x.dtype == DType::f64 ? forward<double>(stream, a) : forward<float>(stream, a); }
Status batch_norm_grad(Stream& stream, batch_norm_grad_args& a) {
  return a.x.dtype == DType::f64 ? backward<double>(stream, a) : backward<float>(stream, a);
}

}  // namespace cuda
}  // namespace tersor
