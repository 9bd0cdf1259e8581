// Convolutions without tiles, f32 or f64: a thread per output or input element, a block per weight for the weight gradient. For groups of few channels
// (depthwise), f64, and positions chosen by pooling; caches do what tiles would. Sums in the order of the taps; weight gradients: runs of 64 in T, then f64.
#include "cuda/conv.h"
#include "cuda/rows.h"

namespace tersor {
namespace cuda {
namespace {

// One output element of channel o at (oy, ox).
template <class T> __device__ T conv_at(const ConvGeometry& g, const T* x, const T* w, int64_t b, int64_t o, int64_t oy, int64_t ox) {
  const int64_t group = o / g.group_out, y0 = oy * g.sh - g.top, x0 = ox * g.sw - g.left;
  const T* plane = x + (b * g.in + group * g.group_in) * g.plane();
  const T* tap = w + o * g.depth();
  T sum = T(0);
  for (int64_t c = 0; c < g.group_in; c++, plane += g.plane())
    for (int64_t ky = 0; ky < g.kh; ky++) {
      const int64_t iy = y0 + ky * g.dh;
      if (iy < 0 || iy >= g.h) {
        tap += g.kw;
        continue;
      }
      for (int64_t kx = 0; kx < g.kw; kx++, tap++) {
        const int64_t ix = x0 + kx * g.dw;
        if (ix >= 0 && ix < g.w) sum = fma_of(*tap, plane[iy * g.w + ix], sum);
      }
    }
  return sum;
}

template <class T> __global__ void direct_forward(ConvGeometry g, const T* x, const T* w, const T* bias, T* y) {
  const int64_t at = thread_index();
  if (at >= g.batch * g.out * g.out_plane()) return;
  const Place p = place_in(at, g.oh, g.ow);
  const Divided channel = divide(p.plane, g.out);
  const T sum = conv_at(g, x, w, channel.q, channel.r, p.row, p.column);
  y[at] = bias ? sum + bias[channel.r] : sum;
}

template <class T> __global__ void direct_select(ConvGeometry g, const T* x, const T* w, const int32_t* index, int64_t places, T* y) {
  const int64_t at = thread_index();
  if (at >= g.batch * g.out * places) return;
  const Place out = place_in(at, g.out, places);
  const int64_t p = index[at];
  if (p < 0 || p >= g.out_plane()) return;
  const Divided line = divide(p, g.ow);
  y[at] = conv_at(g, x, w, out.plane, out.row, line.q, line.r);
}

template <class T> __global__ void direct_grad_input(ConvGeometry g, const T* dy, const T* w, T* dx) {
  const int64_t at = thread_index();
  if (at >= g.batch * g.in * g.plane()) return;
  const Place in = place_in(at, g.h, g.w);
  const Divided image = divide(in.plane, g.in);
  const int64_t ix = in.column, iy = in.row, c = image.r, b = image.q, group = divide(c, g.group_in).q;
  const T* plane = dy + (b * g.out + group * g.group_out) * g.out_plane();
  const T* taps = w + (group * g.group_out * g.group_in + c % g.group_in) * g.taps();
  T sum = T(0);
  for (int64_t o = 0; o < g.group_out; o++, plane += g.out_plane(), taps += g.depth())
    for (int64_t ky = 0; ky < g.kh; ky++) {
      const int64_t y = iy + g.top - ky * g.dh;
      if (y < 0) continue;
      const Divided line = divide(y, g.sh);
      if (line.r != 0 || line.q >= g.oh) continue;
      for (int64_t kx = 0; kx < g.kw; kx++) {
        const int64_t t = ix + g.left - kx * g.dw;
        if (t < 0) continue;
        const Divided column = divide(t, g.sw);
        if (column.r == 0 && column.q < g.ow) sum = fma_of(taps[ky * g.kw + kx], plane[line.q * g.ow + column.q], sum);
      }
    }
  dx[at] = sum;
}

template <class T> __global__ void direct_grad_weight(ConvGeometry g, const T* x, const T* dy, T* dw) {
  const int64_t at = blockIdx.x, kx = at % g.kw, ky = at / g.kw % g.kh, c = at / g.taps() % g.group_in, o = at / g.depth();
  const int64_t n = g.out_plane(), all = g.batch * n;
  const T *image = x + (o / g.group_out * g.group_in + c) * g.plane(), *up = dy + o * n;
  // A thread's next position: 256 further on.
  Place p = place_in(threadIdx.x, g.oh, g.ow);
  const Place step = place_in(kRowThreads, g.oh, g.ow);
  constexpr int kRun = 64;
  double total = 0;
  for (int64_t e = threadIdx.x; e < all;) {
    T sum = T(0);
    for (int k = 0; k < kRun && e < all; k++, e += kRowThreads) {
      const int64_t iy = p.row * g.sh - g.top + ky * g.dh, ix = p.column * g.sw - g.left + kx * g.dw;
      if (iy >= 0 && iy < g.h && ix >= 0 && ix < g.w)
        sum = fma_of(up[p.plane * g.out * n + p.row * g.ow + p.column], image[p.plane * g.in * g.plane() + iy * g.w + ix], sum);
      p.column += step.column, p.row += step.row, p.plane += step.plane;
      if (p.column >= g.ow) p.column -= g.ow, p.row++;
      if (p.row >= g.oh) p.row -= g.oh, p.plane++;
    }
    total += static_cast<double>(sum);
  }
  total = row_total<kRowThreads>(total);
  if (threadIdx.x == 0) dw[at] = static_cast<T>(total);
}

Status tiled(Stream& s, const ConvGeometry& g, const float* x, const float* w, const float* bias, float* y) { return conv_tiled_forward(s, g, x, w, bias, y); }
Status tiled_input(Stream& s, const ConvGeometry& g, const float* dy, const float* w, float* dx) { return conv_tiled_grad_input(s, g, dy, w, dx); }
Status tiled_weight(Stream& s, const ConvGeometry& g, const float* x, const float* dy, float* dw) { return conv_tiled_grad_weight(s, g, x, dy, dw); }
Status tiled(Stream&, const ConvGeometry&, const double*, const double*, const double*, double*) { return {}; }
Status tiled_input(Stream&, const ConvGeometry&, const double*, const double*, double*) { return {}; }
Status tiled_weight(Stream&, const ConvGeometry&, const double*, const double*, double*) { return {}; }
template <class T> bool is_tiled(const ConvGeometry& g) { return sizeof(T) == 4 && conv_is_tiled(g); }

}  // namespace

template <class T> Status conv_forward(Stream& stream, const ConvGeometry& g, const T* x, const T* w, const T* bias, T* y) {
  const int64_t n = g.batch * g.out * g.out_plane();
  if (n == 0) return {};
  if (is_tiled<T>(g)) return tiled(stream, g, x, w, bias, y);
  return launch<direct_forward<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, g, x, w, bias, y);
}
template <class T> Status conv_grad_input(Stream& stream, const ConvGeometry& g, const T* dy, const T* w, T* dx) {
  const int64_t n = g.batch * g.in * g.plane();
  if (n == 0) return {};
  if (is_tiled<T>(g)) return tiled_input(stream, g, dy, w, dx);
  return launch<direct_grad_input<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, g, dy, w, dx);
}
template <class T> Status conv_grad_weight(Stream& stream, const ConvGeometry& g, const T* x, const T* dy, T* dw) {
  const int64_t n = g.out * g.depth();
  if (n == 0) return {};
  if (is_tiled<T>(g) && g.batch * g.out_plane() > 0) return tiled_weight(stream, g, x, dy, dw);
  return launch<direct_grad_weight<T>>(stream, Grid{n}, kRowThreads, 0, g, x, dy, dw);
}
template <class T> Status conv_select(Stream& stream, const ConvGeometry& g, const T* x, const T* w, const int32_t* index, int64_t places, T* y) {
  const int64_t n = g.batch * g.out * places;
  if (n == 0) return {};
  return launch<direct_select<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, g, x, w, index, places, y);
}

#define TERSOR_CONV(T)                                                                                       \
  template Status conv_forward(Stream&, const ConvGeometry&, const T*, const T*, const T*, T*);              \
  template Status conv_grad_input(Stream&, const ConvGeometry&, const T*, const T*, T*);                     \
  template Status conv_grad_weight(Stream&, const ConvGeometry&, const T*, const T*, T*);                    \
  template Status conv_select(Stream&, const ConvGeometry&, const T*, const T*, const int32_t*, int64_t, T*);
TERSOR_CONV(float)
TERSOR_CONV(double)
#undef TERSOR_CONV

}  // namespace cuda
}  // namespace tersor
