// The geometry of one direction of a convolution in lanes (conv_lanes.h): which source elements meet which result elements. Forward and the adjoint
// in x are the same computation with other taps: the adjoint of a strided convolution splits its result by phase of the stride.
#pragma once
#include "base/alloc.h"
#include "ops/conv_lanes.h"

namespace tersor {

// One axis. Result position q of phase f (the q * step(f)-th element of the phase) takes source element q * step + delta(f, tap) with each tap that hits it.
struct LaneAxis {
  int64_t stride, padding, taps, in, out;
  bool adjoint;
  int64_t source() const { return adjoint ? out : in; }
  int64_t result() const { return adjoint ? in : out; }
  int64_t phases() const { return !adjoint ? 1 : stride < in ? stride : in; }
  int64_t step() const { return adjoint ? 1 : stride; }         // of the source from one position to the next
  int64_t result_step() const { return adjoint ? stride : 1; }  // of the result
  int64_t positions(int64_t phase) const { return !adjoint ? out : in > phase ? (in - phase + stride - 1) / stride : 0; }
  bool hits(int64_t phase, int64_t tap) const { return !adjoint || (phase + padding - tap) % stride == 0; }
  int64_t delta(int64_t phase, int64_t tap) const;
  int64_t before() const;  // zeros before the source in the planes
  int64_t halo() const;    // planes have that many more rows or columns than the result has positions
};

// The taps of one kernel row in a part: [first, first of the next run) of the part's taps, from source row q * step + delta.
struct LaneRun {
  int64_t delta, first;
};

// A rectangle of result positions with one list of taps: all rows of a phase, columns [column, column + columns) of it.
struct LanePart {
  int64_t fy, fx, column, columns;
  int64_t tap0, tap1;         // kernel columns in use
  int64_t depth, runs;        // taps; kernel rows
  int64_t first_tap, first_run;
};

struct LanePlan {
  LaneAxis y, x;
  ConvPlanes planes;
  int64_t source, result;     // channels
  int64_t halo, band, bands;  // rows of a phase per task
  int64_t plane;              // positions of a plane
  int64_t channel;            // positions of a channel's planes
  int64_t phase;              // positions of one phase of a band of the result
  const LanePart* parts;
  int64_t part_count;
  const LaneRun* runs;
  const int64_t* offset;      // of each tap, in floats
  const float* weight;        // per part [result, depth]
  const int32_t* gather_at;   // [source height * width] -> position in a channel's planes of row 0
  // For forward 0, 1, 2, ...
  const int32_t* scatter_at;  // [band * result_step rows of the result] -> position in the band's result of a channel
  int64_t planes_positions() const { return channel * source; }
  int64_t result_channel() const { return phase * y.phases() * x.phases(); }  // positions of one channel of the band's result
};

// Owns what a plan points to.
class LanePlanner {
 public:
  // `unit`: columns that are computed together. A band has a multiple of `rows_together` rows.
  Status make(const char* op, const ConvShape& s, bool adjoint, int lanes, int64_t unit, int64_t rows_together, const float* w);
  LanePlan plan;

 private:
  template <class F> int64_t each_part(F f) const;
  void fill_tables(const ConvShape& s, int lanes, const float* w);
  int64_t unit_ = 1;
  Scratch parts_, runs_, offset_, weight_, gather_, scatter_;
};

// The table of LanePlan::gather_at for planes of `rows` rows.
void lane_gather_table(const ConvPlanes& p, int64_t plane, int32_t* at);
// Where the planes' values come from: images of a batch, or windows of which one position each has a value and the others are 0.
struct LaneSource {
  const float* value;
  const int32_t* index = nullptr;  // null: images
  ConvWindows windows{};
  int64_t image = 0;               // elements of an image of `value`
  float* pooled = nullptr;         // with windows: room for lane_pooled_floats
  const int32_t* line = nullptr;   // 0, 1, 2, ...
};
inline int64_t lane_pooled_floats(int64_t windows, int lanes) { return 2 * windows * lanes; }
// Fills planes rows [r0, r0 + rows) of all channels from the rows that exist of `count` images, the first of them number `first`; other elements stay.
// Planes of windows have no stride. False: an index lies outside its window.
bool lane_fill(const ConvPlanes& p, int64_t plane, const int32_t* at, const LaneSource& from, int64_t first, int count, int64_t r0, int64_t rows,
               float* planes);

}  // namespace tersor
