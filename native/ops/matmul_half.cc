// matmul_half(a[...,M,K], b[...,K,N], bias[N]?, transpose_a, transpose_b, dtype) -> y[...,M,N]: a, b and bias all bf16 or all f16, products exact, sums f32, y f32
// or of the operands' dtype (one rounding). Batch dimensions broadcast as in NumPy; the flags swap the last two dimensions. Strided views are used where they lie.
#include "ops/half_run.h"
#include "ops/matmul_batch.h"

namespace tersor {
namespace {

constexpr const char* kOp = "matmul_half";

// An operand whose last two dimensions have one of stride 1, and which of the strides is meant by rows and columns.
struct Operand {
  TensorRef t;
  Contiguous copy;
  int64_t rows, columns, row_step, column_step;

  Status open(const TensorRef& x, bool transposed, const Cancel* cancel) {
    t = x;
    const auto usable = [&](int d) { return x.dim(d) <= 1 || x.stride[x.rank + d] == 1; };
    if (!usable(-1) && !usable(-2)) {
      TERSOR_TRY(copy.open(kOp, x, cancel));
      set_shape(t, x.dtype, x.shape, x.rank);
      t.data = const_cast<void*>(copy.data());
    }
    const int r = t.rank - (transposed ? 1 : 2), c = t.rank - (transposed ? 2 : 1);
    rows = t.shape[r], columns = t.shape[c];
    // A dimension of one element has stride 1 as well as any other.
    const bool along_last = t.shape[t.rank - 1] <= 1 || t.stride[t.rank - 1] == 1;
    row_step = along_last == transposed ? 1 : t.stride[r];
    column_step = along_last == transposed ? t.stride[c] : 1;
    return {};
  }
};

struct Batches {
  TensorRef a, b;
};

}  // namespace

Status matmul_half_infer(matmul_half_args& x) {
  if (x.a.dtype != DType::bf16 && x.a.dtype != DType::f16) return fail(Code::dtype, "%s: a must be bf16 or f16, got %s", kOp, TERSOR_TEXT(x.a));
  TERSOR_TRY(expect_same_dtype(kOp, x.a, x.b));
  if (x.dtype != DType::f32 && x.dtype != x.a.dtype)
    return fail(Code::dtype, "%s: dtype must be f32 or that of the operands, got %s for %s", kOp, dtype_name(x.dtype), TERSOR_TEXT(x.a));
  if (x.a.rank < 2 || x.b.rank < 2) return fail(Code::shape, "%s: a and b must have rank 2 or more, got %s and %s", kOp, TERSOR_TEXT(x.a), TERSOR_TEXT(x.b));
  const int64_t ka = x.a.dim(x.transpose_a ? -2 : -1), kb = x.b.dim(x.transpose_b ? -1 : -2);
  if (ka != kb)
    return fail(Code::shape, "%s: inner dimensions must be equal, got %lld and %lld from %s%s and %s%s", kOp, static_cast<long long>(ka),
                static_cast<long long>(kb), TERSOR_TEXT(x.a), x.transpose_a ? " transposed" : "", TERSOR_TEXT(x.b), x.transpose_b ? " transposed" : "");
  int64_t shape[kMaxRank];
  int rank = 0;
  TERSOR_TRY(broadcast_shapes(kOp, batch_of(x.a), batch_of(x.b), shape, &rank));
  shape[rank] = x.a.dim(x.transpose_a ? -1 : -2);
  shape[rank + 1] = x.b.dim(x.transpose_b ? -2 : -1);
  if (x.bias.present()) {
    TERSOR_TRY(expect_same_dtype(kOp, x.a, x.bias));
    TERSOR_TRY(expect_shape(kOp, "bias", x.bias, &shape[rank + 1], 1));
  }
  set_shape(x.y, x.dtype, shape, rank + 2);
  return {};
}

Status matmul_half_cpu(matmul_half_args& x, Context& ctx) {
  if (x.y.size() == 0) return {};
  Operand a, b;
  TERSOR_TRY(a.open(x.a, x.transpose_a, ctx.cancel));
  TERSOR_TRY(b.open(x.b, x.transpose_b, ctx.cancel));
  HalfMatrix g;
  g.dtype = x.a.dtype;
  g.m = a.rows, g.k = a.columns, g.n = b.columns;
  g.a = a.t.as<uint16_t>(), g.a_row = a.row_step, g.a_col = a.column_step;
  g.b = b.t.as<uint16_t>(), g.b_row = b.row_step, g.b_col = b.column_step;
  if (x.dtype == DType::f32) g.c = x.y.as<float>();
  else g.h = x.y.as<uint16_t>();
  g.c_row = g.n;
  Contiguous bias;
  Scratch wide;
  if (x.bias.present()) {
    TERSOR_TRY(bias.open(kOp, x.bias, ctx.cancel));
    TERSOR_TRY(wide.reserve(kOp, g.n * 4));
    half_widen(g.dtype, bias.as<uint16_t>(), wide.as<float>(), g.n);
    g.bias = wide.as<float>();
  }
  const int rank = x.y.rank - 2;
  const Batches s{broadcast_to(batch_of(a.t), x.y.shape, rank), broadcast_to(batch_of(b.t), x.y.shape, rank)};
  HalfBatch batch;
  bool one_b = true;
  for (int i = 0; i < rank; i++) {
    batch.count *= x.y.shape[i];
    one_b = one_b && (x.y.shape[i] == 1 || s.b.stride[i] == 0);
  }
  if (one_b && rows_are_one_run(s.a, g.m, g.a_row)) {
    g.m *= batch.count;
    batch.count = 1;
  }
  batch.state = &s;
  batch.offsets = [](const void* state, int64_t i, int64_t* at_a, int64_t* at_b) {
    const Batches& all = *static_cast<const Batches*>(state);
    *at_a = batch_offset(all.a, i), *at_b = batch_offset(all.b, i);
  };
  return half_parallel(kOp, g, batch, ctx.cancel);
}

}  // namespace tersor
