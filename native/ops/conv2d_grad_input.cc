// conv2d_grad_input(dy[B,O,OH,OW], w[O,C,kh,kw], input_shape, stride, padding) -> dx[B,C,H,W]: the adjoint of conv2d in x.
// dx rows of equal phase (h mod sh, w mod sw) are a stride-1 convolution of dy with the taps of that phase, so a strided convolution costs
// no multiplications by inserted zeros. f32 or f64.
#include <type_traits>

#include "kernels/gemm/gemm.h"
#include "ops/conv_lanes.h"
#include "ops/conv_shape.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "conv2d_grad_input";
constexpr int64_t kBandBytes = int64_t(1) << 18;

// One axis: dx position q * stride + phase receives dy[q + shift] for every tap with shift = (phase + padding - tap) / stride exact.
struct Axis {
  int64_t stride, padding, taps, in, out;
  int64_t positions(int64_t phase) const { return in > phase ? (in - phase + stride - 1) / stride : 0; }
  bool hits(int64_t phase, int64_t tap) const { return (phase + padding - tap) % stride == 0; }
  int64_t shift(int64_t phase, int64_t tap) const { return floor_div(phase + padding - tap, stride); }
  int64_t before() const { return taps - 1 > padding ? (taps - 1 - padding + stride - 1) / stride : 0; }  // zeros before dy
  int64_t after() const { return (stride - 1 + padding) / stride; }                                       // reach past the position
};

struct Phase {
  int64_t y, x, depth, rows, columns;
  int64_t first;  // where its offsets (and packed weights) start, in taps
};

