// Philox4x32-10 on the device: the words of base/random.h.
#pragma once
#include "base/random.h"
#include "cuda/device.h"

namespace tersor {
namespace cuda {

struct PhiloxWords {
  uint32_t v[4];
};
__device__ inline PhiloxWords philox(uint64_t counter_low, uint64_t counter_high, uint64_t key) {
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  TERSOR_UNROLL
  for (int round = 0; round < kPhiloxRounds; round++) {
    const uint32_t h0 = __umulhi(kPhiloxM0, c0), l0 = kPhiloxM0 * c0, h1 = __umulhi(kPhiloxM1, c2), l1 = kPhiloxM1 * c2;
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += kPhiloxW0;
    k1 += kPhiloxW1;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace cuda
}  // namespace tersor
