// y f32 [...,out] = act(sum_k (q - x_zero) * w * (x_scale * w_scale) + bias) + residual, the sums exact, with a weight packed by qgemm_pack.
// qlinear(x f32 [...,K], packed, w_scale f32 [out] or [1], bias f32 [out]?, out, x_scale, x_zero, act): x is quantized to u8 (round half to even of
//   x / x_scale, plus x_zero, clamped to [0, 255]; NaN becomes x_zero).
// qlinear_dynamic(..., residual f32 like y?, out, symmetric, act): each row of x is quantized by its own range (kernels/qgemm/qgemm.h, QgemmDynamic).
// qmatmul(x f32, u8 or i8, ..., x_scales f32 [rows]?, x_zeros i32 [rows]?, w_zeros i32 [out]?, ..., dtype, y_scale, y_zero): the general form. Codes
//   are taken as they are; y is f32, or u8 or i8 codes: clamp(round_half_even(y * (1 / y_scale)) + y_zero).
// qmatmul_fixed(x u8 or i8, ..., bias i32 [out]?, multiplier, exponent i32 [out] or [1], w_zeros?, out, x_zero, dtype, y_zero, lo, hi): as in gemmlowp.
#include "ops/qgemm_product.h"

namespace tersor {
namespace {

// What an epilogue in floats reads, row-major.
struct Floats {
  Contiguous bias, residual;
  Scratch scales;
  Status open(const char* op, const TensorRef& w_scale, const TensorRef& b, const TensorRef* r, int64_t n, double x_scale, activation act, QgemmFinish* f,
              const Cancel* cancel) {
    TERSOR_TRY(qgemm_scales(op, w_scale, n, x_scale, &scales));
    f->scale = scales.as<float>();
    if (b.present()) {
      TERSOR_TRY(bias.open(op, b, cancel));
      f->bias = bias.as<float>();
    }
    if (r && r->present()) {
      TERSOR_TRY(residual.open(op, *r, cancel));
      f->residual = residual.as<float>(), f->residual_row = n;
    }
    f->act = static_cast<QgemmAct>(act);
    return {};
  }
};

Status check_residual(const char* op, const TensorRef& residual, const TensorRef& y) {
  if (!residual.present()) return {};
  TERSOR_TRY(expect_dtype(op, "residual", residual, DType::f32));
  return expect_shape(op, "residual", residual, y.shape, y.rank);
}

QgemmFinish to_float(const TensorRef& y, int64_t n) {
  QgemmFinish f;
  f.to = QgemmTo::f32;
  f.y = y.data, f.y_row = n;
  return f;
}

Status check_narrow(const char* op, DType dtype, int64_t y_zero) {
  const long long lo = dtype == DType::i8 ? -128 : 0, hi = lo + 255;
  if (dtype != DType::i8 && dtype != DType::u8) return fail(Code::dtype, "%s: dtype must be i8 or u8, got %s", op, dtype_name(dtype));
  if (y_zero < lo || y_zero > hi) return fail(Code::option, "%s: y_zero must be in [%lld, %lld], got %lld", op, lo, hi, static_cast<long long>(y_zero));
  return {};
}

QgemmInput input_of(qlinear_args& a) {
  QgemmInput in{"qlinear", QgemmForm::scale, &a.x, &a.packed, a.out};
  in.x_scale = static_cast<float>(a.x_scale), in.x_zero = a.x_zero;
  return in;
}

QgemmInput input_of(qlinear_dynamic_args& a) {
  return {"qlinear_dynamic", a.symmetric ? QgemmForm::token_symmetric : QgemmForm::token_affine, &a.x, &a.packed, a.out};
}

QgemmInput input_of(qmatmul_args& a) {
  QgemmInput in{"qmatmul", a.x.dtype == DType::u8 || a.x.dtype == DType::i8 ? QgemmForm::codes : QgemmForm::scale, &a.x, &a.packed, a.out};
  in.x_scale = static_cast<float>(a.x_scale), in.x_zero = a.x_zero;
  in.x_scales = &a.x_scales, in.x_zeros = &a.x_zeros, in.w_zeros = &a.w_zeros;
  return in;
}

QgemmInput input_of(qmatmul_fixed_args& a) {
  QgemmInput in{"qmatmul_fixed", QgemmForm::codes, &a.x, &a.packed, a.out};
  in.x_zero = a.x_zero, in.w_zeros = &a.w_zeros;
  return in;
}

}  // namespace

Status qlinear_infer(qlinear_args& a) {
  const QgemmInput in = input_of(a);
  TERSOR_TRY(qgemm_check(in));
  TERSOR_TRY(qgemm_check_scale(in.op, "x_scale", a.x_scale));
  TERSOR_TRY(qgemm_check_scales(in.op, a.w_scale, a.bias, a.out));
  qgemm_result(in, DType::f32, a.y);
  return {};
}

Status qlinear_cpu(qlinear_args& a, Context& ctx) {
  const QgemmInput in = input_of(a);
  QgemmFinish f = to_float(a.y, a.out);
  Floats floats;
  TERSOR_TRY(floats.open(in.op, a.w_scale, a.bias, nullptr, a.out, a.x_scale, a.act, &f, ctx.cancel));
  return qgemm_product(in, f, ctx.cancel);
}

Status qlinear_dynamic_infer(qlinear_dynamic_args& a) {
  const QgemmInput in = input_of(a);
  TERSOR_TRY(qgemm_check(in));
  TERSOR_TRY(qgemm_check_scales(in.op, a.w_scale, a.bias, a.out));
  qgemm_result(in, DType::f32, a.y);
  return check_residual(in.op, a.residual, a.y);
}

Status qlinear_dynamic_cpu(qlinear_dynamic_args& a, Context& ctx) {
  const QgemmInput in = input_of(a);
  QgemmFinish f = to_float(a.y, a.out);
  Floats floats;
  TERSOR_TRY(floats.open(in.op, a.w_scale, a.bias, &a.residual, a.out, 1, a.act, &f, ctx.cancel));
  return qgemm_product(in, f, ctx.cancel);
}

Status qmatmul_infer(qmatmul_args& a) {
  const QgemmInput in = input_of(a);
  TERSOR_TRY(qgemm_check(in));
  if (in.form == QgemmForm::scale && (a.x_scales.present() || a.x_zeros.present()))
    return fail(Code::option, "qmatmul: x_scales and x_zeros belong to codes; x is %s", TERSOR_TEXT(a.x));
  TERSOR_TRY(qgemm_check_scale(in.op, "x_scale", a.x_scale));
  TERSOR_TRY(qgemm_check_scales(in.op, a.w_scale, a.bias, a.out));
  if (a.dtype != DType::f32) {
    TERSOR_TRY(qgemm_check_scale(in.op, "y_scale", a.y_scale));
    TERSOR_TRY(qgemm_check_scale(in.op, "1 / y_scale", 1 / a.y_scale));
    TERSOR_TRY(check_narrow(in.op, a.dtype, a.y_zero));
  }
  qgemm_result(in, a.dtype, a.y);
  return check_residual(in.op, a.residual, a.y);
}

Status qmatmul_cpu(qmatmul_args& a, Context& ctx) {
  const QgemmInput in = input_of(a);
  QgemmFinish f = to_float(a.y, a.out);
  if (a.dtype != DType::f32) {
    f.to = a.dtype == DType::i8 ? QgemmTo::s8 : QgemmTo::u8;
    f.y_inverse = static_cast<float>(1 / a.y_scale), f.y_zero = static_cast<int32_t>(a.y_zero);
    f.lo = a.dtype == DType::i8 ? -128 : 0, f.hi = f.lo + 255;
  }
  Floats floats;
  TERSOR_TRY(floats.open(in.op, a.w_scale, a.bias, &a.residual, a.out, a.x_scales.present() ? 1 : a.x_scale, a.act, &f, ctx.cancel));
  return qgemm_product(in, f, ctx.cancel);
}

Status qmatmul_fixed_infer(qmatmul_fixed_args& a) {
  const QgemmInput in = input_of(a);
  TERSOR_TRY(qgemm_check(in));
  if (qgemm_needs_64(in)) return fail(Code::limit, "qmatmul_fixed: K = %lld may give results beyond 32 bits", static_cast<long long>(in.k()));
  const int64_t n = a.out;
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(in.op, "bias", a.bias, DType::i32));
    TERSOR_TRY(expect_shape(in.op, "bias", a.bias, &n, 1));
  }
  const TensorRef* const per_column[] = {&a.multiplier, &a.exponent};
  for (const TensorRef* t : per_column) {
    const char* const name = t == &a.multiplier ? "multiplier" : "exponent";
    TERSOR_TRY(expect_dtype(in.op, name, *t, DType::i32));
    TERSOR_TRY(expect_rank(in.op, name, *t, 1));
    if (t->shape[0] != n && t->shape[0] != 1)
      return fail(Code::shape, "%s: %s must have 1 or %lld entries, got %s", in.op, name, static_cast<long long>(n), TERSOR_TEXT(*t));
  }
  TERSOR_TRY(check_narrow(in.op, a.dtype, a.y_zero));
  const int64_t least = a.dtype == DType::i8 ? -128 : 0;
  if (a.lo < least || a.hi > least + 255 || a.lo > a.hi)
    return fail(Code::option, "qmatmul_fixed: [lo, hi] must be a range within [%lld, %lld], got [%lld, %lld]", static_cast<long long>(least),
                static_cast<long long>(least + 255), static_cast<long long>(a.lo), static_cast<long long>(a.hi));
  qgemm_result(in, a.dtype, a.y);
  return {};
}

