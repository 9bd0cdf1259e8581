// topk_mask(scores, k, magnitude) -> bit set with exactly k ones, at the k largest scores (of |scores| with magnitude): ties by lowest
// index, NaN below -infinity, -0 equals +0. threshold_mask(scores, threshold, magnitude): ones where score >= threshold.
// Scores are compared through keys (topk_keys.h). The result is unique, so the way to it may be chosen for speed:
//   bracket: a sample brackets the k-th largest; one pass marks what lies above and lists what lies inside (kernels/topk); the list, a few
//            percent, is selected exactly. When the sample shows that a bound is a value that many share, the bound itself stays outside.
//   ties:    if the bracket missed or overflowed, the k-th largest is most likely a value that many share: the sample's own guesses are
//            tried, each in one pass.
//   radix:   histograms of 11 bits of the key from the top until the bin with the k-th largest is small, then one marking pass.
#include <atomic>

#include "kernels/topk/topk.h"
#include "ops/topk_keys.h"
#include "ops/topk_sample.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr int64_t kChunk = 65536;  // elements per task; a multiple of 8, so tasks own whole mask bytes

int64_t mask_bytes(int64_t n) { return n / 8 + (n % 8 != 0); }

template <class T> Status radix_threshold(const T* x, bool magnitude, int64_t n, int64_t k, const Cancel* cancel, Threshold<KeyOf<T>>* out) {
  using Key = KeyOf<T>;
  constexpr int64_t kSmall = 4096;
  constexpr int bits = static_cast<int>(sizeof(Key)) * 8;
  int64_t parts = (n + kChunk - 1) / kChunk;
  if (parts > 16) parts = 16;
  const int64_t part = (n + parts - 1) / parts;
  Scratch scratch;
  TERSOR_TRY(scratch.reserve("topk_mask", parts * kTopkBins * 8 + kSmall * static_cast<int64_t>(sizeof(Key))));
  int64_t* counts = scratch.as<int64_t>();
  Key* small = reinterpret_cast<Key*>(counts + parts * kTopkBins);
  Key prefix = 0;
  int64_t above = 0;
  int shift = bits;
  for (;;) {
    const int upper = shift;  // bits above this place are known: prefix
    const int width = upper < 11 ? upper : 11;
    shift = upper - width;
    TERSOR_TRY(parallel_for(n, part, cancel, [&](int64_t begin, int64_t end) {
      int64_t* h = counts + begin / part * kTopkBins;
      memset(h, 0, kTopkBins * sizeof *h);
      const Key low = (Key(1) << width) - 1;
      if (upper == bits)
        for (int64_t i = begin; i < end; i++) h[key_of(x[i], magnitude) >> shift]++;
      else
        for (int64_t i = begin; i < end; i++) {
          const Key key = key_of(x[i], magnitude);
          if (key >> upper == prefix) h[(key >> shift) & low]++;
        }
    }));
    for (int64_t p = 1; p < parts; p++)
      for (int b = 0; b < kTopkBins; b++) counts[b] += counts[p * kTopkBins + b];
    const int b = find_bin(counts, 1 << width, k, &above);
    prefix = upper == bits ? static_cast<Key>(b) : static_cast<Key>(prefix << width | static_cast<Key>(b));
    if (shift == 0) {
      *out = {prefix, above};
      return {};
    }
    if (counts[b] > kSmall) continue;
    std::atomic<int64_t> at{0};
    TERSOR_TRY(parallel_for(n, part, cancel, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const Key key = key_of(x[i], magnitude);
        if (key >> shift == prefix) small[at.fetch_add(1, std::memory_order_relaxed)] = key;
      }
    }));
    const Key lo = prefix << shift;
    const Threshold<Key> inner = select_key(small, counts[b], k - above, lo, lo + ((Key(1) << shift) - 1));
    *out = {inner.key, above + inner.above};
    return {};
  }
}

template <class T> int64_t mark_keys(const T* x, int64_t n, bool magnitude, KeyOf<T> t, uint8_t* mask, int64_t* ties) {
  int64_t set = 0, equal = 0;
  for (int64_t i = 0; i < n; i += 8) {
    const int64_t m = n - i < 8 ? n - i : 8;
    unsigned byte = 0;
    for (int64_t j = 0; j < m; j++) {
      const KeyOf<T> key = key_of(x[i + j], magnitude);
      byte |= static_cast<unsigned>(key > t) << j;
      set += key > t;
      equal += key == t;
    }
    mask[i / 8] = static_cast<uint8_t>(byte);
  }
  *ties = equal;
  return set;
}

