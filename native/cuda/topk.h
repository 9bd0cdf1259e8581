// What the two ways of topk_mask share (topk.cu: a bracket from a sample, one pass; topk_radix.cu: histograms of the key from the top).
#pragma once
#include "cuda/bitset.h"
#include "cuda/keys.h"
#include "cuda/launch.h"

namespace tersor {
namespace cuda {

// Exactly k ones, 0 < k < n, x contiguous. No host round trip; any contents.
Status topk_by_radix(Stream& s, const float* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask);
Status topk_by_radix(Stream& s, const double* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask);
// Ones where the key is `from` or above.
Status mark_from(Stream& s, const float* x, int64_t n, bool magnitude, uint32_t from, uint8_t* mask);
Status mark_from(Stream& s, const double* x, int64_t n, bool magnitude, unsigned long long from, uint8_t* mask);

// Blocks of 256 threads for `items` of a warp each, as many as the device keeps busy; the walk does not depend on it.
inline unsigned warp_blocks(const Stream& s, int64_t items, int per_multiprocessor) {
  const int64_t most = int64_t(s.multiprocessors) * per_multiprocessor, want = (items + 7) / 8;
  return static_cast<unsigned>(want < 1 ? 1 : want < most ? want : most);
}

}  // namespace cuda
}  // namespace tersor
