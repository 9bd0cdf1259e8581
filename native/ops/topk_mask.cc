// topk_mask(scores, k) -> bit set with exactly k ones, at the k largest scores: ties by lowest index, NaN below -infinity, -0 equals +0.
// Scores are compared through keys, unsigned integers in the same order. The result is unique, so the way to it may be chosen for speed:
//   f32, many: a sample brackets the k-th largest; one pass marks what lies above and lists what lies inside (kernels/topk); the list,
//              a few percent, is selected exactly. A missed or overfull bracket falls through to
//   radix:     histograms of 11 bits of the key from the top until the bin with the k-th largest is small, then one marking pass.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "kernels/topk/topk.h"
#include "ops/util.h"

namespace tersor {

Status topk_mask_infer(topk_mask_args& a) {
  TERSOR_TRY(expect_float("topk_mask", "scores", a.scores));
  const int64_t n = a.scores.size();
  if (a.k < 0 || a.k > n)
    return fail(Code::option, "topk_mask: k must be in [0, %lld], got %lld (scores: %s)", static_cast<long long>(n), static_cast<long long>(a.k),
                TERSOR_TEXT(a.scores));
  const int64_t bytes = n / 8 + (n % 8 != 0);
  set_shape(a.mask, DType::u8, &bytes, 1);
  return {};
}

namespace {

constexpr int64_t kChunk = 65536;  // elements per task; a multiple of 8, so tasks own whole mask bytes
constexpr int kBins = 2048;

inline uint32_t key_of(float v) {
  uint32_t b;
  v += 0.0f;  // -0 -> +0
  memcpy(&b, &v, 4);
  return v != v ? 0 : b & 0x80000000u ? ~b : b | 0x80000000u;
}
inline uint64_t key_of(double v) {
  uint64_t b;
  v += 0.0;
  memcpy(&b, &v, 8);
  return v != v ? 0 : b >> 63 ? ~b : b | uint64_t(1) << 63;
}
inline float value_of(uint32_t key) {
  const uint32_t b = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  float v;
  memcpy(&v, &b, 4);
  return v;
}

template <class T> using KeyOf = decltype(key_of(T()));

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
    while (((hi - lo) >> shift) >= static_cast<Key>(kBins)) shift++;
    int64_t counts[kBins] = {};
    for (int64_t i = 0; i < m; i++) counts[(keys[i] - lo) >> shift]++;
    const Key b = static_cast<Key>(find_bin(counts, kBins, k, &above));
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

template <class T> Status radix_threshold(const T* x, int64_t n, int64_t k, const Cancel* cancel, Threshold<KeyOf<T>>* out) {
  using Key = KeyOf<T>;
  constexpr int64_t kSmall = 4096;
  constexpr int bits = static_cast<int>(sizeof(Key)) * 8;
  int64_t parts = (n + kChunk - 1) / kChunk;
  if (parts > 16) parts = 16;
  const int64_t part = (n + parts - 1) / parts;
  Scratch scratch;
  TERSOR_TRY(scratch.reserve("topk_mask", parts * kBins * 8 + kSmall * static_cast<int64_t>(sizeof(Key))));
  int64_t* counts = scratch.as<int64_t>();
  Key* small = reinterpret_cast<Key*>(counts + parts * kBins);
  Key prefix = 0;
  int64_t above = 0;
  int shift = bits;
  for (;;) {
    const int upper = shift;  // bits above this place are known: prefix
    const int width = upper < 11 ? upper : 11;
    shift = upper - width;
    TERSOR_TRY(parallel_for(n, part, cancel, [&](int64_t begin, int64_t end) {
      int64_t* h = counts + begin / part * kBins;
      memset(h, 0, kBins * sizeof *h);
      const Key low = (Key(1) << width) - 1;
      if (upper == bits)
        for (int64_t i = begin; i < end; i++) h[key_of(x[i]) >> shift]++;
      else
        for (int64_t i = begin; i < end; i++) {
          const Key key = key_of(x[i]);
          if (key >> upper == prefix) h[(key >> shift) & low]++;
        }
    }));
    for (int64_t p = 1; p < parts; p++)
      for (int b = 0; b < kBins; b++) counts[b] += counts[p * kBins + b];
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
        const Key key = key_of(x[i]);
        if (key >> shift == prefix) small[at.fetch_add(1, std::memory_order_relaxed)] = key;
      }
    }));
    const Key lo = prefix << shift;
    const Threshold<Key> inner = select_key(small, counts[b], k - above, lo, lo + ((Key(1) << shift) - 1));
    *out = {inner.key, above + inner.above};
    return {};
  }
}

