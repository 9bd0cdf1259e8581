// Convolution for running, channels last: x f32 [B,H,W,C] -> y f32 [B,OH,OW,O] = act(conv(x, w) + bias + residual) * scale + shift.
// conv2d_last_pack(w [O,C/groups,kh,kw], scale [O]?, groups) -> packed: the filters, each times its scale, in the panels of the kernel row of this process
// (opaque; do not store it). act clip is min(max(v, lo), hi). An element is one chain of fused multiply-adds over (ky, kx, c) from its bias, so results do
// not depend on threads or on how the work is cut. x may be any strided view; one that lies as [B,H,W,C] is read in place.
#include <cstring>

#include "ops/conv_grouped.h"
#include "ops/conv_last.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kPack = "conv2d_last_pack";
constexpr const char* kOp = "conv2d_last";
constexpr uint32_t kMagic = 0x314c4354;            // "TCL1"
constexpr int64_t kChunkPixels = 16 * kConvPixels;  // that pass a panel of filters together
constexpr int64_t kPanelFloats = int64_t(1) << 17;  // of a panel that stay in L2 while pixels pass
constexpr int64_t kFewChannels = 32;               // below it the taps of a row are joined to one run

static_assert(static_cast<int>(conv_activation::clip) == static_cast<int>(ConvAct::clip) && static_cast<int>(conv_activation::sigmoid) == static_cast<int>(ConvAct::sigmoid),
              "enums.def differs from channels_last.h");

struct Header {
  uint32_t magic;
  int32_t lanes, most_vectors, depthwise;
  int64_t out, group_in, taps, groups, bytes, reserved;
};
static_assert(sizeof(Header) == 64, "panels start on a cache line");

// How the filters of a shape are packed. Dense: for each group, its columns in panels of up to most_vectors vectors, as even as they go; a panel is
// [taps, group_in, width]. Depthwise, more than one channel: [taps, channels rounded up to 16].
struct Packing {
  int64_t out, group_in, taps, groups, group_out, vectors, panels;
  int lanes;
  bool depthwise;

  Packing(const ConvRow& row, const int64_t w[4], int64_t n)
      : out(w[0]), group_in(w[1]), taps(w[2] * w[3]), groups(n), group_out(w[0] / n), lanes(row.lanes), depthwise(w[1] == 1 && w[0] == n && n > 1) {
    vectors = (group_out + lanes - 1) / lanes;
    panels = (vectors + row.most_vectors - 1) / row.most_vectors;
  }
  int64_t depth() const { return taps * group_in; }
  int64_t row() const { return (out + 15) / 16 * 16; }
  int64_t floats() const { return depthwise ? taps * row() : groups * depth() * vectors * lanes; }
  int64_t first_vector(int64_t panel) const { return panel * vectors / panels; }
  Header header(const ConvRow& r) const {
    return {kMagic, r.lanes, r.most_vectors, depthwise, out, group_in, taps, groups, static_cast<int64_t>(sizeof(Header)) + floats() * 4, 0};
  }
};

Status check_groups(const char* op, const int64_t w[4], int64_t groups) {
  constexpr int64_t kMost = int64_t(1) << 30;
  if (groups < 1 || groups > kMost) return fail(Code::option, "%s: groups must be in [1, 2^30], got %lld", op, static_cast<long long>(groups));
  for (int i = 0; i < 4; i++)
    if (w[i] < 0 || w[i] > kMost) return fail(Code::limit, "%s: dimension %d of the filters must be in [0, 2^30], got %lld", op, i, static_cast<long long>(w[i]));
  if (w[0] % groups != 0)
    return fail(Code::shape, "%s: %lld filters are no multiple of %lld groups", op, static_cast<long long>(w[0]), static_cast<long long>(groups));
  if (w[1] * w[2] > kMost || w[1] * w[2] * w[3] > kMost || w[0] * (w[1] * w[2] * w[3]) > (int64_t(1) << 46))
    return fail(Code::limit, "%s: more than 2^30 weights in a filter, or 2^46 in all", op);
  return {};
}

Status weight_shape(const IntList& list, int64_t groups) {
  if (list.n != 4) return fail(Code::shape, "%s: weight_shape must have 4 values, got %d", kOp, list.n);
  return check_groups(kOp, list.v, groups);
}

Status geometry(const conv2d_last_args& a, GroupedShape* s) {
  const int64_t x[4] = {a.x.shape[0], a.x.shape[3], a.x.shape[1], a.x.shape[2]};
  return grouped_shape(kOp, x, a.weight_shape.v, {a.stride, a.padding, a.dilation, a.groups}, s);
}

