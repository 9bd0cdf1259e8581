// What every kernel file includes: CUDA's words, under nvcc from CUDA's own headers and under g++ (TERSOR_CUDA_EMULATE) from the emulator, which runs the
// very same source on the processor: threads of a block are fibers, shuffled between barriers (emulate/machine.h).
//
// Portable kernel source:
//   __global__ void k(...), threadIdx blockIdx blockDim gridDim, __syncthreads(), __syncwarp(), __shfl_*_sync, __ballot_sync, __any_sync, __all_sync,
//   __match_any_sync, atomics on integers, __ldg, __popc __clz __ffs __brev __byte_perm __umulhi, float2 float4 int4 uint4 ..., fmaf sqrtf rsqrtf ...
//   TERSOR_SHARED(float, tile, 32 * 33);          static shared memory: `tile` is an array (under the emulator a pointer to guarded memory)
//   float* tile = shared_memory<float>();         the block's dynamic shared memory, 128-byte aligned; its size is the launch's
//   TERSOR_UNROLL                                 before a loop
// No `extern __shared__`, no cooperative groups, no lambda across a barrier, no types of cuda_fp16.h (16-bit floats are uint16_t: numeric.h).
// Tensor cores, asynchronous copies and the like: mma.h. Reductions and scans of a warp or block: collect.h. Starting kernels: launch.h.
//
// Arithmetic: no contraction (-fmad=false, -ffp-contract=off): a * b + c rounds twice, on the device as in the emulator and on the CPU, so their bits agree.
// Write fmaf(a, b, c) where one instruction and one rounding are wanted; every inner loop of a product wants that.
#pragma once
#if defined(TERSOR_CUDA_EMULATE)
#include "cuda/emulate/words.h"
#define TERSOR_UNROLL
#else
#include <cuda_runtime.h>
#define TERSOR_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define TERSOR_UNROLL _Pragma("unroll")
namespace tersor {
namespace cuda {
template <class T> __device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(128) unsigned char tersor_dynamic_shared[];
  return reinterpret_cast<T*>(tersor_dynamic_shared);
}
}  // namespace cuda
}  // namespace tersor
#endif

#include <cstdint>

namespace tersor {
namespace cuda {

constexpr int kWarp = 32;
constexpr uint32_t kFullMask = 0xffffffffu;

__device__ __forceinline__ int lane_id() { return static_cast<int>(threadIdx.x & 31u); }   // blocks of one dimension
__device__ __forceinline__ int warp_id() { return static_cast<int>(threadIdx.x >> 5); }
template <class T> __host__ __device__ constexpr T ceil_div(T a, T b) { return (a + b - 1) / b; }

}  // namespace cuda
}  // namespace tersor
