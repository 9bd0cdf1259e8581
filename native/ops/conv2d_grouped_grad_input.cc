// conv2d_grouped_grad_input(dy[B,O,OH,OW], w[O,C/groups,kh,kw], input_shape, stride, padding, dilation, groups) -> dx[B,C,H,W]: the adjoint of
// conv2d_grouped in x, and as an op of its own the transposed convolution. Positions of dx of equal phase (h mod sh, w mod sw) are a stride-1
// convolution of dy with the taps that reach that phase: no multiplication by inserted zeros. f32 or f64.
#include "kernels/depthwise/depthwise.h"
#include "kernels/gemm/gemm.h"
#include "ops/conv_grouped.h"
#include "ops/conv_shape.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "conv2d_grouped_grad_input";
constexpr int64_t kBandBytes = int64_t(1) << 18;

// One axis: dx position q * stride + phase receives dy[q + shift] from every tap with shift = (phase + padding - tap * dilation) / stride exact.
struct Axis {
  int64_t stride, padding, span, dilation, in;
  int64_t positions(int64_t phase) const { return in > phase ? (in - phase + stride - 1) / stride : 0; }
  bool hits(int64_t phase, int64_t tap) const { return (phase + padding - tap * dilation) % stride == 0; }
  int64_t shift(int64_t phase, int64_t tap) const { return floor_div(phase + padding - tap * dilation, stride); }
  int64_t before() const { return span > padding ? (span - padding + stride - 1) / stride : 0; }  // zeros before dy
  int64_t after() const { return (stride - 1 + padding) / stride; }                                // reach past the position
};

struct Phase {
  int64_t y, x, depth, rows, columns;
  int64_t first;  // where its offsets start; its weights start at `first` * group_in
};

// What the tasks share. Per phase with taps: offsets of (o, tap), and for each group weights as [group_in, (o, tap)].
template <class T> struct Plan {
  GroupedShape s;
  Axis ay, ax;
  ConvPlanes planes;
  int64_t halo, band, bands, pairs, phase_count = 0;
  Scratch offset_block, weight_block, phase_block;
  int64_t* offset;
  T* weights;
  Phase* phases;

  Status prepare(const T* w) {
    planes.channels = s.group_out, planes.height = s.out_h, planes.width = s.out_w;
    planes.sh = planes.sw = planes.phases_y = planes.phases_x = 1;
    planes.top = ay.before(), planes.left = ax.before();
    planes.pitch = ax.before() + ax.positions(0) + ax.after();
    halo = ay.before() + ay.after();
    pairs = s.group_out * s.kh * s.kw;
    const int64_t all_rows = ay.positions(0);
    band = conv_band_rows(all_rows, halo, planes.elements(1) * static_cast<int64_t>(sizeof(T)), kBandBytes, pairs * s.group_in * planes.pitch);
    bands = (all_rows + band - 1) / band;
    const int64_t rows = s.sh < s.height ? s.sh : s.height, columns = s.sw < s.width ? s.sw : s.width;
    TERSOR_TRY(offset_block.reserve(kOp, pairs * 8));
    TERSOR_TRY(weight_block.reserve(kOp, s.groups * pairs * s.group_in * static_cast<int64_t>(sizeof(T))));
    TERSOR_TRY(phase_block.reserve(kOp, rows * columns * static_cast<int64_t>(sizeof(Phase))));
    offset = offset_block.as<int64_t>(), weights = weight_block.as<T>(), phases = phase_block.as<Phase>();
    int64_t at = 0;
    for (int64_t py = 0; py < rows; py++)
      for (int64_t px = 0; px < columns; px++) at = add_phase(py, px, at, w);
    return {};
  }

  int64_t add_phase(int64_t py, int64_t px, int64_t at, const T* w) {
    const int64_t plane = planes.plane(band + halo);
    Phase& p = phases[phase_count++];
    p.y = py, p.x = px, p.rows = ay.positions(py), p.columns = ax.positions(px), p.first = at;
    for (int64_t o = 0; o < s.group_out; o++)
      for (int64_t ky = 0; ky < s.kh; ky++)
        for (int64_t kx = 0; kx < s.kw; kx++) {
          if (!ay.hits(py, ky) || !ax.hits(px, kx)) continue;
          offset[at++] = o * plane + (ay.shift(py, ky) + planes.top) * planes.pitch + ax.shift(px, kx) + planes.left;
        }
    p.depth = at - p.first;
    for (int64_t g = 0; g < s.groups; g++) {
      T* to = weights + g * pairs * s.group_in + p.first * s.group_in;
      for (int64_t c = 0; c < s.group_in; c++)
        for (int64_t o = 0; o < s.group_out; o++)
          for (int64_t ky = 0; ky < s.kh; ky++)
            for (int64_t kx = 0; kx < s.kw; kx++)
              if (ay.hits(py, ky) && ax.hits(px, kx)) *to++ = w[(((g * s.group_out + o) * s.group_in + c) * s.kh + ky) * s.kw + kx];
    }
    return at;
  }
};

