// conv2d_grad_weight(x[B,C,H,W], dy[B,O,OH,OW], weight_shape, stride, padding) -> dw[O,C,kh,kw]: the adjoint of conv2d in w.
// dw(o, tap) is the dot product of dy's channel, laid out as wide as the planes of kernels/conv/shift.h with zeros in the excess columns,
// and the plane shifted by the tap. Partial sums are cut by shape alone and added in order: the result does not depend on the threads.
// An infinity or NaN in x meets those zeros: it may make more entries of dw NaN than the formula does, never fewer. f32 or f64.
#include <type_traits>

#include "kernels/gemm/gemm.h"
#include "ops/conv_lanes.h"
#include "ops/conv_shape.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "conv2d_grad_weight";
constexpr int64_t kGroupBytes = int64_t(1) << 16;   // items whose dot products are taken together
constexpr int64_t kSmallWeight = int64_t(1) << 15;  // below: one partial sum per run of images; above: the weight itself is cut
constexpr int64_t kMostPartials = 32;

// One item is a band of rows of one image.
template <class T> struct Work {
  ConvShape s;
  ConvPlanes planes;
  bool x_in_place, dy_in_place;
  int64_t depth, halo, band, bands, items;
  int64_t length;                 // of a dot product over one item
  int64_t x_elements, dy_elements;  // copied per item, 0 if used where it lies
  const T* x;
  const T* dy;
  const int64_t* offset;

  int64_t item_bytes() const { return (x_elements + dy_elements) * static_cast<int64_t>(sizeof(T)); }

  void fill(int64_t item, T* to_x, T* to_dy) const {
    const int64_t image = item / bands, r0 = item % bands * band;
    if (!x_in_place) conv_fill_planes(planes, x + image * s.in * s.height * s.width, r0, band + halo, to_x);
    if (dy_in_place) return;
    const int64_t rows = s.out_h - r0 < band ? s.out_h - r0 : band;
    for (int64_t o = 0; o < s.out; o++) {
      const T* from = dy + ((image * s.out + o) * s.out_h + r0) * s.out_w;
      for (int64_t r = 0; r < band; r++, to_dy += planes.pitch) {
        const int64_t live = r < rows ? s.out_w : 0;
        for (int64_t j = 0; j < live; j++) to_dy[j] = from[r * s.out_w + j];
        for (int64_t j = live; j < planes.pitch; j++) to_dy[j] = T(0);
      }
    }
  }

  // dw[o0..o1, d0..d1] (+)= items [first, first + count), copied to at_x and at_dy unless used in place.
  void dot(const GemmRow<T>& row, int64_t first, int64_t count, const T* at_x, const T* at_dy, int64_t o0, int64_t o1, int64_t d0, int64_t d1,
           bool accumulate, T* dw) const {
    GemmDot<T> g;
    g.m = o1 - o0, g.n = d1 - d0, g.k = length, g.groups = count;
    g.accumulate = accumulate;
    g.a_row = dy_in_place ? s.out_h * s.out_w : band * planes.pitch;
    g.a_group = dy_in_place ? s.out * s.out_h * s.out_w : dy_elements;
    g.a = (dy_in_place ? dy + first * g.a_group : at_dy) + o0 * g.a_row;
    g.b_group = x_in_place ? s.in * s.height * s.width : x_elements;
    g.b = x_in_place ? x + first * g.b_group : at_x;
    g.offset = offset + d0;
    g.c = dw + o0 * depth + d0, g.c_row = depth;
    row.dot(g);
  }
};

template <class T> Status small_weight(const Work<T>& w, T* dw, Context& ctx) {
  const GemmRow<T>& row = gemm_row<T>();
  const int64_t size = w.s.out * w.depth;
  // Items per partial sum: at least 2^20 multiply-adds, at most kMostPartials of them.
  int64_t run = (int64_t(1) << 20) / (size * w.length + 1) + 1;
  if (run * kMostPartials < w.items) run = (w.items + kMostPartials - 1) / kMostPartials;
  const int64_t partials = (w.items + run - 1) / run;
  int64_t group = kGroupBytes / (w.item_bytes() + 1);
  group = group < 1 ? 1 : group > run ? run : group;
  Scratch sums;
  if (partials > 1) TERSOR_TRY(sums.reserve(kOp, partials * size * static_cast<int64_t>(sizeof(T))));
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, group * w.item_bytes(), partials));
  TERSOR_TRY(parallel_for(w.items, run, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    T* const at_x = slot.template as<T>();
    T* const at_dy = at_x + group * w.x_elements;
    for (int64_t part = begin; part < end; part += run) {  // one partial; several when the pool hands out longer ranges
      T* const sum = partials > 1 ? sums.as<T>() + part / run * size : dw;
      const int64_t stop = part + run < end ? part + run : end;
      for (int64_t i = part; i < stop; i += group) {
        const int64_t count = stop - i < group ? stop - i : group;
        for (int64_t j = 0; j < count; j++) w.fill(i + j, at_x + j * w.x_elements, at_dy + j * w.dy_elements);
        w.dot(row, i, count, at_x, at_dy, 0, w.s.out, 0, w.depth, i > part, sum);
      }
    }
  }));
  if (partials == 1) return {};
  return parallel_for(size, grain_for(partials), ctx.cancel, [&](int64_t begin, int64_t end) {
    const T* sum = sums.as<T>();
    for (int64_t e = begin; e < end; e++) dw[e] = sum[e];
    for (int64_t p = 1; p < partials; p++)
      for (int64_t e = begin; e < end; e++) dw[e] += sum[p * size + e];
  });
}

