// Convolution of 3 x 3 with stride 1 by Winograd's transforms, channels last: x f32 [B,H,W,C] -> y f32 [B,OH,OW,O] = act(conv(x, w) + bias + residual) * scale +
// shift, as conv2d_last, in tiles of `tile` x `tile` results (2 or 4: kernels/winograd).
// conv2d_winograd_pack(w [O,C,3,3], scale [O]?, tile) -> packed: the transformed filters, each times its scale, computed in double and rounded once, in the
// panels of the kernel row of this process (opaque; do not store it). For each position of a tile, a product of tiles with filters is one chain of fused
// multiply-adds over c; so results depend neither on threads nor on how the work is cut. x may be any strided view; one that lies as [B,H,W,C] is read in place.
#include <cstring>

#include "kernels/winograd/winograd.h"
#include "ops/conv_grouped.h"
#include "ops/conv_last.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kPack = "conv2d_winograd_pack";
constexpr const char* kOp = "conv2d_winograd";
constexpr uint32_t kMagic = 0x31574354;             // "TCW1"
// Bytes of transformed tiles and their products that go through everything together: where the filters stay in L2, so few that these do too; where they pass
// through it for every such part, more, so that they do so less often.
constexpr int64_t kNearFilters = 768 << 10, kNearBytes = 320 << 10, kFarBytes = 1280 << 10;
constexpr int64_t kLeastTiles = 2 * kConvPixels;  // that use what was read of the filters

struct Header {
  uint32_t magic;
  int32_t lanes, most_vectors, tile;
  int64_t out, in, bytes, reserved[3];
};
static_assert(sizeof(Header) == 64, "panels start on a cache line");

// Filters [O] in panels of up to most_vectors vectors, as even as they go; a panel is [positions, C, width].
struct Panels {
  int64_t out, in, tile, positions, vectors, panels;
  int lanes;

  Panels(const ConvRow& row, int64_t o, int64_t c, int64_t m) : out(o), in(c), tile(m), positions((m + 2) * (m + 2)), lanes(row.lanes) {
    vectors = (out + lanes - 1) / lanes;
    panels = (vectors + row.most_vectors - 1) / row.most_vectors;
  }
  int64_t first_vector(int64_t panel) const { return panel * vectors / panels; }
  int64_t start(int64_t panel) const { return positions * in * first_vector(panel) * lanes; }
  Header header(const ConvRow& row) const {
    return {kMagic, row.lanes, row.most_vectors, static_cast<int32_t>(tile), out, in, static_cast<int64_t>(sizeof(Header)) + positions * in * vectors * lanes * 4, {0, 0, 0}};
  }
};

Status check_sizes(const char* op, int64_t out, int64_t in, int64_t tile) {
  constexpr int64_t kMost = int64_t(1) << 30;
  if (tile != 2 && tile != 4) return fail(Code::option, "%s: tile must be 2 or 4, got %lld", op, static_cast<long long>(tile));
  if (out < 0 || out > kMost || in < 0 || in > kMost || (in > 0 && out > (int64_t(1) << 40) / in))
    return fail(Code::limit, "%s: filters [%lld,%lld,3,3] are too many", op, static_cast<long long>(out), static_cast<long long>(in));
  return {};
}

// As a convolution over x [B,H,W,C].
Status geometry(const conv2d_winograd_args& a, GroupedShape* s) {
  const int64_t x[4] = {a.x.shape[0], a.x.shape[3], a.x.shape[1], a.x.shape[2]}, w[4] = {a.out, a.x.shape[3], 3, 3};
  IntList ones{};
  ones.n = 2, ones.v[0] = ones.v[1] = 1;
  return grouped_shape(kOp, x, w, {ones, a.padding, ones, 1}, s);
}

struct Task {
  const GroupedShape& shape;
  const Panels& panels;
  const float *filters, *bias, *residual;
  float* y;
  ConvFinish finish;
  int64_t down, across;  // tiles of an image

  int64_t tiles() const { return shape.batch * down * across; }