// One phase of one group over a band; `copied` holds dy's planes.
template <class T> void one_phase(const Plan<T>& plan, const Phase& p, int64_t image, int64_t group, int64_t r0, const T* copied, T* strip, int64_t flat, T* to) {
  const GroupedShape& s = plan.s;
  const GemmRow<T>& row = gemm_row<T>();
  const int64_t rows = p.rows - r0 < plan.band ? p.rows - r0 : plan.band, pitch = plan.planes.pitch;
  if (rows <= 0 || p.columns <= 0) return;
  const bool single = s.group_out == 1, dense = s.sh == 1 && s.sw == 1;
  for (int64_t i = 0; i < s.group_in; i += single ? 1 : row.mr) {
    const T* weights = plan.weights + group * plan.pairs * s.group_in + p.first * s.group_in + i * p.depth;
    T* dx = to + ((image * s.in + group * s.group_in + i) * s.height + r0 * s.sh + p.y) * s.width + p.x;
    if (single) {
      const int64_t y_row = dense ? s.width : pitch;
      depthwise(DepthwiseArgs<T>{copied, plan.offset + p.first, weights, p.depth, rows, p.columns, pitch, dense ? dx : strip, y_row, T(0)});
      if (!dense) conv_store(strip, flat, pitch, 1, rows, p.columns, dx, s.height * s.width, s.sh * s.width, s.sw);
      continue;
    }
    GemmStrip<T> g;
    g.b = copied, g.offset = plan.offset + p.first, g.b_panel = row.nr;
    g.k = p.depth, g.n = (rows - 1) * pitch + p.columns;
    g.a = weights, g.a_row = p.depth;
    g.c = strip, g.c_row = flat;
    g.m = s.group_in - i < row.mr ? static_cast<int>(s.group_in - i) : row.mr;
    row.strip(g);
    conv_store(strip, flat, pitch, g.m, rows, p.columns, dx, s.height * s.width, s.sh * s.width, s.sw);
  }
}

template <class T> Status run(conv2d_grouped_grad_input_args& a, Context& ctx) {
  Plan<T> plan;
  GroupedShape& s = plan.s;
  TERSOR_TRY(grouped_shape(kOp, a.input_shape.v, a.w.shape, {a.stride, a.padding, a.dilation, a.groups}, &s));
  if (a.dx.size() == 0) return {};
  Contiguous dy, w;
  TERSOR_TRY(dy.open(kOp, a.dy, ctx.cancel));
  TERSOR_TRY(w.open(kOp, a.w, ctx.cancel));
  plan.ay = {s.sh, s.top, s.span_h(), s.dh, s.height};
  plan.ax = {s.sw, s.left, s.span_w(), s.dw, s.width};
  TERSOR_TRY(plan.prepare(w.as<T>()));

  const int64_t tasks = s.batch * s.groups * plan.bands, most_rows = plan.band + plan.halo;
  const int64_t flat_most = (plan.band - 1) * plan.planes.pitch + plan.ax.positions(0);
  const int64_t planes_elements = (plan.planes.elements(most_rows) + 15) / 16 * 16;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, (planes_elements + gemm_row<T>().mr * flat_most) * static_cast<int64_t>(sizeof(T)), tasks));
  const int64_t grain = grain_for(planes_elements + plan.pairs * s.group_in * flat_most / 16);
  return parallel_for(tasks, grain, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    T* const copied = slot.template as<T>();
    for (int64_t task = begin; task < end; task++) {
      const int64_t image = task / plan.bands / s.groups, group = task / plan.bands % s.groups, r0 = task % plan.bands * plan.band;
      conv_fill_planes(plan.planes, dy.as<T>() + (image * s.out + group * s.group_out) * s.out_h * s.out_w, r0, most_rows, copied);
      for (int64_t i = 0; i < plan.phase_count; i++)
        one_phase(plan, plan.phases[i], image, group, r0, copied, copied + planes_elements, flat_most, a.dx.as<T>());
    }
  });
}

}  // namespace

Status conv2d_grouped_grad_input_infer(conv2d_grouped_grad_input_args& a) {
  TERSOR_TRY(expect_float(kOp, "dy", a.dy));
  TERSOR_TRY(expect_same_dtype(kOp, a.dy, a.w));
  TERSOR_TRY(expect_rank(kOp, "w", a.w, 4));
  TERSOR_TRY(conv_list4(kOp, "input_shape", a.input_shape));
  GroupedShape s;
  TERSOR_TRY(grouped_shape(kOp, a.input_shape.v, a.w.shape, {a.stride, a.padding, a.dilation, a.groups}, &s));
  const int64_t dy_shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  TERSOR_TRY(expect_shape(kOp, "dy", a.dy, dy_shape, 4));
  set_shape(a.dx, a.dy.dtype, a.input_shape.v, 4);
  return {};
}

Status conv2d_grouped_grad_input_cpu(conv2d_grouped_grad_input_args& a, Context& ctx) {
  return a.dy.dtype == DType::f32 ? run<float>(a, ctx) : run<double>(a, ctx);
}

}  // namespace tersor
