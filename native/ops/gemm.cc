// gemm(a[M,K], b[K,N], c?, transpose_a, transpose_b, alpha, beta) -> y[M,N] = alpha op(a) op(b) + beta c: the BLAS product. The flags take an operand as
// transposed; c broadcasts to [M,N] and is not read when beta = 0. f32 or f64; strided views are used where they lie.
#include <cmath>

#include "ops/gemm_run.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr const char* kOp = "gemm";

template <class T> struct Scaling {
  T alpha, beta;
  const T* c;  // null: none
  int64_t c_row, c_col;
  T* y;
  int64_t y_row;
};

// On a block of the product that is still in cache.
template <class T> void scale(const void* state, int64_t m0, int64_t m, int64_t n0, int64_t n) {
  const Scaling<T>& s = *static_cast<const Scaling<T>*>(state);
  for (int64_t i = m0; i < m0 + m; i++) {
    T* y = s.y + i * s.y_row + n0;
    if (!s.c) {
      for (int64_t j = 0; j < n; j++) y[j] = s.alpha * y[j];
      continue;
    }
    const T* c = s.c + i * s.c_row + n0 * s.c_col;
    if (s.c_col == 1)  // a loop of its own: this one becomes vectors
      for (int64_t j = 0; j < n; j++) y[j] = s.alpha * y[j] + s.beta * c[j];
    else
      for (int64_t j = 0; j < n; j++) y[j] = s.alpha * y[j] + s.beta * c[j * s.c_col];
  }
}

template <class T> Status run(gemm_args& x, Context& ctx) {
  const int ta = x.transpose_a ? 1 : 0, tb = x.transpose_b ? 1 : 0;
  GemmMatrix<T> g;
  g.m = x.a.shape[ta], g.k = x.a.shape[1 - ta], g.n = x.b.shape[1 - tb];
  g.a = x.a.as<T>(), g.a_row = x.a.stride[ta], g.a_col = x.a.stride[1 - ta];
  g.b = x.b.as<T>(), g.b_row = x.b.stride[tb], g.b_col = x.b.stride[1 - tb];
  g.c = x.y.as<T>(), g.c_row = g.n;
  Scaling<T> s{static_cast<T>(x.alpha), static_cast<T>(x.beta), nullptr, 0, 0, g.c, g.n};
  if (x.c.present() && s.beta != T(0)) {
    const TensorRef c = broadcast_to(x.c, x.y.shape, 2);
    s.c = c.as<T>(), s.c_row = c.stride[0], s.c_col = c.stride[1];
  }
  GemmExtra<T> extra;
  if (s.c || s.alpha != T(1)) extra.finish = {scale<T>, &s};
  return gemm_parallel(kOp, g, ctx.cancel, extra);
}

Status expect_factor(const char* name, double value, DType dtype) {
  const double rounded = dtype == DType::f32 ? static_cast<double>(static_cast<float>(value)) : value;
  return std::isfinite(rounded) ? Status{} : fail(Code::option, "%s: %s must be finite in %s, got %g", kOp, name, dtype_name(dtype), value);
}

}  // namespace

Status gemm_infer(gemm_args& x) {
  TERSOR_TRY(expect_float(kOp, "a", x.a));
  TERSOR_TRY(expect_same_dtype(kOp, x.a, x.b));
  TERSOR_TRY(expect_rank(kOp, "a", x.a, 2));
  TERSOR_TRY(expect_rank(kOp, "b", x.b, 2));
  TERSOR_TRY(expect_factor("alpha", x.alpha, x.a.dtype));
  TERSOR_TRY(expect_factor("beta", x.beta, x.a.dtype));
  if (x.a.shape[x.transpose_a ? 0 : 1] != x.b.shape[x.transpose_b ? 1 : 0])
    return fail(Code::shape, "%s: inner dimensions must be equal, got %s%s and %s%s", kOp, TERSOR_TEXT(x.a), x.transpose_a ? " transposed" : "",
                TERSOR_TEXT(x.b), x.transpose_b ? " transposed" : "");
  const int64_t shape[2] = {x.a.shape[x.transpose_a ? 1 : 0], x.b.shape[x.transpose_b ? 0 : 1]};
  if (x.c.present()) {
    TERSOR_TRY(expect_same_dtype(kOp, x.a, x.c));
    bool fits = x.c.rank <= 2;
    for (int i = 1; fits && i <= x.c.rank; i++) fits = x.c.dim(-i) == 1 || x.c.dim(-i) == shape[2 - i];
    if (!fits)
      return fail(Code::shape, "%s: c must broadcast to [%lld,%lld], got %s", kOp, static_cast<long long>(shape[0]), static_cast<long long>(shape[1]), TERSOR_TEXT(x.c));
  }
  set_shape(x.y, x.a.dtype, shape, 2);
  return {};
}

Status gemm_cpu(gemm_args& x, Context& ctx) { return x.a.dtype == DType::f32 ? run<float>(x, ctx) : run<double>(x, ctx); }

}  // namespace tersor
