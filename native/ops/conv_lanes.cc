#include "ops/conv_lanes.h"

#include "kernels/gemm/gemm.h"
#include "kernels/lanes/lanes.h"
#include "ops/conv_lanes_plan.h"
#include "ops/slots.h"

namespace tersor {

bool conv_lanes_pays(const ConvShape& s) {
  const int64_t lanes = lanes_row().lanes;
  if (lanes < 8) return false;                                             // scalar
  if (4 * s.batch < 3 * ((s.batch + lanes - 1) / lanes * lanes)) return false;  // lanes left empty
  if (s.kh * s.kw == 1 && conv_planes_are_image(s)) return false;          // a product that needs no copy
  if (s.out == 0 || s.in == 0) return false;
  const int64_t width = (s.out_w + s.kw + s.width) * lanes * 4;            // bytes of a row of positions, at most
  const int64_t rows = s.kh + 8;
  return width <= (int64_t(1) << 20) && (s.in + s.out) * width * rows <= (int64_t(1) << 22) && s.height * s.width < (int64_t(1) << 24);
}

namespace {

int block_images(int64_t batch, int64_t block, int lanes) {
  return batch - block * lanes < lanes ? static_cast<int>(batch - block * lanes) : lanes;
}

// Rows [q0, q0 + rows) of every phase of one block: planes -> result.
void correlate(const LanePlan& p, const GemmRow<float>& row, int lanes, const float* bias, int64_t q0, int64_t rows, const float* planes, float* result) {
  const int64_t c_row = p.result_channel() * lanes, height = p.y.source();
  for (int64_t i = 0; i < p.part_count; i++) {
    const LanePart& part = p.parts[i];
    const LaneRun* const runs = p.runs + part.first_run;
    const int64_t columns = p.x.positions(part.fx), phase_rows = p.y.positions(part.fy);
    float* const to = result + ((part.fy * p.x.phases() + part.fx) * p.phase + part.column) * lanes;
    for (int64_t q = q0; q < q0 + rows && q < phase_rows; q++) {
      // The kernel rows that meet a row of the source: neighbours in the list.
      const int64_t at = q * p.y.step();
      int64_t first = 0, last = part.runs;
      while (first < last && (at + runs[first].delta < 0 || at + runs[first].delta >= height)) first++;
      while (last > first && (at + runs[last - 1].delta < 0 || at + runs[last - 1].delta >= height)) last--;
      const int64_t k0 = first < part.runs ? runs[first].first : part.depth, k1 = last < part.runs ? runs[last].first : part.depth;
      GemmStrip<float> g;
      g.b = planes + (q - q0) * p.planes.pitch * lanes, g.offset = p.offset + part.first_tap + k0;
      g.b_panel = row.nr;
      g.k = first < last ? k1 - k0 : 0, g.n = part.columns * lanes, g.m = static_cast<int>(p.result);
      g.a = p.weight + part.first_tap * p.result + k0, g.a_row = part.depth;
      g.bias_m = bias;
      g.c = to + (q - q0) * columns * lanes, g.c_row = c_row;
      row.strip(g);
    }
  }
}

// Where a band of the result goes: to images, or through pooling windows.
struct LaneTarget {
  float* value;
  int32_t* index = nullptr;         // written (max pooling)
  const int32_t* choice = nullptr;  // read (selection)
  ConvWindows windows{};
};

Status bad_index(const char* op, const ConvWindows& p) {
  return fail(Code::shape, "%s: index must lie in its window of %lld x %lld positions", op, static_cast<long long>(p.ph), static_cast<long long>(p.pw));
}

// Windows of one channel of a band, rows [w0, w1) of them, in `tile`; value and index pass through `pooled`.
bool store_windows(const LanesRow& lanes, const ConvShape& s, const LaneTarget& to, const int32_t* line, int64_t start, int64_t image, int images, int64_t w0,
                   int64_t w1, float* tile, float* pooled) {
  const int64_t L = lanes.lanes, columns = to.windows.columns(s), count = (w1 - w0) * columns;
  float* const index = pooled + count * L;
  if (count == 0) return true;
  if (to.choice) lanes.gather({reinterpret_cast<const float*>(to.choice + start), image, images, count, line, index});
  bool good = true;
  for (int64_t i = w0; i < w1; i++) {
    LanesWindows w;
    w.columns = columns, w.ph = to.windows.ph, w.pw = to.windows.pw, w.r0 = 0, w.r1 = w.ph;
    w.dense = tile + (i - w0) * w.ph * s.out_w * L, w.pitch = s.out_w;
    w.first = static_cast<int32_t>(i * w.ph * s.out_w), w.row = static_cast<int32_t>(s.out_w);
    w.value = pooled + (i - w0) * columns * L, w.index = reinterpret_cast<int32_t*>(index + (i - w0) * columns * L);
    w.images = images;
    if (to.choice) good = lanes.select(w) && good;
    else lanes.pool(w);
  }
  lanes.scatter({pooled, line, count, to.value + start, image, images});
  if (to.index) lanes.scatter({index, line, count, reinterpret_cast<float*>(to.index + start), image, images});
  return good;
}

Status run(const char* op, const ConvShape& s, bool adjoint, LaneSource source, const float* w, const float* bias, const LaneTarget& target,
           const Cancel* cancel) {
  const LanesRow& lanes = lanes_row();
  const GemmRow<float>& row = gemm_row<float>();
  const int64_t L = lanes.lanes;
  const ConvWindows& in = source.windows;
  const ConvWindows& out = target.windows;
  LanePlanner planner;
  TERSOR_TRY(planner.make(op, s, adjoint, lanes.lanes, row.nr * 2 / L, out.ph > 0 ? out.ph : 1, w));
  const LanePlan& p = planner.plan;
  const int64_t blocks = (s.batch + L - 1) / L, result_plane = p.y.result() * p.x.result();
  const int64_t planes_floats = p.planes_positions() * L, tile_floats = p.result * p.result_channel() * L;
  const int64_t windows = in.ph > 0 ? in.rows(s) * in.columns(s) : out.ph > 0 ? out.rows(s) * out.columns(s) : 0;
  Scratch line;
  TERSOR_TRY(line.reserve(op, windows * 4));
  for (int64_t i = 0; i < windows; i++) line.as<int32_t>()[i] = static_cast<int32_t>(i);
  source.line = line.as<int32_t>();
  source.image = in.ph > 0 ? s.out * windows : p.source * p.y.source() * p.x.source();
  std::atomic<bool> good{true};
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(op, (planes_floats + tile_floats + lane_pooled_floats(windows, lanes.lanes)) * static_cast<int64_t>(sizeof(float)), blocks * p.bands));
  TERSOR_TRY(parallel_for(blocks * p.bands, 1, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    float* const planes = slot.template as<float>();
    float* const tile = planes + planes_floats;
    float* const pooled = tile + tile_floats;
    LaneSource from = source;
    from.pooled = pooled;
    for (int64_t task = begin; task < end; task++) {
      const int64_t block = task / p.bands, q0 = task % p.bands * p.band;
      const int64_t rows = p.y.positions(0) - q0 < p.band ? p.y.positions(0) - q0 : p.band;
      const int images = block_images(s.batch, block, lanes.lanes);
      memset(planes, 0, static_cast<size_t>(planes_floats) * sizeof(float));
      if (!lane_fill(p.planes, p.plane, p.gather_at, from, block * L, images, q0, rows + p.halo, planes)) good.store(false, std::memory_order_relaxed);
      correlate(p, row, lanes.lanes, bias, q0, rows, planes, tile);
      const int64_t y0 = q0 * p.y.result_step(), y1 = (q0 + rows) * p.y.result_step();
      for (int64_t c = 0; c < p.result; c++) {
        float* const channel = tile + c * p.result_channel() * L;
        if (out.ph > 0) {
          const int64_t start = (block * L * p.result + c) * windows + q0 / out.ph * out.columns(s);
          if (!store_windows(lanes, s, target, source.line, start, p.result * windows, images, q0 / out.ph, (q0 + rows) / out.ph, channel, pooled))
            good.store(false, std::memory_order_relaxed);
          continue;
        }
        lanes.scatter({channel, p.scatter_at, ((y1 < p.y.result() ? y1 : p.y.result()) - y0) * p.x.result(),
                       target.value + (block * L * p.result + c) * result_plane + y0 * p.x.result(), p.result * result_plane, images});
      }
    }
  }));
  return good.load() ? Status{} : bad_index(op, in.ph > 0 ? in : out);
}

}  // namespace

