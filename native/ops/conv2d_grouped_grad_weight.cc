// conv2d_grouped_grad_weight(x[B,C,H,W], dy[B,O,OH,OW], weight_shape, stride, padding, dilation, groups) -> dw[O,C/groups,kh,kw]: the adjoint of
// conv2d_grouped in w. A task is one group and a run of items (bands of rows of one image); its sums are added in the order of the runs, which
// depend on the shapes alone, so the result does not depend on the threads. One input channel per group: kernels/depthwise; else dw(o, tap) is the
// dot product of dy's channel, laid out as wide as the planes with zeros in the excess columns, and the plane shifted by the tap. f32 or f64.
#include "kernels/depthwise/depthwise.h"
#include "kernels/gemm/gemm.h"
#include "ops/conv_grouped.h"
#include "ops/conv_shape.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "conv2d_grouped_grad_weight";
constexpr int64_t kTasks = 32, kMostPartials = int64_t(1) << 24;  // wanted tasks; elements of all partial sums together

template <class T> struct Work {
  GroupedShape s;
  ConvPlanes planes;
  int64_t depth, halo, band, bands, items, parts, run;
  int64_t x_elements, dy_elements;
  const T* x;
  const T* dy;
  const int64_t* offset;

  int64_t rows_of(int64_t r0) const { return s.out_h - r0 < band ? s.out_h - r0 : band; }

  // dy of one group and band, as wide as the planes.
  void spread(int64_t image, int64_t group, int64_t r0, T* to) const {
    for (int64_t o = 0; o < s.group_out; o++) {
      const T* from = dy + ((image * s.out + group * s.group_out + o) * s.out_h + r0) * s.out_w;
      for (int64_t r = 0; r < band; r++, to += planes.pitch) {
        const int64_t live = r < rows_of(r0) ? s.out_w : 0;
        for (int64_t j = 0; j < live; j++) to[j] = from[r * s.out_w + j];
        for (int64_t j = live; j < planes.pitch; j++) to[j] = T(0);
      }
    }
  }

  // Adds item (image, band at r0) of a group to its sums: double [group_out, taps] for one input channel, else T [group_out, depth].
  void add(int64_t image, int64_t group, int64_t r0, bool first, T* copied, void* sums) const {
    conv_fill_planes(planes, x + (image * s.in + group * s.group_in) * s.height * s.width, r0, band + halo, copied);
    if (s.group_in == 1) {
      double* sum = static_cast<double*>(sums);
      for (int64_t o = 0; o < s.group_out; o++, sum += depth) {
        if (first)
          for (int64_t t = 0; t < depth; t++) sum[t] = 0;
        const T* d = dy + ((image * s.out + group * s.group_out + o) * s.out_h + r0) * s.out_w;
        depthwise_dot(DepthwiseDotArgs<T>{copied, offset, depth, rows_of(r0), s.out_w, planes.pitch, d, s.out_w, sum});
      }
      return;
    }
    T* const wide = copied + x_elements;
    spread(image, group, r0, wide);
    GemmDot<T> g;
    g.m = s.group_out, g.n = depth, g.k = (band - 1) * planes.pitch + s.out_w;
    g.accumulate = !first;
    g.a = wide, g.a_row = band * planes.pitch;
    g.b = copied, g.offset = offset;
    g.c = static_cast<T*>(sums), g.c_row = depth;
    gemm_row<T>().dot(g);
  }
};

template <class T, class Sum> void collect(const Work<T>& w, const Sum* sums, T* dw, int64_t begin, int64_t end) {
  const int64_t group_size = w.s.group_out * w.depth;
  for (int64_t e = begin; e < end; e++) {
    const Sum* from = sums + e / group_size * w.parts * group_size + e % group_size;
    Sum total = from[0];
    for (int64_t p = 1; p < w.parts; p++) total += from[p * group_size];
    dw[e] = static_cast<T>(total);
  }
}