Status qmatmul_fixed_cpu(qmatmul_fixed_args& a, Context& ctx) {
  const QgemmInput in = input_of(a);
  const int64_t n = a.out;
  Scratch multiplier, exponent;
  Contiguous bias;
  TERSOR_TRY(multiplier.reserve(in.op, n * 4));
  TERSOR_TRY(exponent.reserve(in.op, n * 4));
  for (int64_t j = 0; j < n; j++) {
    const int32_t m = a.multiplier.as<int32_t>()[a.multiplier.shape[0] == 1 ? 0 : j * a.multiplier.stride[0]];
    const int32_t e = a.exponent.as<int32_t>()[a.exponent.shape[0] == 1 ? 0 : j * a.exponent.stride[0]];
    if (m < 0 || e < -31 || e > 30)
      return fail(Code::option, "qmatmul_fixed: multiplier must be >= 0 and exponent in [-31, 30], got %d and %d at [%lld]", m, e, static_cast<long long>(j));
    multiplier.as<int32_t>()[j] = m, exponent.as<int32_t>()[j] = e;
  }
  QgemmFinish f;
  f.to = a.dtype == DType::i8 ? QgemmTo::fixed_s8 : QgemmTo::fixed_u8;
  f.y = a.y.data, f.y_row = n;
  if (a.bias.present()) {
    TERSOR_TRY(bias.open(in.op, a.bias, ctx.cancel));
    f.add = bias.as<int32_t>();
  }
  f.multiplier = multiplier.as<int32_t>(), f.exponent = exponent.as<int32_t>();
  f.y_zero = static_cast<int32_t>(a.y_zero), f.lo = static_cast<int32_t>(a.lo), f.hi = static_cast<int32_t>(a.hi);
  return qgemm_product(in, f, ctx.cancel);
}

}  // namespace tersor