// The image with its padding, [B, height, width, C]: taps of one row of a filter are then one run.
Status fill_padded(const TensorRef& x, const GroupedShape& s, int64_t height, int64_t width, float* out, const Cancel* cancel) {
  return parallel_for(s.batch * height, grain_for(width * s.in), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at++) {
      float* const row = out + at * width * s.in;
      const int64_t y = at % height - s.top, live = width - s.left < s.width ? width - s.left : s.width;
      memset(row, 0, static_cast<size_t>(width * s.in) * 4);
      if (y < 0 || y >= s.height || live <= 0) continue;
      const float* const from = x.as<float>() + at / height * x.stride[0] + y * x.stride[1];
      for (int64_t c = 0; c < s.in; c++)
        for (int64_t j = 0; j < live; j++) row[(s.left + j) * s.in + c] = from[j * x.stride[2] + c * x.stride[3]];
    }
  });
}

struct Task {
  const Packing& packing;
  const Windows& windows;
  const float *filters, *bias, *residual;
  float* y;
  ConvFinish finish;
};

// Panels [begin, end) of all groups for pixels [first, first + count).
void dense(const Task& t, int64_t depth, int64_t first, int64_t count, int64_t begin, int64_t end, const float* const* pointers) {
  const Packing& p = t.packing;
  const int64_t taps = t.windows.taps();
  for (int64_t q = begin; q < end; q++) {
    const int64_t group = q / p.panels, v0 = p.first_vector(q % p.panels), v1 = p.first_vector(q % p.panels + 1), width = (v1 - v0) * p.lanes;
    const int64_t column = group * p.group_out + v0 * p.lanes;
    ConvProduct g;
    g.x = pointers, g.from = group * p.group_in;
    g.pixels = count, g.taps = taps, g.depth = depth;
    g.vectors = static_cast<int>(v1 - v0);
    g.columns = p.group_out - v0 * p.lanes < width ? p.group_out - v0 * p.lanes : width;
    g.bias = t.bias ? t.bias + column : nullptr;
    g.residual = t.residual ? t.residual + first * p.out + column : nullptr, g.residual_row = p.out;
    g.y = t.y + first * p.out + column, g.y_row = p.out;
    g.finish = t.finish;
    const float* const panel = t.filters + (group * p.vectors + v0) * p.lanes * p.depth();
    const int64_t most = kPanelFloats / (depth * width > 0 ? depth * width : 1), block = most < 1 ? 1 : most;
    for (int64_t tap = 0; tap < taps; tap += block) {
      g.first_tap = tap, g.tap_count = taps - tap < block ? taps - tap : block;
      g.w = panel + tap * depth * width;
      g.first = tap == 0, g.last = tap + block >= taps;
      conv_row().product(g);
    }
  }
}

Status run(conv2d_last_args& a, const GroupedShape& s, const Packing& packing, const float* filters, Context& ctx) {
  Contiguous x, bias, residual;
  Scratch padded, zeros;
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  if (a.residual.present()) TERSOR_TRY(residual.open(kOp, a.residual, ctx.cancel));
  Windows windows{nullptr, nullptr, s.height, s.width, s.in, s.kh, s.kw, s.sh, s.sw, s.dh, s.dw, s.top, s.left, s.out_h, s.out_w};
  int64_t depth = s.group_in;
  if (s.groups == 1 && s.dw == 1 && s.kw > 1 && s.in < kFewChannels) {
    windows.height = (s.out_h - 1) * s.sh + s.span_h() + 1, windows.width = (s.out_w - 1) * s.sw + s.kw;
    windows.top = windows.left = 0, windows.kw = 1;
    depth = s.kw * s.in;
    TERSOR_TRY(padded.reserve(kOp, s.batch * windows.height * windows.width * s.in * 4));
    TERSOR_TRY(fill_padded(a.x, s, windows.height, windows.width, padded.as<float>(), ctx.cancel));
    windows.image = padded.as<float>();
  } else {
    TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
    windows.image = x.as<float>();
    TERSOR_TRY(zeros.reserve(kOp, s.in * 4));
    memset(zeros.as<void>(), 0, static_cast<size_t>(s.in) * 4);
    windows.outside = zeros.as<float>();
  }
  Task task{packing, windows, filters, a.bias.present() ? bias.as<float>() : nullptr, a.residual.present() ? residual.as<float>() : nullptr, a.y.as<float>(), {}};
  task.finish = {static_cast<ConvAct>(a.act), static_cast<float>(a.lo), static_cast<float>(a.hi), static_cast<float>(a.scale), static_cast<float>(a.shift)};

  const int64_t pixels = s.batch * s.out_h * s.out_w, taps = windows.taps();
  const int64_t parts = packing.depthwise ? (pixels + 31) / 32 : (pixels + kChunkPixels / 2) / kChunkPixels, each = parts > 1 ? (pixels + parts - 1) / parts : pixels;
  const int64_t chunk = (each + kConvPixels - 1) / kConvPixels * kConvPixels, chunks = (pixels + chunk - 1) / chunk;
  const int64_t all = packing.depthwise ? 1 : packing.groups * packing.panels;
  // Small images are cut by panels too. The task that is waited for at the end should be a small part of the whole.
  const int64_t threads = thread_count(), wanted = threads > 1 ? (8 * threads + chunks - 1) / chunks : 1, pieces = wanted < all ? wanted : all;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, chunk * taps * 8, chunks * pieces));
  const int64_t work = chunk * packing.depth() * packing.out / pieces / 16;
  return parallel_for(chunks * pieces, grain_for(work), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    const float** const pointers = slot.as<const float*>();
    for (int64_t i = begin; i < end; i++) {
      const int64_t first = i / pieces * chunk, count = pixels - first < chunk ? pixels - first : chunk, piece = i % pieces;
      if (i == begin || piece == 0) windows.fill(first, count, pointers);
      if (!packing.depthwise) {
        dense(task, depth, first, count, all * piece / pieces, all * (piece + 1) / pieces, pointers);
        continue;
      }
      const float* const r = task.residual ? task.residual + first * s.out : nullptr;
      conv_row().taps({ConvTapsKind::multiply, pointers, count, taps, s.out, filters, packing.row(), task.bias, nullptr, r, s.out, task.y + first * s.out, s.out, task.finish});
    }
  });
}

}  // namespace

