// Weight-only quantized weights on a device. Packed form: WgemmDeviceHeader, then the codes of every output row by row, then scales [n, groups] and, if affine, zeros.
// A row of codes is groups x steps of 32 values of k; a step is `bits` words that hold u = code + 2^(bits-1) as kernels/wgemm/wgemm.h has it for one output.
// The host knows n and k only: kernels read bits, groups and affine from the header, so nothing waits for the device.
#pragma once
#include "cuda/launch.h"
#include "cuda/packed.h"

namespace tersor {
namespace cuda {

constexpr uint32_t kWgemmDeviceMagic = 0x44475754;  // "TWGD"
struct WgemmDeviceHeader {
  uint32_t magic;
  int32_t bits, affine, reserved;
  int64_t n, k, groups, unused[3];

  __host__ __device__ int64_t group() const { return groups > 0 ? k / groups : 0; }
  __host__ __device__ int64_t steps() const { return (group() + 31) / 32; }               // of a group
  __host__ __device__ int64_t row_steps() const { return groups * steps(); }
  __host__ __device__ int64_t scales_at() const { return 64 + n * row_steps() * bits * 4; }
  __host__ __device__ int64_t zeros_at() const { return scales_at() + n * groups * 4; }
  __host__ __device__ int64_t bytes() const { return zeros_at() + (affine ? n * groups * 4 : 0); }
};
static_assert(sizeof(WgemmDeviceHeader) == 64, "codes start on a cache line");

// Code k % 32 / 4 of a step, four neighbours along k as bytes: quad q of `words`.
template <int bits> __device__ __forceinline__ uint32_t wgemm_quad(const uint32_t* words, int q) {
  if (bits == 8) return words[q];
  if (bits == 4) return words[q / 2] >> (q % 2 * 4) & 0x0f0f0f0fu;
  const uint32_t low = words[q / 4] >> (q % 4 * 2) & 0x03030303u;
  if (bits == 2) return low;
  return low | (words[2] >> q & 0x01010101u) << 2;
}
__device__ __forceinline__ uint32_t wgemm_quad_any(int bits, const uint32_t* words, int q) {
  return bits == 8 ? wgemm_quad<8>(words, q) : bits == 4 ? wgemm_quad<4>(words, q) : bits == 3 ? wgemm_quad<3>(words, q) : wgemm_quad<2>(words, q);
}

}  // namespace cuda
}  // namespace tersor
