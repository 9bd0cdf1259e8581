// max_pool2d, max_unpool2d, pool_select2d, avg_pool2d and its gradient, f32 or f64; semantics of ops/max_pool2d.cc and ops/avg_pool2d.cc. A thread per
// result; sums in the processor's order. max_unpool2d adds in shared memory, position by position, without atomics on floats: see unpool_tiles.
#include "cuda/kernels.h"
#include "cuda/pool.h"

namespace tersor {
namespace cuda {
namespace {

template <class T> __global__ void max_pool_kernel(Pooling p, const T* x, T* y, int32_t* index, int64_t n) {
  const int64_t at = thread_index();
  if (at >= n) return;
  const Place out = place_in(at, p.ho, p.wo);
  const T* plane = x + out.plane * p.h * p.w;
  const Span rows = span_of(out.row, p.h, p.kh, p.sh, p.ph), columns = span_of(out.column, p.w, p.kw, p.sw, p.pw);
  int64_t best = rows.begin * p.w + columns.begin;
  T top = plane[best];
  for (int64_t r = rows.begin; r < rows.end; r++)
    for (int64_t c = columns.begin; c < columns.end; c++) {
      const T v = plane[r * p.w + c];
      if (!(v <= top) && top == top) {  // the first largest, the first NaN over everything
        top = v;
        best = r * p.w + c;
      }
    }
  y[at] = top;
  index[at] = static_cast<int32_t>(best);
}

template <class T> __global__ void pool_select(const T* x, const int32_t* index, T* y, int64_t n, int64_t out, int64_t plane, IndexCheck check) {
  const int64_t at = thread_index();
  if (at >= n) return;
  const int64_t i = index[at];
  if (check.index(at, i)) y[at] = x[divide(at, out).q * plane + i];
}

constexpr int kScatterTile = 4096;

// A block owns kScatterTile neighbouring elements of dx: whole planes, or a part of one. It takes the dy of its planes 256 at a time, in order. Those that
// share a place take turns, the lowest position first (an integer minimum per place), so sums have one order and nothing is lost.
template <class T> __global__ void unpool_tiles(const T* dy, const int32_t* index, T* dx, int64_t planes, int64_t out, int64_t plane, IndexCheck check) {
  TERSOR_SHARED(T, sums, kScatterTile);
  TERSOR_SHARED(int, turn, kScatterTile);
  const int64_t whole = plane < kScatterTile ? kScatterTile / plane : 1, tiles = plane < kScatterTile ? 1 : (plane + kScatterTile - 1) / kScatterTile;
  const int64_t p0 = blockIdx.x / tiles * whole, base = blockIdx.x % tiles * kScatterTile;
  const int64_t count = planes - p0 < whole ? planes - p0 : whole;
  const int64_t size = plane < kScatterTile ? count * plane : (plane - base < kScatterTile ? plane - base : kScatterTile);
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) {
    sums[i] = T(0);
    turn[i] = kThreads;
  }
  __syncthreads();
  for (int64_t o0 = 0; o0 < count * out; o0 += kThreads) {
    const int64_t o = o0 + threadIdx.x;
    int64_t at = -1;
    T v = T(0);
    if (o < count * out) {
      const int64_t i = index[p0 * out + o];
      if (check.index(p0 * out + o, i)) at = divide(o, out).q * plane + i - base;
      if (at >= size || (plane >= kScatterTile && i < base)) at = -1;
      v = dy[p0 * out + o];
    }
    bool waits = at >= 0;
    while (__syncthreads_or(waits)) {
      if (waits) atomicMin(&turn[at], static_cast<int>(threadIdx.x));
      __syncthreads();
      const bool first = waits && turn[at] == static_cast<int>(threadIdx.x);
      __syncthreads();
      if (first) {
        sums[at] += v;
        turn[at] = kThreads;
        waits = false;
      }
    }
  }
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) dx[p0 * plane + base + i] = sums[i];
}

template <class T> __global__ void avg_pool(Pooling p, bool count_padding, const T* x, T* y, int64_t n) {
  const int64_t at = thread_index();
  if (at >= n) return;
  const Place out = place_in(at, p.ho, p.wo);
  const T* plane = x + out.plane * p.h * p.w;
  const Span rows = span_of(out.row, p.h, p.kh, p.sh, p.ph), columns = span_of(out.column, p.w, p.kw, p.sw, p.pw);
  T sum = T(0);
  for (int64_t r = rows.begin; r < rows.end; r++)
    for (int64_t c = columns.begin; c < columns.end; c++) sum += plane[r * p.w + c];
  const int64_t places = count_padding ? rows.padded * columns.padded : (rows.end - rows.begin) * (columns.end - columns.begin);
  y[at] = sum * (T(1) / static_cast<T>(places));
}

// Windows of one axis that hold position r: [first, last].
__device__ inline void windows_of(int64_t r, int64_t kernel, int64_t stride, int64_t padding, int64_t count, int64_t* first, int64_t* last) {
  const int64_t from = r + padding - kernel + 1;
  *first = from <= 0 ? 0 : (from + stride - 1) / stride;
  *last = (r + padding) / stride < count - 1 ? (r + padding) / stride : count - 1;
}

template <class T> __global__ void avg_pool_grad(Pooling p, bool count_padding, const T* dy, T* dx, int64_t n) {
  const int64_t at = thread_index();
  if (at >= n) return;
  const Place in = place_in(at, p.h, p.w);
  const T* plane = dy + in.plane * p.ho * p.wo;
  int64_t i0, i1, j0, j1;
  windows_of(in.row, p.kh, p.sh, p.ph, p.ho, &i0, &i1);
  windows_of(in.column, p.kw, p.sw, p.pw, p.wo, &j0, &j1);
  T sum = T(0);
  for (int64_t i = i0; i <= i1; i++) {
    const Span rows = span_of(i, p.h, p.kh, p.sh, p.ph);
    for (int64_t j = j0; j <= j1; j++) {
      const Span columns = span_of(j, p.w, p.kw, p.sw, p.pw);
      const int64_t places = count_padding ? rows.padded * columns.padded : (rows.end - rows.begin) * (columns.end - columns.begin);
      sum += plane[i * p.wo + j] * (T(1) / static_cast<T>(places));
    }
  }
  dx[at] = sum;
}

Pooling pooling_of(const TensorRef& in, const TensorRef& out, const IntList& kernel, const IntList& stride, const IntList& padding) {
  return {in.shape[2], in.shape[3], out.shape[2], out.shape[3], kernel.v[0], kernel.v[1], stride.v[0], stride.v[1], padding.v[0], padding.v[1]};
}

template <class T> Status max_forward(Stream& stream, max_pool2d_args& a) {
  const T* x;
  TERSOR_TRY(open(stream, a.x, &x));
  return pool_max(stream, pooling_of(a.x, a.y, a.kernel, a.stride, a.padding), x, a.y.as<T>(), a.index.as<int32_t>(), a.y.shape[0] * a.y.shape[1]);
}
template <class T> Status unpool(Stream& stream, max_unpool2d_args& a) {
  const T* dy;
  const int32_t* index;
  TERSOR_TRY(open(stream, a.dy, &dy));
  TERSOR_TRY(open(stream, a.index, &index));
  const int64_t planes = a.dx.shape[0] * a.dx.shape[1], plane = a.dx.shape[2] * a.dx.shape[3], out = a.dy.shape[2] * a.dy.shape[3];
  IndexCheck check;
  TERSOR_TRY(check.open(stream, "max_unpool2d", "index", plane));
  return pool_unpool(stream, dy, index, a.dx.as<T>(), planes, out, plane, check);
}
template <class T> Status select(Stream& stream, pool_select2d_args& a) {
  const T* x;
  const int32_t* index;
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(open(stream, a.index, &index));
  const int64_t plane = a.x.shape[2] * a.x.shape[3], out = a.y.shape[2] * a.y.shape[3], n = a.y.size();
  if (n == 0) return {};
  IndexCheck check;
  TERSOR_TRY(check.open(stream, "pool_select2d", "index", plane));
  return launch<pool_select<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, x, index, a.y.as<T>(), n, out, plane, check);
}
template <class T> Status avg_forward(Stream& stream, avg_pool2d_args& a) {
  const T* x;
  const int64_t n = a.y.size();
  if (n == 0) return {};
  TERSOR_TRY(open(stream, a.x, &x));
  return launch<avg_pool<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, pooling_of(a.x, a.y, a.kernel, a.stride, a.padding), a.count_padding, x, a.y.as<T>(), n);
}
template <class T> Status avg_backward(Stream& stream, avg_pool2d_grad_args& a) {
  const T* dy;
  const int64_t n = a.dx.size();
  if (n == 0) return {};
  TERSOR_TRY(open(stream, a.dy, &dy));
  const Pooling p = pooling_of(a.dx, a.dy, a.kernel, a.stride, a.padding);
  return launch<avg_pool_grad<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, p, a.count_padding, dy, a.dx.as<T>(), n);
}

}  // namespace