template <class T> int64_t mark(const T* x, int64_t n, bool magnitude, KeyOf<T> t, uint8_t* mask, int64_t* ties) {
  const KeyOf<T> lowest = key_of(T(-INFINITY), false);
  TopkArgs args{};
  args.x = x;
  args.n = n;
  args.hi = t < lowest ? -INFINITY : value_of(t);
  args.magnitude = magnitude;
  args.mask = mask;
  const int64_t set = topk_kernels().mark[sizeof(T) == 8](args);
  *ties = args.ties;
  if (t >= lowest) return set;
  if (*ties > 0) return mark_keys(x, n, magnitude, t, mask, ties);  // a NaN's key, and -infinity is there
  *ties = t == 0 ? n - set : 0;
  return set;
}

// Marks everything above t and the first k - above that equal it. *exact = false: t is not the k-th largest, the mask means nothing.
template <class T>
Status mark_all(const T* x, int64_t n, int64_t k, bool magnitude, KeyOf<T> t, uint8_t* mask, const Cancel* cancel, bool* exact) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  Scratch scratch;
  TERSOR_TRY(scratch.reserve("topk_mask", chunks * 8));
  int64_t* ties = scratch.as<int64_t>();
  std::atomic<int64_t> set{0};
  TERSOR_TRY(parallel_for(n, kChunk, cancel, [&](int64_t begin, int64_t end) {
    set.fetch_add(mark(x + begin, end - begin, magnitude, t, mask + begin / 8, &ties[begin / kChunk]));
  }));
  int64_t left = k - set.load();
  *exact = false;
  if (left < 0) return {};
  for (int64_t c = 0; c < chunks; c++) {  // ties[c] becomes how many of the chunk are taken, -1: all
    const int64_t take = ties[c] < left ? ties[c] : left;
    left -= take;
    ties[c] = take > 0 && take == ties[c] ? -1 : take;
  }
  if (left > 0) return {};
  *exact = true;
  return parallel_for(n, kChunk, cancel, [&](int64_t begin, int64_t end) {
    int64_t take = ties[begin / kChunk], ignored;
    if (take < 0 && t == 0) {  // the NaNs too
      memset(mask + begin / 8, 0xFF, static_cast<size_t>(mask_bytes(end - begin)));
      if (end % 8) mask[end / 8] = static_cast<uint8_t>((1u << (end % 8)) - 1);
    } else if (take < 0) {
      mark(x + begin, end - begin, magnitude, static_cast<KeyOf<T>>(t - 1), mask + begin / 8, &ignored);  // t - 1: the next lower key
    } else {
      for (int64_t i = begin; i < end && take > 0; i++)
        if (key_of(x[i], magnitude) == t) {
          mask[i / 8] = static_cast<uint8_t>(mask[i / 8] | 1u << (i % 8));
          take--;
        }
    }
  });
}

template <class T> Status by_radix(const T* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask, const Cancel* cancel) {
  Threshold<KeyOf<T>> t{};
  TERSOR_TRY(radix_threshold(x, magnitude, n, k, cancel, &t));
  bool exact;
  return mark_all(x, n, k, magnitude, t.key, mask, cancel, &exact);
}

// Sets the bits of the listed values (their n bits in `inside`) that are above t, and of the first *ties that equal it.
template <class T> void mark_listed(const uint8_t* inside, int64_t n, const T* values, int64_t listed, uint8_t* mask, KeyOf<T> t, int64_t* ties) {
  uint8_t take[kChunk / 8 + 16];
  int64_t equal;
  mark(values, listed, false, t, take, &equal);
  if (equal > 0 && equal <= *ties) {
    *ties -= equal;
    mark(values, listed, false, static_cast<KeyOf<T>>(t - 1), take, &equal);
  } else {
    for (int64_t i = 0; i < listed && *ties > 0 && equal > 0; i++)
      if (key_of(values[i], false) == t) {
        take[i / 8] = static_cast<uint8_t>(take[i / 8] | 1u << (i % 8));
        --*ties;
      }
  }
  TopkArgs args{};
  args.n = n;
  args.mask = mask;
  args.inside = const_cast<uint8_t*>(inside);
  args.values = take;
  topk_kernels().deposit(args);
}

