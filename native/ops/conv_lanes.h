// Convolution of a batch with images side by side in the lanes of a vector (kernels/lanes). A block of `lanes` images is gathered into the
// planes of kernels/conv/shift.h, each element a vector; a row of the result is then one matrix product whose columns are the row's positions
// times the lanes, without excess columns whatever the width, and every load is aligned. Taps that fall on padding rows are left out; columns at
// the sides have their own lists of taps where that saves work. f32; the choice of this path and all sums depend on shapes and processor only.
#pragma once
#include "ops/conv_shape.h"

namespace tersor {

// Whether these sizes are computed faster this way than image by image (ops/conv2d*.cc).
bool conv_lanes_pays(const ConvShape& s);

// Windows ph x pw of the result that do not overlap; a rest at the right and the bottom belongs to none. ph = 0: no windows.
struct ConvWindows {
  int64_t ph = 0, pw = 0;
  int64_t rows(const ConvShape& s) const { return s.out_h / ph; }
  int64_t columns(const ConvShape& s) const { return s.out_w / pw; }
};

// Each direction with windows on the result's side (conv2d_pooled.cc): `value` and `index` are [B, O, rows, columns], index a position in the H' x W' plane.
// An index outside its window is ERR_SHAPE.
Status conv_lanes_max_pool(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* w, const float* bias, float* value,
                           int32_t* index, const Cancel* cancel);
Status conv_lanes_select(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* w, const int32_t* index, float* value,
                         const Cancel* cancel);
Status conv_lanes_select_grad_input(const char* op, const ConvShape& s, const ConvWindows& p, const float* value, const int32_t* index, const float* w,
                                    float* dx, const Cancel* cancel);
Status conv_lanes_select_grad_weight(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* value, const int32_t* index,
                                     float* dw, const Cancel* cancel);

// y = x * w + bias (bias may be null); dx = adjoint in x of dy; dw = adjoint in w. All contiguous.
Status conv_lanes_forward(const char* op, const ConvShape& s, const float* x, const float* w, const float* bias, float* y, const Cancel* cancel);
Status conv_lanes_grad_input(const char* op, const ConvShape& s, const float* dy, const float* w, float* dx, const Cancel* cancel);
Status conv_lanes_grad_weight(const char* op, const ConvShape& s, const float* x, const float* dy, float* dw, const Cancel* cancel);

}  // namespace tersor
