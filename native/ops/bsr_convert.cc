// bsr_from_dense(w f32 or i8 [rows, cols], block_rows, block_cols) -> values [16 * blocks], indptr i32 [block rows + 1], columns u16 [blocks]: the blocks
// with a nonzero (NaN is one, -0 is not). bsr_to_dense(values, indptr, columns, rows, cols, block_rows, block_cols) -> w: checks the whole structure
// (ERR_MODEL_FORMAT) before it writes: offsets, ascending columns in range, zeros outside the matrix.
#include <cstring>

#include "ops/bsr_shape.h"

namespace tersor {

Status bsr_shape(const char* op, int64_t rows, int64_t cols, int64_t block_rows, int64_t block_cols, BsrShape* out) {
  BsrShape s;
  if (block_rows == 1 && block_cols == 16) s.kind = SpmmShape::row16;
  else if (block_rows == 4 && block_cols == 4) s.kind = SpmmShape::square4;
  else if (block_rows == 16 && block_cols == 1) s.kind = SpmmShape::column16;
  else
    return fail(Code::option, "%s: blocks must be 1x16, 4x4 or 16x1, got %lldx%lld", op, static_cast<long long>(block_rows), static_cast<long long>(block_cols));
  if (rows < 0 || rows > INT32_MAX || cols < 0 || cols > INT32_MAX)
    return fail(Code::option, "%s: rows and cols must be in [0, 2^31), got %lld and %lld", op, static_cast<long long>(rows), static_cast<long long>(cols));
  s.block_rows = block_rows, s.block_cols = block_cols;
  s.rows = (rows + block_rows - 1) / block_rows, s.cols = (cols + block_cols - 1) / block_cols;
  if (s.cols > 65536)
    return fail(Code::limit, "%s: block columns are 16-bit: at most 65536, got %lld for %lld columns", op, static_cast<long long>(s.cols), static_cast<long long>(cols));
  *out = s;
  return {};
}

Status bsr_check_types(const char* op, const BsrShape& s, const TensorRef& values, const TensorRef& indptr, const TensorRef& columns) {
  if (values.dtype != DType::f32 && values.dtype != DType::i8) return fail(Code::dtype, "%s: values must be f32 or i8, got %s", op, TERSOR_TEXT(values));
  TERSOR_TRY(expect_dtype(op, "columns", columns, DType::u16));
  TERSOR_TRY(expect_dtype(op, "indptr", indptr, DType::i32));
  TERSOR_TRY(expect_rank(op, "columns", columns, 1));
  const int64_t offsets = s.rows + 1, size = columns.shape[0] * 16;
  TERSOR_TRY(expect_shape(op, "indptr", indptr, &offsets, 1));
  return expect_shape(op, "values", values, &size, 1);
}

Status bsr_from_dense_infer(bsr_from_dense_args& a) {
  constexpr const char* op = "bsr_from_dense";
  if (a.w.dtype != DType::f32 && a.w.dtype != DType::i8) return fail(Code::dtype, "%s: w must be f32 or i8, got %s", op, TERSOR_TEXT(a.w));
  TERSOR_TRY(expect_rank(op, "w", a.w, 2));
  BsrShape s;
  TERSOR_TRY(bsr_shape(op, a.w.shape[0], a.w.shape[1], a.block_rows, a.block_cols, &s));
  if (s.rows * s.cols > INT32_MAX / 16) return fail(Code::limit, "%s: block offsets are 32-bit: w must have fewer than 2^31 elements, got %s", op, TERSOR_TEXT(a.w));
  const int64_t blocks = s.rows * s.cols, size = blocks * 16, offsets = s.rows + 1;
  set_shape(a.values, a.w.dtype, &size, 1);
  set_shape(a.indptr, DType::i32, &offsets, 1);
  set_shape(a.columns, DType::u16, &blocks, 1);
  return {};
}

namespace {

// Copies the part of block (i, j) inside w to out (16 values), zeros elsewhere; says whether there is a nonzero.
template <class V> bool take_block(const V* w, int64_t rows, int64_t cols, const BsrShape& s, int64_t i, int64_t j, V* out) {
  bool any = false;
  for (int64_t r = 0; r < s.block_rows; r++)
    for (int64_t c = 0; c < s.block_cols; c++) {
      const int64_t row = i * s.block_rows + r, col = j * s.block_cols + c;
      const V v = row < rows && col < cols ? w[row * cols + col] : V(0);
      out[r * s.block_cols + c] = v;
      any = any || v != V(0);
    }
  return any;
}

template <class V> Status from_dense(bsr_from_dense_args& a, const V* w, Context& ctx) {
  const int64_t rows = a.w.shape[0], cols = a.w.shape[1];
  BsrShape s;
  TERSOR_TRY(bsr_shape("bsr_from_dense", rows, cols, a.block_rows, a.block_cols, &s));
  int32_t* indptr = a.indptr.as<int32_t>();
  indptr[0] = 0;
  TERSOR_TRY(parallel_for(s.rows, grain_for(cols * s.block_rows), ctx.cancel, [&](int64_t begin, int64_t end) {
    V block[16];
    for (int64_t i = begin; i < end; i++) {
      int32_t count = 0;
      for (int64_t j = 0; j < s.cols; j++) count += take_block(w, rows, cols, s, i, j, block);
      indptr[i + 1] = count;
    }
  }));
  for (int64_t i = 0; i < s.rows; i++) indptr[i + 1] += indptr[i];
  TERSOR_TRY(parallel_for(s.rows, grain_for(cols * s.block_rows), ctx.cancel, [&](int64_t begin, int64_t end) {
    V block[16];
    for (int64_t i = begin; i < end; i++) {
      int64_t e = indptr[i];
      for (int64_t j = 0; j < s.cols; j++)
        if (take_block(w, rows, cols, s, i, j, block)) {
          memcpy(a.values.as<V>() + e * 16, block, sizeof block);
          a.columns.as<uint16_t>()[e++] = static_cast<uint16_t>(j);
        }
    }
  }));
  a.columns.shape[0] = indptr[s.rows];
  a.values.shape[0] = a.columns.shape[0] * 16;
  return {};
}

template <class V> Status to_dense(bsr_to_dense_args& a, const BsrShape& s, const V* values, const int32_t* indptr, const uint16_t* columns, Context& ctx) {
  constexpr const char* op = "bsr_to_dense";
  TERSOR_TRY(csr_check_indptr(op, indptr, s.rows, a.columns.shape[0]));
  for (int64_t i = 0; i < s.rows; i++)
    for (int64_t e = indptr[i], before = -1; e < indptr[i + 1]; e++) {
      const int64_t j = columns[e];
      if (j >= s.cols || j <= before)
        return fail(Code::model_format, "%s: columns of block row %lld must ascend within [0, %lld), got %lld after %lld", op, static_cast<long long>(i),
                    static_cast<long long>(s.cols), static_cast<long long>(j), static_cast<long long>(before));
      before = j;
      for (int64_t t = 0; t < 16; t++)
        if ((i * s.block_rows + t / s.block_cols >= a.rows || j * s.block_cols + t % s.block_cols >= a.cols) && values[e * 16 + t] != V(0))
          return fail(Code::model_format, "%s: block %lld holds a value that is not 0 outside the matrix [%lld, %lld]", op, static_cast<long long>(e),
                      static_cast<long long>(a.rows), static_cast<long long>(a.cols));
    }
  return parallel_for(s.rows, grain_for(a.cols * s.block_rows), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t first = i * s.block_rows, rows = a.rows - first < s.block_rows ? a.rows - first : s.block_rows;
      V* w = a.w.as<V>() + first * a.cols;
      memset(w, 0, static_cast<size_t>(rows * a.cols) * sizeof(V));
      for (int64_t e = indptr[i]; e < indptr[i + 1]; e++)
        for (int64_t t = 0; t < 16; t++) {
          const int64_t r = t / s.block_cols, c = columns[e] * s.block_cols + t % s.block_cols;
          if (r < rows && c < a.cols) w[r * a.cols + c] = values[e * 16 + t];
        }
    }
  });
}

}  // namespace

