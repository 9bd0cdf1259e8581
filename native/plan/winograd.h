// Which convolutions of a plan go through Winograd's transforms.
#pragma once
#include "plan/program.h"

namespace tersor {

// The tile (2 or 4) with which the convolution, images still [B,C,H,W], is expected to take least time, or 0 where direct sums are: by sizes alone, so that a model
// gives the same bits on every processor and in every run.
int64_t winograd_tile(const conv2d_last_args& conv);

// The step, a conv2d_last with all but its filters in place, as conv2d_winograd.
Step winograd_step(const Step& direct, int64_t tile);

}  // namespace tersor