template <class T> Status large_weight(const Work<T>& w, T* dw, Context& ctx) {
  const GemmRow<T>& row = gemm_row<T>();
  int64_t group = (int64_t(1) << 22) / (w.item_bytes() + 1);
  group = group < 1 ? 1 : group > w.items ? w.items : group;
  Scratch copies;
  TERSOR_TRY(copies.reserve(kOp, group * w.item_bytes()));
  T* const at_x = copies.as<T>();
  T* const at_dy = at_x + group * w.x_elements;
  const int64_t block_o = 32, block_d = 96;
  const int64_t blocks_o = (w.s.out + block_o - 1) / block_o, blocks_d = (w.depth + block_d - 1) / block_d;
  for (int64_t i = 0; i < w.items; i += group) {
    const int64_t count = w.items - i < group ? w.items - i : group;
    if (w.item_bytes() > 0)
      TERSOR_TRY(parallel_for(count, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
        for (int64_t j = begin; j < end; j++) w.fill(i + j, at_x + j * w.x_elements, at_dy + j * w.dy_elements);
      }));
    TERSOR_TRY(parallel_for(blocks_o * blocks_d, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        const int64_t o0 = t / blocks_d * block_o, d0 = t % blocks_d * block_d;
        const int64_t o1 = o0 + block_o < w.s.out ? o0 + block_o : w.s.out, d1 = d0 + block_d < w.depth ? d0 + block_d : w.depth;
        w.dot(row, i, count, at_x, at_dy, o0, o1, d0, d1, i > 0, dw);
      }
    }));
  }
  return {};
}

template <class T> Status run(conv2d_grad_weight_args& a, Context& ctx) {
  Work<T> w;
  TERSOR_TRY(conv_shape(kOp, a.x.shape, a.weight_shape.v, a.stride, a.padding, &w.s));
  if (a.dw.size() == 0) return {};
  if (w.s.batch == 0) {
    memset(a.dw.data, 0, static_cast<size_t>(a.dw.bytes()));
    return {};
  }
  Contiguous x, dy;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(dy.open(kOp, a.dy, ctx.cancel));
  if (std::is_same<T, float>::value && conv_lanes_pays(w.s))
    return conv_lanes_grad_weight(kOp, w.s, x.as<float>(), dy.as<float>(), a.dw.as<float>(), ctx.cancel);
  w.x = x.as<T>(), w.dy = dy.as<T>();
  w.planes = conv_forward_planes(w.s);
  w.depth = w.s.in * w.s.kh * w.s.kw, w.halo = conv_forward_halo(w.s);
  const int64_t row_bytes = (w.planes.elements(1) + w.s.out * w.planes.pitch) * static_cast<int64_t>(sizeof(T));
  w.band = conv_band_rows(w.s.out_h, w.halo, row_bytes, int64_t(1) << 18, w.s.out * w.depth * w.planes.pitch);
  w.bands = (w.s.out_h + w.band - 1) / w.band;
  w.items = w.s.batch * w.bands;
  w.x_in_place = w.bands == 1 && conv_planes_are_image(w.s);
  w.dy_in_place = w.bands == 1 && w.planes.pitch == w.s.out_w;
  w.length = (w.band - 1) * w.planes.pitch + w.s.out_w;
  w.x_elements = w.x_in_place ? 0 : w.planes.elements(w.band + w.halo);
  w.dy_elements = w.dy_in_place ? 0 : w.s.out * w.band * w.planes.pitch;
  Scratch offsets;
  TERSOR_TRY(offsets.reserve(kOp, w.depth * 8));
  conv_forward_offsets(w.s, w.x_in_place ? w.s.height * w.s.width : w.planes.plane(w.band + w.halo), w.planes.pitch, offsets.as<int64_t>());
  w.offset = offsets.as<int64_t>();
  return w.s.out * w.depth < kSmallWeight ? small_weight(w, a.dw.as<T>(), ctx) : large_weight(w, a.dw.as<T>(), ctx);
}

}  // namespace

Status conv2d_grad_weight_infer(conv2d_grad_weight_args& a) {
  TERSOR_TRY(expect_float(kOp, "x", a.x));
  TERSOR_TRY(expect_same_dtype(kOp, a.x, a.dy));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(conv_list4(kOp, "weight_shape", a.weight_shape));
  ConvShape s;
  TERSOR_TRY(conv_shape(kOp, a.x.shape, a.weight_shape.v, a.stride, a.padding, &s));
  const int64_t dy_shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  TERSOR_TRY(expect_shape(kOp, "dy", a.dy, dy_shape, 4));
  set_shape(a.dw, a.x.dtype, a.weight_shape.v, 4);
  return {};
}

Status conv2d_grad_weight_cpu(conv2d_grad_weight_args& a, Context& ctx) { return a.x.dtype == DType::f32 ? run<float>(a, ctx) : run<double>(a, ctx); }

}  // namespace tersor
