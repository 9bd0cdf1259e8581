// Elementwise ops of one input, f32 or f64: one op for each row of kernels/elementwise/unary.def. clip wants lo <= hi; scale_shift is
// x * scale + shift in one rounding. Same shape out as in. relu and gelu take bf16 and f16 too, computed in f32.
#include "kernels/elementwise/elementwise.h"
#include "ops/half_run.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status unary_infer(const char* op, const TensorRef& x, TensorRef& y) {
  TERSOR_TRY(expect_float(op, "x", x));
  set_shape(y, x.dtype, x.shape, x.rank);
  return {};
}

template <class T> Status unary_typed(const char* op, UnaryOp which, const TensorRef& x, TensorRef& y, double p, double q, const Cancel* cancel) {
  Contiguous input;
  TERSOR_TRY(input.open(op, x, cancel));
  const T* from = input.as<T>();
  T* to = y.as<T>();
  return parallel_for(y.size(), grain_for(2), cancel, [&](int64_t begin, int64_t end) {
    elementwise_unary(UnaryArgs<T>{which, from + begin, to + begin, end - begin, static_cast<T>(p), static_cast<T>(q)});
  });
}

Status unary_cpu(const char* op, UnaryOp which, const TensorRef& x, TensorRef& y, double p, double q, const Cancel* cancel) {
  if (x.dtype == DType::f64) return unary_typed<double>(op, which, x, y, p, q, cancel);
  return unary_typed<float>(op, which, x, y, p, q, cancel);
}

Status activation_infer(const char* op, const TensorRef& x, TensorRef& y) {
  if (!is_half(x.dtype)) return unary_infer(op, x, y);
  set_shape(y, x.dtype, x.shape, x.rank);
  return {};
}

Status activation_cpu(const char* op, UnaryOp which, const TensorRef& x, TensorRef& y, const Cancel* cancel) {
  if (!is_half(x.dtype)) return unary_cpu(op, which, x, y, 0, 0, cancel);
  Contiguous input;
  TERSOR_TRY(input.open(op, x, cancel));
  return parallel_for(y.size(), grain_for(2), cancel, [&](int64_t begin, int64_t end) {
    half_pieces(x.dtype, input.as<uint16_t>() + begin, nullptr, y.as<uint16_t>() + begin, end - begin,
                [which](const float* a, const float*, float* b, int64_t n) { elementwise_unary(UnaryArgs<float>{which, a, b, n, 0, 0}); });
  });
}

}  // namespace

#define TERSOR_UNARY_OP(name)                                              \
  Status name##_infer(name##_args& a) { return unary_infer(#name, a.x, a.y); } \
  Status name##_cpu(name##_args& a, Context& ctx) { return unary_cpu(#name, UnaryOp::name, a.x, a.y, 0, 0, ctx.cancel); }
TERSOR_UNARY_OP(neg)
TERSOR_UNARY_OP(abs)
TERSOR_UNARY_OP(sign)
TERSOR_UNARY_OP(step)
TERSOR_UNARY_OP(exp)
TERSOR_UNARY_OP(log)
TERSOR_UNARY_OP(sqrt)
TERSOR_UNARY_OP(reciprocal)
TERSOR_UNARY_OP(sin)
TERSOR_UNARY_OP(cos)
TERSOR_UNARY_OP(tanh)
TERSOR_UNARY_OP(sigmoid)
TERSOR_UNARY_OP(erf)
TERSOR_UNARY_OP(round)
#undef TERSOR_UNARY_OP
#define TERSOR_ACTIVATION_OP(name)                                               \
  Status name##_infer(name##_args& a) { return activation_infer(#name, a.x, a.y); } \
  Status name##_cpu(name##_args& a, Context& ctx) { return activation_cpu(#name, UnaryOp::name, a.x, a.y, ctx.cancel); }
TERSOR_ACTIVATION_OP(relu)
TERSOR_ACTIVATION_OP(gelu)
#undef TERSOR_ACTIVATION_OP

Status clip_infer(clip_args& a) {
  if (!(a.lo <= a.hi)) return fail(Code::option, "clip: lo must be <= hi, got lo %g, hi %g", a.lo, a.hi);
  return unary_infer("clip", a.x, a.y);
}
Status clip_cpu(clip_args& a, Context& ctx) { return unary_cpu("clip", UnaryOp::clip, a.x, a.y, a.lo, a.hi, ctx.cancel); }

Status scale_shift_infer(scale_shift_args& a) { return unary_infer("scale_shift", a.x, a.y); }
Status scale_shift_cpu(scale_shift_args& a, Context& ctx) {
  return unary_cpu("scale_shift", UnaryOp::scale_shift, a.x, a.y, a.scale, a.shift, ctx.cancel);
}

}  // namespace tersor
