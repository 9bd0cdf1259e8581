// conv2d_grouped(x[B,C,H,W], w[O,C/groups,kh,kw], bias[O]?, stride[2], padding[4], dilation[2], groups) -> y[B,O,OH,OW]: cross-correlation
// with zero padding (top, bottom, left, right), dilation and groups. f32 or f64. A task is a band of rows of one group of one image; one input
// channel per group goes through kernels/depthwise, more of them through the strips of kernels/gemm.
#include "kernels/depthwise/depthwise.h"
#include "kernels/gemm/gemm.h"
#include "ops/conv_grouped.h"
#include "ops/conv_shape.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "conv2d_grouped";
constexpr int64_t kBandBytes = int64_t(1) << 18;

template <class T> Status run(conv2d_grouped_args& a, Context& ctx) {
  GroupedShape s;
  TERSOR_TRY(grouped_shape(kOp, a.x.shape, a.w.shape, {a.stride, a.padding, a.dilation, a.groups}, &s));
  if (a.y.size() == 0) return {};
  Contiguous x, w, bias;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(w.open(kOp, a.w, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));

  const GemmRow<T>& row = gemm_row<T>();
  const ConvPlanes planes = grouped_planes(s);
  const int64_t depth = s.depth(), halo = s.span_h() / s.sh, work = s.group_out * depth * planes.pitch;
  const int64_t band = conv_band_rows(s.out_h, halo, planes.elements(1) * static_cast<int64_t>(sizeof(T)), kBandBytes, work);
  const int64_t bands = (s.out_h + band - 1) / band, tasks = s.batch * s.groups * bands;
  Scratch offset_block;
  TERSOR_TRY(offset_block.reserve(kOp, depth * 8));
  int64_t* const offset = offset_block.as<int64_t>();
  grouped_offsets(s, planes.plane(band + halo), planes.pitch, offset);

  const bool single = s.group_in == 1;
  const bool direct = planes.pitch == s.out_w;  // no excess columns to drop
  const int64_t flat_most = (band - 1) * planes.pitch + s.out_w;
  const int64_t planes_elements = (planes.elements(band + halo) + 15) / 16 * 16;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, (planes_elements + (single || direct ? 0 : row.mr * flat_most)) * static_cast<int64_t>(sizeof(T)), tasks));
  return parallel_for(tasks, grain_for(planes_elements + work * band / 16), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    T* const copied = slot.template as<T>();
    T* const strip = copied + planes_elements;
    for (int64_t task = begin; task < end; task++) {
      const int64_t image = task / bands / s.groups, group = task / bands % s.groups, r0 = task % bands * band;
      const int64_t rows = s.out_h - r0 < band ? s.out_h - r0 : band;
      conv_fill_planes(planes, x.as<T>() + (image * s.in + group * s.group_in) * s.height * s.width, r0, band + halo, copied);
      for (int64_t i = 0; i < s.group_out; i += single ? 1 : row.mr) {
        const int64_t o = group * s.group_out + i;
        T* const y = a.y.as<T>() + ((image * s.out + o) * s.out_h + r0) * s.out_w;
        const T* const weights = w.as<T>() + o * depth;
        if (single) {
          const T init = a.bias.present() ? bias.as<T>()[o] : T(0);
          depthwise(DepthwiseArgs<T>{copied, offset, weights, depth, rows, s.out_w, planes.pitch, y, s.out_w, init});
          continue;
        }
        GemmStrip<T> g;
        g.b = copied, g.offset = offset, g.b_panel = row.nr;
        g.k = depth, g.n = (rows - 1) * planes.pitch + s.out_w;
        g.m = s.group_out - i < row.mr ? static_cast<int>(s.group_out - i) : row.mr;
        g.a = weights, g.a_row = depth;
        g.bias_m = a.bias.present() ? bias.as<T>() + o : nullptr;
        g.c = direct ? y : strip, g.c_row = direct ? s.out_h * s.out_w : flat_most;
        row.strip(g);
        if (!direct) conv_store(strip, flat_most, planes.pitch, g.m, rows, s.out_w, y, s.out_h * s.out_w, s.out_w, 1);
      }
    }
  });
}

}  // namespace

Status conv2d_grouped_infer(conv2d_grouped_args& a) {
  TERSOR_TRY(expect_float(kOp, "x", a.x));
  TERSOR_TRY(expect_same_dtype(kOp, a.x, a.w));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(expect_rank(kOp, "w", a.w, 4));
  GroupedShape s;
  TERSOR_TRY(grouped_shape(kOp, a.x.shape, a.w.shape, {a.stride, a.padding, a.dilation, a.groups}, &s));
  if (a.bias.present()) {
    TERSOR_TRY(expect_same_dtype(kOp, a.x, a.bias));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &s.out, 1));
  }
  const int64_t shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  set_shape(a.y, a.x.dtype, shape, 4);
  return {};
}

Status conv2d_grouped_cpu(conv2d_grouped_args& a, Context& ctx) { return a.x.dtype == DType::f32 ? run<float>(a, ctx) : run<double>(a, ctx); }

}  // namespace tersor
