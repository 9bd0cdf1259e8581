// Ops that move elements without looking at them; any element type.
//   copy(x) -> y row-major            assign(x, value): x = value in place (x may be a strided view, not a broadcast one)
//   concat2(a, b, axis) -> y          pad_slice(x, shape, start) -> zeros of `shape` with x at `start` (the adjoint of slicing)
#include <cstring>

#include "ops/shape_list.h"
#include "ops/strided.h"

namespace tersor {
namespace {

// The part of t that begins at `start` and has x's shape.
TensorRef window(const TensorRef& t, const TensorRef& x, const int64_t* start) {
  TensorRef w = t;
  int64_t offset = 0;
  for (int i = 0; i < t.rank; i++) {
    offset += start[i] * t.stride[i];
    w.shape[i] = x.shape[i];
  }
  w.data = static_cast<char*>(t.data) + offset * dtype_bytes(t.dtype);
  return w;
}

struct Span {
  const char* begin;
  const char* end;
  explicit Span(const TensorRef& t) : begin(static_cast<const char*>(t.data)), end(begin) {
    if (t.size() == 0) return;
    int64_t last = 0;
    for (int i = 0; i < t.rank; i++) last += (t.shape[i] - 1) * t.stride[i];
    end = begin + (last + 1) * dtype_bytes(t.dtype);
  }
  bool overlaps(const Span& o) const { return begin < o.end && o.begin < end; }
};

}  // namespace

Status copy_infer(copy_args& a) {
  set_shape(a.y, a.x.dtype, a.x.shape, a.x.rank);
  return {};
}
Status copy_cpu(copy_args& a, Context& ctx) { return strided_copy(a.x, a.y, ctx.cancel); }

Status assign_infer(assign_args& a) {
  TERSOR_TRY(expect_same_dtype("assign", a.x, a.value));
  TERSOR_TRY(expect_shape("assign", "value", a.value, a.x.shape, a.x.rank));
  for (int i = 0; i < a.x.rank; i++)
    if (a.x.shape[i] > 1 && a.x.stride[i] == 0) return fail(Code::shape, "assign: x must not be a broadcast view (x: %s)", TERSOR_TEXT(a.x));
  return {};
}
Status assign_cpu(assign_args& a, Context& ctx) {
  if (!Span(a.x).overlaps(Span(a.value))) return strided_copy(a.value, a.x, ctx.cancel);
  Scratch scratch;  // views of one buffer: value is read whole before x changes
  TERSOR_TRY(scratch.reserve("assign", a.value.bytes()));
  TensorRef copy = a.value;
  set_shape(copy, a.value.dtype, a.value.shape, a.value.rank);
  copy.data = scratch.as<void>();
  TERSOR_TRY(strided_copy(a.value, copy, ctx.cancel));
  return strided_copy(copy, a.x, ctx.cancel);
}

Status concat2_infer(concat2_args& a) {
  TERSOR_TRY(expect_same_dtype("concat2", a.a, a.b));
  const int rank = a.a.rank;
  if (rank < 1 || a.b.rank != rank) return fail(Code::shape, "concat2: ranks must be equal and >= 1, got %s and %s", TERSOR_TEXT(a.a), TERSOR_TEXT(a.b));
  if (a.axis < -rank || a.axis >= rank)
    return fail(Code::shape, "concat2: axis must be in [%d, %d), got %lld", -rank, rank, static_cast<long long>(a.axis));
  const int axis = static_cast<int>(a.axis < 0 ? a.axis + rank : a.axis);
  IntList shape;
  shape.n = rank;
  for (int i = 0; i < rank; i++) {
    if (i != axis && a.a.shape[i] != a.b.shape[i])
      return fail(Code::shape, "concat2: shapes must agree but for axis %d, got %s and %s", axis, TERSOR_TEXT(a.a), TERSOR_TEXT(a.b));
    shape.v[i] = a.a.shape[i] + (i == axis ? a.b.shape[i] : 0);
  }
  return shape_from_list("concat2", "y", shape, a.a.dtype, a.y);
}
Status concat2_cpu(concat2_args& a, Context& ctx) {
  const int64_t axis = a.axis < 0 ? a.axis + a.a.rank : a.axis;
  int64_t start[kMaxRank] = {};
  TERSOR_TRY(strided_copy(a.a, window(a.y, a.a, start), ctx.cancel));
  start[axis] = a.a.shape[axis];
  return strided_copy(a.b, window(a.y, a.b, start), ctx.cancel);
}

Status pad_slice_infer(pad_slice_args& a) {
  if (a.shape.n != a.x.rank || a.start.n != a.x.rank)
    return fail(Code::shape, "pad_slice: shape and start must have %d entries, got %d and %d (x: %s)", a.x.rank, a.shape.n, a.start.n, TERSOR_TEXT(a.x));
  TERSOR_TRY(shape_from_list("pad_slice", "shape", a.shape, a.x.dtype, a.y));
  for (int i = 0; i < a.x.rank; i++)
    if (a.start.v[i] < 0 || a.start.v[i] > a.shape.v[i] - a.x.shape[i])
      return fail(Code::shape, "pad_slice: axis %d: start %lld + %lld does not fit into %lld", i, static_cast<long long>(a.start.v[i]),
                  static_cast<long long>(a.x.shape[i]), static_cast<long long>(a.shape.v[i]));
  return {};
}
Status pad_slice_cpu(pad_slice_args& a, Context& ctx) {
  if (a.x.size() != a.y.size()) {
    char* y = a.y.as<char>();
    TERSOR_TRY(parallel_for(a.y.bytes(), int64_t(1) << 18, ctx.cancel, [&](int64_t begin, int64_t end) { memset(y + begin, 0, static_cast<size_t>(end - begin)); }));
  }
  if (a.x.size() == 0) return {};
  return strided_copy(a.x, window(a.y, a.x, a.start.v), ctx.cancel);
}

}  // namespace tersor
