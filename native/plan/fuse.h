// Rewrites of a program that make it faster. Values agree with the recorded calls to rounding: sums of a product may be taken in another order.
#pragma once
#include "plan/packs.h"

namespace tersor {

// Rows from which on a linear packs its constant weight; fewer are a stream of the weight, which is read where it lies.
constexpr int64_t kLeastPackedRows = 4;

// linear with a constant weight: packed once, here. Products then take in what follows them: an activation, an addition of the same shape. Products of one
// input whose results only attention reads become one. On a device products take in what follows them, and the rest is left out: weights are not packed there.
Status fuse(Program& program, Packs& packs);

// The last of these; merge.cc.
Status merge_products(Program& program, Packs& packs);

}  // namespace tersor