Status conv2d_last_pack_infer(conv2d_last_pack_args& a) {
  TERSOR_TRY(expect_dtype(kPack, "w", a.w, DType::f32));
  TERSOR_TRY(expect_rank(kPack, "w", a.w, 4));
  TERSOR_TRY(check_groups(kPack, a.w.shape, a.groups));
  if (a.scale.present()) {
    TERSOR_TRY(expect_dtype(kPack, "scale", a.scale, DType::f32));
    TERSOR_TRY(expect_shape(kPack, "scale", a.scale, a.w.shape, 1));
  }
  const int64_t bytes = Packing(conv_row(), a.w.shape, a.groups).header(conv_row()).bytes;
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status conv2d_last_pack_cpu(conv2d_last_pack_args& a, Context& ctx) {
  Contiguous w, scale;
  TERSOR_TRY(w.open(kPack, a.w, ctx.cancel));
  if (a.scale.present()) TERSOR_TRY(scale.open(kPack, a.scale, ctx.cancel));
  const Packing p(conv_row(), a.w.shape, a.groups);
  const Header header = p.header(conv_row());
  memcpy(a.packed.data, &header, sizeof header);
  float* const to = reinterpret_cast<float*>(a.packed.as<char>() + sizeof header);
  memset(to, 0, static_cast<size_t>(p.floats()) * 4);
  return parallel_for(p.out, grain_for(p.depth()), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) {
      const float* from = w.as<float>() + o * p.depth();
      const float times = a.scale.present() ? scale.as<float>()[o] : 1.0f;
      if (p.depthwise) {
        for (int64_t t = 0; t < p.taps; t++) to[t * p.row() + o] = from[t] * times;
        continue;
      }
      const int64_t group = o / p.group_out, column = o % p.group_out, v = column / p.lanes;
      int64_t panel = 0;
      while (p.first_vector(panel + 1) <= v) panel++;
      const int64_t v0 = p.first_vector(panel), width = (p.first_vector(panel + 1) - v0) * p.lanes;
      float* const base = to + (group * p.vectors + v0) * p.lanes * p.depth() + column - v0 * p.lanes;
      for (int64_t t = 0; t < p.taps; t++)
        for (int64_t c = 0; c < p.group_in; c++) base[(t * p.group_in + c) * width] = from[c * p.taps + t] * times;
    }
  });
}

Status conv2d_last_infer(conv2d_last_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(weight_shape(a.weight_shape, a.groups));
  GroupedShape s;
  TERSOR_TRY(geometry(a, &s));
  TERSOR_TRY(check_packed_size(kOp, kPack, a.packed, Packing(conv_row(), a.weight_shape.v, a.groups).header(conv_row()).bytes));
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(kOp, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &s.out, 1));
  }
  return finish_infer(kOp, a, s, DType::f32);
}

Status conv2d_last_cpu(conv2d_last_args& a, Context& ctx) {
  GroupedShape s;
  TERSOR_TRY(geometry(a, &s));
  const Packing packing(conv_row(), a.weight_shape.v, a.groups);
  const Header want = packing.header(conv_row());
  if (!a.packed.contiguous() || memcmp(a.packed.data, &want, sizeof want) != 0)
    return fail(Code::option, "%s: packed was not made by %s for filters [%lld,%lld,%lld,%lld] in %lld groups", kOp, kPack, static_cast<long long>(s.out),
                static_cast<long long>(s.group_in), static_cast<long long>(s.kh), static_cast<long long>(s.kw), static_cast<long long>(s.groups));
  if (a.y.size() == 0) return {};
  return run(a, s, packing, reinterpret_cast<const float*>(a.packed.as<char>() + sizeof want), ctx);
}

}  // namespace tersor
