// batch_norm(x [B, C, ...], gamma? [C], beta? [C], residual? like x, eps, relu) -> y like x, mean [C], variance [C] (divided by the count); f32 or f64.
// batch_norm_grad(x, gamma?, mean, variance, y?, dy, eps, residual) -> dx, dgamma [C], dbeta [C], dresidual (like x, or [0]). y: only behind a ReLU.
// Formulas: kernels/norm/norm.h. A task is a channel.
#include <cmath>

#include "kernels/norm/norm.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status check_common(const char* op, const TensorRef& x, double eps) {
  TERSOR_TRY(expect_float(op, "x", x));
  if (x.rank < 2 || x.shape[0] < 1) return fail(Code::shape, "%s: x must be [B, C, ...] with B >= 1, got %s", op, TERSOR_TEXT(x));
  for (int i = 2; i < x.rank; i++)
    if (x.shape[i] < 1) return fail(Code::shape, "%s: there is nothing to average in %s", op, TERSOR_TEXT(x));
  if (!std::isfinite(eps) || eps < 0) return fail(Code::option, "%s: eps must be finite and >= 0, got %g", op, eps);
  return {};
}

Status check_vector(const char* op, const char* name, const TensorRef& t, const TensorRef& x) {
  TERSOR_TRY(expect_same_dtype(op, x, t));
  return expect_shape(op, name, t, &x.shape[1], 1);
}

Status check_like(const char* op, const char* name, const TensorRef& t, const TensorRef& x) {
  TERSOR_TRY(expect_same_dtype(op, x, t));
  return expect_shape(op, name, t, x.shape, x.rank);
}

int64_t plane_of(const TensorRef& x) {
  int64_t n = 1;
  for (int i = 2; i < x.rank; i++) n *= x.shape[i];
  return n;
}

template <class T> Status forward(batch_norm_args& a, const Cancel* cancel) {
  const int64_t batch = a.x.shape[0], channels = a.x.shape[1], n = plane_of(a.x);
  Contiguous x, gamma, beta, residual;
  TERSOR_TRY(x.open("batch_norm", a.x, cancel));
  if (a.gamma.present()) TERSOR_TRY(gamma.open("batch_norm", a.gamma, cancel));
  if (a.beta.present()) TERSOR_TRY(beta.open("batch_norm", a.beta, cancel));
  if (a.residual.present()) TERSOR_TRY(residual.open("batch_norm", a.residual, cancel));
  return parallel_for(channels, grain_for(4 * batch * n), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++)
      batch_norm(BatchNormArgs<T>{x.as<T>() + c * n, a.y.as<T>() + c * n, batch, channels * n, n, a.gamma.present() ? gamma.as<T>()[c] : T(1),
                                  a.beta.present() ? beta.as<T>()[c] : T(0), a.eps, a.mean.as<T>() + c, a.variance.as<T>() + c,
                                  a.residual.present() ? residual.as<T>() + c * n : nullptr, a.relu});
  });
}

template <class T> Status backward(batch_norm_grad_args& a, const Cancel* cancel) {
  const int64_t batch = a.x.shape[0], channels = a.x.shape[1], n = plane_of(a.x);
  Contiguous x, gamma, mean, variance, y, dy;
  TERSOR_TRY(x.open("batch_norm_grad", a.x, cancel));
  if (a.gamma.present()) TERSOR_TRY(gamma.open("batch_norm_grad", a.gamma, cancel));
  TERSOR_TRY(mean.open("batch_norm_grad", a.mean, cancel));
  TERSOR_TRY(variance.open("batch_norm_grad", a.variance, cancel));
  if (a.y.present()) TERSOR_TRY(y.open("batch_norm_grad", a.y, cancel));
  TERSOR_TRY(dy.open("batch_norm_grad", a.dy, cancel));
  return parallel_for(channels, grain_for(4 * batch * n), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++)
      batch_norm_grad(BatchNormGradArgs<T>{x.as<T>() + c * n, dy.as<T>() + c * n, a.dx.as<T>() + c * n, batch, channels * n, n,
                                           a.gamma.present() ? gamma.as<T>()[c] : T(1), mean.as<T>()[c], variance.as<T>()[c], a.eps, a.dgamma.as<T>() + c,
                                           a.dbeta.as<T>() + c, a.y.present() ? y.as<T>() + c * n : nullptr, a.residual ? a.dresidual.as<T>() + c * n : nullptr});
  });
}

}  // namespace

Status batch_norm_infer(batch_norm_args& a) {
  TERSOR_TRY(check_common("batch_norm", a.x, a.eps));
  if (a.gamma.present()) TERSOR_TRY(check_vector("batch_norm", "gamma", a.gamma, a.x));
  if (a.beta.present()) TERSOR_TRY(check_vector("batch_norm", "beta", a.beta, a.x));
  if (a.residual.present()) TERSOR_TRY(check_like("batch_norm", "residual", a.residual, a.x));
  set_shape(a.y, a.x.dtype, a.x.shape, a.x.rank);
  set_shape(a.mean, a.x.dtype, &a.x.shape[1], 1);
  set_shape(a.variance, a.x.dtype, &a.x.shape[1], 1);
  return {};
}
Status batch_norm_cpu(batch_norm_args& a, Context& ctx) {
  return a.x.dtype == DType::f64 ? forward<double>(a, ctx.cancel) : forward<float>(a, ctx.cancel);
}

Status batch_norm_grad_infer(batch_norm_grad_args& a) {
  TERSOR_TRY(check_common("batch_norm_grad", a.x, a.eps));
  if (a.gamma.present()) TERSOR_TRY(check_vector("batch_norm_grad", "gamma", a.gamma, a.x));
  TERSOR_TRY(check_vector("batch_norm_grad", "mean", a.mean, a.x));
  TERSOR_TRY(check_vector("batch_norm_grad", "variance", a.variance, a.x));
  TERSOR_TRY(check_like("batch_norm_grad", "dy", a.dy, a.x));
  if (a.y.present()) TERSOR_TRY(check_like("batch_norm_grad", "y", a.y, a.x));
  set_shape(a.dx, a.x.dtype, a.x.shape, a.x.rank);
  set_shape(a.dgamma, a.x.dtype, &a.x.shape[1], 1);
  set_shape(a.dbeta, a.x.dtype, &a.x.shape[1], 1);
  const int64_t none = 0;
  set_shape(a.dresidual, a.x.dtype, a.residual ? a.x.shape : &none, a.residual ? a.x.rank : 1);
  return {};
}
Status batch_norm_grad_cpu(batch_norm_grad_args& a, Context& ctx) {
  return a.x.dtype == DType::f64 ? backward<double>(a, ctx.cancel) : backward<float>(a, ctx.cancel);
}

}  // namespace tersor
