// qconv2d_pack(w i8 [O,C/groups,kh,kw], groups) -> packed. qconv2d_last(x f32 or u8 [B,H,W,C], packed, w_scale f32 [O] or [1], bias f32 [O]?, residual f32
// [B,OH,OW,O]?, weight_shape [O,C/groups,kh,kw], stride, padding (top, bottom, left, right), dilation, groups, x_scale, x_zero, act, lo, hi, scale, shift, dtype,
// y_scale, y_zero) -> y [B,OH,OW,O]: v = act(sum over taps and c of (q - x_zero) w, exact, * (x_scale * w_scale) + bias + residual) * scale + shift; y is v
// (dtype f32) or its codes (u8). q is x, or x quantized as in qlinear; padding is q = x_zero.
// qconv2d(x f32 [B,C,H,W], packed, ...) -> y f32 [B,O,OH,OW]: the same on images with channels first, for calls one by one.
#include <cstring>

#include "ops/conv_last.h"
#include "ops/qconv_last.h"

namespace tersor {
namespace {

constexpr const char* kPack = "qconv2d_pack";
constexpr const char* kOp = "qconv2d_last";
constexpr const char* kFirst = "qconv2d";

TensorRef last_of(const TensorRef& t) {
  TensorRef last = t;
  const int from[4] = {0, 2, 3, 1};
  for (int i = 0; i < 4; i++) last.shape[i] = t.shape[from[i]], last.stride[i] = t.stride[from[i]];
  return last;
}

// What both ops check of filters, scales and the input. x: its shape as [B,C,H,W].
template <class Args> Status check_call(const char* op, const Args& a, const int64_t x[4], GroupedShape* s) {
  TERSOR_TRY(grouped_shape(op, x, a.weight_shape.v, {a.stride, a.padding, a.dilation, a.groups}, s));
  TERSOR_TRY(check_packed_size(op, kPack, a.packed, QconvPacking(a.weight_shape.v, a.groups).bytes()));
  TERSOR_TRY(qgemm_check_scales(op, a.w_scale, a.bias, s->out));
  TERSOR_TRY(qgemm_check_scale(op, "x_scale", a.x_scale));
  if (a.x_zero < 0 || a.x_zero > 255) return fail(Code::option, "%s: x_zero must be in [0, 255], got %lld", op, static_cast<long long>(a.x_zero));
  return {};
}
template <class Args> Status check_filters(const char* op, const Args& a) {
  if (a.weight_shape.n != 4) return fail(Code::shape, "%s: weight_shape must have 4 values, got %d", op, a.weight_shape.n);
  return qconv_check_filters(op, a.weight_shape.v, a.groups);
}
Status check_packed(const char* op, const TensorRef& packed, const QconvPacking& packing) {
  const QconvHeader want = packing.header();
  if (packed.contiguous() && memcmp(packed.data, &want, sizeof want) == 0) return {};
  return fail(Code::option, "%s: packed was not made by %s for %lld filters of %lld x %lld values in %lld groups", op, kPack, static_cast<long long>(packing.out),
              static_cast<long long>(packing.taps), static_cast<long long>(packing.group_in), static_cast<long long>(packing.groups));
}
// Shape of x [B,H,W,C] as [B,C,H,W].
struct First {
  int64_t shape[4];
  explicit First(const TensorRef& x) : shape{x.shape[0], x.shape[3], x.shape[1], x.shape[2]} {}
};

}  // namespace

Status qconv2d_pack_infer(qconv2d_pack_args& a) {
  TERSOR_TRY(expect_dtype(kPack, "w", a.w, DType::i8));
  TERSOR_TRY(expect_rank(kPack, "w", a.w, 4));
  TERSOR_TRY(qconv_check_filters(kPack, a.w.shape, a.groups));
  const int64_t bytes = QconvPacking(a.w.shape, a.groups).bytes();
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status qconv2d_pack_cpu(qconv2d_pack_args& a, Context& ctx) {
  Contiguous w;
  TERSOR_TRY(w.open(kPack, a.w, ctx.cancel));
  return qconv_pack(kPack, w.as<int8_t>(), QconvPacking(a.w.shape, a.groups), a.packed.data, ctx.cancel);
}

Status qconv2d_last_infer(qconv2d_last_args& a) {
  if (a.x.dtype != DType::u8) TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(check_filters(kOp, a));
  GroupedShape s;
  TERSOR_TRY(check_call(kOp, a, First(a.x).shape, &s));
  if (a.dtype != DType::f32 && a.dtype != DType::u8) return fail(Code::dtype, "%s: dtype must be f32 or u8, got %s", kOp, dtype_name(a.dtype));
  if (a.dtype == DType::u8) {
    TERSOR_TRY(qgemm_check_scale(kOp, "y_scale", a.y_scale));
    if (a.y_zero < 0 || a.y_zero > 255) return fail(Code::option, "%s: y_zero must be in [0, 255], got %lld", kOp, static_cast<long long>(a.y_zero));
  }
  return finish_infer(kOp, a, s, a.dtype);
}

Status qconv2d_last_cpu(qconv2d_last_args& a, Context& ctx) {
  GroupedShape s;
  TERSOR_TRY(grouped_shape(kOp, First(a.x).shape, a.weight_shape.v, {a.stride, a.padding, a.dilation, a.groups}, &s));
  const QconvPacking packing(a.weight_shape.v, a.groups);
  TERSOR_TRY(check_packed(kOp, a.packed, packing));
  if (a.y.size() == 0) return {};
  const ConvFinish act{static_cast<ConvAct>(a.act), static_cast<float>(a.lo), static_cast<float>(a.hi), static_cast<float>(a.scale), static_cast<float>(a.shift)};
  return qconv_run({kOp, a.x, a.packed.data, &a.w_scale, &a.bias, &a.residual, static_cast<float>(a.x_scale), static_cast<int32_t>(a.x_zero), act,
                    a.dtype == DType::u8, static_cast<float>(a.y_scale), static_cast<int32_t>(a.y_zero), a.y.data},
                   s, packing, ctx.cancel);
}

Status qconv2d_infer(qconv2d_args& a) {
  TERSOR_TRY(expect_dtype(kFirst, "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank(kFirst, "x", a.x, 4));
  TERSOR_TRY(check_filters(kFirst, a));
  GroupedShape s;
  TERSOR_TRY(check_call(kFirst, a, a.x.shape, &s));
  const int64_t shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  set_shape(a.y, DType::f32, shape, 4);
  return {};
}

Status qconv2d_cpu(qconv2d_args& a, Context& ctx) {
  GroupedShape s;
  TERSOR_TRY(grouped_shape(kFirst, a.x.shape, a.weight_shape.v, {a.stride, a.padding, a.dilation, a.groups}, &s));
  const QconvPacking packing(a.weight_shape.v, a.groups);
  TERSOR_TRY(check_packed(kFirst, a.packed, packing));
  if (a.y.size() == 0) return {};
  Scratch y;
  TERSOR_TRY(y.reserve(kFirst, a.y.bytes()));
  ConvFinish act;
  act.lo = -INFINITY, act.hi = INFINITY;
  const TensorRef none{};
  TERSOR_TRY(qconv_run({kFirst, last_of(a.x), a.packed.data, &a.w_scale, &a.bias, &none, static_cast<float>(a.x_scale), static_cast<int32_t>(a.x_zero), act, false, 1,
                        0, y.as<void>()},
                       s, packing, ctx.cancel));
  // Sixteen channels at a time: their values of a pixel are a line of memory.
  constexpr int64_t kWide = 16;
  const int64_t plane = s.out_h * s.out_w, strips = (s.out + kWide - 1) / kWide;
  return parallel_for(s.batch * strips, grain_for(plane * kWide), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t c0 = i % strips * kWide, c1 = c0 + kWide < s.out ? c0 + kWide : s.out, image = i / strips * plane * s.out;
      for (int64_t p = 0; p < plane; p++)
        for (int64_t c = c0; c < c1; c++) a.y.as<float>()[image + c * plane + p] = y.as<float>()[image + p * s.out + c];
    }
  });
}

}  // namespace tersor
