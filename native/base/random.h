// Philox4x32-10, a counter-based generator: a value depends on key and counter only, never on how many were drawn before it, so
// threads, ISAs and devices agree. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.4.
#pragma once
#include <cstdint>

namespace tersor {

constexpr uint32_t kPhiloxM0 = 0xD2511F53u, kPhiloxM1 = 0xCD9E8D57u, kPhiloxW0 = 0x9E3779B9u, kPhiloxW1 = 0xBB67AE85u;
constexpr int kPhiloxRounds = 10;

struct Philox {
  uint32_t v[4];
};

// counter and key are given as the low and high halves; the result is four independent 32-bit words.
Philox philox4x32(uint64_t counter_low, uint64_t counter_high, uint64_t key);

}  // namespace tersor
