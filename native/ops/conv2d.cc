// conv2d(x[B,C,H,W], w[O,C,kh,kw], bias[O]?, stride[2], padding[2]) -> y[B,O,OH,OW]: cross-correlation with symmetric zero padding.
// f32 or f64. Each task computes a band of rows of one image (kernels/conv/shift.h); nothing of the size of the batch is copied.
#include <type_traits>

#include "kernels/gemm/gemm.h"
#include "ops/conv_lanes.h"
#include "ops/conv_shape.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "conv2d";
constexpr int64_t kBandBytes = int64_t(1) << 18;

template <class T> Status run(conv2d_args& a, Context& ctx) {
  ConvShape s;
  TERSOR_TRY(conv_shape(kOp, a.x.shape, a.w.shape, a.stride, a.padding, &s));
  if (a.y.size() == 0) return {};
  Contiguous x, w, bias;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(w.open(kOp, a.w, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));

  if (std::is_same<T, float>::value && conv_lanes_pays(s))
    return conv_lanes_forward(kOp, s, x.as<float>(), w.as<float>(), a.bias.present() ? bias.as<float>() : nullptr, a.y.as<float>(), ctx.cancel);

  const GemmRow<T>& row = gemm_row<T>();
  const ConvPlanes planes = conv_forward_planes(s);
  const bool in_place = conv_planes_are_image(s);
  const int64_t depth = s.in * s.kh * s.kw, halo = conv_forward_halo(s);
  const int64_t band = conv_band_rows(s.out_h, halo, planes.elements(1) * static_cast<int64_t>(sizeof(T)), kBandBytes, s.out * depth * planes.pitch);
  const int64_t bands = (s.out_h + band - 1) / band;
  const int64_t plane = in_place ? s.height * s.width : planes.plane(band + halo);
  Scratch offsets;
  TERSOR_TRY(offsets.reserve(kOp, depth * 8));
  conv_forward_offsets(s, plane, planes.pitch, offsets.as<int64_t>());

  // Without excess columns the product is stored where it belongs, else it goes through a strip that is compacted.
  const bool direct = planes.pitch == s.out_w;
  const int64_t flat_most = (band - 1) * planes.pitch + s.out_w;
  const int64_t planes_elements = in_place ? 0 : (planes.elements(band + halo) + 15) / 16 * 16;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, (planes_elements + (direct ? 0 : row.mr * flat_most)) * static_cast<int64_t>(sizeof(T)), s.batch * bands));
  const int64_t grain = grain_for(s.out * depth * flat_most / 16);
  return parallel_for(s.batch * bands, grain, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    T* const copied = slot.template as<T>();
    T* const strip = copied + planes_elements;
    for (int64_t task = begin; task < end; task++) {
      const int64_t image = task / bands, r0 = task % bands * band;
      const int64_t rows = s.out_h - r0 < band ? s.out_h - r0 : band;
      const T* from = x.as<T>() + image * s.in * s.height * s.width;
      GemmStrip<T> g;
      if (in_place) {
        g.b = from + r0 * s.width;
      } else {
        conv_fill_planes(planes, from, r0, band + halo, copied);
        g.b = copied;
      }
      g.offset = offsets.as<int64_t>();
      g.b_panel = row.nr;
      g.k = depth, g.n = (rows - 1) * planes.pitch + s.out_w;
      g.a_row = depth;
      for (int64_t o = 0; o < s.out; o += row.mr) {
        T* y = a.y.as<T>() + ((image * s.out + o) * s.out_h + r0) * s.out_w;
        g.m = s.out - o < row.mr ? static_cast<int>(s.out - o) : row.mr;
        g.a = w.as<T>() + o * depth;
        g.bias_m = a.bias.present() ? bias.as<T>() + o : nullptr;
        g.c = direct ? y : strip;
        g.c_row = direct ? s.out_h * s.out_w : flat_most;
        row.strip(g);
        if (!direct) conv_store(strip, flat_most, planes.pitch, g.m, rows, s.out_w, y, s.out_h * s.out_w, s.out_w, 1);
      }
    }
  });
}

}  // namespace

Status conv2d_infer(conv2d_args& a) {
  TERSOR_TRY(expect_float(kOp, "x", a.x));
  TERSOR_TRY(expect_same_dtype(kOp, a.x, a.w));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(expect_rank(kOp, "w", a.w, 4));
  ConvShape s;
  TERSOR_TRY(conv_shape(kOp, a.x.shape, a.w.shape, a.stride, a.padding, &s));
  if (a.bias.present()) {
    TERSOR_TRY(expect_same_dtype(kOp, a.x, a.bias));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &s.out, 1));
  }
  const int64_t shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  set_shape(a.y, a.x.dtype, shape, 4);
  return {};
}

Status conv2d_cpu(conv2d_args& a, Context& ctx) { return a.x.dtype == DType::f32 ? run<float>(a, ctx) : run<double>(a, ctx); }

}  // namespace tersor
