#include "ops/util.h"

#include <cstring>

#include "ops/strided.h"

namespace tersor {

Status expect_float(const char* op, const char* name, const TensorRef& t) {
  if (t.dtype == DType::f32 || t.dtype == DType::f64) return {};
  return fail(Code::dtype, "%s: %s must be f32 or f64, got %s", op, name, TERSOR_TEXT(t));
}

Status expect_dtype(const char* op, const char* name, const TensorRef& t, DType dtype) {
  if (t.dtype == dtype) return {};
  return fail(Code::dtype, "%s: %s must be %s, got %s", op, name, dtype_name(dtype), TERSOR_TEXT(t));
}

Status expect_same_dtype(const char* op, const TensorRef& a, const TensorRef& b) {
  if (a.dtype == b.dtype) return {};
  return fail(Code::dtype, "%s: element types must be equal, got %s and %s", op, TERSOR_TEXT(a), TERSOR_TEXT(b));
}

Status expect_rank(const char* op, const char* name, const TensorRef& t, int rank) {
  if (t.rank == rank) return {};
  return fail(Code::shape, "%s: %s must have rank %d, got %s", op, name, rank, TERSOR_TEXT(t));
}

Status expect_shape(const char* op, const char* name, const TensorRef& t, const int64_t* shape, int rank) {
  bool same = t.rank == rank;
  for (int i = 0; same && i < rank; i++) same = t.shape[i] == shape[i];
  if (same) return {};
  TensorRef want{};
  set_shape(want, t.dtype, shape, rank);
  return fail(Code::shape, "%s: %s must be %s, got %s", op, name, TERSOR_TEXT(want), TERSOR_TEXT(t));
}

Status broadcast_shapes(const char* op, const TensorRef& a, const TensorRef& b, int64_t* shape, int* rank) {
  const int r = a.rank > b.rank ? a.rank : b.rank;
  for (int i = 0; i < r; i++) {
    const int ia = a.rank - r + i, ib = b.rank - r + i;
    const int64_t x = ia < 0 ? 1 : a.shape[ia], y = ib < 0 ? 1 : b.shape[ib];
    if (x != y && x != 1 && y != 1)
      return fail(Code::shape, "%s: shapes do not broadcast: %s and %s", op, TERSOR_TEXT(a), TERSOR_TEXT(b));
    shape[i] = x == 1 ? y : x;
  }
  *rank = r;
  return {};
}

Status axes_to_bits(const char* op, const IntList& axes, int rank, uint32_t* bits) {
  *bits = 0;
  if (axes.n == 0) {
    *bits = (1u << rank) - 1;
    return {};
  }
  for (int i = 0; i < axes.n; i++) {
    const int64_t axis = axes.v[i] < 0 ? axes.v[i] + rank : axes.v[i];
    if (axis < 0 || axis >= rank)
      return fail(Code::shape, "%s: axis must be in [%d, %d), got %lld", op, -rank, rank, static_cast<long long>(axes.v[i]));
    if (*bits & (1u << axis)) return fail(Code::shape, "%s: axis %lld is listed twice", op, static_cast<long long>(axes.v[i]));
    *bits |= 1u << axis;
  }
  return {};
}

Status copy_contiguous(const TensorRef& x, void* out, const Cancel* cancel) {
  if (!x.contiguous()) {
    TensorRef packed{};
    set_shape(packed, x.dtype, x.shape, x.rank);
    packed.data = out;
    return strided_copy(x, packed, cancel);
  }
  return parallel_for(x.bytes(), int64_t(1) << 18, cancel, [&](int64_t begin, int64_t end) {
    memcpy(static_cast<char*>(out) + begin, static_cast<const char*>(x.data) + begin, static_cast<size_t>(end - begin));
  });
}

Status Contiguous::open(const char* op, const TensorRef& x, const Cancel* cancel) {
  if (x.contiguous()) {
    data_ = x.data;
    return {};
  }
  TERSOR_TRY(scratch_.reserve(op, x.bytes()));
  data_ = scratch_.as<void>();
  return copy_contiguous(x, scratch_.as<void>(), cancel);
}

TensorRef broadcast_to(const TensorRef& x, const int64_t* shape, int rank) {
  TensorRef y = x;
  y.rank = rank;
  for (int i = 0; i < rank; i++) {
    const int from = x.rank - rank + i;
    y.shape[i] = shape[i];
    y.stride[i] = from < 0 || x.shape[from] == 1 ? 0 : x.stride[from];
  }
  return y;
}

}  // namespace tersor
