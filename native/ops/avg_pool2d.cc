// avg_pool2d(x [B,C,H,W]) -> y [B,C,Ho,Wo]: mean of each window, no padding. avg_pool2d_grad is its adjoint: every dy is spread evenly
// over its window, windows in row-major order.
#include <cstring>

#include "kernels/pool/pool.h"
#include "ops/pool_common.h"

namespace tersor {

Status avg_pool2d_infer(avg_pool2d_args& a) {
  TERSOR_TRY(expect_float("avg_pool2d", "x", a.x));
  PoolWindow window{};
  TERSOR_TRY(pool_window("avg_pool2d", a.kernel, a.stride, &window));
  int64_t shape[4];
  TERSOR_TRY(pool_output("avg_pool2d", a.x, window, shape));
  set_shape(a.y, a.x.dtype, shape, 4);
  return {};
}

Status avg_pool2d_cpu(avg_pool2d_args& a, Context& ctx) {
  const int64_t planes = a.y.shape[0] * a.y.shape[1];
  const int64_t h = a.x.shape[2], w = a.x.shape[3], ho = a.y.shape[2], wo = a.y.shape[3];
  const int64_t kh = a.kernel.v[0], kw = a.kernel.v[1], sh = a.stride.v[0], sw = a.stride.v[1];
  Contiguous x;
  TERSOR_TRY(x.open("avg_pool2d", a.x, ctx.cancel));
  const PoolKernel kernel = a.x.dtype == DType::f32 ? pool_avg_scalar<float> : pool_avg_scalar<double>;
  const int64_t width = dtype_bytes(a.x.dtype);
  return parallel_for(planes * ho, grain_for(wo * kh * kw), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t plane = at / ho, first = at % ho;
      const int64_t rows = ho - first < end - at ? ho - first : end - at;
      const PoolArgs args = {x.as<char>() + (plane * h + first * sh) * w * width, a.y.as<char>() + at * wo * width, nullptr,
                             (rows - 1) * sh + kh, w, rows, wo, kh, kw, sh, sw};
      kernel(args);
      at += rows;
    }
  });
}

Status avg_pool2d_grad_infer(avg_pool2d_grad_args& a) {
  TERSOR_TRY(expect_float("avg_pool2d_grad", "dy", a.dy));
  PoolWindow window{};
  TERSOR_TRY(pool_window("avg_pool2d_grad", a.kernel, a.stride, &window));
  TERSOR_TRY(shape_from_list("avg_pool2d_grad", "input_shape", a.input_shape, a.dy.dtype, a.dx));
  int64_t shape[4];
  TERSOR_TRY(pool_output("avg_pool2d_grad", a.dx, window, shape));
  return expect_shape("avg_pool2d_grad", "dy", a.dy, shape, 4);
}

namespace {

template <class T> void spread_plane(const T* dy, T* dx, const avg_pool2d_grad_args& a) {
  const int64_t h = a.dx.shape[2], w = a.dx.shape[3], ho = a.dy.shape[2], wo = a.dy.shape[3];
  const int64_t kh = a.kernel.v[0], kw = a.kernel.v[1], sh = a.stride.v[0], sw = a.stride.v[1];
  const T scale = T(1) / static_cast<T>(kh * kw);
  memset(dx, 0, static_cast<size_t>(h * w) * sizeof(T));
  for (int64_t i = 0; i < ho; i++)
    for (int64_t j = 0; j < wo; j++) {
      const T share = dy[i * wo + j] * scale;
      for (int64_t r = 0; r < kh; r++) {
        T* row = dx + (i * sh + r) * w + j * sw;
        for (int64_t c = 0; c < kw; c++) row[c] += share;
      }
    }
}

}  // namespace

Status avg_pool2d_grad_cpu(avg_pool2d_grad_args& a, Context& ctx) {
  Contiguous dy;
  TERSOR_TRY(dy.open("avg_pool2d_grad", a.dy, ctx.cancel));
  const int64_t planes = a.dx.shape[0] * a.dx.shape[1], plane = a.dx.shape[2] * a.dx.shape[3], out = a.dy.shape[2] * a.dy.shape[3];
  const int64_t window = a.kernel.v[0] * a.kernel.v[1];
  return parallel_for(planes, grain_for(plane + out * window), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      if (a.dy.dtype == DType::f32) spread_plane(dy.as<float>() + p * out, a.dx.as<float>() + p * plane, a);
      else spread_plane(dy.as<double>() + p * out, a.dx.as<double>() + p * plane, a);
    }
  });
}

}  // namespace tersor
