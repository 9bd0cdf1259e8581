// The derivatives of a convolution under max pooling at the chosen positions only: patch by patch of each image (kernels/patches), where conv_lanes computes at every
// position, three of four of which (windows of 2 x 2) have no value; and what a ReLU made 0 costs nothing in the adjoints. f32, few channels: a filter
// fits registers. The choice of this path and all sums depend on shapes, processor and on whether the values are finite, never on threads.
#pragma once
#include "ops/conv_lanes.h"

namespace tersor {

// Which direction pays at these sizes.
bool conv_patches_select_pays(const ConvShape& s, const ConvWindows& p);
bool conv_patches_grad_input_pays(const ConvShape& s, const ConvWindows& p);
bool conv_patches_grad_weight_pays(const ConvShape& s, const ConvWindows& p);

// As their namesakes in conv_lanes.h. *taken = false, and nothing of use is written: an operand has an infinity or NaN, which meets zeros in the formula.
Status conv_patches_select(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* w, const int32_t* index, float* value,
                           const Cancel* cancel, bool* taken);
Status conv_patches_grad_input(const char* op, const ConvShape& s, const ConvWindows& p, const float* value, const int32_t* index, const float* w, float* dx,
                               const Cancel* cancel, bool* taken);
Status conv_patches_grad_weight(const char* op, const ConvShape& s, const ConvWindows& p, const float* x, const float* value, const int32_t* index, float* dw,
                                const Cancel* cancel, bool* taken);

}  // namespace tersor
