// Optimizer steps: one pass over memory (LAMB two), in place. Formulas and the meaning of the mask: kernels/optim/optim.h.
#include <cmath>

#include "kernels/blas1/blas1.h"
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

// adam_step and adamw_step have the same fields; they differ in what weight_decay does.
template <class T, class Args> Status adam(const char* op, bool decoupled, Args& a, const Cancel* cancel) {
  Contiguous g, mask;
  TERSOR_TRY(g.open(op, a.g, cancel));
  if (a.mask.present()) TERSOR_TRY(mask.open(op, a.mask, cancel));
  const double t = static_cast<double>(a.step);
  const double correction1 = 1.0 - std::pow(a.beta1, t), correction2 = 1.0 - std::pow(a.beta2, t);
  return parallel_for(a.p.size(), kGrain, cancel, [&](int64_t begin, int64_t end) {
    AdamwArgs<T> k = {};
    k.p = a.p.template as<T>() + begin;
    k.g = g.as<T>() + begin;
    k.m = a.m.template as<T>() + begin;
    k.v = a.v.template as<T>() + begin;
    k.mask = a.mask.present() ? mask.as<uint8_t>() + begin / 8 : nullptr;
    k.n = end - begin;
    k.decay = static_cast<T>(decoupled ? 1.0 - a.lr * a.weight_decay : 1.0);
    k.step_size = static_cast<T>(a.lr / correction1);
    k.root = static_cast<T>(std::sqrt(correction2));
    k.beta1 = static_cast<T>(a.beta1);
    k.one_minus_beta1 = static_cast<T>(1.0 - a.beta1);
    k.beta2 = static_cast<T>(a.beta2);
    k.one_minus_beta2 = static_cast<T>(1.0 - a.beta2);
    k.eps = static_cast<T>(a.eps);
    k.l2 = static_cast<T>(decoupled ? 0.0 : a.weight_decay);
    optim_adamw(k);
  });
}

template <class T> Status rmsprop(rmsprop_step_args& a, const Cancel* cancel) {
  Contiguous g, mask;
  TERSOR_TRY(g.open("rmsprop_step", a.g, cancel));
  if (a.mask.present()) TERSOR_TRY(mask.open("rmsprop_step", a.mask, cancel));
  return parallel_for(a.p.size(), kGrain, cancel, [&](int64_t begin, int64_t end) {
    RmspropArgs<T> k = {};
    k.p = a.p.as<T>() + begin;
    k.g = g.as<T>() + begin;
    k.square = a.square.as<T>() + begin;
    k.mean = a.centered ? a.mean.as<T>() + begin : nullptr;
    k.velocity = a.momentum > 0 ? a.velocity.as<T>() + begin : nullptr;
    k.mask = a.mask.present() ? mask.as<uint8_t>() + begin / 8 : nullptr;
    k.n = end - begin;
    k.lr = static_cast<T>(a.lr);
    k.alpha = static_cast<T>(a.alpha);
    k.one_minus_alpha = static_cast<T>(1.0 - a.alpha);
    k.eps = static_cast<T>(a.eps);
    k.momentum = static_cast<T>(a.momentum);
    k.weight_decay = static_cast<T>(a.weight_decay);
    optim_rmsprop(k);
  });
}

