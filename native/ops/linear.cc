// linear(x[...,K], w[N,K], bias[N]?) -> y[...,N] = x w^T + bias. f32 or f64. w may be a strided view; x is copied if it is not contiguous.
#include "ops/gemm_run.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr const char* kOp = "linear";

template <class T> Status run(linear_args& x, Context& ctx) {
  Contiguous in, bias;
  TERSOR_TRY(in.open(kOp, x.x, ctx.cancel));
  if (x.bias.present()) TERSOR_TRY(bias.open(kOp, x.bias, ctx.cancel));
  GemmMatrix<T> g;
  g.n = x.w.shape[0], g.k = x.w.shape[1];
  g.m = 1;
  for (int i = 0; i + 1 < x.x.rank; i++) g.m *= x.x.shape[i];
  g.a = in.as<T>(), g.a_row = g.k;
  g.b = x.w.as<T>(), g.b_row = x.w.stride[1], g.b_col = x.w.stride[0];
  g.c = x.y.as<T>(), g.c_row = g.n;
  g.bias = x.bias.present() ? bias.as<T>() : nullptr;
  return gemm_parallel(kOp, g, ctx.cancel);
}

}  // namespace

Status linear_infer(linear_args& x) {
  TERSOR_TRY(expect_float(kOp, "x", x.x));
  TERSOR_TRY(expect_same_dtype(kOp, x.x, x.w));
  TERSOR_TRY(expect_rank(kOp, "w", x.w, 2));
  if (x.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(x.x));
  if (x.x.dim(-1) != x.w.shape[1])
    return fail(Code::shape, "%s: the last dimension of x must equal the columns of w, got x %s and w %s", kOp, TERSOR_TEXT(x.x), TERSOR_TEXT(x.w));
  if (x.bias.present()) {
    TERSOR_TRY(expect_same_dtype(kOp, x.x, x.bias));
    TERSOR_TRY(expect_shape(kOp, "bias", x.bias, &x.w.shape[0], 1));
  }
  int64_t shape[kMaxRank];
  for (int i = 0; i < x.x.rank; i++) shape[i] = x.x.shape[i];
  shape[x.x.rank - 1] = x.w.shape[0];
  set_shape(x.y, x.x.dtype, shape, x.x.rank);
  return {};
}

Status linear_cpu(linear_args& x, Context& ctx) { return x.x.dtype == DType::f32 ? run<float>(x, ctx) : run<double>(x, ctx); }

}  // namespace tersor
