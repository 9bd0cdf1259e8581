// csr_from_dense(w f32 or i8 [rows, cols]) -> values, indptr i32 [rows + 1], columns (u16 for cols <= 65536, else i32): the entries that
// are not zero (NaN is kept; -0 is a zero), rows in order, columns ascending. Results are allocated for the densest case and shrunk.
// csr_to_dense(values, indptr, columns, cols) -> w: checks the whole structure (ERR_MODEL_FORMAT) before it writes.
#include <cstring>

#include "ops/csr_shape.h"

namespace tersor {

Status csr_check_types(const char* op, const TensorRef& values, const TensorRef& indptr, const TensorRef& columns) {
  if (values.dtype != DType::f32 && values.dtype != DType::i8) return fail(Code::dtype, "%s: values must be f32 or i8, got %s", op, TERSOR_TEXT(values));
  if (columns.dtype != DType::u16 && columns.dtype != DType::i32)
    return fail(Code::dtype, "%s: columns must be u16 or i32, got %s", op, TERSOR_TEXT(columns));
  TERSOR_TRY(expect_dtype(op, "indptr", indptr, DType::i32));
  TERSOR_TRY(expect_rank(op, "values", values, 1));
  TERSOR_TRY(expect_rank(op, "indptr", indptr, 1));
  TERSOR_TRY(expect_shape(op, "columns", columns, values.shape, 1));
  if (indptr.shape[0] < 1) return fail(Code::shape, "%s: indptr must have rows + 1 entries, got none", op);
  return {};
}

Status csr_check_indptr(const char* op, const int32_t* indptr, int64_t rows, int64_t nnz) {
  if (indptr[0] != 0) return fail(Code::model_format, "%s: indptr[0] must be 0, got %d", op, indptr[0]);
  for (int64_t r = 0; r < rows; r++)
    if (indptr[r + 1] < indptr[r])
      return fail(Code::model_format, "%s: indptr must not fall, got %d then %d at row %lld", op, indptr[r], indptr[r + 1], static_cast<long long>(r));
  if (indptr[rows] != nnz)
    return fail(Code::model_format, "%s: indptr must end at the number of values %lld, got %d", op, static_cast<long long>(nnz), indptr[rows]);
  return {};
}

Status csr_from_dense_infer(csr_from_dense_args& a) {
  constexpr const char* op = "csr_from_dense";
  if (a.w.dtype != DType::f32 && a.w.dtype != DType::i8) return fail(Code::dtype, "%s: w must be f32 or i8, got %s", op, TERSOR_TEXT(a.w));
  TERSOR_TRY(expect_rank(op, "w", a.w, 2));
  const int64_t size = a.w.size(), offsets = a.w.shape[0] + 1;
  if (size > INT32_MAX || a.w.shape[1] > INT32_MAX)
    return fail(Code::limit, "%s: row offsets are 32-bit: w must have at most 2^31 - 1 elements, got %s", op, TERSOR_TEXT(a.w));
  set_shape(a.values, a.w.dtype, &size, 1);
  set_shape(a.indptr, DType::i32, &offsets, 1);
  set_shape(a.columns, a.w.shape[1] <= 65536 ? DType::u16 : DType::i32, &size, 1);
  return {};
}

namespace {

template <class V, class C> Status from_dense(csr_from_dense_args& a, const V* w, Context& ctx) {
  const int64_t rows = a.w.shape[0], cols = a.w.shape[1];
  int32_t* indptr = a.indptr.as<int32_t>();
  indptr[0] = 0;
  TERSOR_TRY(parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      int32_t count = 0;
      for (int64_t c = 0; c < cols; c++) count += w[r * cols + c] != V(0);
      indptr[r + 1] = count;
    }
  }));
  for (int64_t r = 0; r < rows; r++) indptr[r + 1] += indptr[r];
  TERSOR_TRY(parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      V* value = a.values.as<V>() + indptr[r];
      C* column = a.columns.as<C>() + indptr[r];
      for (int64_t c = 0; c < cols; c++)
        if (w[r * cols + c] != V(0)) {
          *value++ = w[r * cols + c];
          *column++ = static_cast<C>(c);
        }
    }
  }));
  a.values.shape[0] = a.columns.shape[0] = indptr[rows];
  return {};
}