template <class T> Status by_bracket(const T* x, int64_t n, int64_t k, bool magnitude, const Bracket<KeyOf<T>>& b, uint8_t* mask, const Cancel* cancel, bool* done) {
  using Key = KeyOf<T>;
  *done = false;
  const Key lowest = key_of(T(-INFINITY), false);
  Key lo = b.lo < lowest ? lowest : b.lo, hi = b.hi;
  if (b.many_lo && b.lo < b.mid) lo += lo + 1 == key_of(T(0), false) - 1 ? 2 : 1;  // past the key of -0, which no score has
  if (b.many_hi && b.hi > b.mid) hi--;
  if (hi < lo) return {};
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  int64_t capacity = static_cast<int64_t>(static_cast<double>(kChunk) * std::min(0.25, 2 * b.share)) / 16 * 16;
  if (capacity > n) capacity = n;
  const int64_t room = capacity + kTopkRoom, size = static_cast<int64_t>(sizeof(Key));
  const int64_t spare = static_cast<int64_t>(static_cast<double>(n) * std::min(0.25, 3 * b.share)) + kChunk + kTopkRoom;
  constexpr int kBins = 256;
  // Of each chunk: how many are inside, where their values are, the values, their histogram; bits of those inside. Where the values of a
  // chunk are too many for its list (sorted scores), they go to the spare room behind all lists.
  Scratch lists;
  TERSOR_TRY(lists.reserve("topk_mask", chunks * (16 + room * size + kBins * 4) + spare * size + mask_bytes(n)));
  int64_t *found = lists.as<int64_t>(), *first = found + chunks;
  T* values = reinterpret_cast<T*>(first + chunks);
  int32_t* counts = reinterpret_cast<int32_t*>(values + chunks * room + spare);
  std::atomic<int64_t> spare_used{0};
  uint8_t* inside = reinterpret_cast<uint8_t*>(counts + chunks * kBins);
  int shift = 0;
  while (((hi - lo) >> shift) >= static_cast<Key>(kBins)) shift++;
  std::atomic<int64_t> set{0}, listed{0};
  std::atomic<bool> overflow{false};
  const TopkKernel kernel = topk_kernels().bracket[sizeof(T) == 8];
  TERSOR_TRY(parallel_for(n, kChunk, cancel, [&](int64_t begin, int64_t end) {
    const int64_t c = begin / kChunk;
    T* list = values + c * room;
    TopkArgs args{};
    args.x = x + begin;
    args.n = end - begin;
    args.lo = value_of(lo);
    args.hi = value_of(hi);
    args.magnitude = magnitude;
    args.mask = mask + begin / 8;
    args.inside = inside + begin / 8;
    args.values = list;
    args.capacity = capacity;
    if (overflow.load(std::memory_order_relaxed)) return;
    set.fetch_add(kernel(args));
    found[c] = args.ties;
    first[c] = c * room;
    listed.fetch_add(args.ties);
    if (args.ties > capacity) {
      const int64_t at = spare_used.fetch_add(args.ties + kTopkRoom);
      if (at + args.ties + kTopkRoom > spare) {
        overflow.store(true);
        return;
      }
      first[c] = chunks * room + at;
      args.values = list = values + first[c];
      args.capacity = args.ties;
      kernel(args);
    }
    int32_t* h = counts + c * kBins;
    memset(h, 0, kBins * sizeof *h);
    for (int64_t i = 0; i < args.ties; i++) h[(key_of(list[i], false) - lo) >> shift]++;
  }));
  const int64_t need = k - set.load();
  if (overflow.load() || need < 0 || need > listed.load()) return {};
  *done = true;
  if (need == 0) return {};
  int64_t total[kBins] = {}, above = 0;
  for (int64_t c = 0; c < chunks; c++)
    for (int i = 0; i < kBins; i++) total[i] += counts[c * kBins + i];
  const Key bin = static_cast<Key>(find_bin(total, kBins, need, &above));
  const int64_t few = total[bin];
  Scratch room_of_bin;
  TERSOR_TRY(room_of_bin.reserve("topk_mask", 2 * (few + 1) * size));
  Key *keys = room_of_bin.as<Key>(), *work = keys + few + 1;
  TERSOR_TRY(parallel_for(chunks, 4, cancel, [&](int64_t begin, int64_t end) {
    int64_t at = 0;  // what the chunks before these have in the bin
    for (int64_t c = 0; c < begin; c++) at += counts[c * kBins + static_cast<int64_t>(bin)];
    for (int64_t c = begin; c < end; c++)
      for (int64_t i = 0; i < found[c]; i++) {
        const Key key = key_of(values[first[c] + i], false);
        if ((key - lo) >> shift == bin) keys[at++] = key;  // one in hundreds
      }
  }));
  memcpy(work, keys, static_cast<size_t>(few) * sizeof(Key));
  const Key base = lo + (bin << shift);
  const Threshold<Key> t = select_key(work, few, need - above, base, static_cast<Key>(base + ((Key(1) << shift) - 1)));
  int64_t equal = 0, ties = need - above - t.above;
  for (int64_t i = 0; i < few; i++) equal += keys[i] == t.key;
  const auto finish = [&](int64_t c, int64_t* left) {
    const int64_t at = c * kChunk;
    mark_listed(inside + at / 8, n - at < kChunk ? n - at : kChunk, values + first[c], found[c], mask + at / 8, t.key, left);
  };
  if (equal == ties)  // all of them: the chunks do not wait for each other
    return parallel_for(chunks, 4, cancel, [&](int64_t begin, int64_t end) {
      int64_t all = equal;
      for (int64_t c = begin; c < end; c++) finish(c, &all);
    });
  for (int64_t c = 0; c < chunks; c++) finish(c, &ties);
  return {};
}

