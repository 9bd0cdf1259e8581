// max_pool2d(x [B,C,H,W]) -> y, index [B,C,Ho,Wo]; index is the flat position in the H x W plane (kernels/pool/pool.h). Padding never wins.
// max_unpool2d adds dy at those positions, pool_select2d reads x there: two linear operators, each the other's adjoint.
#include <cstring>

#include "kernels/pool/pool.h"
#include "ops/index_check.h"
#include "ops/pool_common.h"

namespace tersor {

Status max_pool2d_infer(max_pool2d_args& a) {
  TERSOR_TRY(expect_float("max_pool2d", "x", a.x));
  PoolWindow window{};
  TERSOR_TRY(pool_window("max_pool2d", a.kernel, a.stride, a.padding, a.ceil, &window));
  int64_t shape[4];
  TERSOR_TRY(pool_output("max_pool2d", a.x, window, shape));
  set_shape(a.y, a.x.dtype, shape, 4);
  set_shape(a.index, DType::i32, shape, 4);
  return {};
}

namespace {

// Output row i of a plane whose windows may reach outside. As the kernels: the first largest wins, the first NaN over everything. Tap by tap over the whole row: the
// comparisons become selections, which cost the same whatever they find.
template <class T> void clipped_row(const T* x, const PoolWindow& p, int64_t h, int64_t w, int64_t i, int64_t wo, T* y, int32_t* index) {
  const PoolSpan rows = pool_span(i, h, p.kh, p.sh, p.ph);
  for (int64_t j = 0; j < wo; j++) {
    const int64_t first = rows.begin * w + pool_span(j, w, p.kw, p.sw, p.pw).begin;
    y[j] = x[first];
    index[j] = static_cast<int32_t>(first);
  }
  for (int64_t r = rows.begin; r < rows.end; r++)
    for (int64_t c = 0; c < p.kw; c++) {
      const int64_t shift = c - p.pw;  // column j * sw + shift, in [0, w) for j in [begin, end)
      const int64_t begin = shift < 0 ? (-shift + p.sw - 1) / p.sw : 0, fit = shift < w ? (w - 1 - shift) / p.sw + 1 : 0, end = fit < wo ? fit : wo;
      const T* from = x + r * w + shift;
      const int32_t at = static_cast<int32_t>(r * w + shift), step = static_cast<int32_t>(p.sw);
      for (int64_t j = begin; j < end; j++) {
        const T v = from[j * p.sw], top = y[j];
        const bool take = !(v <= top) & (top == top);
        y[j] = take ? v : top;
        index[j] = take ? at + static_cast<int32_t>(j) * step : index[j];
      }
    }
}

template <class T> Status clipped(max_pool2d_args& a, const PoolWindow& p, const T* x, const Cancel* cancel) {
  const int64_t h = a.x.shape[2], w = a.x.shape[3], ho = a.y.shape[2], wo = a.y.shape[3];
  return parallel_for(a.y.shape[0] * a.y.shape[1] * ho, grain_for(wo * p.kh * p.kw), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at++)
      clipped_row(x + at / ho * h * w, p, h, w, at % ho, wo, a.y.as<T>() + at * wo, a.index.as<int32_t>() + at * wo);
  });
}

}  // namespace

Status max_pool2d_cpu(max_pool2d_args& a, Context& ctx) {
  const int64_t planes = a.y.shape[0] * a.y.shape[1];
  const int64_t h = a.x.shape[2], w = a.x.shape[3], ho = a.y.shape[2], wo = a.y.shape[3];
  PoolWindow p{};
  TERSOR_TRY(pool_window("max_pool2d", a.kernel, a.stride, a.padding, a.ceil, &p));
  Contiguous x;
  TERSOR_TRY(x.open("max_pool2d", a.x, ctx.cancel));
  const bool single = a.x.dtype == DType::f32;
  if (!pool_inside(p, h, w, ho, wo)) return single ? clipped(a, p, x.as<float>(), ctx.cancel) : clipped(a, p, x.as<double>(), ctx.cancel);
  PoolKernel kernel = pool_max_scalar<double>;
  if (single) kernel = p.kh == 2 && p.kw == 2 && p.sh == 2 && p.sw == 2 ? pool_max2x2_f32() : pool_max_scalar<float>;
  const int64_t width = dtype_bytes(a.x.dtype);
  // Rows of all planes are the unit of work, so that one large image is shared too.
  return parallel_for(planes * ho, grain_for(wo * p.kh * p.kw), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t plane = at / ho, first = at % ho;
      const int64_t rows = ho - first < end - at ? ho - first : end - at;
      const PoolArgs args = {x.as<char>() + (plane * h + first * p.sh) * w * width, a.y.as<char>() + at * wo * width,
                             a.index.as<int32_t>() + at * wo, (rows - 1) * p.sh + p.kh, w, rows, wo, p.kh, p.kw, p.sh, p.sw};
      kernel(args);
      const int32_t offset = static_cast<int32_t>(first * p.sh * w);
      if (offset)
        for (int64_t i = 0; i < rows * wo; i++) args.index[i] += offset;
      at += rows;
    }
  });
}

