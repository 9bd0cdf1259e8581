#include "ops/conv_lanes_plan.h"

#include "kernels/lanes/lanes.h"
#include "ops/util.h"

namespace tersor {

int64_t LaneAxis::delta(int64_t phase, int64_t tap) const { return adjoint ? floor_div(phase + padding - tap, stride) : tap - padding; }
int64_t LaneAxis::before() const { return !adjoint ? padding : taps - 1 > padding ? (taps - 1 - padding + stride - 1) / stride : 0; }
int64_t LaneAxis::halo() const { return adjoint ? before() + (stride - 1 + padding) / stride : (taps - 1) / stride; }

// f(part with fy, fx, column, columns, tap0, tap1) for each part; returns their number. Columns go in units; neighbours
// that need the same taps are one part.
template <class F> int64_t LanePlanner::each_part(F f) const {
  const LaneAxis &y = plan.y, &x = plan.x;
  int64_t count = 0;
  for (int64_t fy = 0; fy < y.phases(); fy++)
    for (int64_t fx = 0; fx < x.phases(); fx++) {
      const int64_t columns = x.positions(fx);
      LanePart p{};
      p.fy = fy, p.fx = fx;
      for (int64_t q = 0; q < columns; q += unit_) {
        const int64_t end = q + unit_ < columns ? q + unit_ : columns;
        int64_t lo = x.taps, hi = 0;
        for (int64_t t = 0; t < x.taps; t++) {
          if (!x.hits(fx, t)) continue;
          const int64_t d = x.delta(fx, t);
          if ((end - 1) * x.step() + d < 0 || q * x.step() + d >= x.source()) continue;
          lo = t < lo ? t : lo, hi = t + 1;
        }
        if (lo > hi) lo = hi = 0;
        if (q > 0 && lo == p.tap0 && hi == p.tap1) {
          p.columns = end - p.column;
          continue;
        }
        if (q > 0) f(p), count++;
        p.column = q, p.columns = end - q, p.tap0 = lo, p.tap1 = hi;
      }
      if (columns > 0) f(p), count++;
    }
  return count;
}

Status LanePlanner::make(const char* op, const ConvShape& s, bool adjoint, int lanes, int64_t unit, int64_t rows_together, const float* w) {
  LanePlan& p = plan;
  p.y = {s.sh, s.ph, s.kh, s.height, s.out_h, adjoint};
  p.x = {s.sw, s.pw, s.kw, s.width, s.out_w, adjoint};
  p.source = adjoint ? s.out : s.in, p.result = adjoint ? s.in : s.out;
  p.planes = conv_forward_planes(s);
  if (adjoint) p.planes.sh = p.planes.sw = p.planes.phases_y = p.planes.phases_x = 1;
  p.planes.channels = p.source, p.planes.height = p.y.source(), p.planes.width = p.x.source();
  p.planes.top = p.y.before(), p.planes.left = p.x.before();
  p.planes.pitch = p.x.positions(0) + p.x.halo();
  p.halo = p.y.halo();
  const int64_t rows = p.y.positions(0), vector = lanes * static_cast<int64_t>(sizeof(float));
  const int64_t result_row = p.result * p.x.positions(0) * p.y.phases() * p.x.phases();
  p.band = conv_band_rows(rows, p.halo, (p.planes.elements(1) + result_row) * vector, 48 * 1024 * lanes, s.out * s.in * s.kh * s.kw * p.planes.pitch * lanes / 16);
  p.band = (p.band + rows_together - 1) / rows_together * rows_together;
  p.bands = rows > 0 ? (rows + p.band - 1) / p.band : 1;
  p.plane = p.planes.plane(p.band + p.halo);
  p.channel = p.plane * p.planes.phases_y * p.planes.phases_x;

  unit_ = unit;
  int64_t taps = 0;
  p.part_count = each_part([&](const LanePart& part) { taps += p.source * p.y.taps * (part.tap1 - part.tap0); });
  const int64_t out_rows = p.band * p.y.result_step();
  TERSOR_TRY(parts_.reserve(op, p.part_count * static_cast<int64_t>(sizeof(LanePart))));
  TERSOR_TRY(runs_.reserve(op, p.part_count * p.y.taps * static_cast<int64_t>(sizeof(LaneRun))));
  TERSOR_TRY(offset_.reserve(op, taps * 8));
  TERSOR_TRY(weight_.reserve(op, taps * p.result * static_cast<int64_t>(sizeof(float))));
  TERSOR_TRY(gather_.reserve(op, p.y.source() * p.x.source() * 4));
  TERSOR_TRY(scatter_.reserve(op, out_rows * p.x.result() * 4));
  fill_tables(s, lanes, w);
  return {};
}

void LanePlanner::fill_tables(const ConvShape& s, int lanes, const float* w) {
  LanePlan& p = plan;
  LanePart* const parts = parts_.as<LanePart>();
  LaneRun* const runs = runs_.as<LaneRun>();
  int64_t* const offset = offset_.as<int64_t>();
  float* const weight = weight_.as<float>();
  const ConvPlanes& planes = p.planes;
  int64_t part_at = 0, run_at = 0, tap_at = 0;
  each_part([&](LanePart part) {
    part.first_run = run_at, part.first_tap = tap_at;
    for (int64_t ky = 0; ky < p.y.taps; ky++) {
      if (!p.y.hits(part.fy, ky)) continue;
      runs[run_at++] = {p.y.delta(part.fy, ky), tap_at - part.first_tap};
      const int64_t at_y = p.y.delta(part.fy, ky) + planes.top;
      for (int64_t c = 0; c < p.source; c++)
        for (int64_t kx = part.tap0; kx < part.tap1; kx++) {
          if (!p.x.hits(part.fx, kx)) continue;
          const int64_t at_x = p.x.delta(part.fx, kx) + planes.left;
          const int64_t image = (at_y % planes.sh) * planes.phases_x + at_x % planes.sw;
          offset[tap_at++] = (c * p.channel + image * p.plane + at_y / planes.sh * planes.pitch + at_x / planes.sw + part.column) * lanes;
        }
    }
    part.runs = run_at - part.first_run, part.depth = tap_at - part.first_tap;
    float* to = weight + part.first_tap * p.result;
    for (int64_t r = 0; r < p.result; r++)
      for (int64_t ky = 0; ky < p.y.taps; ky++) {
        if (!p.y.hits(part.fy, ky)) continue;
        for (int64_t c = 0; c < p.source; c++)
          for (int64_t kx = part.tap0; kx < part.tap1; kx++)
            if (p.x.hits(part.fx, kx)) *to++ = w[((p.y.adjoint ? c * s.in + r : r * s.in + c) * s.kh + ky) * s.kw + kx];
      }
    parts[part_at++] = part;
  });
  p.phase = p.band * p.x.positions(0);
  lane_gather_table(planes, p.plane, gather_.as<int32_t>());
  int32_t* at = scatter_.as<int32_t>();
  const int64_t step_y = p.y.result_step(), step_x = p.x.result_step();
  for (int64_t y = 0; y < p.band * step_y; y++)
    for (int64_t x = 0; x < p.x.result(); x++) {
      const int64_t fy = y % step_y, fx = x % step_x;
      // Phases beyond the image's last row have no rows; they are never read.
      *at++ = static_cast<int32_t>((fy * p.x.phases() + fx) * p.phase + y / step_y * p.x.positions(fx) + x / step_x);
    }
  p.parts = parts, p.runs = runs, p.offset = offset, p.weight = weight;
  p.gather_at = gather_.as<int32_t>(), p.scatter_at = scatter_.as<int32_t>();
}

void lane_gather_table(const ConvPlanes& p, int64_t plane, int32_t* at) {
  for (int64_t y = 0; y < p.height; y++)
    for (int64_t x = 0; x < p.width; x++) {
      const int64_t fy = (y + p.top) % p.sh, fx = (x + p.left) % p.sw, j = (x + p.left) / p.sw;
      const bool used = fy < p.phases_y && fx < p.phases_x && j < p.pitch;
      *at++ = used ? static_cast<int32_t>((fy * p.phases_x + fx) * plane + (y + p.top) / p.sh * p.pitch + j) : -1;
    }
}

bool lane_fill(const ConvPlanes& p, int64_t plane, const int32_t* at, const LaneSource& from, int64_t first, int count, int64_t r0, int64_t rows,
               float* planes) {
  const LanesRow& row = lanes_row();
  int64_t begin = r0 * p.sh - p.top, end = (r0 + rows - 1) * p.sh + p.phases_y - p.top;
  if (begin < 0) begin = 0;
  if (end > p.height) end = p.height;
  if (begin >= end) return true;
  LanesGather g;
  g.image_step = from.image, g.images = count;
  if (!from.index) {
    g.n = (end - begin) * p.width, g.at = at + begin * p.width;
    for (int64_t c = 0; c < p.channels; c++) {
      g.image = from.value + first * from.image + (c * p.height + begin) * p.width;
      g.block = planes + (c * p.phases_y * p.phases_x * plane - r0 * p.pitch) * row.lanes;
      row.gather(g);
    }
    return true;
  }
  const int64_t ph = from.windows.ph, pw = from.windows.pw, all = p.height / ph, columns = p.width / pw;
  const int64_t w0 = begin / ph, w1 = (end + ph - 1) / ph < all ? (end + ph - 1) / ph : all;
  if (w0 >= w1 || columns == 0) return true;
  bool good = true;
  float* const index = from.pooled + (w1 - w0) * columns * row.lanes;
  g.n = (w1 - w0) * columns, g.at = from.line;
  for (int64_t c = 0; c < p.channels; c++) {
    const int64_t start = first * from.image + (c * all + w0) * columns;
    g.image = from.value + start, g.block = from.pooled;
    row.gather(g);
    g.image = reinterpret_cast<const float*>(from.index + start), g.block = index;
    row.gather(g);
    for (int64_t i = w0; i < w1; i++) {
      LanesWindows w;
      w.columns = columns, w.ph = ph, w.pw = pw;
      w.r0 = begin > i * ph ? begin - i * ph : 0, w.r1 = end - i * ph < ph ? end - i * ph : ph;
      w.dense = planes + (c * plane + (i * ph + p.top - r0) * p.pitch + p.left) * row.lanes, w.pitch = p.pitch;
      w.first = static_cast<int32_t>(i * ph * p.width), w.row = static_cast<int32_t>(p.width);
      w.value = from.pooled + (i - w0) * columns * row.lanes, w.index = reinterpret_cast<int32_t*>(index + (i - w0) * columns * row.lanes);
      w.images = count;
      good = row.expand(w) && good;
    }
  }
  return good;
}

}  // namespace tersor
