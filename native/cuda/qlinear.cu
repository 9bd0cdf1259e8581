// qlinear, qlinear_dynamic, qmatmul, qmatmul_fixed (native/ops/qlinear.cc): products with 8-bit weights whose epilogue is fused, to the CPU's bits.
// Values that the CPU checks beforehand (scales that are finite, zero points in their range) lie on the device and are not read back for it: a scale that is not
// finite shows as IEEE has it in the results, a zero point out of range counts modulo 2^32.
#include "cuda/kernels.h"
#include "cuda/qgemm.h"

namespace tersor {
namespace cuda {
namespace {

void to_codes(DType dtype, int64_t y_zero, IntegerTo to, IntegerEpilogue* e) {
  e->to = to;
  e->y_zero = static_cast<int32_t>(y_zero);
  e->lo = dtype == DType::i8 ? -128 : 0, e->hi = e->lo + 255;
}

}  // namespace

Status open_epilogue(Stream& stream, const TensorRef& w_scale, const TensorRef& bias, const TensorRef* residual, double x_scale, activation act, IntegerEpilogue* e) {
  e->x_scale = static_cast<float>(x_scale);
  e->w_scale = w_scale.as<float>(), e->w_scale_step = w_scale.shape[0] == 1 ? 0 : w_scale.stride[0];
  if (bias.present()) e->bias = bias.as<float>(), e->bias_step = bias.stride[0];
  if (residual && residual->present()) {
    TensorRef r;
    TERSOR_TRY(dense(stream, *residual, &r));
    e->residual = r.as<float>();
  }
  e->act = static_cast<Act>(act);
  return {};
}

Status qlinear(Stream& stream, qlinear_args& a) {
  QgemmCall c{"qlinear", CodesFrom::scale, &a.x, &a.packed, a.out};
  c.x_scale = static_cast<float>(a.x_scale), c.x_zero = a.x_zero;
  IntegerEpilogue e;
  e.to = IntegerTo::f32, e.y = a.y.data;
  TERSOR_TRY(open_epilogue(stream, a.w_scale, a.bias, nullptr, a.x_scale, a.act, &e));
  return run_qgemm(stream, c, e);
}

Status qlinear_dynamic(Stream& stream, qlinear_dynamic_args& a) {
  const QgemmCall c{"qlinear_dynamic", a.symmetric ? CodesFrom::token_symmetric : CodesFrom::token_affine, &a.x, &a.packed, a.out};
  IntegerEpilogue e;
  e.to = IntegerTo::f32, e.y = a.y.data;
  TERSOR_TRY(open_epilogue(stream, a.w_scale, a.bias, &a.residual, 1, a.act, &e));
  return run_qgemm(stream, c, e);
}

Status qmatmul(Stream& stream, qmatmul_args& a) {
  QgemmCall c{"qmatmul", a.x.dtype == DType::u8 || a.x.dtype == DType::i8 ? CodesFrom::codes : CodesFrom::scale, &a.x, &a.packed, a.out};
  c.x_scale = static_cast<float>(a.x_scale), c.x_zero = a.x_zero;
  c.x_scales = &a.x_scales, c.x_zeros = &a.x_zeros, c.w_zeros = &a.w_zeros;
  IntegerEpilogue e;
  e.to = IntegerTo::f32, e.y = a.y.data;
  if (a.dtype != DType::f32) {
    to_codes(a.dtype, a.y_zero, a.dtype == DType::i8 ? IntegerTo::s8 : IntegerTo::u8, &e);
    e.y_inverse = static_cast<float>(1 / a.y_scale);
  }
  TERSOR_TRY(open_epilogue(stream, a.w_scale, a.bias, &a.residual, a.x_scales.present() ? 1 : a.x_scale, a.act, &e));
  return run_qgemm(stream, c, e);
}

Status qmatmul_fixed(Stream& stream, qmatmul_fixed_args& a) {
  QgemmCall c{"qmatmul_fixed", CodesFrom::codes, &a.x, &a.packed, a.out};
  c.x_zero = a.x_zero, c.w_zeros = &a.w_zeros;
  IntegerEpilogue e;
  e.y = a.y.data;
  to_codes(a.dtype, a.y_zero, IntegerTo::fixed, &e);
  e.lo = static_cast<int32_t>(a.lo), e.hi = static_cast<int32_t>(a.hi);
  if (a.bias.present()) e.add = a.bias.as<int32_t>(), e.add_step = a.bias.stride[0];
  e.multiplier = a.multiplier.as<int32_t>(), e.multiplier_step = a.multiplier.shape[0] == 1 ? 0 : a.multiplier.stride[0];
  e.exponent = a.exponent.as<int32_t>(), e.exponent_step = a.exponent.shape[0] == 1 ? 0 : a.exponent.stride[0];
  return run_qgemm(stream, c, e);
}

}  // namespace cuda
}  // namespace tersor
