// A sample of the scores of topk_mask, and the bracket around the k-th largest that it gives. The places are a function of n only: the same with any number of threads.
#pragma once
#include <algorithm>
#include <cmath>

#include "ops/topk_keys.h"
#include "ops/util.h"

namespace tersor {
namespace {

// Keys between which the k-th largest lies almost surely: four standard deviations of its rank in a sample. mid: the sample's own k-th.
template <class Key> struct Bracket {
  Key lo, mid, hi;
  bool many_lo, many_mid, many_hi;  // the key is a good part of the sample
  double share;                     // expected share of the elements inside
};

template <class T>
Status sample_bracket(const T* x, int64_t n, int64_t k, bool magnitude, const Cancel* cancel, Bracket<KeyOf<T>>* out) {
  using Key = KeyOf<T>;
  const int64_t size = n >= int64_t(1) << 22 ? 32768 : 8192;
  Scratch scratch;
  TERSOR_TRY(scratch.reserve("topk_mask", 3 * size * static_cast<int64_t>(sizeof(Key))));
  Key *keys = scratch.as<Key>(), *work = keys + size;
  const double step = static_cast<double>(n) / static_cast<double>(size);
  const uint64_t width = static_cast<uint64_t>(n / size);
  TERSOR_TRY(parallel_for(size, 2048, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {  // one from each of `size` equal parts, at a place that a hash of i tells
      uint64_t hash = static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15ull;
      hash = (hash ^ hash >> 32) * 6364136223846793005ull;
      keys[i] = key_of(x[static_cast<int64_t>(step * static_cast<double>(i)) + static_cast<int64_t>((hash >> 33) * width >> 31)], magnitude);
    }
  }));
  const double p = static_cast<double>(k) / static_cast<double>(n), s = static_cast<double>(size);
  const double reach = 4 * std::sqrt(p * (1 - p) * s) + 2;
  const int64_t top = static_cast<int64_t>(p * s - reach), middle = static_cast<int64_t>(p * s), bottom = static_cast<int64_t>(p * s + reach);
  // The three ranks are neighbours: one histogram finds the bins between the first and the last of them, and only their keys are looked at again.
  const int64_t last = size - 1, ranks[3] = {std::max(top, int64_t(0)), std::min(middle, last), std::min(bottom, last)};
  constexpr int drop = static_cast<int>(sizeof(Key)) * 8 - 11;
  int32_t counts[kTopkBins] = {};
  for (int64_t i = 0; i < size; i++) counts[keys[i] >> drop]++;
  int64_t above = 0, past = 0;
  const Key upper = static_cast<Key>(find_bin(counts, kTopkBins, ranks[0] + 1, &above));
  const Key lower = static_cast<Key>(find_bin(counts, kTopkBins, ranks[2] + 1, &past));
  int64_t near = 0;
  for (int64_t i = 0; i < size; i++) {
    work[near] = keys[i];
    near += (keys[i] >> drop) - lower <= upper - lower;
  }
  Key* const copy = work + size;
  const Key from = lower << drop, to = (upper << drop) + ((Key(1) << drop) - 1);
  const auto ranked = [&](int64_t rank) {
    memcpy(copy, work, static_cast<size_t>(near) * sizeof(Key));
    return select_key(copy, near, rank + 1 - above, from, to).key;
  };
  out->hi = top >= 0 ? ranked(ranks[0]) : key_of(T(INFINITY), false);
  out->mid = ranked(ranks[1]);
  out->lo = bottom < size ? ranked(ranks[2]) : Key(0);
  int64_t equal[3] = {};
  for (int64_t i = 0; i < size; i++) {
    equal[0] += keys[i] == out->lo;
    equal[1] += keys[i] == out->mid;
    equal[2] += keys[i] == out->hi;
  }
  out->many_lo = equal[0] > size / 64, out->many_mid = equal[1] > size / 64, out->many_hi = equal[2] > size / 64;
  out->share = 2 * reach / s;
  return {};
}

}  // namespace
}  // namespace tersor
