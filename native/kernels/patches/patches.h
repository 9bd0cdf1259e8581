// Products of chosen patches of an image with filters, one patch at a time: derivatives of a convolution under max pooling, where most positions have no value
// (ops/conv_patches.h). A plane lies as pixels: the channels of a pixel side by side, rows of pixels `pitch` floats apart. A patch is `rows` runs of 16 * vectors
// floats, the run r at plane + at + r * pitch; filters have runs of the same length, zeros where they are shorter.
//   list:   the windows that have a value other than 0, in order: their values, and where the patches of their chosen positions lie
//   dot:    out[i] = <patch at[i], w>
//   sum:    total += values[i] * patch at[i]
//   spread: patch at[i] += values[i] * w; of a filter there is a copy for each place in a vector at which a pixel can begin, so that all accesses are aligned
//   pixels: channels [channels][plane] -> pixels `step` floats apart, and images: back
//   finite: whether no value is an infinity or NaN
// Whole vectors are read and written: see each function. No alignment is assumed but in spread (64 bytes, both); nothing overlaps.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

// Window i has the plane positions first[i] + r * row + c for r < ph, c < pw; index[i] is the chosen one and base[i] + r * down + c * right its patch.
struct PatchList {
  const float* value;  // null: every window counts, values are not written
  const int32_t* index;
  int64_t windows, ph, pw;
  const int32_t* first;
  int32_t row;
  const int32_t* base;
  int32_t down, right;
  float* values;  // room for windows + 15
  int32_t* at;    // room for windows + 15
};
struct PatchDot {
  const float* plane;
  int64_t pitch;
  int rows, vectors;
  const int32_t* at;
  int64_t n;
  const float* w;
  float* out;  // [n]
};
struct PatchSum {
  const float* plane;
  int64_t pitch;
  int rows, vectors;
  const int32_t* at;
  const float* values;
  int64_t n;
  float* total;
};
// pitch is a multiple of 16. Patch i begins at[i] % 16 floats into the run of whole vectors at[i] - at[i] % 16 and is multiplied with the copy
// w + at[i] % 16 / step * copy, which has as many zeros before its values.
struct PatchSpread {
  float* plane;
  int64_t pitch;
  int rows, vectors;
  const int32_t* at;
  const float* values;
  int64_t n;
  const float* w;
  int64_t step, copy;  // step: a power of two up to 16
};
// 1 to 8 channels. pixels writes, and images reads, 8 floats of each pixel, from the first pixel on: pixels makes those behind the channels 0 before it
// writes the next pixel.
struct PatchPixels {
  const float* channels;
  float* image;
  int64_t plane, count, n, step;  // floats from channel to channel, channels, pixels, floats from pixel to pixel
};
struct PatchImages {
  const float* image;
  float* channels;
  int64_t plane, count, n, step;
};

struct PatchesRow {
  uint32_t needs;
  const char* function;
  bool pays;
  int64_t (*list)(const PatchList&);  // how many; -1 if an index is no position of its window
  void (*dot)(const PatchDot&);
  void (*sum)(const PatchSum&);
  void (*spread)(const PatchSpread&);
  void (*pixels)(const PatchPixels&);
  void (*images)(const PatchImages&);
  bool (*finite)(const float*, int64_t n);
};

// The sizes that every row computes: dot and sum, and spread.
inline bool patch_sizes(int64_t rows, int64_t vectors) { return (rows == 3 || rows == 5) && (vectors == 1 || vectors == 2); }
inline bool patch_spread_sizes(int64_t vectors) { return vectors == 2 || vectors == 3; }

#define TERSOR_PATCHES(needs, name, pays)   \
  int64_t name##_list(const PatchList&);    \
  void name##_dot(const PatchDot&);         \
  void name##_sum(const PatchSum&);         \
  void name##_spread(const PatchSpread&);   \
  void name##_pixels(const PatchPixels&);   \
  void name##_images(const PatchImages&);   \
  bool name##_finite(const float*, int64_t n);
#include "kernels/patches/kernels.inc"
#undef TERSOR_PATCHES

const PatchesRow& patches_row();               // the chosen row
int patches_all_rows(const PatchesRow** out);  // every row compiled in, best first
int patches_rows(RowInfo* out, int capacity);

}  // namespace tersor