template <class T> int64_t mark_keys(const T* x, int64_t n, KeyOf<T> t, uint8_t* mask, int64_t* ties) {
  int64_t set = 0, equal = 0;
  for (int64_t i = 0; i < n; i += 8) {
    const int64_t m = n - i < 8 ? n - i : 8;
    unsigned byte = 0;
    for (int64_t j = 0; j < m; j++) {
      const KeyOf<T> key = key_of(x[i + j]);
      byte |= static_cast<unsigned>(key > t) << j;
      set += key > t;
      equal += key == t;
    }
    mask[i / 8] = static_cast<uint8_t>(byte);
  }
  *ties = equal;
  return set;
}

int64_t mark(const double* x, int64_t n, uint64_t t, uint8_t* mask, int64_t* ties) { return mark_keys(x, n, t, mask, ties); }
int64_t mark(const float* x, int64_t n, uint32_t t, uint8_t* mask, int64_t* ties) {
  if (t < key_of(-INFINITY)) return mark_keys(x, n, t, mask, ties);  // a NaN's key
  if (t == 0x7FFFFFFFu) t--;                                         // the key of -0, which no element has
  TopkArgs args{};
  args.x = x;
  args.n = n;
  args.hi = value_of(t);
  args.mask = mask;
  const int64_t set = topk_kernels().mark(args);
  *ties = args.ties;
  return set;
}

// Marks everything above t and the first k - above that equal it. *exact = false: t is not the k-th largest, the mask means nothing.
template <class T> Status mark_all(const T* x, int64_t n, int64_t k, KeyOf<T> t, uint8_t* mask, const Cancel* cancel, bool* exact) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  Scratch scratch;
  TERSOR_TRY(scratch.reserve("topk_mask", chunks * 8));
  int64_t* ties = scratch.as<int64_t>();
  std::atomic<int64_t> set{0};
  TERSOR_TRY(parallel_for(n, kChunk, cancel, [&](int64_t begin, int64_t end) {
    set.fetch_add(mark(x + begin, end - begin, t, mask + begin / 8, &ties[begin / kChunk]));
  }));
  int64_t left = k - set.load();
  *exact = false;
  if (left < 0) return {};
  for (int64_t c = 0; c < chunks; c++) {  // ties[c] becomes how many of the chunk are taken, -1: all
    const int64_t take = ties[c] < left ? ties[c] : left;
    left -= take;
    ties[c] = take > 0 && take == ties[c] && t > 0 ? -1 : take;
  }
  if (left > 0) return {};
  *exact = true;
  return parallel_for(n, kChunk, cancel, [&](int64_t begin, int64_t end) {
    int64_t take = ties[begin / kChunk], ignored;
    if (take < 0) mark(x + begin, end - begin, t - 1, mask + begin / 8, &ignored);  // t - 1 is the next lower key
    else
      for (int64_t i = begin; i < end && take > 0; i++)
        if (key_of(x[i]) == t) {
          mask[i / 8] = static_cast<uint8_t>(mask[i / 8] | 1u << (i % 8));
          take--;
        }
  });
}

template <class T> Status by_radix(const T* x, int64_t n, int64_t k, uint8_t* mask, const Cancel* cancel) {
  Threshold<KeyOf<T>> t{};
  TERSOR_TRY(radix_threshold(x, n, k, cancel, &t));
  bool exact;
  return mark_all(x, n, k, t.key, mask, cancel, &exact);
}

// Values between which the k-th largest lies almost surely: four standard deviations of its rank in a sample.
struct Bracket {
  uint32_t lo, hi;
  double share;  // expected share of the elements inside
};

