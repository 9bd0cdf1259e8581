// Predicting bits with integers only, so that encoder and decoder agree on every machine (Mahoney 2005, "Adaptive weighing of context
// models for lossless data compression"): adaptive probabilities, and a mixer that adds several predictions as log odds with weights it
// learns. Probabilities of a 1 have 16 bits; log odds ("stretch") are in units of 1/256, within +-kStretchMax.
#pragma once
#include <cstdint>

namespace tersor {

constexpr int kStretchMax = 2847;  // ln(65535) * 256, rounded up to a whole interval of the table below

// 65536 / (1 + e^-(x / 256)), limited to [1, 65535].
inline int squash(int x) {
  static constexpr uint16_t kHalf[97] = {  // x = 0, 32, 64, ...
    32768, 34813, 36843, 38841, 40793, 42687, 44511, 46254, 47911, 49474, 50941, 52310, 53581, 54754, 55834, 56822, 57724, 58544, 59287,
    59959, 60565, 61109, 61598, 62036, 62428, 62778, 63090, 63368, 63615, 63835, 64030, 64203, 64357, 64494, 64614, 64721, 64816, 64900,
    64974, 65039, 65097, 65149, 65194, 65234, 65269, 65300, 65328, 65352, 65374, 65393, 65410, 65425, 65438, 65449, 65459, 65468, 65476,
    65483, 65489, 65495, 65500, 65504, 65508, 65511, 65514, 65517, 65519, 65521, 65523, 65524, 65526, 65527, 65528, 65529, 65530, 65530,
    65531, 65532, 65532, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65535, 65535, 65535, 65535, 65535, 65535, 65535, 65535, 65535,
    65535, 65535,
  };
  const int a = x < 0 ? -x : x;
  if (a >= kStretchMax) return x < 0 ? 1 : 65535;
  const int i = a >> 5, f = a & 31;
  const int p = (kHalf[i] * (32 - f) + kHalf[i + 1] * f + 16) >> 5;
  const int limited = p > 65535 ? 65535 : p;
  return x < 0 ? 65536 - limited : limited;
}

// The inverse, from a table made by inverting squash.
class Stretch {
 public:
  static const Stretch& get() {
    static const Stretch table;
    return table;
  }
  int operator()(uint32_t p) const {  // 0 <= p <= 65535
    const uint32_t i = p >> 4;
    const int f = static_cast<int>(p & 15);
    return (t_[i] * (16 - f) + t_[i + 1] * f) >> 4;
  }

 private:
  Stretch() {
    int x = -kStretchMax;
    for (int i = 0; i <= 4096; i++) {
      const int p = i == 0 ? 4 : i == 4096 ? 65532 : i * 16;
      while (x < kStretchMax && squash(x) < p) x++;
      t_[i] = static_cast<int16_t>(x);
    }
  }
  int16_t t_[4097];
};

struct AdaptRates {
  uint16_t r[1024];
  constexpr AdaptRates() : r() {
    for (int i = 0; i < 1024; i++) r[i] = static_cast<uint16_t>(131072 / (2 * i + 3));
  }
};
inline constexpr AdaptRates kAdaptRates{};

// A probability that follows what it has seen: the n-th bit moves it by 1 / (n + 1.5), later by 1 / (limit + 1.5).
// 22 bits of probability, 10 bits of n.
struct BitState {
  uint32_t v = 1u << 31;

  uint32_t p() const { return v >> 16; }
  uint32_t n() const { return v & 1023; }
  void start(uint32_t p16) { v = p16 << 16; }
  void update(int bit, uint32_t limit) {
    const uint32_t seen = v & 1023;
    const int32_t p22 = static_cast<int32_t>(v >> 10);
    const int32_t target = bit ? (1 << 22) - 1 : 0;
    const int32_t moved = p22 + static_cast<int32_t>((static_cast<int64_t>(target - p22) * kAdaptRates.r[seen]) >> 16);
    v = static_cast<uint32_t>(moved) << 10 | (seen < limit ? seen + 1 : seen);
  }
};

// p = squash(sum w[i] s[i]); one weight vector per context. Learning rate falls from fast to slow with the use of the vector.
template <int inputs> struct MixerWeights {
  int32_t w[inputs];  // 16 fractional bits
  uint32_t used;
  static constexpr int32_t kLimit = 1 << 24;  // 256: only a hostile code gets there

  int dot(const int* s) const {
    int64_t sum = 0;
    for (int i = 0; i < inputs; i++) sum += static_cast<int64_t>(w[i]) * s[i];
    const int64_t x = sum >> 16;
    return x > kStretchMax ? kStretchMax : x < -kStretchMax ? -kStretchMax : static_cast<int>(x);
  }
  void learn(const int* s, int p, int bit, int slow) {
    const int64_t error = static_cast<int64_t>((bit << 16) - p) * (slow + (used < 512 ? (512 - static_cast<int>(used)) >> 4 : 0));
    for (int i = 0; i < inputs; i++) {
      const int32_t moved = w[i] + static_cast<int32_t>((s[i] * error + (1 << 21)) >> 22);
      w[i] = moved > kLimit ? kLimit : moved < -kLimit ? -kLimit : moved;
    }
    used += used < 512;
  }
};

}  // namespace tersor