Status conv_lanes_forward(const char* op, const ConvShape& s, const float* x, const float* w, const float* bias, float* y, const Cancel* cancel) {
  return run(op, s, false, {x}, w, bias, {y}, cancel);
}
Status conv_lanes_grad_input(const char* op, const ConvShape& s, const float* dy, const float* w, float* dx, const Cancel* cancel) {
  return run(op, s, true, {dy}, w, nullptr, {dx}, cancel);
}
Status conv_lanes_max_pool(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* w, const float* bias, float* value,
                           int32_t* index, const Cancel* cancel) {
  return run(op, s, false, {x}, w, bias, {value, index, nullptr, p}, cancel);
}
Status conv_lanes_select(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* w, const int32_t* index, float* value,
                         const Cancel* cancel) {
  return run(op, s, false, {x}, w, nullptr, {value, nullptr, index, p}, cancel);
}
Status conv_lanes_select_grad_input(const char* op, const ConvShape& s, const ConvWindows& p, const float* value, const int32_t* index, const float* w,
                                    float* dx, const Cancel* cancel) {
  return run(op, s, true, {value, index, p}, w, nullptr, {dx}, cancel);
}

// Items are bands of rows of a block. Partial sums are cut by shape alone and added in order.
namespace {
Status grad_weight(const char* op, const ConvShape& s, const float* x, LaneSource dy, float* dw, const Cancel* cancel) {
  const LanesRow& lanes = lanes_row();
  const GemmRow<float>& row = gemm_row<float>();
  const int64_t L = lanes.lanes, depth = s.in * s.kh * s.kw, size = s.out * depth, out_plane = s.out_h * s.out_w;
  const ConvWindows& windows = dy.windows;
  const int64_t pooled = windows.ph > 0 ? windows.rows(s) * windows.columns(s) : 0;
  ConvPlanes planes = conv_forward_planes(s);
  const int64_t halo = conv_forward_halo(s), vector = L * static_cast<int64_t>(sizeof(float));
  const int64_t band = conv_band_rows(s.out_h, halo, (planes.elements(1) + s.out * s.out_w) * vector, 48 * 1024 * L, s.out * depth * s.out_w * L / 16);
  const int64_t bands = (s.out_h + band - 1) / band, items = (s.batch + L - 1) / L * bands;
  const int64_t plane = planes.plane(band + halo), x_floats = planes.elements(band + halo) * L, dy_channel = band * s.out_w, dy_floats = s.out * dy_channel * L;
  constexpr int64_t kMostPartials = 32;
  const int64_t run = items > kMostPartials ? (items + kMostPartials - 1) / kMostPartials : 1, partials = (items + run - 1) / run;
  Scratch offsets, x_table, dy_table, sums;
  TERSOR_TRY(offsets.reserve(op, depth * 8));
  TERSOR_TRY(x_table.reserve(op, s.height * s.width * 4));
  // The gradient's planes: rows as they are, no border.
  ConvPlanes flat{s.out, s.out_h, s.out_w, 1, 1, 1, 1, 0, 0, s.out_w};
  TERSOR_TRY(dy_table.reserve(op, out_plane * 4));
  if (partials > 1) TERSOR_TRY(sums.reserve(op, partials * size * static_cast<int64_t>(sizeof(float))));
  conv_forward_offsets(s, plane, planes.pitch, offsets.as<int64_t>());
  for (int64_t i = 0; i < depth; i++) offsets.as<int64_t>()[i] *= L;
  lane_gather_table(planes, plane, x_table.as<int32_t>());
  for (int64_t i = 0; i < out_plane; i++) dy_table.as<int32_t>()[i] = static_cast<int32_t>(i);
  dy.line = dy_table.as<int32_t>();
  dy.image = windows.ph > 0 ? s.out * pooled : s.out * out_plane;
  const bool rests = windows.ph > 0 && (bands > 1 || s.out_h % windows.ph > 0 || s.out_w % windows.pw > 0);  // positions without a window
  const LaneSource images_x{x, nullptr, {}, s.in * s.height * s.width};
  std::atomic<bool> good{true};
  const auto is_cancelled = [&] { return cancel && cancel->load(std::memory_order_relaxed); };
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(op, (x_floats + dy_floats + lane_pooled_floats(pooled, lanes.lanes)) * static_cast<int64_t>(sizeof(float)), partials));
  TERSOR_TRY(parallel_for(partials, 1, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    float* const at_x = slot.template as<float>();
    float* const at_dy = at_x + x_floats;
    LaneSource from = dy;
    from.pooled = at_dy + dy_floats;
    for (int64_t part = begin; part < end; part++) {
      GemmDot<float> g;
      g.m = s.out, g.n = depth, g.k = s.out_w * L;
      g.a = at_dy, g.a_row = dy_channel * L, g.a_group = s.out_w * L;
      g.b = at_x, g.offset = offsets.as<int64_t>(), g.b_group = planes.pitch * L;
      g.c = partials > 1 ? sums.as<float>() + part * size : dw, g.c_row = depth;
      for (int64_t item = part * run; item < items && item < (part + 1) * run; item++) {
        if (is_cancelled()) return;  // a large batch has many items for each partial sum
        const int64_t block = item / bands, r0 = item % bands * band;
        const int images = block_images(s.batch, block, lanes.lanes);
        if (bands > 1 || item == part * run) memset(at_x, 0, static_cast<size_t>(x_floats) * sizeof(float));  // the rows outside differ by band
        g.groups = s.out_h - r0 < band ? s.out_h - r0 : band;
        lane_fill(planes, plane, x_table.as<int32_t>(), images_x, block * L, images, r0, g.groups + halo, at_x);
        if (rests) memset(at_dy, 0, static_cast<size_t>(dy_floats) * sizeof(float));
        if (!lane_fill(flat, dy_channel, dy_table.as<int32_t>(), from, block * L, images, r0, g.groups, at_dy)) good.store(false, std::memory_order_relaxed);
        g.accumulate = item > part * run;
        row.dot(g);
      }
    }
  }));
  if (is_cancelled()) return fail(Code::aborted, "cancelled");
  if (!good.load()) return bad_index(op, windows);
  if (partials == 1) return {};
  return parallel_for(size, grain_for(partials), cancel, [&](int64_t begin, int64_t end) {
    const float* sum = sums.as<float>();
    for (int64_t e = begin; e < end; e++) dw[e] = sum[e];
    for (int64_t p = 1; p < partials; p++)
      for (int64_t e = begin; e < end; e++) dw[e] += sum[p * size + e];
  });
}

}  // namespace

Status conv_lanes_grad_weight(const char* op, const ConvShape& s, const float* x, const float* dy, float* dw, const Cancel* cancel) {
  return grad_weight(op, s, x, {dy}, dw, cancel);
}
Status conv_lanes_select_grad_weight(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* value, const int32_t* index,
                                     float* dw, const Cancel* cancel) {
  return grad_weight(op, s, x, {value, index, p}, dw, cancel);
}

}  // namespace tersor
