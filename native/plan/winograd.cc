#include "plan/winograd.h"

namespace tersor {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Cycles on a core with two 512-bit multiply-add units, where these numbers were measured (docs/performance/convolution-inference.md). All filters of a net are
// read once per run, so they come from memory.
constexpr double kProducts = 28;                          // multiply-adds a cycle
constexpr double kChains = 4;                             // steps of k that the beginning and the end of a chain of them take
constexpr double kFilterBytes = 4;                        // of filters a cycle, from memory
constexpr double kTransforms2 = 200, kTransforms4 = 500;  // of 16 channels of one tile, both of them
constexpr double kMargin = 0.9;                           // below which transforms are worth their rounding

double direct_cycles(double pixels, double channels, double filters) {
  return pixels * (9 * channels + kChains) * filters / kProducts + 36 * channels * filters / kFilterBytes;
}
double winograd_cycles(double tiles, double tile, double channels, double filters) {
  const double positions = (tile + 2) * (tile + 2), transforms = (channels + filters) / 2 / 16 * tiles * (tile > 2 ? kTransforms4 : kTransforms2);
  return tiles * positions * (channels + kChains) * filters / kProducts + positions * 4 * channels * filters / kFilterBytes + transforms;
}

}  // namespace

int64_t winograd_tile(const conv2d_last_args& a) {
  if (a.groups != 1 || a.weight_shape.v[2] != 3 || a.weight_shape.v[3] != 3) return 0;
  for (int i = 0; i < 2; i++)
    if (a.stride.v[i] != 1 || a.dilation.v[i] != 1) return 0;
  const int64_t channels = a.weight_shape.v[1], filters = a.weight_shape.v[0];
  const int64_t batch = a.x.shape[0], height = a.x.shape[2] + a.padding.v[0] + a.padding.v[1] - 2, width = a.x.shape[3] + a.padding.v[2] + a.padding.v[3] - 2;
  const double c = static_cast<double>(channels), o = static_cast<double>(filters);
  double best = kMargin * direct_cycles(static_cast<double>(batch * height * width), c, o);
  int64_t tile = 0;
  for (const int64_t m : {2, 4}) {
    const int64_t tiles = batch * divide_up(height, m) * divide_up(width, m);
    const double cycles = winograd_cycles(static_cast<double>(tiles), static_cast<double>(m), c, o);
    if (cycles < best) best = cycles, tile = m;
  }
  return tile;
}

Step winograd_step(const Step& direct, int64_t tile) {
  const conv2d_last_args& a = direct.as<conv2d_last_args>();
  conv2d_winograd_args to{};
  to.x = a.x, to.packed = a.packed, to.bias = a.bias, to.residual = a.residual, to.y = a.y;
  to.out = a.weight_shape.v[0], to.tile = tile, to.padding = a.padding;
  to.act = a.act, to.lo = a.lo, to.hi = a.hi, to.scale = a.scale, to.shift = a.shift;
  Step step = make_step(Op::conv2d_winograd, to);
  step.label = direct.label;
  return step;
}

}  // namespace tersor
