// softmax, log_softmax, cross_entropy and its gradient over the last axis, f32 or f64; semantics of kernels/softmax/softmax.h. A row's largest value and its
// sum of exponentials come from one pass (Milakov, Gimelshein 2018), the result from a second one, which finds a short row in L1. Device memory sees each
// element once in and once out.
#include "cuda/kernels.h"
#include "cuda/nn.h"
#include "cuda/rows.h"

namespace tersor {
namespace cuda {
namespace {

enum class Finish { softmax, log_softmax, loss, gradient };

// Largest value so far and the sum of exp(x - m). Nothing but -infinity: m = -infinity, s = 0 (or NaN once a NaN was there).
template <class T> struct RowSum {
  T m, s;
};
template <class T> __device__ void take(RowSum<T>& r, T x) {
  if (x > r.m) {
    r.s = fma_of(r.s, exp_of(r.m - x), T(1));
    r.m = x;
  } else if (x != -infinity<T>()) {
    r.s += exp_of(x - r.m);
  }
}
// The same whichever of the two stands first: all lanes of a butterfly end with the same bits.
template <class T> __device__ RowSum<T> merge(RowSum<T> a, RowSum<T> b) {
  if (b.m > a.m) {
    const RowSum<T> t = a;
    a = b, b = t;
  }
  if (b.m == a.m || b.m == -infinity<T>()) return {a.m, a.s + b.s};
  return {a.m, fma_of(b.s, exp_of(b.m - a.m), a.s)};
}

template <int WIDTH, class T> __device__ RowSum<T> merge_row(RowSum<T> r, RowSum<T>* shared) {
  for (int d = 16; d > 0; d /= 2) {
    const RowSum<T> other = {__shfl_xor_sync(0xffffffffu, r.m, d), __shfl_xor_sync(0xffffffffu, r.s, d)};
    r = merge(r, other);
  }
  if (WIDTH > 32) {
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = r;
    __syncthreads();
    r = shared[0];
    for (int w = 1; w < kRowThreads / 32; w++) r = merge(r, shared[w]);
  }
  if (r.m == infinity<T>()) r.s = r.m - r.m;
  return r;
}

// labels, dy: of the loss and its gradient only. y: [rows, n], or [rows] for the loss.
template <class T, int WIDTH, Finish FINISH>
__global__ void softmax_rows(const T* x, const int32_t* labels, const T* dy, T* y, int64_t rows, int64_t n, IndexCheck check) {
  TERSOR_SHARED(RowSum<T>, parts, kRowThreads / 32);
  const int64_t row = row_of_thread<WIDTH>();
  if (row >= rows) return;
  const int lane = row_lane<WIDTH>();
  const T* from = x + row * n;
  RowSum<T> r = {-infinity<T>(), T(0)};
  for (int64_t i = lane; i < n; i += WIDTH) take(r, from[i]);
  r = merge_row<WIDTH>(r, parts);
  const T shift = r.m == -infinity<T>() && r.s == T(0) ? T(0) : r.m, log_sum = log_of(r.s);
  if (FINISH == Finish::loss) {
    const int64_t label = labels[row];
    if (lane == 0 && check.index(row, label)) y[row] = r.s == T(0) ? infinity<T>() : T(0) - ((from[label] - shift) - log_sum);
    return;
  }
  T* to = y + row * n;
  if (FINISH == Finish::log_softmax) {
    for (int64_t i = lane; i < n; i += WIDTH) to[i] = r.s == T(0) ? -infinity<T>() : (from[i] - shift) - log_sum;
    return;
  }
  const T up = FINISH == Finish::gradient ? dy[row] : T(1);
  const int64_t label = FINISH == Finish::gradient ? labels[row] : -1;
  if (FINISH == Finish::gradient && lane == 0) check.index(row, label);
  for (int64_t i = lane; i < n; i += WIDTH) {
    T p = r.s == T(0) ? T(0) : exp_of(from[i] - shift) / r.s;
    if (FINISH == Finish::gradient) p = (i == label ? p - T(1) : p) * up;
    to[i] = p;
  }
}

template <class T, Finish FINISH> Status run_softmax(Stream& stream, const T* x, const int32_t* labels, const T* dy, T* y, int64_t rows, int64_t n, const IndexCheck& check = {}) {
  if (rows == 0) return {};
  const Grid grid{row_blocks(rows, n)};
  if (is_warp_row(n)) return launch<softmax_rows<T, 32, FINISH>>(stream, grid, kRowThreads, 0, x, labels, dy, y, rows, n, check);
  return launch<softmax_rows<T, kRowThreads, FINISH>>(stream, grid, kRowThreads, 0, x, labels, dy, y, rows, n, check);
}

template <class T, Finish FINISH> Status run_rows(Stream& stream, const TensorRef& x, TensorRef& y) {
  if (y.size() == 0) return {};
  const T* from;
  TERSOR_TRY(open(stream, x, &from));
  return run_softmax<T, FINISH>(stream, from, nullptr, nullptr, y.as<T>(), y.size() / x.dim(-1), x.dim(-1));
}

template <class T> Status run_loss(Stream& stream, cross_entropy_args& a) {
  const int64_t rows = a.logits.shape[0], n = a.logits.shape[1];
  const T* x;
  const int32_t* labels;
  TERSOR_TRY(open(stream, a.logits, &x));
  TERSOR_TRY(open(stream, a.labels, &labels));
  IndexCheck check;
  TERSOR_TRY(check.open(stream, "cross_entropy", "labels", n));
  return run_softmax<T, Finish::loss>(stream, x, labels, nullptr, a.loss.as<T>(), rows, n, check);
}
template <class T> Status run_gradient(Stream& stream, cross_entropy_grad_args& a) {
  const int64_t rows = a.logits.shape[0], n = a.logits.shape[1];
  const T *x, *dy;
  const int32_t* labels;
  TERSOR_TRY(open(stream, a.logits, &x));
  TERSOR_TRY(open(stream, a.labels, &labels));
  TERSOR_TRY(open(stream, a.dy, &dy));
  IndexCheck check;
  TERSOR_TRY(check.open(stream, "cross_entropy_grad", "labels", n));
  return run_softmax<T, Finish::gradient>(stream, x, labels, dy, a.dlogits.as<T>(), rows, n, check);
}

}  // namespace

Status softmax(Stream& stream, softmax_args& a) {
  return a.x.dtype == DType::f64 ? run_rows<double, Finish::softmax>(stream, a.x, a.y) : run_rows<float, Finish::softmax>(stream, a.x, a.y);
}
Status log_softmax(Stream& stream, log_softmax_args& a) {
  return a.x.dtype == DType::f64 ? run_rows<double, Finish::log_softmax>(stream, a.x, a.y) : run_rows<float, Finish::log_softmax>(stream, a.x, a.y);
}
Status cross_entropy(Stream& stream, cross_entropy_args& a) {
  return a.logits.dtype == DType::f64 ? run_loss<double>(stream, a) : run_loss<float>(stream, a);
}
Status cross_entropy_grad(Stream& stream, cross_entropy_grad_args& a) {
  return a.logits.dtype == DType::f64 ? run_gradient<double>(stream, a) : run_gradient<float>(stream, a);
}

}  // namespace cuda
}  // namespace tersor
