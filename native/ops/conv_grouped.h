// Geometry of the general convolution: groups, dilation, and padding of its own on each side. conv_shape.h is the plain case.
#pragma once
#include "kernels/conv/shift.h"
#include "ops/util.h"

namespace tersor {

// x[B,C,H,W] * w[O,C/groups,kh,kw] -> y[B,O,OH,OW]; output channel o sees the input channels of group o / (O / groups).
struct GroupedShape {
  int64_t batch, in, height, width;
  int64_t out, kh, kw;
  int64_t groups, group_in, group_out;
  int64_t sh, sw, top, left, dh, dw;
  int64_t out_h, out_w;

  int64_t depth() const { return group_in * kh * kw; }
  int64_t span_h() const { return (kh - 1) * dh; }  // rows between the first and the last tap
  int64_t span_w() const { return (kw - 1) * dw; }
};

// Attributes of a call. padding: top, bottom, left, right.
struct GroupedAttributes {
  const IntList &stride, &padding, &dilation;
  int64_t groups;
};

// Checks everything; x and w are shapes of rank 4.
Status grouped_shape(const char* op, const int64_t x[4], const int64_t w[4], const GroupedAttributes& a, GroupedShape* out);

// Planes of one group for the forward direction and the offsets of its taps k = (c, ky, kx) for planes of `plane` elements.
ConvPlanes grouped_planes(const GroupedShape& s);
void grouped_offsets(const GroupedShape& s, int64_t plane, int64_t pitch, int64_t* offset);

}  // namespace tersor
