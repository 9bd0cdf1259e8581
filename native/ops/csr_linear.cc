// csr_linear(x f32 [...,K], values f32 or i8 [nnz], indptr, columns, scale f32 [rows] or [1]?, bias f32 [rows]?) -> y [...,rows] = x W^T * scale + bias.
// scale belongs to i8 values (and is required for them). The structure is checked as far as memory safety needs: indptr always; column
// indices are clamped by the kernel for up to 3 rows of x, and checked (ERR_MODEL_FORMAT) for more, where that costs little. Order and
// uniqueness of columns is csr_to_dense's business: load paths call it (or check alike) once.
#include "ops/csr_shape.h"
#include "ops/spmm_run.h"

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
  if (a.scale.present()) {
    TERSOR_TRY(expect_dtype(kOp, "scale", a.scale, DType::f32));
    TERSOR_TRY(expect_rank(kOp, "scale", a.scale, 1));
    if (a.scale.shape[0] != 1 && a.scale.shape[0] != rows)
      return fail(Code::shape, "%s: scale must have 1 or %lld entries, got %s", kOp, static_cast<long long>(rows), TERSOR_TEXT(a.scale));
  } else if (a.values.dtype == DType::i8) {
    return fail(Code::option, "%s: i8 values need a scale", kOp);
  }
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(kOp, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &rows, 1));
  }
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i];
  shape[a.x.rank - 1] = rows;
  set_shape(a.y, DType::f32, shape, a.x.rank);
  return {};
}

Status csr_linear_cpu(csr_linear_args& a, Context& ctx) {
  Contiguous x, values, indptr, columns, scale, bias;
  TERSOR_TRY(indptr.open(kOp, a.indptr, ctx.cancel));
  const int64_t n = a.indptr.shape[0] - 1, k = a.x.dim(-1), nnz = a.values.shape[0];
  TERSOR_TRY(csr_check_indptr(kOp, indptr.as<int32_t>(), n, nnz));
  if (k == 0 && nnz > 0) return fail(Code::model_format, "%s: %lld values in a matrix without columns", kOp, static_cast<long long>(nnz));
  if (a.y.size() == 0) return {};
  const int64_t m = a.y.size() / n;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(values.open(kOp, a.values, ctx.cancel));
  TERSOR_TRY(columns.open(kOp, a.columns, ctx.cancel));
  if (a.scale.present()) TERSOR_TRY(scale.open(kOp, a.scale, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));

  const SpmmRow& row = spmm_row();
  SpmmMatrix w;
  w.rows = n, w.cols = k, w.indptr = indptr.as<int32_t>(), w.columns = columns.data(), w.values = values.data();
  w.wide = a.columns.dtype == DType::i32, w.quantized = a.values.dtype == DType::i8;
  w.scale = a.scale.present() ? scale.as<float>() : nullptr;
  w.scale_step = a.scale.present() && a.scale.shape[0] != 1 ? 1 : 0;
  w.bias = a.bias.present() ? bias.as<float>() : nullptr;
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
          part.x = x.as<float>() + i * k;
          part.y = y + i * n + tasks.first[t];
          row.gather(part);
        }
    });
  }
  const uint32_t most = row.max_column(w.columns, w.wide, nnz);
  if (nnz > 0 && most >= static_cast<uint64_t>(k))
    return fail(Code::model_format, "%s: column index %lld is outside [0, %lld)", kOp, static_cast<long long>(static_cast<int32_t>(most)), static_cast<long long>(k));
  return spmm_many(kOp, w, x.as<float>(), m, y, ctx.cancel);
}

}  // namespace tersor