  // Tiles [first, first + count), transformed: at[i] is where tile i lies. products: [count, positions, width of the panel].
  void panel(int64_t number, int64_t first, int64_t count, const float* const* at, float* products) const {
    const Panels& p = panels;
    const int64_t v0 = p.first_vector(number), v1 = p.first_vector(number + 1), width = (v1 - v0) * p.lanes, column = v0 * p.lanes;
    ConvProduct g;
    g.x = at, g.pixels = count, g.taps = 1, g.first_tap = 0, g.tap_count = 1, g.depth = p.in;
    g.vectors = static_cast<int>(v1 - v0);
    g.columns = p.out - column < width ? p.out - column : width;
    g.bias = g.residual = nullptr, g.residual_row = 0;
    g.y_row = p.positions * width;
    g.first = g.last = true;
    g.finish = {ConvAct::clip, -INFINITY, INFINITY, 1, 0};
    for (int64_t at_position = 0; at_position < p.positions; at_position++) {
      g.from = at_position * p.in;
      g.w = filters + p.start(number) + at_position * p.in * width;
      g.y = products + at_position * width;
      conv_row().product(g);
    }
    WinogradOutput o;
    o.width = width, o.columns = g.columns;
    o.bias = bias ? bias + column : nullptr;
    o.pixel = shape.out, o.row = shape.out_w * shape.out;
    o.finish = finish;
    for (int64_t i = first; i < first + count; i++) {
      const int64_t b = i / (down * across), top = i / across % down * p.tile, left = i % across * p.tile;
      const int64_t start = ((b * shape.out_h + top) * shape.out_w + left) * shape.out + column;
      o.m = products + (i - first) * p.positions * width;
      o.residual = residual ? residual + start : nullptr;
      o.y = y + start;
      o.rows = shape.out_h - top < p.tile ? shape.out_h - top : p.tile;
      o.across = shape.out_w - left < p.tile ? shape.out_w - left : p.tile;
      winograd_row().output(p.tile, o);
    }
  }
};

// Transforms tiles [first, first + count) to v [count, positions, C]; pointers: [count, positions], then at[i] is where tile i lies.
void transform(const Task& t, const Windows& windows, int64_t first, int64_t count, float* v, const float** pointers) {
  windows.fill(first, count, pointers);
  winograd_row().input(t.panels.tile, {pointers, count, t.panels.in, v});
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status run(conv2d_winograd_args& a, const GroupedShape& s, const Panels& p, const float* filters, Context& ctx) {
  Contiguous x, bias, residual;
  Scratch zeros;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  if (a.residual.present()) TERSOR_TRY(residual.open(kOp, a.residual, ctx.cancel));
  TERSOR_TRY(zeros.reserve(kOp, s.in * 4));
  memset(zeros.as<void>(), 0, static_cast<size_t>(s.in) * 4);
  Task task{s, p, filters, a.bias.present() ? bias.as<float>() : nullptr, a.residual.present() ? residual.as<float>() : nullptr, a.y.as<float>(), {}, 0, 0};
  task.finish = {static_cast<ConvAct>(a.act), static_cast<float>(a.lo), static_cast<float>(a.hi), static_cast<float>(a.scale), static_cast<float>(a.shift)};
  task.down = divide_up(s.out_h, p.tile), task.across = divide_up(s.out_w, p.tile);
  const Windows windows{x.as<float>(), zeros.as<float>(), s.height, s.width, s.in, p.tile + 2, p.tile + 2, p.tile, p.tile, 1, 1, s.top, s.left, task.down, task.across};

  // Bytes of a tile: transformed, its products with the widest panel, and pointers.
  const int64_t widest = divide_up(p.vectors, p.panels) * p.lanes, tiles = task.tiles(), threads = thread_count();
  const int64_t in_bytes = p.positions * p.in * 4, out_bytes = p.positions * widest * 4, pointer_bytes = p.positions * 8 + 8;
  const int64_t together = p.start(p.panels) * 4 <= kNearFilters ? kNearBytes : kFarBytes;
  const int64_t fit = together / (in_bytes + out_bytes), most = fit > kLeastTiles ? fit : kLeastTiles, parts = divide_up(tiles, most);

  // Many tiles: each task takes some through everything. Its memory: transformed tiles, products, pointers to values and to transformed tiles.
  if (threads == 1 || parts >= 4 * threads) {
    const int64_t each = divide_up(divide_up(tiles, parts), kConvPixels) * kConvPixels, count = divide_up(tiles, each);
    ScratchSlots slots;
    TERSOR_TRY(slots.reserve(kOp, each * (in_bytes + out_bytes + pointer_bytes), count));
    return parallel_for(count, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      float *const v = slot.as<float>(), *const products = v + each * p.positions * p.in;
      const float** const pointers = reinterpret_cast<const float**>(products + each * p.positions * widest);
      const float** const at = pointers + each * p.positions;
      for (int64_t i = 0; i < each; i++) at[i] = v + i * p.positions * p.in;
      for (int64_t i = begin; i < end; i++) {
        const int64_t first = i * each, live = tiles - first < each ? tiles - first : each;
        transform(task, windows, first, live, v, pointers);
        for (int64_t q = 0; q < p.panels; q++) task.panel(q, first, live, at, products);
      }
    });
  }

  // Few: threads transform together, then each takes panels of filters, so that these are read once.
  const int64_t each = tiles < most * threads ? tiles : most * threads;
  const int64_t cuts = divide_up(2 * threads, p.panels), cut = divide_up(divide_up(each, cuts), kConvPixels) * kConvPixels;
  Scratch transformed;
  ScratchSlots slots;
  TERSOR_TRY(transformed.reserve(kOp, each * (in_bytes + pointer_bytes)));
  TERSOR_TRY(slots.reserve(kOp, cut * out_bytes, p.panels * divide_up(each, cut)));
  float* const v = transformed.as<float>();
  const float** const pointers = reinterpret_cast<const float**>(v + each * p.positions * p.in);
  const float** const at = pointers + each * p.positions;
  for (int64_t i = 0; i < each; i++) at[i] = v + i * p.positions * p.in;
  for (int64_t first = 0; first < tiles; first += each) {
    const int64_t live = tiles - first < each ? tiles - first : each, pieces = divide_up(live, cut);
    TERSOR_TRY(parallel_for(live, grain_for(p.positions * p.in), ctx.cancel, [&](int64_t begin, int64_t end) {
      transform(task, windows, first + begin, end - begin, v + begin * p.positions * p.in, pointers + begin * p.positions);
    }));
    TERSOR_TRY(parallel_for(p.panels * pieces, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      for (int64_t i = begin; i < end; i++) {
        const int64_t from = i % pieces * cut, count = live - from < cut ? live - from : cut;
        task.panel(i / pieces, first + from, count, at + from, slot.as<float>());
      }
    }));
  }
  return {};
}

}  // namespace