template <class T> Status run(conv2d_grad_input_args& a, Context& ctx) {
  ConvShape s;
  TERSOR_TRY(conv_shape(kOp, a.input_shape.v, a.w.shape, a.stride, a.padding, &s));
  if (a.dx.size() == 0) return {};
  Contiguous dy, w;
  TERSOR_TRY(dy.open(kOp, a.dy, ctx.cancel));
  TERSOR_TRY(w.open(kOp, a.w, ctx.cancel));
  if (std::is_same<T, float>::value && conv_lanes_pays(s))
    return conv_lanes_grad_input(kOp, s, dy.as<float>(), w.as<float>(), a.dx.as<float>(), ctx.cancel);
  const Axis ay{s.sh, s.ph, s.kh, s.height, s.out_h}, ax{s.sw, s.pw, s.kw, s.width, s.out_w};

  ConvPlanes planes;
  planes.channels = s.out, planes.height = s.out_h, planes.width = s.out_w;
  planes.sh = planes.sw = planes.phases_y = planes.phases_x = 1;
  planes.top = ay.before(), planes.left = ax.before();
  planes.pitch = ax.before() + ax.positions(0) + ax.after();
  const int64_t halo = ay.before() + ay.after();
  const int64_t all_rows = ay.positions(0);
  const int64_t band = conv_band_rows(all_rows, halo, planes.elements(1) * static_cast<int64_t>(sizeof(T)), kBandBytes,
                                      s.out * s.in * s.kh * s.kw * planes.pitch);
  const int64_t bands = (all_rows + band - 1) / band;
  const int64_t plane = planes.plane(band + halo);

  // Per phase with taps: offsets, and weights as [C, (o, tap)]. Each tap belongs to at most one phase.
  const int64_t taps = s.kh * s.kw, pairs = s.out * taps;
  Scratch offset_block, weight_block, phase_block;
  TERSOR_TRY(offset_block.reserve(kOp, pairs * 8));
  TERSOR_TRY(weight_block.reserve(kOp, pairs * s.in * static_cast<int64_t>(sizeof(T))));
  const int64_t phase_rows = s.sh < s.height ? s.sh : s.height, phase_columns = s.sw < s.width ? s.sw : s.width;
  TERSOR_TRY(phase_block.reserve(kOp, phase_rows * phase_columns * static_cast<int64_t>(sizeof(Phase))));
  int64_t* const offset = offset_block.as<int64_t>();
  Phase* const phases = phase_block.as<Phase>();
  int64_t phase_count = 0, at = 0;
  for (int64_t py = 0; py < phase_rows; py++)
    for (int64_t px = 0; px < phase_columns; px++) {
      Phase& p = phases[phase_count++];
      p.y = py, p.x = px, p.rows = ay.positions(py), p.columns = ax.positions(px), p.first = at;
      for (int64_t o = 0; o < s.out; o++)
        for (int64_t ky = 0; ky < s.kh; ky++)
          for (int64_t kx = 0; kx < s.kw; kx++)
            if (ay.hits(py, ky) && ax.hits(px, kx))
              offset[at++] = o * plane + (ay.shift(py, ky) + planes.top) * planes.pitch + ax.shift(px, kx) + planes.left;
      p.depth = at - p.first;
      T* to = weight_block.as<T>() + p.first * s.in;
      for (int64_t c = 0; c < s.in; c++)
        for (int64_t o = 0; o < s.out; o++)
          for (int64_t ky = 0; ky < s.kh; ky++)
            for (int64_t kx = 0; kx < s.kw; kx++)
              if (ay.hits(py, ky) && ax.hits(px, kx)) *to++ = w.as<T>()[(o * s.in + c) * taps + ky * s.kw + kx];
    }

  const GemmRow<T>& row = gemm_row<T>();
  const int64_t flat_most = (band - 1) * planes.pitch + ax.positions(0);
  const int64_t planes_elements = (planes.elements(band + halo) + 15) / 16 * 16;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, (planes_elements + row.mr * flat_most) * static_cast<int64_t>(sizeof(T)), s.batch * bands));
  const int64_t grain = grain_for(pairs * s.in * flat_most / 16);
  return parallel_for(s.batch * bands, grain, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    T* const copied = slot.template as<T>();
    T* const strip = copied + planes_elements;
    for (int64_t task = begin; task < end; task++) {
      const int64_t image = task / bands, r0 = task % bands * band;
      conv_fill_planes(planes, dy.as<T>() + image * s.out * s.out_h * s.out_w, r0, band + halo, copied);
      for (int64_t i = 0; i < phase_count; i++) {
        const Phase& p = phases[i];
        const int64_t rows = p.rows - r0 < band ? p.rows - r0 : band;
        if (rows <= 0 || p.columns <= 0) continue;
        GemmStrip<T> g;
        g.b = copied, g.offset = offset + p.first, g.b_panel = row.nr;
        g.k = p.depth, g.n = (rows - 1) * planes.pitch + p.columns;
        g.a_row = p.depth;
        g.c = strip, g.c_row = flat_most;
        for (int64_t c = 0; c < s.in; c += row.mr) {
          g.m = s.in - c < row.mr ? static_cast<int>(s.in - c) : row.mr;
          g.a = weight_block.as<T>() + p.first * s.in + c * p.depth;
          row.strip(g);
          T* dx = a.dx.as<T>() + ((image * s.in + c) * s.height + r0 * s.sh + p.y) * s.width + p.x;
          conv_store(strip, flat_most, planes.pitch, g.m, rows, p.columns, dx, s.height * s.width, s.sh * s.width, s.sw);
        }
      }
    }
  });
}

}  // namespace

Status conv2d_grad_input_infer(conv2d_grad_input_args& a) {
  TERSOR_TRY(expect_float(kOp, "dy", a.dy));
  TERSOR_TRY(expect_same_dtype(kOp, a.dy, a.w));
  TERSOR_TRY(expect_rank(kOp, "w", a.w, 4));
  TERSOR_TRY(conv_list4(kOp, "input_shape", a.input_shape));
  ConvShape s;
  TERSOR_TRY(conv_shape(kOp, a.input_shape.v, a.w.shape, a.stride, a.padding, &s));
  const int64_t dy_shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  TERSOR_TRY(expect_shape(kOp, "dy", a.dy, dy_shape, 4));
  set_shape(a.dx, a.dy.dtype, a.input_shape.v, 4);
  return {};
}

Status conv2d_grad_input_cpu(conv2d_grad_input_args& a, Context& ctx) { return a.dy.dtype == DType::f32 ? run<float>(a, ctx) : run<double>(a, ctx); }

}  // namespace tersor