template <class T> Status select(const T* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask, const Cancel* cancel) {
  if (n < kChunk) return by_radix(x, n, k, magnitude, mask, cancel);
  Bracket<KeyOf<T>> b{};
  TERSOR_TRY(sample_bracket(x, n, k, magnitude, cancel, &b));
  bool done = false;
  const auto guess = [&](KeyOf<T> key) { return mark_all(x, n, k, magnitude, key, mask, cancel, &done); };
  if (b.many_mid) TERSOR_TRY(guess(b.mid));
  if (!done) TERSOR_TRY(by_bracket(x, n, k, magnitude, b, mask, cancel, &done));
  if (!done && b.many_hi && b.hi != b.mid) TERSOR_TRY(guess(b.hi));
  if (!done && b.many_lo && b.lo != b.mid) TERSOR_TRY(guess(b.lo));
  return done ? Status{} : by_radix(x, n, k, magnitude, mask, cancel);
}

}  // namespace

Status topk_mask_infer(topk_mask_args& a) {
  TERSOR_TRY(expect_float("topk_mask", "scores", a.scores));
  const int64_t n = a.scores.size();
  if (a.k < 0 || a.k > n)
    return fail(Code::option, "topk_mask: k must be in [0, %lld], got %lld (scores: %s)", static_cast<long long>(n), static_cast<long long>(a.k),
                TERSOR_TEXT(a.scores));
  const int64_t bytes = mask_bytes(n);
  set_shape(a.mask, DType::u8, &bytes, 1);
  return {};
}

Status topk_mask_cpu(topk_mask_args& a, Context& ctx) {
  const int64_t n = a.scores.size(), k = a.k;
  uint8_t* mask = a.mask.as<uint8_t>();
  if (k == 0 || k == n) {
    memset(mask, k == 0 ? 0 : 0xFF, static_cast<size_t>(a.mask.shape[0]));
    if (k && n % 8) mask[n / 8] = static_cast<uint8_t>((1u << (n % 8)) - 1);
    return {};
  }
  Contiguous scores;
  TERSOR_TRY(scores.open("topk_mask", a.scores, ctx.cancel));
  return a.scores.dtype == DType::f64 ? select(scores.as<double>(), n, k, a.magnitude, mask, ctx.cancel)
                                      : select(scores.as<float>(), n, k, a.magnitude, mask, ctx.cancel);
}

Status threshold_mask_infer(threshold_mask_args& a) {
  TERSOR_TRY(expect_float("threshold_mask", "scores", a.scores));
  if (std::isnan(a.threshold)) return fail(Code::option, "threshold_mask: threshold must be a number, got NaN (scores: %s)", TERSOR_TEXT(a.scores));
  const int64_t bytes = mask_bytes(a.scores.size());
  set_shape(a.mask, DType::u8, &bytes, 1);
  return {};
}

namespace {

// The lowest key of a score that is >= t. A double between two floats is above the lower of them.
template <class T> KeyOf<T> first_key(double t) {
  const T v = static_cast<T>(t);
  return key_of(v, false) + (static_cast<double>(v) < t);
}

template <class T> Status mark_from(const TensorRef& scores, const T* x, double t, bool magnitude, uint8_t* mask, const Cancel* cancel) {
  return parallel_for(scores.size(), kChunk, cancel, [&](int64_t begin, int64_t end) {
    int64_t ties;
    mark(x + begin, end - begin, magnitude, static_cast<KeyOf<T>>(first_key<T>(t) - 1), mask + begin / 8, &ties);
  });
}

}  // namespace

Status threshold_mask_cpu(threshold_mask_args& a, Context& ctx) {
  Contiguous scores;
  TERSOR_TRY(scores.open("threshold_mask", a.scores, ctx.cancel));
  if (a.scores.dtype == DType::f64) return mark_from(a.scores, scores.as<double>(), a.threshold, a.magnitude, a.mask.as<uint8_t>(), ctx.cancel);
  return mark_from(a.scores, scores.as<float>(), a.threshold, a.magnitude, a.mask.as<uint8_t>(), ctx.cancel);
}

}  // namespace tersor
