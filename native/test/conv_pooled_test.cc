// Convolution and max pooling as one against the separate ops: values bit for bit, as both choose the same path for the convolution. The derivatives of a
// convolution of few channels have a path of their own in f32, which sums in another order, but not where an infinity or NaN takes part.
#include <cmath>

#include "test/op_tensor.h"

using namespace tersor;
using namespace tersor::test;

namespace {

struct Pooled {
  int64_t b, c, h, w, o, kh, kw, sh, sw, ph, pw, pool_h, pool_w;
};

// Lanes full, but for a few, and not at all; rests at the edges; strides; bands of rows.
const Pooled kCases[] = {{16, 1, 28, 28, 6, 5, 5, 1, 1, 2, 2, 2, 2}, {31, 6, 14, 14, 16, 5, 5, 1, 1, 0, 0, 2, 2}, {3, 2, 9, 8, 3, 3, 3, 1, 1, 1, 1, 2, 2},
                         {16, 2, 11, 9, 3, 3, 3, 1, 1, 1, 1, 2, 2},  {13, 2, 13, 12, 4, 3, 2, 2, 1, 1, 0, 3, 2},   {16, 3, 90, 21, 20, 3, 3, 1, 1, 1, 1, 4, 3},
                         {32, 1, 5, 5, 2, 3, 3, 1, 1, 0, 0, 3, 3},    {16, 1, 1, 1, 1, 1, 1, 1, 1, 0, 8, 1, 17},    {16, 1, 8, 8, 1, 3, 3, 1, 1, 5, 5, 2, 2},
                         {0, 1, 4, 4, 1, 2, 2, 1, 1, 0, 0, 2, 2}};

template <class T> bool equal(const TensorRef& a, const TensorRef& b) { return a.size() == b.size() && !memcmp(a.data, b.data, static_cast<size_t>(a.bytes())); }

bool near(const TensorRef& a, const TensorRef& b, int64_t terms) {
  if (a.dtype != DType::f32) return equal<double>(a, b);
  for (int64_t i = 0; i < a.size(); i++)
    if (!(std::abs(a.as<float>()[i] - b.as<float>()[i]) <= 1e-6 * static_cast<double>(terms))) return false;
  return true;
}

template <class T> void check_case(const Pooled& k) {
  const DType t = float_dtype<T>();
  Context ctx;
  Array<T> x = Array<T>(t, {k.b, k.c, k.h, k.w}).uniform(-1, 1), w = Array<T>(t, {k.o, k.c, k.kh, k.kw}).uniform(-1, 1), bias = Array<T>(t, {k.o}).uniform(-1, 1);
  const IntList stride{{k.sh, k.sw}, 2}, padding{{k.ph, k.pw}, 2}, pool{{k.pool_h, k.pool_w}, 2};
  conv2d_args conv{};
  conv.x = x.ref, conv.w = w.ref, conv.bias = bias.ref, conv.stride = stride, conv.padding = padding;
  Result dense, y, index, fused_y, fused_index;
  CHECK_OK(conv2d_infer(conv));
  dense.attach(conv.y);
  CHECK_OK(conv2d_cpu(conv, ctx));
  max_pool2d_args pooling{};
  pooling.x = conv.y, pooling.kernel = pooling.stride = pool, pooling.padding = {{0, 0}, 2};
  CHECK_OK(max_pool2d_infer(pooling));
  y.attach(pooling.y), index.attach(pooling.index);
  CHECK_OK(max_pool2d_cpu(pooling, ctx));
  conv2d_max_pool_args fused{};
  fused.x = x.ref, fused.w = w.ref, fused.bias = bias.ref, fused.stride = stride, fused.padding = padding, fused.pool = pool;
  CHECK_OK(conv2d_max_pool_infer(fused));
  fused_y.attach(fused.y), fused_index.attach(fused.index);
  CHECK_OK(conv2d_max_pool_cpu(fused, ctx));
  CHECK(fused_y.intact(fused.y.bytes()) && fused_index.intact(fused.index.bytes()));
  CHECK(equal<T>(pooling.y, fused.y) && equal<int32_t>(pooling.index, fused.index));

  // Selection: pooling's values, but for the bias.
  conv2d_select_args select{};
  select.x = x.ref, select.w = w.ref, select.index = fused.index, select.stride = stride, select.padding = padding, select.pool = pool;
  Result selected, plain, chosen;
  CHECK_OK(conv2d_select_infer(select));
  selected.attach(select.y);
  CHECK_OK(conv2d_select_cpu(select, ctx));
  conv.bias = TensorRef{};
  CHECK_OK(conv2d_infer(conv));
  plain.attach(conv.y);
  CHECK_OK(conv2d_cpu(conv, ctx));
  pool_select2d_args pick{};
  pick.x = conv.y, pick.index = fused.index;
  CHECK_OK(pool_select2d_infer(pick));
  chosen.attach(pick.y);
  CHECK_OK(pool_select2d_cpu(pick, ctx));
  CHECK(near(pick.y, select.y, k.c * k.kh * k.kw));

  // The adjoints, from the same gradient spread by hand.
  Array<T> dy = Array<T>(t, {fused.y.shape[0], fused.y.shape[1], fused.y.shape[2], fused.y.shape[3]}).uniform(-1, 1);
  Array<T> spread(t, {conv.y.shape[0], conv.y.shape[1], conv.y.shape[2], conv.y.shape[3]});
  const int64_t plane = conv.y.shape[2] * conv.y.shape[3], windows = fused.y.shape[2] * fused.y.shape[3];
  for (int64_t i = 0; i < conv.y.size(); i++) spread[i] = T(0);
  for (int64_t i = 0; i < dy.ref.size(); i++) spread[i / windows * plane + fused.index.template as<int32_t>()[i]] = dy[i];
  conv2d_grad_input_args gi{};
  gi.dy = spread.ref, gi.w = w.ref, gi.stride = stride, gi.padding = padding, gi.input_shape = {{k.b, k.c, k.h, k.w}, 4};
  conv2d_select_grad_input_args si{};
  si.dy = dy.ref, si.index = fused.index, si.w = w.ref, si.stride = stride, si.padding = padding, si.pool = pool, si.input_shape = gi.input_shape;
  Result dx, dx_fused, dw, dw_fused;
  CHECK_OK(conv2d_grad_input_infer(gi));
  dx.attach(gi.dx);
  CHECK_OK(conv2d_grad_input_cpu(gi, ctx));
  CHECK_OK(conv2d_select_grad_input_infer(si));
  dx_fused.attach(si.dx);
  CHECK_OK(conv2d_select_grad_input_cpu(si, ctx));
  CHECK(dx_fused.intact(si.dx.bytes()) && near(gi.dx, si.dx, k.o * k.kh * k.kw));
  conv2d_grad_weight_args gw{};
  gw.x = x.ref, gw.dy = spread.ref, gw.stride = stride, gw.padding = padding, gw.weight_shape = {{k.o, k.c, k.kh, k.kw}, 4};
  conv2d_select_grad_weight_args sw{};
  sw.x = x.ref, sw.dy = dy.ref, sw.index = fused.index, sw.stride = stride, sw.padding = padding, sw.pool = pool, sw.weight_shape = gw.weight_shape;
  CHECK_OK(conv2d_grad_weight_infer(gw));
  dw.attach(gw.dw);
  CHECK_OK(conv2d_grad_weight_cpu(gw, ctx));
  CHECK_OK(conv2d_select_grad_weight_infer(sw));
  dw_fused.attach(sw.dw);
  CHECK_OK(conv2d_select_grad_weight_cpu(sw, ctx));
  CHECK(dw_fused.intact(sw.dw.bytes()) && near(gw.dw, sw.dw, k.b * windows));

  if (k.b == 0) return;
  // What an infinity meets is NaN wherever the separate ops say so.
  const int64_t other = dy.ref.size() / 2;
  spread[other / windows * plane + fused.index.template as<int32_t>()[other]] = dy[other] = T(INFINITY);
  x[x.ref.size() / 2] = T(NAN);
  CHECK_OK(conv2d_grad_input_cpu(gi, ctx));
  CHECK_OK(conv2d_select_grad_input_cpu(si, ctx));
  CHECK_OK(conv2d_grad_weight_cpu(gw, ctx));
  CHECK_OK(conv2d_select_grad_weight_cpu(sw, ctx));
  CHECK_OK(conv2d_cpu(conv, ctx));
  CHECK_OK(pool_select2d_cpu(pick, ctx));
  CHECK_OK(conv2d_select_cpu(select, ctx));
  CHECK(equal<T>(gi.dx, si.dx) && equal<T>(gw.dw, sw.dw) && equal<T>(pick.y, select.y));

  // An index outside its window is refused by all three, on either path.
  fused.index.template as<int32_t>()[fused.index.size() - 1] = 0;
  if (windows > 1) {
    CHECK(conv2d_select_cpu(select, ctx).code == Code::shape);
    CHECK(conv2d_select_grad_input_cpu(si, ctx).code == Code::shape);
    CHECK(conv2d_select_grad_weight_cpu(sw, ctx).code == Code::shape);
  }
}

}  // namespace

TERSOR_TEST(conv_pooled_equals_the_ops_that_it_joins_f32) {
  for (const Pooled& k : kCases) check_case<float>(k);
}
TERSOR_TEST(conv_pooled_equals_the_ops_that_it_joins_f64) {
  for (const Pooled& k : kCases)
    if (k.h < 50) check_case<double>(k);
}
