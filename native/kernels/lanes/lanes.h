// Images side by side in the lanes of a vector: what convolution over a batch computes on (ops/conv_lanes.h). A block holds `lanes` images;
// its position e is the vector block[e * lanes .. + lanes), image i in lane i.
//   gather:  block[at[p] * lanes + i] = image[i * image_step + p] for p < n with at[p] >= 0, i < images; lanes i >= images become 0
//   scatter: image[i * image_step + p] = block[at[p] * lanes + i] for p < n, i < images; at[p] >= 0
// Values are moved, never computed with: all rows agree bit for bit. Exactly the named elements are read and written; of elements with
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

struct LanesRow {
  uint32_t needs;
  const char* function;
  int lanes;
  void (*gather)(const LanesGather&);
  void (*scatter)(const LanesScatter&);
};

#define TERSOR_LANES(needs, name, lanes)  \
  void name##_gather(const LanesGather&); \
  void name##_scatter(const LanesScatter&);
#include "kernels/lanes/kernels.inc"
#undef TERSOR_LANES

// The reference for blocks of any width; the vector rows use it for blocks that are not full and for short runs.
void lanes_gather_reference(const LanesGather& g, int lanes);
void lanes_scatter_reference(const LanesScatter& s, int lanes);

const LanesRow& lanes_row();                 // the chosen row
int lanes_all_rows(const LanesRow** out);    // every row compiled in, best first
int lanes_rows(RowInfo* out, int capacity);

}  // namespace tersor
