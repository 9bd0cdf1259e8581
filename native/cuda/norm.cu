// layer_norm, rms_norm and their gradients, f32 or f64: formulas of kernels/layer_norm/layer_norm.h and kernels/norm/norm.h. The row kernels read x (and dy)
// once from device memory; dgamma and dbeta are column sums over fixed chunks of rows, in T over 32 rows and then in f64, chunks added in order.
#include "cuda/kernels.h"
#include "cuda/nn.h"
#include "cuda/rows.h"

namespace tersor {
namespace cuda {
namespace {

template <class T> struct NormForward {
  const T *x, *gamma, *beta;
  T *y, *mean, *rstd;
  int64_t rows, n;
  double eps;
};

template <class T, int WIDTH> __global__ void layer_norm_rows(NormForward<T> a) {
  const int64_t row = row_of_thread<WIDTH>();
  if (row >= a.rows) return;
  const int lane = row_lane<WIDTH>();
  const T* x = a.x + row * a.n;
  T sum = T(0), left = T(0), squares = T(0);
  for (int64_t i = lane; i < a.n; i += WIDTH) sum += x[i];
  // An estimate of the mean, then the mean of what is left of it: a large common offset costs no accuracy.
  const T m = row_total<WIDTH>(sum) / static_cast<T>(a.n);
  for (int64_t i = lane; i < a.n; i += WIDTH) {
    const T d = x[i] - m;
    left += d;
    squares += d * d;
  }
  const double count = static_cast<double>(a.n), shift = static_cast<double>(row_total<WIDTH>(left)) / count;
  double variance = static_cast<double>(row_total<WIDTH>(squares)) / count - shift * shift;
  variance = variance < 0 ? 0 : variance;
  const T d = static_cast<T>(shift), s = static_cast<T>(1.0 / sqrt(variance + a.eps));
  if (lane == 0) {
    a.mean[row] = static_cast<T>(static_cast<double>(m) + shift);
    a.rstd[row] = s;
  }
  T* y = a.y + row * a.n;
  for (int64_t i = lane; i < a.n; i += WIDTH) {
    const T h = ((x[i] - m) - d) * s, t = a.gamma ? h * a.gamma[i] : h;
    y[i] = a.beta ? t + a.beta[i] : t;
  }
}

template <class T, int WIDTH> __global__ void rms_norm_rows(NormForward<T> a) {
  const int64_t row = row_of_thread<WIDTH>();
  if (row >= a.rows) return;
  const int lane = row_lane<WIDTH>();
  const T* x = a.x + row * a.n;
  T squares = T(0);
  for (int64_t i = lane; i < a.n; i += WIDTH) squares += x[i] * x[i];
  const double square = static_cast<double>(row_total<WIDTH>(squares)) / static_cast<double>(a.n);
  const T s = static_cast<T>(1.0 / sqrt(square + a.eps));
  if (lane == 0) a.rstd[row] = s;
  T* y = a.y + row * a.n;
  for (int64_t i = lane; i < a.n; i += WIDTH) y[i] = a.gamma ? x[i] * s * a.gamma[i] : x[i] * s;
}

// mean null: rms_norm.
template <class T> struct NormBackward {
  const T *x, *gamma, *mean, *rstd, *dy;
  T* dx;
  int64_t rows, n;
};

template <class T, int WIDTH> __global__ void norm_grad_rows(NormBackward<T> a) {
  const int64_t row = row_of_thread<WIDTH>();
  if (row >= a.rows) return;
  const int lane = row_lane<WIDTH>();
  const T *x = a.x + row * a.n, *dy = a.dy + row * a.n;
  const T m = a.mean ? a.mean[row] : T(0), s = a.rstd[row];
  T sum = T(0), projected = T(0);
  for (int64_t i = lane; i < a.n; i += WIDTH) {
    const T g = a.gamma ? dy[i] * a.gamma[i] : dy[i];
    sum += g;
    projected += g * ((x[i] - m) * s);
  }
  const T count = static_cast<T>(a.n), along = row_total<WIDTH>(projected) / count;
  const T avg = a.mean ? row_total<WIDTH>(sum) / count : T(0);
  T* dx = a.dx + row * a.n;
  for (int64_t i = lane; i < a.n; i += WIDTH) {
    const T g = a.gamma ? dy[i] * a.gamma[i] : dy[i], h = (x[i] - m) * s;
    dx[i] = s * ((g - avg) - h * along);
  }
}

constexpr int kNormColumns = 32, kNormStrips = 8, kNormRun = 32;  // a block: 32 columns, 8 rows at a time; 32 rows are added in T

// parts [chunks][2][n] of dgamma and dbeta.
template <class T> __global__ void norm_grad_columns(NormBackward<T> a, int64_t chunk, double* parts) {
  TERSOR_SHARED(double, sums, 2 * kNormStrips * kNormColumns);
  const int lane = static_cast<int>(threadIdx.x % kNormColumns), strip = static_cast<int>(threadIdx.x / kNormColumns);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kNormColumns + lane, first = static_cast<int64_t>(blockIdx.y) * chunk;
  const int64_t end = a.rows - first < chunk ? a.rows : first + chunk;
  double gamma = 0, beta = 0;
  for (int64_t r0 = first + strip; column < a.n && r0 < end; r0 += kNormStrips * kNormRun) {
    T dgamma = T(0), dbeta = T(0);
    for (int k = 0; k < kNormRun; k++) {
      const int64_t r = r0 + k * kNormStrips;
      if (r >= end) break;
      const T d = a.dy[r * a.n + column], m = a.mean ? a.mean[r] : T(0);
      dgamma += d * ((a.x[r * a.n + column] - m) * a.rstd[r]);
      dbeta += d;
    }
    gamma += static_cast<double>(dgamma);
    beta += static_cast<double>(dbeta);
  }
  sums[strip * kNormColumns + lane] = gamma;
  sums[(kNormStrips + strip) * kNormColumns + lane] = beta;
  __syncthreads();
  if (strip > 1 || column >= a.n) return;
  double total = 0;
  for (int s = 0; s < kNormStrips; s++) total += sums[(strip * kNormStrips + s) * kNormColumns + lane];
  parts[(static_cast<int64_t>(blockIdx.y) * 2 + strip) * a.n + column] = total;
}

// out[j] = sum over chunks of parts[chunk][which][j]
template <class T> __global__ void add_chunks(const double* parts, int64_t chunks, int64_t n, T* dgamma, T* dbeta) {
  const int64_t i = thread_index();
  if (i >= 2 * n || (i >= n && !dbeta)) return;
  double total = 0;
  for (int64_t c = 0; c < chunks; c++) total += parts[c * 2 * n + i];
  (i < n ? dgamma : dbeta)[i < n ? i : i - n] = static_cast<T>(total);
}

template <class T> Status backward(Stream& stream, const NormBackward<T>& a, T* dgamma, T* dbeta) {
  constexpr int64_t kLeast = kNormStrips * kNormRun, kMostChunks = 128;
  int64_t chunk = (a.rows + kMostChunks - 1) / kMostChunks;
  chunk = chunk < kLeast ? kLeast : (chunk + kLeast - 1) / kLeast * kLeast;
  const int64_t chunks = (a.rows + chunk - 1) / chunk;
  double* parts;
  TERSOR_TRY(stream.scratch(chunks * 2 * a.n, &parts));
  if (a.rows > 0) {
    const Grid grid{row_blocks(a.rows, a.n)};
    if (is_warp_row(a.n)) TERSOR_TRY((launch<norm_grad_rows<T, 32>>(stream, grid, kRowThreads, 0, a)));
    else TERSOR_TRY((launch<norm_grad_rows<T, kRowThreads>>(stream, grid, kRowThreads, 0, a)));
    TERSOR_TRY(launch<norm_grad_columns<T>>(stream, Grid{blocks_for(a.n, kNormColumns), chunks}, kNormColumns * kNormStrips, 0, a, chunk, parts));
  }
  return launch<add_chunks<T>>(stream, Grid{blocks_for(2 * a.n)}, kThreads, 0, parts, chunks, a.n, dgamma, dbeta);
}

template <class T> Status layer_forward(Stream& stream, layer_norm_args& a) {
  NormForward<T> f{};
  f.n = a.x.dim(-1), f.rows = a.x.size() / f.n, f.eps = a.eps;
  if (f.rows == 0) return {};
  TERSOR_TRY(open(stream, a.x, &f.x));
  TERSOR_TRY(open(stream, a.gamma, &f.gamma));
  TERSOR_TRY(open(stream, a.beta, &f.beta));
  f.y = a.y.as<T>(), f.mean = a.mean.as<T>(), f.rstd = a.rstd.as<T>();
  const Grid grid{row_blocks(f.rows, f.n)};
  if (is_warp_row(f.n)) return launch<layer_norm_rows<T, 32>>(stream, grid, kRowThreads, 0, f);
  return launch<layer_norm_rows<T, kRowThreads>>(stream, grid, kRowThreads, 0, f);
}
template <class T> Status layer_backward(Stream& stream, layer_norm_grad_args& a) {
  NormBackward<T> b{};
  b.n = a.x.dim(-1), b.rows = a.x.size() / b.n;
  TERSOR_TRY(open(stream, a.x, &b.x));
  TERSOR_TRY(open(stream, a.gamma, &b.gamma));
  TERSOR_TRY(open(stream, a.mean, &b.mean));
  TERSOR_TRY(open(stream, a.rstd, &b.rstd));
  TERSOR_TRY(open(stream, a.dy, &b.dy));
  b.dx = a.dx.as<T>();
  return backward(stream, b, a.dgamma.as<T>(), a.dbeta.as<T>());
}
template <class T> Status rms_forward(Stream& stream, rms_norm_args& a) {
  NormForward<T> f{};
  f.n = a.x.dim(-1), f.rows = a.x.size() / f.n, f.eps = a.eps;
  if (f.rows == 0) return {};
  TERSOR_TRY(open(stream, a.x, &f.x));
  TERSOR_TRY(open(stream, a.gamma, &f.gamma));
  f.y = a.y.as<T>(), f.rstd = a.rstd.as<T>();
  const Grid grid{row_blocks(f.rows, f.n)};
  if (is_warp_row(f.n)) return launch<rms_norm_rows<T, 32>>(stream, grid, kRowThreads, 0, f);
  return launch<rms_norm_rows<T, kRowThreads>>(stream, grid, kRowThreads, 0, f);
}
template <class T> Status rms_backward(Stream& stream, rms_norm_grad_args& a) {
  NormBackward<T> b{};
  b.n = a.x.dim(-1), b.rows = a.x.size() / b.n;
  TERSOR_TRY(open(stream, a.x, &b.x));
  TERSOR_TRY(open(stream, a.gamma, &b.gamma));
  TERSOR_TRY(open(stream, a.rstd, &b.rstd));
  TERSOR_TRY(open(stream, a.dy, &b.dy));
  b.dx = a.dx.as<T>();
  return backward(stream, b, a.dgamma.as<T>(), static_cast<T*>(nullptr));
}

}  // namespace

Status layer_norm(Stream& stream, layer_norm_args& a) { return a.x.dtype == DType::f64 ? layer_forward<double>(stream, a) : layer_forward<float>(stream, a); }
Status layer_norm_grad(Stream& stream, layer_norm_grad_args& a) {
  return a.x.dtype == DType::f64 ? layer_backward<double>(stream, a) : layer_backward<float>(stream, a);
}
Status rms_norm(Stream& stream, rms_norm_args& a) { return a.x.dtype == DType::f64 ? rms_forward<double>(stream, a) : rms_forward<float>(stream, a); }
Status rms_norm_grad(Stream& stream, rms_norm_grad_args& a) {
  return a.x.dtype == DType::f64 ? rms_backward<double>(stream, a) : rms_backward<float>(stream, a);
}

}  // namespace cuda
}  // namespace tersor
