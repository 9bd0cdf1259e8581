// Scores as keys, unsigned integers in the same order: NaN lowest, then -infinity .. infinity, -0 equal to +0; and selection among keys.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace tersor {
namespace {

constexpr int kTopkBins = 2048;

inline uint32_t key_of(float v, bool magnitude) {
  uint32_t b;
  v = (magnitude ? std::fabs(v) : v) + 0.0f;  // -0 -> +0
  memcpy(&b, &v, 4);
  return v != v ? 0 : b & 0x80000000u ? ~b : b | 0x80000000u;
}
inline uint64_t key_of(double v, bool magnitude) {
  uint64_t b;
  v = (magnitude ? std::fabs(v) : v) + 0.0;
  memcpy(&b, &v, 8);
  return v != v ? 0 : b >> 63 ? ~b : b | uint64_t(1) << 63;
}
// The inverse, for the key of a number. The key before that of +0 would be -0's, which no score has: it stands for the number below.
inline double value_of(uint32_t key) {
  if (key == 0x7FFFFFFFu) key--;
  const uint32_t b = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  float v;
  memcpy(&v, &b, 4);
  return static_cast<double>(v);
}
inline double value_of(uint64_t key) {
  if (key == ~uint64_t(0) >> 1) key--;
  const uint64_t b = key >> 63 ? key & ~uint64_t(0) >> 1 : ~key;
  double v;
  memcpy(&v, &b, 8);
  return v;
}

template <class T> using KeyOf = decltype(key_of(T(), false));

// Where the k-th largest lies: `above` keys are larger than `key`, above < k.
template <class Key> struct Threshold {
  Key key;
  int64_t above;
};

// Highest bin whose count, added to what is above it, reaches k; *above grows by the bins over it.
template <class Count> int find_bin(const Count* counts, int bins, int64_t k, int64_t* above) {
  int b = bins - 1;
  for (; b > 0 && *above + static_cast<int64_t>(counts[b]) < k; b--) *above += static_cast<int64_t>(counts[b]);
  return b;
}

// k-th largest of m keys (1 <= k <= m) that lie in [lo, hi]; destroys the list.
template <class Key> Threshold<Key> select_key(Key* keys, int64_t m, int64_t k, Key lo, Key hi) {
  int64_t above = 0;
  if (m > 512) {
    int shift = 0;
    while (((hi - lo) >> shift) >= static_cast<Key>(kTopkBins)) shift++;
    int64_t counts[kTopkBins] = {};
    for (int64_t i = 0; i < m; i++) counts[(keys[i] - lo) >> shift]++;
    const Key b = static_cast<Key>(find_bin(counts, kTopkBins, k, &above));
    k -= above;
    int64_t kept = 0;
    for (int64_t i = 0; i < m; i++)
      if ((keys[i] - lo) >> shift == b) keys[kept++] = keys[i];
    lo += b << shift;
    const int64_t base = above;
    if (shift == 0) return {lo, base};
    hi = lo + ((Key(1) << shift) - 1);
    Threshold<Key> inner = select_key(keys, kept, k, lo, hi);
    return {inner.key, base + inner.above};
  }
  std::sort(keys, keys + m, [](Key p, Key q) { return p > q; });
  const Key key = keys[k - 1];
  int64_t first = k - 1;
  while (first > 0 && keys[first - 1] == key) first--;
  return {key, first};
}

}  // namespace
}  // namespace tersor
