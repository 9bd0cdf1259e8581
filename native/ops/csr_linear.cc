// csr_linear(x f32 [...,K], values f32 or i8 [nnz], indptr, columns, scale f32 [rows] or [1]?, bias f32 [rows]?) -> y [...,rows] = x W^T * scale + bias.
// scale belongs to i8 values (and is required for them). The structure is checked as far as memory safety needs: indptr always; column
// indices are clamped by the kernel for up to 3 rows of x, and checked (ERR_MODEL_FORMAT) for more, where that costs little. Order and
// uniqueness of columns is csr_to_dense's business: load paths call it (or check alike) once.
#include "ops/sparse_shape.h"

namespace tersor {
namespace {

constexpr const char* kOp = "csr_linear";

SpmmArgs from_row(const SpmmArgs& all, int64_t first, int64_t rows) {
  SpmmArgs s = all;
  s.rows = rows;
  s.indptr += first;
  if (s.scale) s.scale += first * s.scale_step;
  if (s.bias) s.bias += first;
  return s;
}

}  // namespace

Status csr_linear_infer(csr_linear_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(csr_check_types(kOp, a.values, a.indptr, a.columns));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  const int64_t rows = a.indptr.shape[0] - 1;
  if (a.x.dim(-1) > (a.columns.dtype == DType::u16 ? 65536 : INT32_MAX))
    return fail(Code::shape, "%s: x has more columns than %s indices reach: %s", kOp, dtype_name(a.columns.dtype), TERSOR_TEXT(a.x));
  return sparse_check_linear(kOp, a.x, a.values, a.scale, a.bias, rows, &a.y);
}

Status csr_linear_cpu(csr_linear_args& a, Context& ctx) {
  Contiguous indptr, columns;
  SparseOperands in;
  TERSOR_TRY(indptr.open(kOp, a.indptr, ctx.cancel));
  const int64_t n = a.indptr.shape[0] - 1, k = a.x.dim(-1), nnz = a.values.shape[0];
  TERSOR_TRY(csr_check_indptr(kOp, indptr.as<int32_t>(), n, nnz));
  if (k == 0 && nnz > 0) return fail(Code::model_format, "%s: %lld values in a matrix without columns", kOp, static_cast<long long>(nnz));
  if (a.y.size() == 0) return {};
  TERSOR_TRY(columns.open(kOp, a.columns, ctx.cancel));
  TERSOR_TRY(in.open(kOp, a.x, a.values, a.scale, a.bias, n, ctx.cancel));
  const int64_t m = in.m;

  const SpmmRow& row = spmm_row();
  SpmmMatrix w;
  w.rows = n, w.cols = k, w.indptr = indptr.as<int32_t>(), w.columns = columns.data(), w.values = in.values.data();
  w.wide = a.columns.dtype == DType::i32, w.quantized = a.values.dtype == DType::i8;
  w.scale = in.scale_data, w.scale_step = in.scale_step, w.bias = in.bias_data;
  float* const y = a.y.as<float>();

  if (m <= kSpmmFewRows) {
    SpmmArgs s;
    s.cols = k, s.indptr = w.indptr, s.columns = w.columns, s.values = w.values, s.wide = w.wide, s.quantized = w.quantized;
    s.scale = w.scale, s.scale_step = w.scale_step, s.bias = w.bias;
    SpmmTasks tasks;
    TERSOR_TRY(tasks.cut(kOp, w.indptr, n, 4096, 1 << 14, 1));
    return parallel_for(tasks.count, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++)
        for (int64_t i = 0; i < m; i++) {
          SpmmArgs part = from_row(s, tasks.first[t], tasks.first[t + 1] - tasks.first[t]);
          part.x = in.x.as<float>() + i * k;
          part.y = y + i * n + tasks.first[t];
          row.gather(part);
        }
    });
  }
  const uint32_t most = row.max_column(w.columns, w.wide, nnz);
  if (nnz > 0 && most >= static_cast<uint64_t>(k))
    return fail(Code::model_format, "%s: column index %lld is outside [0, %lld)", kOp, static_cast<long long>(static_cast<int32_t>(most)), static_cast<long long>(k));
  return spmm_many(kOp, w, in.x.as<float>(), m, y, ctx.cancel);
}

}  // namespace tersor