template <class T> Status run(conv2d_grouped_grad_weight_args& a, Context& ctx) {
  Work<T> w;
  TERSOR_TRY(grouped_shape(kOp, a.x.shape, a.weight_shape.v, {a.stride, a.padding, a.dilation, a.groups}, &w.s));
  const GroupedShape& s = w.s;
  if (a.dw.size() == 0) return {};
  if (s.batch == 0) {
    memset(a.dw.data, 0, static_cast<size_t>(a.dw.bytes()));
    return {};
  }
  Contiguous x, dy;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(dy.open(kOp, a.dy, ctx.cancel));
  w.x = x.as<T>(), w.dy = dy.as<T>();
  w.planes = grouped_planes(s);
  w.depth = s.depth(), w.halo = s.span_h() / s.sh;
  const bool single = s.group_in == 1;
  const int64_t row_bytes = (w.planes.elements(1) + s.group_out * w.planes.pitch) * static_cast<int64_t>(sizeof(T));
  w.band = conv_band_rows(s.out_h, w.halo, row_bytes, int64_t(1) << 18, s.group_out * w.depth * w.planes.pitch);
  w.bands = (s.out_h + w.band - 1) / w.band;
  w.items = s.batch * w.bands;
  w.x_elements = (w.planes.elements(w.band + w.halo) + 15) / 16 * 16;
  w.dy_elements = single ? 0 : s.group_out * w.band * w.planes.pitch;
  const int64_t size = s.out * w.depth;
  int64_t parts = kTasks / s.groups;
  if (parts > kMostPartials / size) parts = kMostPartials / size;
  if (parts < 1) parts = 1;
  w.run = (w.items + parts - 1) / parts;
  w.parts = (w.items + w.run - 1) / w.run;

  Scratch offset_block, sums;
  TERSOR_TRY(offset_block.reserve(kOp, w.depth * 8));
  grouped_offsets(s, w.planes.plane(w.band + w.halo), w.planes.pitch, offset_block.as<int64_t>());
  w.offset = offset_block.as<int64_t>();
  const int64_t sum_bytes = single ? static_cast<int64_t>(sizeof(double)) : static_cast<int64_t>(sizeof(T));
  const int64_t tasks = s.groups * w.parts, part_bytes = s.group_out * w.depth * sum_bytes;
  TERSOR_TRY(sums.reserve(kOp, tasks * part_bytes));
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, (w.x_elements + w.dy_elements) * static_cast<int64_t>(sizeof(T)), tasks));
  const int64_t grain = grain_for(w.run * (w.x_elements + s.group_out * w.depth * w.band * w.planes.pitch / 16));
  TERSOR_TRY(parallel_for(tasks, grain, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t task = begin; task < end; task++) {
      const int64_t first = task % w.parts * w.run, last = w.items - first < w.run ? w.items : first + w.run;
      for (int64_t item = first; item < last; item++)
        w.add(item / w.bands, task / w.parts, item % w.bands * w.band, item == first, slot.template as<T>(), sums.as<char>() + task * part_bytes);
    }
  }));
  return parallel_for(size, grain_for(w.parts), ctx.cancel, [&](int64_t begin, int64_t end) {
    if (single) collect(w, sums.as<double>(), a.dw.as<T>(), begin, end);
    else collect(w, sums.as<T>(), a.dw.as<T>(), begin, end);
  });
}

}  // namespace

Status conv2d_grouped_grad_weight_infer(conv2d_grouped_grad_weight_args& a) {
  TERSOR_TRY(expect_float(kOp, "x", a.x));
  TERSOR_TRY(expect_same_dtype(kOp, a.x, a.dy));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(conv_list4(kOp, "weight_shape", a.weight_shape));
  GroupedShape s;
  TERSOR_TRY(grouped_shape(kOp, a.x.shape, a.weight_shape.v, {a.stride, a.padding, a.dilation, a.groups}, &s));
  const int64_t dy_shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  TERSOR_TRY(expect_shape(kOp, "dy", a.dy, dy_shape, 4));
  set_shape(a.dw, a.x.dtype, a.weight_shape.v, 4);
  return {};
}

Status conv2d_grouped_grad_weight_cpu(conv2d_grouped_grad_weight_args& a, Context& ctx) {
  return a.x.dtype == DType::f32 ? run<float>(a, ctx) : run<double>(a, ctx);
}

}  // namespace tersor
