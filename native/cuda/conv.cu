// Entries of the conv2d family, f32 or f64: plain, grouped, and those that pool (the convolution's result lies in scratch memory; only the positions that
// pooling chose are computed by conv2d_select).
#include "cuda/kernels.h"
#include "cuda/conv.h"
#include "cuda/pool.h"

namespace tersor {
namespace cuda {
namespace {

// Sizes of the checked shapes x [B,C,H,W] and w [O,C/groups,kh,kw]; padding: two numbers, or top, bottom, left, right.
ConvGeometry geometry(const int64_t* x, const int64_t* w, const IntList& stride, const IntList& padding, const int64_t* dilation, int64_t groups) {
  ConvGeometry g{};
  g.batch = x[0], g.in = x[1], g.h = x[2], g.w = x[3];
  g.out = w[0], g.kh = w[2], g.kw = w[3];
  g.groups = groups, g.group_in = w[1], g.group_out = w[0] / groups;
  g.sh = stride.v[0], g.sw = stride.v[1];
  g.dh = dilation ? dilation[0] : 1, g.dw = dilation ? dilation[1] : 1;
  const bool four = padding.n == 4;
  g.top = padding.v[0], g.left = four ? padding.v[2] : padding.v[1];
  const int64_t bottom = four ? padding.v[1] : padding.v[0], right = four ? padding.v[3] : padding.v[1];
  g.oh = (g.h + g.top + bottom - (g.kh - 1) * g.dh - 1) / g.sh + 1;
  g.ow = (g.w + g.left + right - (g.kw - 1) * g.dw - 1) / g.sw + 1;
  return g;
}

template <class T> Status forward(Stream& stream, const ConvGeometry& g, const TensorRef& x, const TensorRef& w, const TensorRef& bias, T* y) {
  const T *px, *pw, *pb;
  TERSOR_TRY(open(stream, x, &px));
  TERSOR_TRY(open(stream, w, &pw));
  TERSOR_TRY(open(stream, bias, &pb));
  return conv_forward(stream, g, px, pw, pb, y);
}
template <class T> Status grad_input(Stream& stream, const ConvGeometry& g, const TensorRef& dy, const TensorRef& w, T* dx) {
  const T *pd, *pw;
  TERSOR_TRY(open(stream, dy, &pd));
  TERSOR_TRY(open(stream, w, &pw));
  return conv_grad_input(stream, g, pd, pw, dx);
}
template <class T> Status grad_weight(Stream& stream, const ConvGeometry& g, const TensorRef& x, const TensorRef& dy, T* dw) {
  const T *px, *pd;
  TERSOR_TRY(open(stream, x, &px));
  TERSOR_TRY(open(stream, dy, &pd));
  return conv_grad_weight(stream, g, px, pd, dw);
}

// Every index lies in its window of ph x pw positions; one that does not is reported as outside of the result.
__global__ void check_windows(const int32_t* index, int64_t n, int64_t rows, int64_t columns, int64_t ow, int64_t ph, int64_t pw, IndexCheck check) {
  const int64_t at = thread_index();
  if (at >= n) return;
  const int64_t v = index[at];
  const bool inside = v >= 0 && v / ow / ph == at / columns % rows && v % ow / pw == at % columns;
  check.index(at, inside ? v : -1);
}
Status open_windows(Stream& stream, const char* op, const ConvGeometry& g, const IntList& pool, const TensorRef& index, const int32_t** at, IndexCheck* check) {
  TERSOR_TRY(open(stream, index, at));
  TERSOR_TRY(check->open(stream, op, "index (which must lie in its window)", g.out_plane()));
  const Grid grid{blocks_for(index.size())};
  return launch<check_windows>(stream, grid, kThreads, 0, *at, index.size(), index.shape[2], index.shape[3], g.ow, pool.v[0], pool.v[1], *check);
}
// dy spread to the convolution's result.
template <class T> Status spread(Stream& stream, const ConvGeometry& g, const TensorRef& dy, const int32_t* index, const IndexCheck& check, const T** out) {
  const T* from;
  T* to;
  TERSOR_TRY(open(stream, dy, &from));
  TERSOR_TRY(stream.scratch(g.batch * g.out * g.out_plane(), &to));
  *out = to;
  return pool_unpool(stream, from, index, to, g.batch * g.out, dy.shape[2] * dy.shape[3], g.out_plane(), check);
}

template <class T> Status max_pool(Stream& stream, conv2d_max_pool_args& a) {
  const ConvGeometry g = geometry(a.x.shape, a.w.shape, a.stride, a.padding, nullptr, 1);
  T* whole;
  TERSOR_TRY(stream.scratch(g.batch * g.out * g.out_plane(), &whole));
  TERSOR_TRY(forward(stream, g, a.x, a.w, a.bias, whole));
  const Pooling p{g.oh, g.ow, a.y.shape[2], a.y.shape[3], a.pool.v[0], a.pool.v[1], a.pool.v[0], a.pool.v[1], 0, 0};
  return pool_max(stream, p, whole, a.y.as<T>(), a.index.as<int32_t>(), g.batch * g.out);
}
template <class T> Status select(Stream& stream, conv2d_select_args& a) {
  const ConvGeometry g = geometry(a.x.shape, a.w.shape, a.stride, a.padding, nullptr, 1);
  const T *x, *w;
  const int32_t* index;
  IndexCheck check;
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(open(stream, a.w, &w));
  TERSOR_TRY(open_windows(stream, "conv2d_select", g, a.pool, a.index, &index, &check));
  return conv_select(stream, g, x, w, index, a.index.shape[2] * a.index.shape[3], a.y.as<T>());
}
template <class T> Status select_grad_input(Stream& stream, conv2d_select_grad_input_args& a) {
  const ConvGeometry g = geometry(a.input_shape.v, a.w.shape, a.stride, a.padding, nullptr, 1);
  const T *dy, *w;
  const int32_t* index;
  IndexCheck check;
  TERSOR_TRY(open(stream, a.w, &w));
  TERSOR_TRY(open_windows(stream, "conv2d_select_grad_input", g, a.pool, a.index, &index, &check));
  TERSOR_TRY(spread(stream, g, a.dy, index, check, &dy));
  return conv_grad_input(stream, g, dy, w, a.dx.as<T>());
}
template <class T> Status select_grad_weight(Stream& stream, conv2d_select_grad_weight_args& a) {
  const ConvGeometry g = geometry(a.x.shape, a.weight_shape.v, a.stride, a.padding, nullptr, 1);
  const T *dy, *x;
  const int32_t* index;
  IndexCheck check;
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(open_windows(stream, "conv2d_select_grad_weight", g, a.pool, a.index, &index, &check));
  TERSOR_TRY(spread(stream, g, a.dy, index, check, &dy));
  return conv_grad_weight(stream, g, x, dy, a.dw.as<T>());
}

}  // namespace

Status conv2d(Stream& s, conv2d_args& a) {
  const ConvGeometry g = geometry(a.x.shape, a.w.shape, a.stride, a.padding, nullptr, 1);
  return a.x.dtype == DType::f64 ? forward(s, g, a.x, a.w, a.bias, a.y.as<double>()) : forward(s, g, a.x, a.w, a.bias, a.y.as<float>());
}
Status conv2d_grad_input(Stream& s, conv2d_grad_input_args& a) {
  const ConvGeometry g = geometry(a.input_shape.v, a.w.shape, a.stride, a.padding, nullptr, 1);
  return a.dy.dtype == DType::f64 ? grad_input(s, g, a.dy, a.w, a.dx.as<double>()) : grad_input(s, g, a.dy, a.w, a.dx.as<float>());
}
Status conv2d_grad_weight(Stream& s, conv2d_grad_weight_args& a) {
  const ConvGeometry g = geometry(a.x.shape, a.weight_shape.v, a.stride, a.padding, nullptr, 1);
  return a.x.dtype == DType::f64 ? grad_weight(s, g, a.x, a.dy, a.dw.as<double>()) : grad_weight(s, g, a.x, a.dy, a.dw.as<float>());
}
Status conv2d_grouped(Stream& s, conv2d_grouped_args& a) {
  const ConvGeometry g = geometry(a.x.shape, a.w.shape, a.stride, a.padding, a.dilation.v, a.groups);
  return a.x.dtype == DType::f64 ? forward(s, g, a.x, a.w, a.bias, a.y.as<double>()) : forward(s, g, a.x, a.w, a.bias, a.y.as<float>());
}
Status conv2d_grouped_grad_input(Stream& s, conv2d_grouped_grad_input_args& a) {
  const ConvGeometry g = geometry(a.input_shape.v, a.w.shape, a.stride, a.padding, a.dilation.v, a.groups);
  return a.dy.dtype == DType::f64 ? grad_input(s, g, a.dy, a.w, a.dx.as<double>()) : grad_input(s, g, a.dy, a.w, a.dx.as<float>());
}
Status conv2d_grouped_grad_weight(Stream& s, conv2d_grouped_grad_weight_args& a) {
  const ConvGeometry g = geometry(a.x.shape, a.weight_shape.v, a.stride, a.padding, a.dilation.v, a.groups);
  return a.x.dtype == DType::f64 ? grad_weight(s, g, a.x, a.dy, a.dw.as<double>()) : grad_weight(s, g, a.x, a.dy, a.dw.as<float>());
}
Status conv2d_max_pool(Stream& s, conv2d_max_pool_args& a) { return a.x.dtype == DType::f64 ? max_pool<double>(s, a) : max_pool<float>(s, a); }
Status conv2d_select(Stream& s, conv2d_select_args& a) { return a.x.dtype == DType::f64 ? select<double>(s, a) : select<float>(s, a); }
Status conv2d_select_grad_input(Stream& s, conv2d_select_grad_input_args& a) {
  return a.dy.dtype == DType::f64 ? select_grad_input<double>(s, a) : select_grad_input<float>(s, a);
}
Status conv2d_select_grad_weight(Stream& s, conv2d_select_grad_weight_args& a) {
  return a.x.dtype == DType::f64 ? select_grad_weight<double>(s, a) : select_grad_weight<float>(s, a);
}

}  // namespace cuda
}  // namespace tersor
