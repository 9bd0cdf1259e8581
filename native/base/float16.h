// f16 (IEEE binary16) and bf16 from and to f32 and f64: round to nearest, ties to even, subnormals kept, NaN payloads kept as far as they
// fit (all 65536 patterns survive the way to f32 and back, signalling NaNs too, which the F16C instructions would change).
// Branch-free integer code that compilers vectorise; internal linkage because ISA regions call it.
#pragma once
#include <cstdint>
#include <cstring>

// Functions of this kind are compiled for devices too (cuda/).
#if defined(__CUDACC__)
#define TERSOR_PORTABLE __host__ __device__
#else
#define TERSOR_PORTABLE
#endif

namespace tersor {
namespace {

TERSOR_PORTABLE inline uint32_t f32_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
TERSOR_PORTABLE inline float f32_from_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

TERSOR_PORTABLE inline float f32_from_f16(uint16_t h) {
  const uint32_t magnitude = h & 0x7fffu;
  // Subnormals are small integers times 2^-24; this way no f32 subnormal (slow on many processors) arises.
  const uint32_t small = f32_bits(static_cast<float>(static_cast<int32_t>(magnitude & 0x3ffu)) * f32_from_bits(0x33800000u));
  const uint32_t normal = (magnitude << 13) + 0x38000000u;
  const uint32_t special = (magnitude << 13) | 0x7f800000u;
  const uint32_t finite = magnitude < 0x400u ? small : normal;
  const uint32_t body = magnitude >= 0x7c00u ? special : finite;
  return f32_from_bits(body | static_cast<uint32_t>(h & 0x8000u) << 16);
}

TERSOR_PORTABLE inline uint16_t f16_from_f32(float f) {
  const uint32_t u = f32_bits(f), a = u & 0x7fffffffu;
  const uint32_t normal = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 1/2 leaves the rounded multiple of 2^-24 in the low bits.
  const uint32_t small = f32_bits(f32_from_bits(a < 0x38800000u ? a : 0u) + 0.5f) - 0x3f000000u;
  const uint32_t payload = (a >> 13) & 0x3ffu;
  const uint32_t nan = 0x7c00u | payload | (payload == 0 ? 0x200u : 0u);
  uint32_t h = a < 0x38800000u ? small : normal;
  h = a >= 0x47800000u ? 0x7c00u : h;
  h = a > 0x7f800000u ? nan : h;
  return static_cast<uint16_t>(h | ((u >> 16) & 0x8000u));
}

TERSOR_PORTABLE inline float f32_from_bf16(uint16_t h) { return f32_from_bits(static_cast<uint32_t>(h) << 16); }

TERSOR_PORTABLE inline uint16_t bf16_from_f32(float f) {
  const uint32_t u = f32_bits(f);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const uint32_t top = u >> 16;
  const uint32_t nan = top | ((top & 0x7fu) == 0 ? 0x40u : 0u);
  return static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

// f64 to f32 with the last bit set when inexact (round to odd): a second rounding to 16 bits is then the correct rounding of the f64.
TERSOR_PORTABLE inline float f32_odd_from_f64(double d) {
  const float f = static_cast<float>(d);
  if (!(d == d)) return f;
  uint32_t u = f32_bits(f);
  const double back = static_cast<double>(f);
  if (back == d || (u & 1u)) return f;
  const double magnitude = d < 0 ? -d : d, got = back < 0 ? -back : back;
  u = got < magnitude ? u + 1u : u - 1u;
  return f32_from_bits(u);
}
TERSOR_PORTABLE inline uint16_t f16_from_f64(double d) { return f16_from_f32(f32_odd_from_f64(d)); }
TERSOR_PORTABLE inline uint16_t bf16_from_f64(double d) { return bf16_from_f32(f32_odd_from_f64(d)); }

}  // namespace
}  // namespace tersor