// ratio = phi(|p|) / |u|, phi(z) = min(max(z, phi_min), phi_max); 1 where a norm is 0. Norms are sums in f64 over chunks of fixed length, added
// in order: the same for any number of threads.
template <class T> Status lamb(lamb_step_args& a, const Cancel* cancel) {
  Contiguous g, mask;
  TERSOR_TRY(g.open("lamb_step", a.g, cancel));
  if (a.mask.present()) TERSOR_TRY(mask.open("lamb_step", a.mask, cancel));
  const int64_t n = a.p.size(), chunks = (n + kGrain - 1) / kGrain;
  Scratch update, partial;
  TERSOR_TRY(update.reserve("lamb_step", n * static_cast<int64_t>(sizeof(T))));
  TERSOR_TRY(partial.reserve("lamb_step", chunks * 16));
  T* const p = a.p.as<T>();
  T* const u = update.as<T>();
  double* const sums = partial.as<double>();
  const double t = static_cast<double>(a.step);
  const double correction1 = 1.0 - std::pow(a.beta1, t), correction2 = 1.0 - std::pow(a.beta2, t);
  TERSOR_TRY(parallel_for(n, kGrain, cancel, [&](int64_t first, int64_t last) {
    for (int64_t begin = first; begin < last; begin += kGrain) {
      LambArgs<T> k = {};
      k.p = p + begin;
      k.g = g.as<T>() + begin;
      k.m = a.m.as<T>() + begin;
      k.v = a.v.as<T>() + begin;
      k.u = u + begin;
      k.mask = a.mask.present() ? mask.as<uint8_t>() + begin / 8 : nullptr;
      k.n = last - begin < kGrain ? last - begin : kGrain;
      k.step_size = static_cast<T>(1.0 / correction1);
      k.root = static_cast<T>(std::sqrt(correction2));
      k.beta1 = static_cast<T>(a.beta1);
      k.one_minus_beta1 = static_cast<T>(1.0 - a.beta1);
      k.beta2 = static_cast<T>(a.beta2);
      k.one_minus_beta2 = static_cast<T>(1.0 - a.beta2);
      k.eps = static_cast<T>(a.eps);
      k.weight_decay = static_cast<T>(a.weight_decay);
      optim_lamb(k);
      sums[begin / kGrain * 2] = blas1_dot(k.p, k.p, k.n);
      sums[begin / kGrain * 2 + 1] = blas1_dot(k.u, k.u, k.n);
    }
  }));
  double pp = 0, uu = 0;
  for (int64_t c = 0; c < chunks; c++) {
    pp += sums[c * 2];
    uu += sums[c * 2 + 1];
  }
  const double norm = std::sqrt(pp), limited = norm < a.phi_min ? a.phi_min : norm > a.phi_max ? a.phi_max : norm;
  const double ratio = limited > 0 && uu > 0 ? limited / std::sqrt(uu) : 1.0;
  return parallel_for(n, kGrain, cancel, [&](int64_t begin, int64_t end) { blas1_axpby(p + begin, u + begin, end - begin, -a.lr * ratio, 1); });
}

// What adam, adamw and lamb share.
template <class Args> Status check_moments(const char* op, Args& a) {
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

// State that an option asks for; without it, [0] will do.
Status check_optional(const char* op, const char* name, bool used, const TensorRef& p, const TensorRef& s) {
  if (!used && s.rank == 1 && s.shape[0] == 0) return expect_same_dtype(op, p, s);
  return check_state(op, name, p, s);
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

Status adamw_step_infer(adamw_step_args& a) { return check_moments("adamw_step", a); }
Status adamw_step_cpu(adamw_step_args& a, Context& ctx) {
  return a.p.dtype == DType::f64 ? adam<double>("adamw_step", true, a, ctx.cancel) : adam<float>("adamw_step", true, a, ctx.cancel);
}

Status adam_step_infer(adam_step_args& a) { return check_moments("adam_step", a); }
Status adam_step_cpu(adam_step_args& a, Context& ctx) {
  return a.p.dtype == DType::f64 ? adam<double>("adam_step", false, a, ctx.cancel) : adam<float>("adam_step", false, a, ctx.cancel);
}

Status rmsprop_step_infer(rmsprop_step_args& a) {
  const char* op = "rmsprop_step";
  TERSOR_TRY(check_common(op, a.p, a.g, a.mask));
  TERSOR_TRY(check_option(op, "lr", a.lr));
  TERSOR_TRY(check_option(op, "eps", a.eps));
  TERSOR_TRY(check_option(op, "momentum", a.momentum));
  TERSOR_TRY(check_option(op, "weight_decay", a.weight_decay));
  if (!(a.alpha >= 0 && a.alpha < 1)) return fail(Code::option, "%s: alpha must be in [0, 1), got %g", op, a.alpha);
  TERSOR_TRY(check_state(op, "square", a.p, a.square));
  TERSOR_TRY(check_optional(op, "mean", a.centered, a.p, a.mean));
  return check_optional(op, "velocity", a.momentum > 0, a.p, a.velocity);
}
Status rmsprop_step_cpu(rmsprop_step_args& a, Context& ctx) {
  return a.p.dtype == DType::f64 ? rmsprop<double>(a, ctx.cancel) : rmsprop<float>(a, ctx.cancel);
}

Status lamb_step_infer(lamb_step_args& a) {
  TERSOR_TRY(check_moments("lamb_step", a));
  if (!(a.phi_min >= 0 && a.phi_min <= a.phi_max))
    return fail(Code::option, "lamb_step: needs 0 <= phi_min <= phi_max, got %g and %g", a.phi_min, a.phi_max);
  return {};
}
Status lamb_step_cpu(lamb_step_args& a, Context& ctx) { return a.p.dtype == DType::f64 ? lamb<double>(a, ctx.cancel) : lamb<float>(a, ctx.cancel); }

}  // namespace tersor
