// csr_linear(x f32 [...,K], values f32 or i8 [nnz], indptr, columns, scale f32 [rows] or [1]?, bias f32 [rows]?, packed?) -> y [...,rows] = x W^T * scale + bias.
// csr_multiply(values, indptr, columns, x f32 [K,N], scale?, bias?, packed?) -> y [rows,N] = W x * scale + bias: the vectors of x are columns, as in
// convolutions of channels-first images; nothing is transposed.
// packed: what csr_group made of f32 values; many vectors are then multiplied with its groups (another order of sums), few ones with the rows as ever. u8[0] is none.
// scale belongs to i8 values (and is required for them). The structure is checked as far as memory safety needs: indptr always; column
// indices are clamped by the kernel for few vectors of x, and checked (ERR_MODEL_FORMAT) for more, where that costs little. Order and
// uniqueness of columns is csr_to_dense's business: load paths call it (or check alike) once.
#include "ops/csr_groups.h"
#include "ops/sparse_shape.h"

namespace tersor {
namespace {

// K, where columns of that type reach it.
Status check_depth(const char* op, const TensorRef& columns, const TensorRef& x, int64_t k) {
  if (k <= (columns.dtype == DType::u16 ? 65536 : INT32_MAX)) return {};
  return fail(Code::shape, "%s: x reaches beyond the columns that %s indices can name: %s", op, dtype_name(columns.dtype), TERSOR_TEXT(x));
}

Status check_packed(const char* op, const TensorRef& packed, const TensorRef& values) {
  if (!packed.present()) return {};
  TERSOR_TRY(expect_dtype(op, "packed", packed, DType::u8));
  TERSOR_TRY(expect_rank(op, "packed", packed, 1));
  if (packed.shape[0] == 0 || values.dtype == DType::f32) return {};
  return fail(Code::dtype, "%s: packed rows stand for f32 values, got %s", op, TERSOR_TEXT(values));
}

// The operands of a product, opened, as the matrix that the loops take.
struct Product {
  Contiguous indptr, columns;
  SparseOperands in;
  SpmmMatrix w;

  template <class Args> Status open(const char* op, const Args& a, int64_t k, const Cancel* cancel) {
    const int64_t n = a.indptr.shape[0] - 1, nnz = a.values.shape[0];
    TERSOR_TRY(indptr.open(op, a.indptr, cancel));
    TERSOR_TRY(csr_check_indptr(op, indptr.as<int32_t>(), n, nnz));
    if (k == 0 && nnz > 0) return fail(Code::model_format, "%s: %lld values in a matrix without columns", op, static_cast<long long>(nnz));
    if (a.y.size() == 0) return {};
    TERSOR_TRY(columns.open(op, a.columns, cancel));
    TERSOR_TRY(in.open(op, a.x, a.values, a.scale, a.bias, n, cancel));
    w.rows = n, w.cols = k, w.indptr = indptr.as<int32_t>(), w.columns = columns.data(), w.values = in.values.data();
    w.wide = a.columns.dtype == DType::i32, w.quantized = a.values.dtype == DType::i8, w.check_columns = true;
    w.scale = in.scale_data, w.scale_step = in.scale_step, w.bias = in.bias_data;
    return {};
  }

  Status many(const char* op, const TensorRef& packed, SpmmSide side, int64_t n, float* y, const Cancel* cancel) const {
    const float* x = in.x.as<float>();
    if (packed.present() && packed.shape[0] > 0) {
      CsrGroups groups;
      TERSOR_TRY(groups.open(op, packed, w));
      if (!w.scale && csr_groups_pay(groups, n)) return spmm_grouped(op, w, groups, side, x, n, y, cancel);
    }
    return spmm_many(op, w, side, x, n, y, cancel);
  }
};

}  // namespace

Status csr_linear_infer(csr_linear_args& a) {
  constexpr const char* op = "csr_linear";
  TERSOR_TRY(expect_dtype(op, "x", a.x, DType::f32));
  TERSOR_TRY(csr_check_types(op, a.values, a.indptr, a.columns));
  TERSOR_TRY(check_packed(op, a.packed, a.values));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", op, TERSOR_TEXT(a.x));
  TERSOR_TRY(check_depth(op, a.columns, a.x, a.x.dim(-1)));
  return sparse_check_linear(op, a.x, a.values, a.scale, a.bias, a.indptr.shape[0] - 1, &a.y);
}

Status csr_linear_cpu(csr_linear_args& a, Context& ctx) {
  constexpr const char* op = "csr_linear";
  Product p;
  TERSOR_TRY(p.open(op, a, a.x.dim(-1), ctx.cancel));
  if (a.y.size() == 0) return {};
  if (p.in.m <= kSpmmFewRows) return spmm_few(op, p.w, p.in.x.as<float>(), p.in.m, a.y.as<float>(), ctx.cancel);
  return p.many(op, a.packed, SpmmSide::rows, p.in.m, a.y.as<float>(), ctx.cancel);
}

Status csr_multiply_infer(csr_multiply_args& a) {
  constexpr const char* op = "csr_multiply";
  TERSOR_TRY(expect_dtype(op, "x", a.x, DType::f32));
  TERSOR_TRY(csr_check_types(op, a.values, a.indptr, a.columns));
  TERSOR_TRY(check_packed(op, a.packed, a.values));
  TERSOR_TRY(expect_rank(op, "x", a.x, 2));
  TERSOR_TRY(check_depth(op, a.columns, a.x, a.x.shape[0]));
  const int64_t rows = a.indptr.shape[0] - 1, shape[2] = {rows, a.x.shape[1]};
  TERSOR_TRY(sparse_check_linear(op, a.x, a.values, a.scale, a.bias, rows, &a.y));
  set_shape(a.y, DType::f32, shape, 2);
  return {};
}

Status csr_multiply_cpu(csr_multiply_args& a, Context& ctx) {
  constexpr const char* op = "csr_multiply";
  Product p;
  TERSOR_TRY(p.open(op, a, a.x.shape[0], ctx.cancel));
  const int64_t n = a.x.shape[1];
  if (a.y.size() == 0) return {};
  if (n == 1) return spmm_few(op, p.w, p.in.x.as<float>(), n, a.y.as<float>(), ctx.cancel);
  return p.many(op, a.packed, SpmmSide::columns, n, a.y.as<float>(), ctx.cancel);
}

}  // namespace tersor
