// What conv2d and its adjoints share: the geometry, its checks, and how an image is cut into bands of rows.
#pragma once
#include "kernels/conv/shift.h"
#include "ops/util.h"

namespace tersor {

// Towards minus infinity; b > 0.
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// x[B,C,H,W] * w[O,C,kh,kw] -> y[B,O,OH,OW] with symmetric zero padding.
struct ConvShape {
  int64_t batch, in, height, width;
  int64_t out, kh, kw;
  int64_t sh, sw, ph, pw;
  int64_t out_h, out_w;
};

// Shape lists of rank 4 (from a tensor or from an integer list).
Status conv_shape(const char* op, const int64_t x[4], const int64_t w[4], const IntList& stride, const IntList& padding, ConvShape* out);
Status conv_list4(const char* op, const char* name, const IntList& list);

// Rows of output per task: the band's planes stay within `bytes` (L2), and an image gives more than one task when it is large.
int64_t conv_band_rows(int64_t rows, int64_t fixed_rows, int64_t bytes_per_row, int64_t bytes, int64_t work_per_row);

// Planes for the forward direction and the offsets of its taps k = (c, ky, kx) for planes of `rows` rows.
ConvPlanes conv_forward_planes(const ConvShape& s);
inline int64_t conv_forward_halo(const ConvShape& s) { return (s.kh - 1) / s.sh; }
// The image itself serves as its planes: no padding, no stride.
inline bool conv_planes_are_image(const ConvShape& s) { return s.ph == 0 && s.pw == 0 && s.sh == 1 && s.sw == 1; }
void conv_forward_offsets(const ConvShape& s, int64_t plane, int64_t pitch, int64_t* offset);

}  // namespace tersor
