// Bit sets on the device (bit i of byte i / 8, least significant first, is element i), made and read by warps in tiles of 1024 elements.
//
// A lane of a tile holds the elements 128 u + 4 lane + c (u < 8, c < 4), so that its eight loads of 16 bytes are coalesced; their bits are
// packed as bit 4 u + c of one register. transpose_tile turns this, with three shuffles, into the word of 32 elements in a row that the lane
// stores: word 4 (lane % 8) + lane / 8 of the tile. It is its own inverse.
#pragma once
#include "cuda/device.h"

namespace tersor {
namespace cuda {

constexpr int kTile = 1024;

__device__ inline uint32_t transpose_tile(uint32_t p) {
  const int lane = threadIdx.x & 31;
  uint32_t got = __shfl_xor_sync(0xFFFFFFFFu, p, 4);
  p = lane & 4 ? (p & 0xFFFF0000u) | got >> 16 : (p & 0x0000FFFFu) | got << 16;
  got = __shfl_xor_sync(0xFFFFFFFFu, p, 2);
  p = lane & 2 ? (p & 0xFF00FF00u) | (got & 0xFF00FF00u) >> 8 : (p & 0x00FF00FFu) | (got & 0x00FF00FFu) << 8;
  got = __shfl_xor_sync(0xFFFFFFFFu, p, 1);
  return lane & 1 ? (p & 0xF0F0F0F0u) | (got & 0xF0F0F0F0u) >> 4 : (p & 0x0F0F0F0Fu) | (got & 0x0F0F0F0Fu) << 4;
}

// First element of the lane's word in the tile.
__device__ inline int word_first() {
  const int lane = threadIdx.x & 31;
  return ((lane & 7) * 4 + (lane >> 3)) * 32;
}

// The lane's word of the tile that begins at element `first` (a multiple of kTile) of n; bytes behind the last element are not touched.
__device__ inline void store_word(uint8_t* mask, int64_t first, int64_t n, uint32_t word) {
  const int64_t at = first + word_first();
  uint8_t* to = mask + at / 8;
  if (at + 32 <= n && (reinterpret_cast<uintptr_t>(mask) & 3) == 0) {
    *reinterpret_cast<uint32_t*>(to) = word;
    return;
  }
  for (int b = 0; b < 4 && at + 8 * b < n; b++) to[b] = static_cast<uint8_t>(word >> (8 * b));
}
__device__ inline uint32_t load_word(const uint8_t* mask, int64_t first, int64_t n) {
  const int64_t at = first + word_first();
  const uint8_t* from = mask + at / 8;
  if (at + 32 <= n && (reinterpret_cast<uintptr_t>(mask) & 3) == 0) return *reinterpret_cast<const uint32_t*>(from);
  uint32_t word = 0;
  for (int b = 0; b < 4 && at + 8 * b < n; b++) word |= static_cast<uint32_t>(from[b]) << (8 * b);
  return word;
}

// Sets one bit among bits that other threads may set at the same time. The word around it must be memory of the device (allocations are whole words).
__device__ inline void set_bit(uint8_t* mask, int64_t i) {
  const uintptr_t byte = reinterpret_cast<uintptr_t>(mask) + static_cast<uintptr_t>(i / 8);
  atomicOr(reinterpret_cast<uint32_t*>(byte & ~uintptr_t(3)), 1u << ((byte & 3) * 8 + static_cast<unsigned>(i % 8)));
}

// Four elements from i of n, zeros behind the end. 16 bytes at a time where the address allows it.
template <class T> __device__ inline void load_four(const T* x, int64_t i, int64_t n, T* v) {
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Pack {
    T v[16 / sizeof(T) < 4 ? 16 / sizeof(T) : 4];
  };
  constexpr int step = static_cast<int>(sizeof(Pack) / sizeof(T));
  if (i + 4 <= n && (reinterpret_cast<uintptr_t>(x) & (alignof(Pack) - 1)) == 0) {
    for (int c = 0; c < 4; c += step) {
      const Pack p = *reinterpret_cast<const Pack*>(x + i + c);
      for (int j = 0; j < step; j++) v[c + j] = p.v[j];
    }
    return;
  }
  for (int c = 0; c < 4; c++) v[c] = i + c < n ? x[i + c] : T(0);
}
template <class T> __device__ inline void store_four(T* x, int64_t i, int64_t n, const T* v) {
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Pack {
    T v[16 / sizeof(T) < 4 ? 16 / sizeof(T) : 4];
  };
  constexpr int step = static_cast<int>(sizeof(Pack) / sizeof(T));
  if (i + 4 <= n && (reinterpret_cast<uintptr_t>(x) & (alignof(Pack) - 1)) == 0) {
    for (int c = 0; c < 4; c += step) {
      Pack p;
      for (int j = 0; j < step; j++) p.v[j] = v[c + j];
      *reinterpret_cast<Pack*>(x + i + c) = p;
    }
    return;
  }
  for (int c = 0; c < 4 && i + c < n; c++) x[i + c] = v[c];
}

// Tiles of n elements, and the warps' walk over them.
inline int64_t tiles_of(int64_t n) { return (n + kTile - 1) / kTile; }
__device__ inline int64_t warp_of_grid() { return (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32; }
__device__ inline int64_t warps_of_grid() { return static_cast<int64_t>(gridDim.x) * blockDim.x / 32; }

}  // namespace cuda
}  // namespace tersor
