// avg_pool2d(x [B,C,H,W]) -> y [B,C,Ho,Wo]: mean of each window. What lies outside the plane is 0; it counts in the divisor when count_padding is
// set and it is padding (places that only `ceil` adds never count). avg_pool2d_grad is its adjoint: every dy is spread evenly over its window,
// windows in row-major order.
#include <cstring>

#include "kernels/pool/pool.h"
#include "ops/pool_common.h"

namespace tersor {
namespace {

template <class T> T share(const PoolSpan& rows, const PoolSpan& columns, bool count_padding) {
  const int64_t n = count_padding ? rows.padded * columns.padded : (rows.end - rows.begin) * (columns.end - columns.begin);
  return T(1) / static_cast<T>(n);
}

template <class T> Status clipped(avg_pool2d_args& a, const PoolWindow& p, const T* x, const Cancel* cancel) {
  const int64_t h = a.x.shape[2], w = a.x.shape[3], ho = a.y.shape[2], wo = a.y.shape[3];
  return parallel_for(a.y.shape[0] * a.y.shape[1] * ho, grain_for(wo * p.kh * p.kw), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at++) {
      const T* plane = x + at / ho * h * w;
      const PoolSpan rows = pool_span(at % ho, h, p.kh, p.sh, p.ph);
      for (int64_t j = 0; j < wo; j++) {
        const PoolSpan columns = pool_span(j, w, p.kw, p.sw, p.pw);
        T sum = 0;
        for (int64_t r = rows.begin; r < rows.end; r++)
          for (int64_t c = columns.begin; c < columns.end; c++) sum += plane[r * w + c];
        a.y.as<T>()[at * wo + j] = sum * share<T>(rows, columns, a.count_padding);
      }
    }
  });
}

// Windows that all lie inside: the kernels.
Status whole(avg_pool2d_args& a, const PoolWindow& p, const char* x, const Cancel* cancel) {
  const int64_t h = a.x.shape[2], w = a.x.shape[3], ho = a.y.shape[2], wo = a.y.shape[3];
  const PoolKernel kernel = a.x.dtype == DType::f32 ? pool_avg_scalar<float> : pool_avg_scalar<double>;
  const int64_t width = dtype_bytes(a.x.dtype);
  return parallel_for(a.y.shape[0] * a.y.shape[1] * ho, grain_for(wo * p.kh * p.kw), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t plane = at / ho, first = at % ho;
      const int64_t rows = ho - first < end - at ? ho - first : end - at;
      kernel({x + (plane * h + first * p.sh) * w * width, a.y.as<char>() + at * wo * width, nullptr, (rows - 1) * p.sh + p.kh, w, rows, wo, p.kh, p.kw, p.sh,
              p.sw});
      at += rows;
    }
  });
}

template <class T> void spread_plane(const T* dy, T* dx, const avg_pool2d_grad_args& a, const PoolWindow& p) {
  const int64_t h = a.dx.shape[2], w = a.dx.shape[3], ho = a.dy.shape[2], wo = a.dy.shape[3];
  memset(dx, 0, static_cast<size_t>(h * w) * sizeof(T));
  for (int64_t i = 0; i < ho; i++) {
    const PoolSpan rows = pool_span(i, h, p.kh, p.sh, p.ph);
    for (int64_t j = 0; j < wo; j++) {
      const PoolSpan columns = pool_span(j, w, p.kw, p.sw, p.pw);
      const T part = dy[i * wo + j] * share<T>(rows, columns, a.count_padding);
      for (int64_t r = rows.begin; r < rows.end; r++)
        for (int64_t c = columns.begin; c < columns.end; c++) dx[r * w + c] += part;
    }
  }
}

}  // namespace

Status avg_pool2d_infer(avg_pool2d_args& a) {
  TERSOR_TRY(expect_float("avg_pool2d", "x", a.x));
  PoolWindow window{};
  TERSOR_TRY(pool_window("avg_pool2d", a.kernel, a.stride, a.padding, a.ceil, &window));
  int64_t shape[4];
  TERSOR_TRY(pool_output("avg_pool2d", a.x, window, shape));
  set_shape(a.y, a.x.dtype, shape, 4);
  return {};
}

Status avg_pool2d_cpu(avg_pool2d_args& a, Context& ctx) {
  PoolWindow p{};
  TERSOR_TRY(pool_window("avg_pool2d", a.kernel, a.stride, a.padding, a.ceil, &p));
  Contiguous x;
  TERSOR_TRY(x.open("avg_pool2d", a.x, ctx.cancel));
  if (pool_inside(p, a.x.shape[2], a.x.shape[3], a.y.shape[2], a.y.shape[3])) return whole(a, p, x.as<char>(), ctx.cancel);
  return a.x.dtype == DType::f32 ? clipped(a, p, x.as<float>(), ctx.cancel) : clipped(a, p, x.as<double>(), ctx.cancel);
}

Status avg_pool2d_grad_infer(avg_pool2d_grad_args& a) {
  TERSOR_TRY(expect_float("avg_pool2d_grad", "dy", a.dy));
  PoolWindow window{};
  TERSOR_TRY(pool_window("avg_pool2d_grad", a.kernel, a.stride, a.padding, a.ceil, &window));
  TERSOR_TRY(shape_from_list("avg_pool2d_grad", "input_shape", a.input_shape, a.dy.dtype, a.dx));
  int64_t shape[4];
  TERSOR_TRY(pool_output("avg_pool2d_grad", a.dx, window, shape));
  return expect_shape("avg_pool2d_grad", "dy", a.dy, shape, 4);
}

Status avg_pool2d_grad_cpu(avg_pool2d_grad_args& a, Context& ctx) {
  PoolWindow p{};
  TERSOR_TRY(pool_window("avg_pool2d_grad", a.kernel, a.stride, a.padding, a.ceil, &p));
  Contiguous dy;
  TERSOR_TRY(dy.open("avg_pool2d_grad", a.dy, ctx.cancel));
  const int64_t planes = a.dx.shape[0] * a.dx.shape[1], plane = a.dx.shape[2] * a.dx.shape[3], out = a.dy.shape[2] * a.dy.shape[3];
  return parallel_for(planes, grain_for(plane + out * p.kh * p.kw), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      if (a.dy.dtype == DType::f32) spread_plane(dy.as<float>() + i * out, a.dx.as<float>() + i * plane, a, p);
      else spread_plane(dy.as<double>() + i * out, a.dx.as<double>() + i * plane, a, p);
    }
  });
}

}  // namespace tersor
