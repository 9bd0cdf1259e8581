// Scores as unsigned keys in the same order, the rules of ops/topk_keys.h on the device: NaN lowest, then -infinity .. infinity, -0 equal to +0.
#pragma once
#include "cuda/device.h"

namespace tersor {
namespace cuda {

template <class T> struct KeyTraits;
template <> struct KeyTraits<float> {
  using Key = uint32_t;
};
template <> struct KeyTraits<double> {
  using Key = unsigned long long;
};
template <class T> using KeyOf = typename KeyTraits<T>::Key;

__device__ inline uint32_t key_of(float v, bool magnitude) {
  const uint32_t b = __float_as_uint(magnitude ? fabsf(v) : v + 0.0f);  // -0 + 0 = +0
  if ((b & 0x7FFFFFFFu) > 0x7F800000u) return 0;
  return b & 0x80000000u ? ~b : b | 0x80000000u;
}
__device__ inline unsigned long long key_of(double v, bool magnitude) {
  const unsigned long long top = 1ull << 63, b = static_cast<unsigned long long>(__double_as_longlong(magnitude ? fabs(v) : v + 0.0));
  if ((b & ~top) > 0x7FF0000000000000ull) return 0;
  return b & top ? ~b : b | top;
}

// Of `bins` counts (a power of two from 64 on) the highest bin that, with what is above it, reaches rank (0-based, counted from the top). All lanes of one warp call
// it and get the same answer; *above grows by the counts over the bin. The lowest bin when there are fewer.
template <class Count> __device__ int find_from_top(const Count* counts, int bins, long long rank, long long* above) {
  const int lane = threadIdx.x & 31, each = bins / 32;
  int first = 0;
  for (int size = each;; size = size / 32) {  // 32 pieces of `size` bins from `first`: one for each lane, the last lane the highest
    long long sum = 0;
    for (int i = 0; i < size; i++) sum += static_cast<long long>(counts[first + lane * size + ((i + lane) & (size - 1))]);
    long long over = sum;  // of this piece and those above
    for (int d = 1; d < 32; d *= 2) {
      const long long other = __shfl_down_sync(0xFFFFFFFFu, over, d);
      if (lane + d < 32) over += other;
    }
    const unsigned reached = __ballot_sync(0xFFFFFFFFu, *above + over > rank);
    const int at = reached ? 31 - __clz(static_cast<int>(reached)) : 0;
    *above += __shfl_sync(0xFFFFFFFFu, over - sum, at);
    first += at * size;
    if (size == 1) return first;
    if (size < 32) {  // the rest one by one: the same on every lane
      int b = first + size - 1;
      for (; b > first && *above + static_cast<long long>(counts[b]) <= rank; b--) *above += static_cast<long long>(counts[b]);
      return b;
    }
  }
}

}  // namespace cuda
}  // namespace tersor