template <class V, class C> Status to_dense(csr_to_dense_args& a, const V* values, const int32_t* indptr, const C* columns, Context& ctx) {
  constexpr const char* op = "csr_to_dense";
  const int64_t rows = a.indptr.shape[0] - 1, cols = a.cols;
  TERSOR_TRY(csr_check_indptr(op, indptr, rows, a.values.shape[0]));
  for (int64_t r = 0; r < rows; r++) {
    int64_t before = -1;
    for (int64_t e = indptr[r]; e < indptr[r + 1]; e++) {
      const int64_t c = columns[e];
      if (c < 0 || c >= cols)
        return fail(Code::model_format, "%s: column %lld in row %lld is outside [0, %lld)", op, static_cast<long long>(c), static_cast<long long>(r),
                    static_cast<long long>(cols));
      if (c <= before)
        return fail(Code::model_format, "%s: columns of row %lld must ascend, got %lld after %lld", op, static_cast<long long>(r),
                    static_cast<long long>(c), static_cast<long long>(before));
      before = c;
    }
  }
  return parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      V* w = a.w.as<V>() + r * cols;
      memset(w, 0, static_cast<size_t>(cols) * sizeof(V));
      for (int64_t e = indptr[r]; e < indptr[r + 1]; e++) w[columns[e]] = values[e];
    }
  });
}

}  // namespace

Status csr_from_dense_cpu(csr_from_dense_args& a, Context& ctx) {
  Contiguous w;
  TERSOR_TRY(w.open("csr_from_dense", a.w, ctx.cancel));
  const bool wide = a.columns.dtype == DType::i32;
  if (a.w.dtype == DType::f32)
    return wide ? from_dense<float, int32_t>(a, w.as<float>(), ctx) : from_dense<float, uint16_t>(a, w.as<float>(), ctx);
  return wide ? from_dense<int8_t, int32_t>(a, w.as<int8_t>(), ctx) : from_dense<int8_t, uint16_t>(a, w.as<int8_t>(), ctx);
}

Status csr_to_dense_infer(csr_to_dense_args& a) {
  constexpr const char* op = "csr_to_dense";
  TERSOR_TRY(csr_check_types(op, a.values, a.indptr, a.columns));
  const int64_t most = a.columns.dtype == DType::u16 ? 65536 : INT32_MAX;
  if (a.cols < 0 || a.cols > most)
    return fail(Code::option, "%s: cols must be in [0, %lld] for %s columns, got %lld", op, static_cast<long long>(most), dtype_name(a.columns.dtype),
                static_cast<long long>(a.cols));
  const int64_t shape[2] = {a.indptr.shape[0] - 1, a.cols};
  set_shape(a.w, a.values.dtype, shape, 2);
  return {};
}

Status csr_to_dense_cpu(csr_to_dense_args& a, Context& ctx) {
  constexpr const char* op = "csr_to_dense";
  Contiguous values, indptr, columns;
  TERSOR_TRY(values.open(op, a.values, ctx.cancel));
  TERSOR_TRY(indptr.open(op, a.indptr, ctx.cancel));
  TERSOR_TRY(columns.open(op, a.columns, ctx.cancel));
  const int32_t* p = indptr.as<int32_t>();
  const bool wide = a.columns.dtype == DType::i32;
  if (a.values.dtype == DType::f32)
    return wide ? to_dense(a, values.as<float>(), p, columns.as<int32_t>(), ctx) : to_dense(a, values.as<float>(), p, columns.as<uint16_t>(), ctx);
  return wide ? to_dense(a, values.as<int8_t>(), p, columns.as<int32_t>(), ctx) : to_dense(a, values.as<int8_t>(), p, columns.as<uint16_t>(), ctx);
}

}  // namespace tersor