namespace {

Status check_index(const char* op, const int32_t* index, int64_t n, int64_t plane, const Cancel* cancel) {
  int64_t bad;
  TERSOR_TRY(find_bad_index(index, n, plane, cancel, &bad));
  if (bad == n) return {};
  return fail(Code::shape, "%s: index must be in [0, %lld), got %d at position %lld", op, static_cast<long long>(plane), index[bad],
              static_cast<long long>(bad));
}

template <class T> void unpool_planes(const T* dy, const int32_t* index, T* dx, int64_t out, int64_t plane, int64_t begin, int64_t end) {
  memset(dx + begin * plane, 0, static_cast<size_t>((end - begin) * plane) * sizeof(T));
  for (int64_t p = begin; p < end; p++)
    for (int64_t i = p * out; i < (p + 1) * out; i++) dx[p * plane + index[i]] += dy[i];
}

template <class T> void select_planes(const T* x, const int32_t* index, T* y, int64_t out, int64_t plane, int64_t begin, int64_t end) {
  for (int64_t p = begin; p < end; p++)
    for (int64_t i = p * out; i < (p + 1) * out; i++) y[i] = x[p * plane + index[i]];
}

}  // namespace

Status max_unpool2d_infer(max_unpool2d_args& a) {
  TERSOR_TRY(expect_float("max_unpool2d", "dy", a.dy));
  TERSOR_TRY(expect_rank("max_unpool2d", "dy", a.dy, 4));
  TERSOR_TRY(expect_dtype("max_unpool2d", "index", a.index, DType::i32));
  TERSOR_TRY(expect_shape("max_unpool2d", "index", a.index, a.dy.shape, 4));
  const IntList& s = a.input_shape;
  if (s.n != 4 || s.v[0] != a.dy.shape[0] || s.v[1] != a.dy.shape[1])
    return fail(Code::shape, "max_unpool2d: input_shape must be [%lld,%lld,H,W], got %d values [%lld,%lld,...] (dy: %s)",
                static_cast<long long>(a.dy.shape[0]), static_cast<long long>(a.dy.shape[1]), s.n, static_cast<long long>(s.n > 0 ? s.v[0] : 0),
                static_cast<long long>(s.n > 1 ? s.v[1] : 0), TERSOR_TEXT(a.dy));
  return shape_from_list("max_unpool2d", "input_shape", s, a.dy.dtype, a.dx);
}

Status max_unpool2d_cpu(max_unpool2d_args& a, Context& ctx) {
  Contiguous dy, index;
  TERSOR_TRY(dy.open("max_unpool2d", a.dy, ctx.cancel));
  TERSOR_TRY(index.open("max_unpool2d", a.index, ctx.cancel));
  const int64_t planes = a.dx.shape[0] * a.dx.shape[1], plane = a.dx.shape[2] * a.dx.shape[3], out = a.dy.shape[2] * a.dy.shape[3];
  TERSOR_TRY(check_index("max_unpool2d", index.as<int32_t>(), planes * out, plane, ctx.cancel));
  return parallel_for(planes, grain_for(plane + out), ctx.cancel, [&](int64_t begin, int64_t end) {
    if (a.dy.dtype == DType::f32) unpool_planes(dy.as<float>(), index.as<int32_t>(), a.dx.as<float>(), out, plane, begin, end);
    else unpool_planes(dy.as<double>(), index.as<int32_t>(), a.dx.as<double>(), out, plane, begin, end);
  });
}

Status pool_select2d_infer(pool_select2d_args& a) {
  TERSOR_TRY(expect_float("pool_select2d", "x", a.x));
  TERSOR_TRY(expect_rank("pool_select2d", "x", a.x, 4));
  TERSOR_TRY(expect_dtype("pool_select2d", "index", a.index, DType::i32));
  TERSOR_TRY(expect_rank("pool_select2d", "index", a.index, 4));
  if (a.index.shape[0] != a.x.shape[0] || a.index.shape[1] != a.x.shape[1])
    return fail(Code::shape, "pool_select2d: batch and channels must be equal, got x %s and index %s", TERSOR_TEXT(a.x), TERSOR_TEXT(a.index));
  set_shape(a.y, a.x.dtype, a.index.shape, 4);
  return {};
}

Status pool_select2d_cpu(pool_select2d_args& a, Context& ctx) {
  Contiguous x, index;
  TERSOR_TRY(x.open("pool_select2d", a.x, ctx.cancel));
  TERSOR_TRY(index.open("pool_select2d", a.index, ctx.cancel));
  const int64_t planes = a.x.shape[0] * a.x.shape[1], plane = a.x.shape[2] * a.x.shape[3], out = a.y.shape[2] * a.y.shape[3];
  TERSOR_TRY(check_index("pool_select2d", index.as<int32_t>(), planes * out, plane, ctx.cancel));
  return parallel_for(planes, grain_for(out), ctx.cancel, [&](int64_t begin, int64_t end) {
    if (a.x.dtype == DType::f32) select_planes(x.as<float>(), index.as<int32_t>(), a.y.as<float>(), out, plane, begin, end);
    else select_planes(x.as<double>(), index.as<int32_t>(), a.y.as<double>(), out, plane, begin, end);
  });
}

}  // namespace tersor
