// nonlinear(x, kind, p, q) -> y = f(x) and nonlinear_grad(x, dy, kind, p, q) -> dx = dy f'(x) for the functions of kernels/nonlinear. f32 or f64;
// bf16 and f16 (x and dy alike) are computed in f32.
#include "kernels/nonlinear/nonlinear.h"

#include <cmath>

#include "ops/half_run.h"
#include "ops/util.h"

namespace tersor {
namespace {

// The enumeration that callers name and the kernels' are one list, written down twice.
#define TERSOR_NONLINEAR(name, formula, slope) \
  static_assert(static_cast<int64_t>(nonlinearity::name) == static_cast<int64_t>(NonlinearOp::name), "enums.def differs from nonlinear.def");
#include "kernels/nonlinear/nonlinear.def"
#undef TERSOR_NONLINEAR

Status check(const char* op, const TensorRef& x, nonlinearity kind, double p, double q) {
  if (!is_half(x.dtype)) TERSOR_TRY(expect_float(op, "x", x));
  if (!std::isfinite(p) || !std::isfinite(q)) return fail(Code::option, "%s: p and q must be finite, got %g and %g", op, p, q);
  if (kind == nonlinearity::softplus && !(p > 0)) return fail(Code::option, "%s: softplus wants p > 0, got %g", op, p);
  return {};
}

template <class T>
Status run(const char* op, const TensorRef& x, const TensorRef* dy, nonlinearity kind, double p, double q, TensorRef& y, const Cancel* cancel) {
  Contiguous input, upstream;
  TERSOR_TRY(input.open(op, x, cancel));
  if (dy) TERSOR_TRY(upstream.open(op, *dy, cancel));
  const T* from = input.as<T>();
  const T* slope = upstream.as<T>();
  return parallel_for(y.size(), grain_for(8), cancel, [&](int64_t begin, int64_t end) {
    nonlinear(NonlinearArgs<T>{static_cast<NonlinearOp>(kind), from + begin, dy ? slope + begin : nullptr, y.as<T>() + begin, end - begin, static_cast<T>(p),
                               static_cast<T>(q)});
  });
}

Status run_half(const char* op, const TensorRef& x, const TensorRef* dy, nonlinearity kind, double p, double q, TensorRef& y, const Cancel* cancel) {
  Contiguous input, upstream;
  TERSOR_TRY(input.open(op, x, cancel));
  if (dy) TERSOR_TRY(upstream.open(op, *dy, cancel));
  const uint16_t* slope = dy ? upstream.as<uint16_t>() : nullptr;
  return parallel_for(y.size(), grain_for(8), cancel, [&](int64_t begin, int64_t end) {
    half_pieces(x.dtype, input.as<uint16_t>() + begin, slope ? slope + begin : nullptr, y.as<uint16_t>() + begin, end - begin,
                [&](const float* a, const float* b, float* c, int64_t n) {
                  nonlinear(NonlinearArgs<float>{static_cast<NonlinearOp>(kind), a, b, c, n, static_cast<float>(p), static_cast<float>(q)});
                });
  });
}

Status any(const char* op, const TensorRef& x, const TensorRef* dy, nonlinearity kind, double p, double q, TensorRef& y, const Cancel* cancel) {
  if (is_half(x.dtype)) return run_half(op, x, dy, kind, p, q, y, cancel);
  return x.dtype == DType::f64 ? run<double>(op, x, dy, kind, p, q, y, cancel) : run<float>(op, x, dy, kind, p, q, y, cancel);
}

}  // namespace

Status nonlinear_infer(nonlinear_args& a) {
  TERSOR_TRY(check("nonlinear", a.x, a.kind, a.p, a.q));
  set_shape(a.y, a.x.dtype, a.x.shape, a.x.rank);
  return {};
}
Status nonlinear_cpu(nonlinear_args& a, Context& ctx) { return any("nonlinear", a.x, nullptr, a.kind, a.p, a.q, a.y, ctx.cancel); }

Status nonlinear_grad_infer(nonlinear_grad_args& a) {
  TERSOR_TRY(check("nonlinear_grad", a.x, a.kind, a.p, a.q));
  TERSOR_TRY(expect_same_dtype("nonlinear_grad", a.x, a.dy));
  TERSOR_TRY(expect_shape("nonlinear_grad", "dy", a.dy, a.x.shape, a.x.rank));
  set_shape(a.dx, a.x.dtype, a.x.shape, a.x.rank);
  return {};
}
Status nonlinear_grad_cpu(nonlinear_grad_args& a, Context& ctx) { return any("nonlinear_grad", a.x, &a.dy, a.kind, a.p, a.q, a.dx, ctx.cancel); }

}  // namespace tersor