Status sample_bracket(const float* x, int64_t n, int64_t k, Bracket* out) {
  const int64_t size = n >= int64_t(1) << 22 ? 32768 : 4096;
  Scratch scratch;
  TERSOR_TRY(scratch.reserve("topk_mask", size * 4));
  uint32_t* keys = scratch.as<uint32_t>();
  uint64_t state = 0x9E3779B97F4A7C15ull;
  for (int64_t i = 0; i < size; i++) {  // one from each of `size` equal parts, at a pseudo-random place
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const int64_t begin = static_cast<int64_t>(static_cast<double>(n) * static_cast<double>(i) / static_cast<double>(size));
    const int64_t width = n / size;
    keys[i] = key_of(x[begin + static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(width))]);
  }
  const double p = static_cast<double>(k) / static_cast<double>(n), s = static_cast<double>(size);
  const double reach = 4 * std::sqrt(p * (1 - p) * s) + 2;
  const int64_t top = static_cast<int64_t>(p * s - reach), bottom = static_cast<int64_t>(p * s + reach);
  const auto larger = [](uint32_t a, uint32_t b) { return a > b; };
  out->hi = key_of(INFINITY);
  out->lo = key_of(-INFINITY);
  if (top >= 0) {
    std::nth_element(keys, keys + top, keys + size, larger);
    out->hi = keys[top];
  }
  if (bottom < size) {
    std::nth_element(keys + (top > 0 ? top : 0), keys + bottom, keys + size, larger);
    out->lo = keys[bottom];
  }
  out->share = 2 * reach / s;
  return {};
}

Status by_bracket(const float* x, int64_t n, int64_t k, uint8_t* mask, const Cancel* cancel, bool* done) {
  *done = false;
  Bracket bracket{};
  TERSOR_TRY(sample_bracket(x, n, k, &bracket));
  if (bracket.hi == 0) return {};  // NaN
  if (bracket.lo == bracket.hi) return mark_all(x, n, k, bracket.lo, mask, cancel, done);
  if (bracket.lo == 0) bracket.lo = key_of(-INFINITY);
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  const int64_t capacity = static_cast<int64_t>(static_cast<double>(kChunk) * std::min(0.25, 2 * bracket.share)) / 16 * 16;
  const int64_t room = capacity + kTopkRoom;
  Scratch lists;  // counts of all chunks, then values and positions of each
  TERSOR_TRY(lists.reserve("topk_mask", chunks * (8 + room * 8)));
  int64_t* found = lists.as<int64_t>();
  uint32_t* values = reinterpret_cast<uint32_t*>(found + chunks);
  std::atomic<int64_t> set{0}, listed{0};
  std::atomic<bool> overflow{false};
  const TopkKernel kernel = topk_kernels().bracket;
  TERSOR_TRY(parallel_for(n, kChunk, cancel, [&](int64_t begin, int64_t end) {
    const int64_t c = begin / kChunk;
    TopkArgs args{};
    args.x = x + begin;
    args.n = end - begin;
    args.lo = value_of(bracket.lo);
    args.hi = value_of(bracket.hi);
    args.mask = mask + begin / 8;
    args.values = values + c * 2 * room;
    args.positions = reinterpret_cast<int32_t*>(args.values + room);
    args.capacity = capacity;
    set.fetch_add(kernel(args));
    found[c] = args.ties;
    listed.fetch_add(args.ties);
    if (args.ties > capacity) overflow.store(true);
  }));
  const int64_t need = k - set.load(), total = listed.load();
  if (overflow.load() || need < 0 || need > total) return {};
  *done = true;
  if (need == 0) return {};
  Scratch all;
  TERSOR_TRY(all.reserve("topk_mask", total * 4));
  uint32_t* keys = all.as<uint32_t>();
  int64_t at = 0;
  for (int64_t c = 0; c < chunks; c++)
    for (int64_t i = 0; i < found[c]; i++) {
      float v;
      memcpy(&v, &values[c * 2 * room + i], 4);
      keys[at++] = key_of(v);
    }
  const Threshold<uint32_t> t = select_key(keys, total, need, bracket.lo, bracket.hi);
  int64_t ties = need - t.above;
  for (int64_t c = 0; c < chunks; c++) {
    const uint32_t* v = values + c * 2 * room;
    uint8_t* bits = mask + c * (kChunk / 8);
    for (int64_t i = 0; i < found[c]; i++) {
      float value;
      memcpy(&value, v + i, 4);
      const uint32_t key = key_of(value);
      if (key > t.key || (key == t.key && ties-- > 0)) {
        const uint32_t p = v[room + i];
        bits[p / 8] = static_cast<uint8_t>(bits[p / 8] | 1u << (p % 8));
      }
    }
  }
  return {};
}

}  // namespace

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
  if (a.scores.dtype == DType::f64) return by_radix(scores.as<double>(), n, k, mask, ctx.cancel);
  if (n >= kChunk) {
    bool done = false;
    TERSOR_TRY(by_bracket(scores.as<float>(), n, k, mask, ctx.cancel, &done));
    if (done) return {};
  }
  return by_radix(scores.as<float>(), n, k, mask, ctx.cancel);
}

}  // namespace tersor
