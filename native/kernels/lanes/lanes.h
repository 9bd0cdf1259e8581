// Images side by side in the lanes of a vector: what convolution over a batch computes on (ops/conv_lanes.h). A block holds `lanes` images;
// its position e is the vector block[e * lanes .. + lanes), image i in lane i.
//   gather:  block[at[p] * lanes + i] = image[i * image_step + p] for p < n with at[p] >= 0, i < images; lanes i >= images become 0
//   scatter: image[i * image_step + p] = block[at[p] * lanes + i] for p < n, i < images; at[p] >= 0
// Values are moved and compared, never computed with: all rows agree bit for bit. Exactly the named elements are read and written; of elements with
// at[p] < 0 gather reads the source. No alignment is assumed; image, block and at do not overlap.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

struct LanesGather {
  const float* image;
  int64_t image_step;
  int images;  // 1 .. lanes
  int64_t n;
  const int32_t* at;
  float* block;
};
struct LanesScatter {
  const float* block;
  const int32_t* at;
  int64_t n;
  float* image;
  int64_t image_step;
  int images;
};

// One row of pooling windows that do not overlap, ph x pw positions each, in blocks: `columns` windows from left to right. Of the windows' rows
// [r0, r1) are there. Lane i of index[j] is the chosen position of window j in the plane of image i; position (r, c) of window j is
// first + r * row + j * pw + c. dense: position (0, 0) of window 0, dense rows `pitch` positions apart.
//   expand: dense = value at the chosen position, 0 at the others
//   pool:   value, index = the largest (the first of equals, the first NaN before all) and where it is; needs all rows
//   select: value = dense at the chosen position; needs all rows
// expand and select return false if an index of the first `images` lanes is no position of its window (its value then goes nowhere, or is 0).
struct LanesWindows {
  int64_t columns, ph, pw, r0, r1;
  float* dense;
  int64_t pitch;
  int32_t first, row;
  float* value;
  int32_t* index;
  int images;
};

struct LanesRow {
  uint32_t needs;
  const char* function;
  int lanes;
  void (*gather)(const LanesGather&);
  void (*scatter)(const LanesScatter&);
  bool (*expand)(const LanesWindows&);
  void (*pool)(const LanesWindows&);
  bool (*select)(const LanesWindows&);
};

#define TERSOR_LANES(needs, name, lanes)  \
  void name##_gather(const LanesGather&); \
  void name##_scatter(const LanesScatter&); \
  bool name##_expand(const LanesWindows&); \
  void name##_pool(const LanesWindows&); \
  bool name##_select(const LanesWindows&);
#include "kernels/lanes/kernels.inc"
#undef TERSOR_LANES

// The reference for blocks of any width; the vector rows use it for blocks that are not full and for short runs.
void lanes_gather_reference(const LanesGather& g, int lanes);
void lanes_scatter_reference(const LanesScatter& s, int lanes);

const LanesRow& lanes_row();                 // the chosen row
int lanes_all_rows(const LanesRow** out);    // every row compiled in, best first
int lanes_rows(RowInfo* out, int capacity);

}  // namespace tersor