Status bsr_from_dense_cpu(bsr_from_dense_args& a, Context& ctx) {
  Contiguous w;
  TERSOR_TRY(w.open("bsr_from_dense", a.w, ctx.cancel));
  return a.w.dtype == DType::f32 ? from_dense(a, w.as<float>(), ctx) : from_dense(a, w.as<int8_t>(), ctx);
}

Status bsr_to_dense_infer(bsr_to_dense_args& a) {
  constexpr const char* op = "bsr_to_dense";
  BsrShape s;
  TERSOR_TRY(bsr_shape(op, a.rows, a.cols, a.block_rows, a.block_cols, &s));
  TERSOR_TRY(bsr_check_types(op, s, a.values, a.indptr, a.columns));
  const int64_t shape[2] = {a.rows, a.cols};
  set_shape(a.w, a.values.dtype, shape, 2);
  return {};
}

Status bsr_to_dense_cpu(bsr_to_dense_args& a, Context& ctx) {
  constexpr const char* op = "bsr_to_dense";
  BsrShape s;
  TERSOR_TRY(bsr_shape(op, a.rows, a.cols, a.block_rows, a.block_cols, &s));
  Contiguous values, indptr, columns;
  TERSOR_TRY(values.open(op, a.values, ctx.cancel));
  TERSOR_TRY(indptr.open(op, a.indptr, ctx.cancel));
  TERSOR_TRY(columns.open(op, a.columns, ctx.cancel));
  if (a.values.dtype == DType::f32) return to_dense(a, s, values.as<float>(), indptr.as<int32_t>(), columns.as<uint16_t>(), ctx);
  return to_dense(a, s, values.as<int8_t>(), indptr.as<int32_t>(), columns.as<uint16_t>(), ctx);
}

}  // namespace tersor
