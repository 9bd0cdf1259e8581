// sgd_step and adamw_step: one pass over memory, in place. Formulas and the meaning of the mask: kernels/optim/optim.h.
#include <cmath>

#include "kernels/optim/optim.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status check_option(const char* op, const char* name, double v) {
  if (std::isfinite(v) && v >= 0) return {};
  return fail(Code::option, "%s: %s must be finite and >= 0, got %g", op, name, v);
}

// A tensor that changes in place beside p.
Status check_state(const char* op, const char* name, const TensorRef& p, const TensorRef& s) {
  TERSOR_TRY(expect_same_dtype(op, p, s));
  TERSOR_TRY(expect_shape(op, name, s, p.shape, p.rank));
  if (!s.contiguous()) return fail(Code::shape, "%s: %s must be contiguous (%s)", op, name, TERSOR_TEXT(s));
  return {};
}

Status check_common(const char* op, const TensorRef& p, const TensorRef& g, const TensorRef& mask) {
  TERSOR_TRY(expect_float(op, "p", p));
  TERSOR_TRY(check_state(op, "p", p, p));
  TERSOR_TRY(expect_same_dtype(op, p, g));
  TERSOR_TRY(expect_shape(op, "g", g, p.shape, p.rank));
  if (mask.present()) {
    const int64_t bytes = (p.size() + 7) / 8;
    TERSOR_TRY(expect_dtype(op, "mask", mask, DType::u8));
    TERSOR_TRY(expect_shape(op, "mask", mask, &bytes, 1));
  }
  return {};
}

constexpr int64_t kGrain = 8192;  // a multiple of 8: chunks begin at whole bytes of the mask

template <class T> Status sgd(sgd_step_args& a, const Cancel* cancel) {
  Contiguous g, mask;
  TERSOR_TRY(g.open("sgd_step", a.g, cancel));
  if (a.mask.present()) TERSOR_TRY(mask.open("sgd_step", a.mask, cancel));
  return parallel_for(a.p.size(), kGrain, cancel, [&](int64_t begin, int64_t end) {
    SgdArgs<T> k = {};
    k.p = a.p.as<T>() + begin;
    k.g = g.as<T>() + begin;
    k.velocity = a.velocity.as<T>() + begin;
    k.mask = a.mask.present() ? mask.as<uint8_t>() + begin / 8 : nullptr;
    k.n = end - begin;
    k.lr = static_cast<T>(a.lr);
    k.momentum = static_cast<T>(a.momentum);
    k.weight_decay = static_cast<T>(a.weight_decay);
    k.nesterov = a.nesterov;
    optim_sgd(k);
  });
}

template <class T> Status adamw(adamw_step_args& a, const Cancel* cancel) {
  Contiguous g, mask;
  TERSOR_TRY(g.open("adamw_step", a.g, cancel));
  if (a.mask.present()) TERSOR_TRY(mask.open("adamw_step", a.mask, cancel));
  const double t = static_cast<double>(a.step);
  const double correction1 = 1.0 - std::pow(a.beta1, t), correction2 = 1.0 - std::pow(a.beta2, t);
  return parallel_for(a.p.size(), kGrain, cancel, [&](int64_t begin, int64_t end) {
    AdamwArgs<T> k = {};
    k.p = a.p.as<T>() + begin;
    k.g = g.as<T>() + begin;
    k.m = a.m.as<T>() + begin;
    k.v = a.v.as<T>() + begin;
    k.mask = a.mask.present() ? mask.as<uint8_t>() + begin / 8 : nullptr;
    k.n = end - begin;
    k.decay = static_cast<T>(1.0 - a.lr * a.weight_decay);
    k.step_size = static_cast<T>(a.lr / correction1);
    k.root = static_cast<T>(std::sqrt(correction2));
    k.beta1 = static_cast<T>(a.beta1);
    k.one_minus_beta1 = static_cast<T>(1.0 - a.beta1);
    k.beta2 = static_cast<T>(a.beta2);
    k.one_minus_beta2 = static_cast<T>(1.0 - a.beta2);
    k.eps = static_cast<T>(a.eps);
    optim_adamw(k);
  });
}

}  // namespace

Status sgd_step_infer(sgd_step_args& a) {
  TERSOR_TRY(check_common("sgd_step", a.p, a.g, a.mask));
  TERSOR_TRY(check_state("sgd_step", "velocity", a.p, a.velocity));
  TERSOR_TRY(check_option("sgd_step", "lr", a.lr));
  TERSOR_TRY(check_option("sgd_step", "momentum", a.momentum));
  return check_option("sgd_step", "weight_decay", a.weight_decay);
}
Status sgd_step_cpu(sgd_step_args& a, Context& ctx) {
  return a.p.dtype == DType::f64 ? sgd<double>(a, ctx.cancel) : sgd<float>(a, ctx.cancel);
}

Status adamw_step_infer(adamw_step_args& a) {
  const char* op = "adamw_step";
  TERSOR_TRY(check_common(op, a.p, a.g, a.mask));
  TERSOR_TRY(check_state(op, "m", a.p, a.m));
  TERSOR_TRY(check_state(op, "v", a.p, a.v));
  TERSOR_TRY(check_option(op, "lr", a.lr));
  TERSOR_TRY(check_option(op, "eps", a.eps));
  TERSOR_TRY(check_option(op, "weight_decay", a.weight_decay));
  if (!(a.beta1 >= 0 && a.beta1 < 1)) return fail(Code::option, "%s: beta1 must be in [0, 1), got %g", op, a.beta1);
  if (!(a.beta2 >= 0 && a.beta2 < 1)) return fail(Code::option, "%s: beta2 must be in [0, 1), got %g", op, a.beta2);
  if (a.step < 1) return fail(Code::option, "%s: step must be >= 1, got %lld", op, static_cast<long long>(a.step));
  return {};
}
Status adamw_step_cpu(adamw_step_args& a, Context& ctx) {
  return a.p.dtype == DType::f64 ? adamw<double>(a, ctx.cancel) : adamw<float>(a, ctx.cancel);
}

}  // namespace tersor
