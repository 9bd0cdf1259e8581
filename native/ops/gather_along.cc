// gather_along(x, index i32, axis) -> y of index's shape: y[.., m, ..] = x[.., index[.., m, ..], ..]; x and index have equal dimensions but at `axis`.
// scatter_along(dy, index, axis, size) is its adjoint: dy added into zeros with `size` entries at `axis`, in the order of m. f32 or f64. An index that is a
// stretched list (stride 0 everywhere but at the axis) moves whole runs.
#include <cstring>

#include "ops/axis_loop.h"
#include "ops/index_check.h"

namespace tersor {
namespace {

// Index of an element: list[m] or all[(o * count + m) * inner + i].
struct Index {
  Contiguous block;
  const int32_t* at = nullptr;
  bool list = false;
};

Status open_index(const char* op, const TensorRef& index, int axis, int64_t limit, const Cancel* cancel, Index* out) {
  out->list = true;
  for (int i = 0; i < index.rank; i++) out->list = out->list && (i == axis || index.stride[i] == 0 || index.shape[i] == 1);
  TensorRef t = index;
  if (out->list) {
    t.rank = 1;
    t.shape[0] = index.shape[axis];
    t.stride[0] = index.stride[axis];
  }
  TERSOR_TRY(out->block.open(op, t, cancel));
  out->at = out->block.as<int32_t>();
  int64_t bad;
  TERSOR_TRY(find_bad_index(out->at, t.size(), limit, cancel, &bad));
  if (bad == t.size()) return {};
  return fail(Code::shape, "%s: index must be in [0, %lld), got %d at position %lld", op, static_cast<long long>(limit), out->at[bad],
              static_cast<long long>(bad));
}

Status check_index(const char* op, const TensorRef& x, const TensorRef& index, int axis) {
  TERSOR_TRY(expect_dtype(op, "index", index, DType::i32));
  TERSOR_TRY(expect_rank(op, "index", index, x.rank));
  for (int i = 0; i < x.rank; i++)
    if (i != axis && index.shape[i] != x.shape[i])
      return fail(Code::shape, "%s: index must have the dimensions of x but at axis %d, got %s for %s", op, axis, TERSOR_TEXT(index), TERSOR_TEXT(x));
  return {};
}

template <class T> Status gather(gather_along_args& a, const Cancel* cancel) {
  AxisLoop l;
  int axis;
  TERSOR_TRY(axis_loop("gather_along", a.x, a.axis, &axis, &l));
  if (a.y.size() == 0) return {};
  Contiguous x;
  Index index;
  TERSOR_TRY(x.open("gather_along", a.x, cancel));
  TERSOR_TRY(open_index("gather_along", a.index, axis, l.n, cancel, &index));
  const int64_t count = a.index.shape[axis];
  return for_columns(l, count, cancel, [&](int64_t o, int64_t first, int64_t width) {
    const T* from = x.as<T>() + o * l.n * l.inner + first;
    for (int64_t m = 0; m < count; m++) {
      const int64_t at = (o * count + m) * l.inner + first;
      T* y = a.y.as<T>() + at;
      if (index.list) memcpy(y, from + index.at[m] * l.inner, static_cast<size_t>(width) * sizeof(T));
      else
        for (int64_t i = 0; i < width; i++) y[i] = from[index.at[at + i] * l.inner + i];
    }
  });
}

template <class T> Status scatter(scatter_along_args& a, const Cancel* cancel) {
  AxisLoop l;
  int axis;
  TERSOR_TRY(axis_loop("scatter_along", a.dx, a.axis, &axis, &l));
  memset(a.dx.data, 0, static_cast<size_t>(a.dx.bytes()));
  if (a.dy.size() == 0) return {};
  Contiguous dy;
  Index index;
  TERSOR_TRY(dy.open("scatter_along", a.dy, cancel));
  TERSOR_TRY(open_index("scatter_along", a.index, axis, l.n, cancel, &index));
  const int64_t count = a.index.shape[axis];
  return for_columns(l, count, cancel, [&](int64_t o, int64_t first, int64_t width) {
    T* to = a.dx.as<T>() + o * l.n * l.inner + first;
    for (int64_t m = 0; m < count; m++) {
      const int64_t at = (o * count + m) * l.inner + first;
      const T* from = dy.as<T>() + at;
      T* row = index.list ? to + index.at[m] * l.inner : nullptr;
      for (int64_t i = 0; i < width; i++) (row ? row[i] : to[index.at[at + i] * l.inner + i]) += from[i];
    }
  });
}

}  // namespace

Status gather_along_infer(gather_along_args& a) {
  TERSOR_TRY(expect_float("gather_along", "x", a.x));
  AxisLoop l;
  int axis;
  TERSOR_TRY(axis_loop("gather_along", a.x, a.axis, &axis, &l));
  TERSOR_TRY(check_index("gather_along", a.x, a.index, axis));
  set_shape(a.y, a.x.dtype, a.index.shape, a.index.rank);
  return {};
}
Status gather_along_cpu(gather_along_args& a, Context& ctx) {
  return a.x.dtype == DType::f32 ? gather<float>(a, ctx.cancel) : gather<double>(a, ctx.cancel);
}

Status scatter_along_infer(scatter_along_args& a) {
  TERSOR_TRY(expect_float("scatter_along", "dy", a.dy));
  AxisLoop l;
  int axis;
  TERSOR_TRY(axis_loop("scatter_along", a.dy, a.axis, &axis, &l));
  TERSOR_TRY(expect_dtype("scatter_along", "index", a.index, DType::i32));
  TERSOR_TRY(expect_shape("scatter_along", "index", a.index, a.dy.shape, a.dy.rank));
  if (a.size < 0 || a.size > INT32_MAX) return fail(Code::shape, "scatter_along: size must be in [0, 2^31), got %lld", static_cast<long long>(a.size));
  set_shape(a.dx, a.dy.dtype, a.dy.shape, a.dy.rank);
  a.dx.shape[axis] = a.size;
  set_shape(a.dx, a.dy.dtype, a.dx.shape, a.dy.rank);
  return {};
}
Status scatter_along_cpu(scatter_along_args& a, Context& ctx) {
  return a.dy.dtype == DType::f32 ? scatter<float>(a, ctx.cancel) : scatter<double>(a, ctx.cancel);
}

}  // namespace tersor
