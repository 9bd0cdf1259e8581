// Convolutions of a program for running: filters packed once, what follows taken in, images with channels last.
#pragma once
#include <unordered_map>

#include "plan/packs.h"

namespace tersor {

// conv2d and conv2d_grouped in f32 with constant filters become conv2d_last, qconv2d becomes qconv2d_last: constants per channel behind them (a batch norm, an affine layer) go into
// filters and bias; a residual, an activation (also one that an exporter wrote out) and a scale behind it into the op. Results then lie as [B,H,W,C], and
// readers see the same tensor through other strides; elementwise steps, pools and concatenations of channels pass that order on. A reader whose view cannot be
// said in strides gets a copy.
// Those of 3 x 3 for which it takes less time become conv2d_winograd, unless all are to be direct sums.
Status rewrite_convolutions(Program& program, Packs& packs, bool direct);

// What of a convolution's future op is known while steps are taken in. Each of its results' channels is first times scale[c] plus shift[c].
struct ConvPlan {
  TensorRef y;  // the last result taken in, [B,C,H,W]
  std::vector<double> scale, shift;
  enum class Stage { linear, summed, activated } stage = Stage::linear;
  conv_activation act = conv_activation::clip;
  double lo = 0, hi = 0, after_scale = 1, after_shift = 0;
};
using ConvPlans = std::unordered_map<const void*, ConvPlan>;  // by the argument struct of the step

// conv_absorb.cc: the convolutions that can be rewritten, and what follows each taken in. They are conv2d_last or qconv2d_last by now, but images are still
// [B,C,H,W], and conv2d_last's `packed` is the constant filters.
ConvPlans absorb_into_convolutions(Program& program);

// conv_codes.cc: qconv2d with constant filters and scales, as qconv2d_last on images [B,C,H,W].
bool start_codes(const Program& program, const Uses& uses, Step& step, ConvPlan* plan);
// What was taken in goes into scales, bias and the op; the step still reads and writes f32 images [B,C,H,W].
Status finish_codes(Program& program, qconv2d_last_args& to, const ConvPlan& plan);
// Results that only integer convolutions read, all by one scale, are written as the codes that these would make of them.
void keep_codes(Program& program);

// conv_layout.cc.
// Strides of t as [B,C,H,W] become those of [B,H,W,C].
TensorRef channels_last(const TensorRef& t);
bool lies_channels_last(const TensorRef& t);
// The slot of y, row-major [B,C,H,W] until now, lies as [B,H,W,C]: sets y to that shape and turns the views of all readers; steps from `first` on may be them.
// Returns true when a step was put in behind number `writer` (a copy for readers that strides do not serve).
bool turn_channels_last(Program& program, size_t writer, TensorRef& y);

}  // namespace tersor
