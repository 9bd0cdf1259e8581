// The formulas of the CPU's kernels for a device: simd/vec_scalar.h spells their vocabulary for one lane, which here is one thread, so simd/math.h and the
// tables of kernels/*/*.def are used as they stand. The same operations in the same order, without contraction: results for f32 have the bits of the CPU
// (sin and cos beyond 1e5, and f64, go through the device's own double functions).
#pragma once
#include "cuda/device.h"
#include "simd/vec_scalar.h"

#include "simd/math.h"

namespace tersor {
namespace cuda {

template <class T> struct LaneOf { using V = simd::F32; };
template <> struct LaneOf<double> { using V = simd::F64; };

}  // namespace cuda
}  // namespace tersor