Status conv2d_winograd_pack_infer(conv2d_winograd_pack_args& a) {
  TERSOR_TRY(expect_dtype(kPack, "w", a.w, DType::f32));
  TERSOR_TRY(expect_rank(kPack, "w", a.w, 4));
  if (a.w.shape[2] != 3 || a.w.shape[3] != 3) return fail(Code::shape, "%s: filters must be [O,C,3,3], got %s", kPack, TERSOR_TEXT(a.w));
  TERSOR_TRY(check_sizes(kPack, a.w.shape[0], a.w.shape[1], a.tile));
  if (a.scale.present()) {
    TERSOR_TRY(expect_dtype(kPack, "scale", a.scale, DType::f32));
    TERSOR_TRY(expect_shape(kPack, "scale", a.scale, a.w.shape, 1));
  }
  const int64_t bytes = Panels(conv_row(), a.w.shape[0], a.w.shape[1], a.tile).header(conv_row()).bytes;
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status conv2d_winograd_pack_cpu(conv2d_winograd_pack_args& a, Context& ctx) {
  Contiguous w, scale;
  TERSOR_TRY(w.open(kPack, a.w, ctx.cancel));
  if (a.scale.present()) TERSOR_TRY(scale.open(kPack, a.scale, ctx.cancel));
  const Panels p(conv_row(), a.w.shape[0], a.w.shape[1], a.tile);
  const Header header = p.header(conv_row());
  memset(a.packed.data, 0, static_cast<size_t>(header.bytes));
  memcpy(a.packed.data, &header, sizeof header);
  float* const to = reinterpret_cast<float*>(a.packed.as<char>() + sizeof header);
  return parallel_for(p.out, grain_for(p.positions * p.in * 8), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) {
      const double times = a.scale.present() ? static_cast<double>(scale.as<float>()[o]) : 1;
      int64_t panel = 0;
      while (p.first_vector(panel + 1) <= o / p.lanes) panel++;
      const int64_t width = (p.first_vector(panel + 1) - p.first_vector(panel)) * p.lanes;
      float* const base = to + p.start(panel) + o - p.first_vector(panel) * p.lanes;
      for (int64_t c = 0; c < p.in; c++) {
        double g[9], u[36];
        for (int i = 0; i < 9; i++) g[i] = static_cast<double>(w.as<float>()[(o * p.in + c) * 9 + i]) * times;
        winograd_filter(p.tile, g, u);
        for (int64_t i = 0; i < p.positions; i++) base[(i * p.in + c) * width] = static_cast<float>(u[i]);
      }
    }
  });
}

Status conv2d_winograd_infer(conv2d_winograd_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(check_sizes(kOp, a.out, a.x.shape[3], a.tile));
  GroupedShape s;
  TERSOR_TRY(geometry(a, &s));
  TERSOR_TRY(check_packed_size(kOp, kPack, a.packed, Panels(conv_row(), s.out, s.in, a.tile).header(conv_row()).bytes));
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(kOp, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &s.out, 1));
  }
  return finish_infer(kOp, a, s, DType::f32);
}

Status conv2d_winograd_cpu(conv2d_winograd_args& a, Context& ctx) {
  GroupedShape s;
  TERSOR_TRY(geometry(a, &s));
  const Panels panels(conv_row(), s.out, s.in, a.tile);
  const Header want = panels.header(conv_row());
  if (!a.packed.contiguous() || memcmp(a.packed.data, &want, sizeof want) != 0)
    return fail(Code::option, "%s: packed was not made by %s for filters [%lld,%lld,3,3] and tiles of %lld", kOp, kPack, static_cast<long long>(s.out),
                static_cast<long long>(s.in), static_cast<long long>(a.tile));
  if (a.y.size() == 0) return {};
  return run(a, s, panels, reinterpret_cast<const float*>(a.packed.as<char>() + sizeof want), ctx);
}

}  // namespace tersor