template <class T> Status pool_max(Stream& stream, const Pooling& p, const T* x, T* y, int32_t* index, int64_t planes) {
  const int64_t n = planes * p.ho * p.wo;
  if (n == 0) return {};
  return launch<max_pool_kernel<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, p, x, y, index, n);
}
template <class T> Status pool_unpool(Stream& stream, const T* dy, const int32_t* index, T* dx, int64_t planes, int64_t out, int64_t plane, const IndexCheck& check) {
  if (planes * plane == 0) return {};
  const int64_t blocks = plane < kScatterTile ? blocks_for(planes, kScatterTile / plane) : planes * blocks_for(plane, kScatterTile);
  return launch<unpool_tiles<T>>(stream, Grid{blocks}, kThreads, 0, dy, index, dx, planes, out, plane, check);
}
template Status pool_max(Stream&, const Pooling&, const float*, float*, int32_t*, int64_t);
template Status pool_max(Stream&, const Pooling&, const double*, double*, int32_t*, int64_t);
template Status pool_unpool(Stream&, const float*, const int32_t*, float*, int64_t, int64_t, int64_t, const IndexCheck&);
template Status pool_unpool(Stream&, const double*, const int32_t*, double*, int64_t, int64_t, int64_t, const IndexCheck&);

Status max_pool2d(Stream& stream, max_pool2d_args& a) { return a.x.dtype == DType::f64 ? max_forward<double>(stream, a) : max_forward<float>(stream, a); }
Status max_unpool2d(Stream& stream, max_unpool2d_args& a) { return a.dy.dtype == DType::f64 ? unpool<double>(stream, a) : unpool<float>(stream, a); }
Status pool_select2d(Stream& stream, pool_select2d_args& a) { return a.x.dtype == DType::f64 ? select<double>(stream, a) : select<float>(stream, a); }
Status avg_pool2d(Stream& stream, avg_pool2d_args& a) { return a.x.dtype == DType::f64 ? avg_forward<double>(stream, a) : avg_forward<float>(stream, a); }
Status avg_pool2d_grad(Stream& stream, avg_pool2d_grad_args& a) {
  return a.dy.dtype == DType::f64 ? avg_backward<double>(stream, a) : avg_backward<float>(stream, a);
}

}  // namespace cuda
}  // namespace tersor
