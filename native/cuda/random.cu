// random_uniform, random_normal: Philox4x32-10 with the stream's layout of kernels/random/random.h, to the bits of the CPU. A thread makes one block of four
// words, whose values stand 16 apart: a half-warp writes 64 bytes at a time. Bound by integer multiplications (about 40 a block of 16 bytes) and memory alike.
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/vec.h"
#include "kernels/random/generic.h"

namespace tersor {
namespace cuda {
namespace {

__global__ void __launch_bounds__(kThreads) random_kernel(float* y, int64_t n, uint64_t seed, uint64_t stream, bool normal) {
  const int64_t counter = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t first = counter / 16 * kRandomGroup + counter % 16;
  if (first >= n) return;
  simd::I32 r[4];
  philox_lanes(static_cast<uint64_t>(counter), stream, seed, r);
  simd::F32 v[4];
  if (normal) {
    normal_pair(r[0], r[1], &v[0], &v[1]);
    normal_pair(r[2], r[3], &v[2], &v[3]);
  } else {
    TERSOR_UNROLL
    for (int k = 0; k < 4; k++) v[k] = to_float(shift_right_logical(r[k], 8)) * simd::F32(5.9604644775390625e-08f);
  }
  TERSOR_UNROLL
  for (int k = 0; k < 4; k++)
    if (first + 16 * k < n) y[first + 16 * k] = v[k].v;
}

Status fill(Stream& s, TensorRef& y, int64_t seed, int64_t stream, bool normal) {
  const int64_t n = y.size(), counters = ceil_div(n, kRandomGroup) * 16;
  return launch<random_kernel>(s, ceil_div(counters, int64_t(kThreads)), kThreads, 0, y.as<float>(), n, static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), normal);
}

}  // namespace

Status random_uniform_f32(Stream& s, random_uniform_args& a) { return fill(s, a.y, a.seed, a.stream, false); }
Status random_normal_f32(Stream& s, random_normal_args& a) { return fill(s, a.y, a.seed, a.stream, true); }

}  // namespace cuda
}  // namespace tersor
