// Collectives of a warp for the emulator: every lane of the mask brings its value, the last one computes all results.
#pragma once
#include <cstring>

#include "cuda/emulate/machine.h"

namespace tersor {
namespace emulate {

template <class T> struct Exchange {
  T value, result;
  int from;  // lane whose value is wanted
};

template <class T> void exchange(void* const (&data)[32], uint32_t mask) {
  for (int i = 0; i < 32; i++) {
    if (!(mask >> i & 1u)) continue;
    auto* own = static_cast<Exchange<T>*>(data[i]);
    if (mask >> own->from & 1u) own->result = static_cast<Exchange<T>*>(data[own->from])->value;
    else poison(&own->result, sizeof(T));  // undefined on a device
  }
}

inline int lane() { return machine.current->index & 31; }

template <class T> T shuffle(uint32_t mask, T v, int from, const char* what, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  Exchange<T> e{v, v, from & 31};
  meet(mask, what, line, &e, exchange<T>);
  return e.result;
}

struct Vote {
  bool value;
  uint32_t result;
};
inline void vote(void* const (&data)[32], uint32_t mask) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1u && static_cast<Vote*>(data[i])->value) bits |= 1u << i;
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1u) static_cast<Vote*>(data[i])->result = bits;
}
inline uint32_t ballot(uint32_t mask, bool value, const char* what, int line) {
  Vote v{value, 0};
  meet(mask, what, line, &v, vote);
  return v.result;
}

template <class T> struct Match {
  T value;
  uint32_t result;
};
template <class T> void match(void* const (&data)[32], uint32_t mask) {
  for (int i = 0; i < 32; i++)
    for (int j = 0; j < 32; j++)
      if (mask >> i & 1u && mask >> j & 1u && !memcmp(&static_cast<Match<T>*>(data[i])->value, &static_cast<Match<T>*>(data[j])->value, sizeof(T)))
        static_cast<Match<T>*>(data[i])->result |= 1u << j;
}

inline void nothing(void* const (&)[32], uint32_t) {}

}  // namespace emulate
}  // namespace tersor

// In groups of `width` lanes, as CUDA defines them: a source beyond the group is the lane itself.
template <class T> inline T __shfl_sync(unsigned mask, T v, int from, int width = 32, int line = __builtin_LINE()) {
  const int lane = tersor::emulate::lane();
  return tersor::emulate::shuffle(mask, v, (lane & ~(width - 1)) + (from & (width - 1)), "__shfl_sync", line);
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, int line = __builtin_LINE()) {
  const int lane = tersor::emulate::lane(), from = lane ^ bits;
  return tersor::emulate::shuffle(mask, v, (from & ~(width - 1)) > (lane & ~(width - 1)) ? lane : from, "__shfl_xor_sync", line);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE()) {
  const int lane = tersor::emulate::lane(), from = lane - static_cast<int>(by);
  return tersor::emulate::shuffle(mask, v, from < (lane & ~(width - 1)) ? lane : from, "__shfl_up_sync", line);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE()) {
  const int lane = tersor::emulate::lane(), from = lane + static_cast<int>(by);
  return tersor::emulate::shuffle(mask, v, from >= (lane & ~(width - 1)) + width ? lane : from, "__shfl_down_sync", line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return tersor::emulate::ballot(mask, predicate != 0, "__ballot_sync", line);
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return tersor::emulate::ballot(mask, predicate != 0, "__any_sync", line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return tersor::emulate::ballot(mask, predicate != 0, "__all_sync", line) == mask;
}
template <class T> inline unsigned __match_any_sync(unsigned mask, T v, int line = __builtin_LINE()) {
  tersor::emulate::Match<T> m{v, 0};
  tersor::emulate::meet(mask, "__match_any_sync", line, &m, tersor::emulate::match<T>);
  return m.result;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  tersor::emulate::meet(mask, "__syncwarp", line, nullptr, tersor::emulate::nothing);
}
