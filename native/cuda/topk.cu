// topk_mask for f32 by a bracket: exactly k ones at the k largest scores (or magnitudes), ties by lowest index, NaN lowest, as on the CPU.
//
//   sample   32768 scores, one from each of as many equal runs, give two keys lo <= hi between which the k-th largest lies (5 standard deviations of the
//            rank on each side). One block; the keys stay in registers.
//   bracket  the one pass over the scores: mask bits above hi; what lies inside (1 to 3 %) goes to a list of (key, index) and to a histogram of 1024 bins
//            that divide [lo, hi]. Each warp takes places of the list 128 at a time, so the list's counter is rarely touched.
//   settle   the bin with the k-th largest is read off the histogram; listed scores above it set their bits, those in it (thousands) go to a second list
//   few      one block selects among them by (key, lower index first), all different: exact whatever the order of the lists was
//
// The result is unique, so none of this shows in it. Where the bracket misses, or a value is shared by so many that a list overflows, a word says so; it is
// read back, and topk_radix.cu does the work. Bytes: 4 n read once, n / 8 written, 16 of the 1 to 3 % inside.
#include "cuda/topk.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kSamples = 32768, kSampleThreads = 1024, kPerThread = kSamples / kSampleThreads;
constexpr int kBracketBins = 1024, kRoom = 128;
constexpr uint32_t kHole = 0xFFFFFFFFu;  // index of a place of the list that was not used
constexpr int64_t kFewRoom = 1 << 18;

struct Listed {
  uint32_t key, index;
};

struct Bracket {
  uint32_t lo, hi;
  int shift;                       // bin of a key inside: (key - lo) >> shift
  unsigned failed;
  unsigned long long set;          // bits above hi
  unsigned long long listed;       // places taken
  unsigned few;
  unsigned bin;                    // set by settle
  long long wanted;                // of the bin
  unsigned counts[kBracketBins];
};

__device__ inline uint32_t scramble(uint32_t v) {
  v ^= v >> 16, v *= 0x7FEB352Du, v ^= v >> 15, v *= 0x846CA68Bu;
  return v ^ v >> 16;
}

// Ranks are 0-based from the top of the sample; rank_lo >= kSamples: no lower bound, rank_hi < 0: no upper one.
__global__ void __launch_bounds__(kSampleThreads) sample_kernel(const float* x, int64_t n, bool magnitude, int rank_lo, int rank_hi, Bracket* state) {
  TERSOR_SHARED(unsigned, counts, 2 * 2048);
  TERSOR_SHARED(int, prefix, 2);
  TERSOR_SHARED(long long, over, 2);
  const int t = threadIdx.x;
  uint32_t keys[kPerThread];
  TERSOR_UNROLL
  for (int i = 0; i < kPerThread; i++) {
    const int64_t j = static_cast<int64_t>(i) * kSampleThreads + t, from = j * n / kSamples, to = (j + 1) * n / kSamples;
    keys[i] = key_of(x[from + scramble(static_cast<uint32_t>(j)) % (to - from)], magnitude);
  }
  for (int i = t; i < 2 * 2048; i += kSampleThreads) counts[i] = 0;
  for (int i = t; i < kBracketBins; i += kSampleThreads) state->counts[i] = 0;
  __syncthreads();
  TERSOR_UNROLL
  for (int i = 0; i < kPerThread; i++) atomicAdd(&counts[keys[i] >> 21], 1u);
  __syncthreads();
  const int side = t / 32;  // warp 0: lo, warp 1: hi
  if (side < 2) {
    long long above = 0;
    const int bin = find_from_top(counts, 2048, side ? rank_hi : rank_lo, &above);
    if (t % 32 == 0) prefix[side] = bin, over[side] = above;
  }
  __syncthreads();
  for (int i = t; i < 2 * 2048; i += kSampleThreads) counts[i] = 0;
  __syncthreads();
  const uint32_t first = static_cast<uint32_t>(prefix[0]), second = static_cast<uint32_t>(prefix[1]);
  TERSOR_UNROLL
  for (int i = 0; i < kPerThread; i++) {
    if (keys[i] >> 21 == first) atomicAdd(&counts[(keys[i] >> 10) & 2047], 1u);
    if (keys[i] >> 21 == second) atomicAdd(&counts[2048 + ((keys[i] >> 10) & 2047)], 1u);
  }
  __syncthreads();
  if (side < 2) {
    long long above = over[side];
    const int bin = find_from_top(counts + side * 2048, 2048, side ? rank_hi : rank_lo, &above);
    const uint32_t edge = static_cast<uint32_t>(prefix[side]) << 21 | static_cast<uint32_t>(bin) << 10;
    if (t % 32 == 0) prefix[side] = static_cast<int>(side ? edge | 1023u : edge);
  }
  __syncthreads();
  if (t > 0) return;
  const uint32_t lo = rank_lo >= kSamples ? 0u : static_cast<uint32_t>(prefix[0]), hi = rank_hi < 0 ? 0xFFFFFFFFu : static_cast<uint32_t>(prefix[1]);
  int shift = 0;
  while ((hi - lo) >> shift >= static_cast<uint32_t>(kBracketBins)) shift++;
  state->lo = lo, state->hi = hi, state->shift = shift;
  state->failed = 0, state->set = 0, state->listed = 0, state->few = 0;
}

__global__ void __launch_bounds__(256) bracket_kernel(const float* x, int64_t n, bool magnitude, uint8_t* mask, Listed* list, unsigned long long room, Bracket* state) {
  TERSOR_SHARED(unsigned, counts, kBracketBins);
  TERSOR_SHARED(unsigned long long, set_of_block, 1);
  const int lane = threadIdx.x & 31;
  for (int i = threadIdx.x; i < kBracketBins; i += 256) counts[i] = 0;
  if (threadIdx.x == 0) set_of_block[0] = 0;
  __syncthreads();
  const uint32_t lo = state->lo, hi = state->hi;
  const int shift = state->shift;
  const int64_t tiles = (n + kTile - 1) / kTile;
  unsigned set = 0;
  unsigned long long place = 0;  // of the warp: next place of the list, and how many are left of those it took
  unsigned left = 0;
  bool overflow = false;
  for (int64_t tile = warp_of_grid(); tile < tiles; tile += warps_of_grid()) {
    const int64_t first = tile * kTile + lane * 4;
    float v[32];
  TERSOR_UNROLL
    for (int u = 0; u < 8; u++) load_four(x, first + u * 128, n, v + u * 4);
    uint32_t above = 0, inside = 0;
  TERSOR_UNROLL
    for (int i = 0; i < 32; i++) {
      const uint32_t key = key_of(v[i], magnitude);
      above |= static_cast<uint32_t>(key > hi) << i;
      inside |= static_cast<uint32_t>(key >= lo && key <= hi) << i;
    }
    if (tile == tiles - 1) {  // nothing behind the end
      uint32_t live = 0;
  TERSOR_UNROLL
      for (int i = 0; i < 32; i++) live |= static_cast<uint32_t>(first + i / 4 * 128 + i % 4 < n) << i;
      above &= live, inside &= live;
    }
    set += static_cast<unsigned>(__popc(above));
    store_word(mask, tile * kTile, n, transpose_tile(above));
    const unsigned mine = static_cast<unsigned>(__popc(inside));
    unsigned until = mine;
    for (int d = 1; d < 32; d *= 2) {
      const unsigned other = __shfl_up_sync(0xFFFFFFFFu, until, d);
      if (lane >= d) until += other;
    }
    const unsigned all = __shfl_sync(0xFFFFFFFFu, until, 31);
    if (all == 0) continue;
    if (all > left) {
      if (!overflow)
        for (unsigned i = static_cast<unsigned>(lane); i < left; i += 32) list[place + i] = {0, kHole};
      left = all < kRoom ? kRoom : all;
      if (lane == 0) place = atomicAdd(&state->listed, static_cast<unsigned long long>(left));
      place = __shfl_sync(0xFFFFFFFFu, place, 0);
      overflow = place + left > room;
    }
    if (overflow) {  // the answer will come from elsewhere
      left = 0;
      if (lane == 0) state->failed = 1;
      continue;
    }
    Listed* to = list + place + (until - mine);
  TERSOR_UNROLL
    for (int i = 0; i < 32; i++)
      if (inside >> i & 1) {
        const uint32_t key = key_of(v[i], magnitude);
        *to++ = {key, static_cast<uint32_t>(first + i / 4 * 128 + i % 4)};
        atomicAdd(&counts[(key - lo) >> shift], 1u);
      }
    place += all, left -= all;
  }
  if (!overflow)
    for (unsigned i = static_cast<unsigned>(lane); i < left; i += 32) list[place + i] = {0, kHole};
  for (int d = 16; d > 0; d /= 2) set += __shfl_xor_sync(0xFFFFFFFFu, set, d);
  if (lane == 0) atomicAdd(&set_of_block[0], static_cast<unsigned long long>(set));
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(&state->set, set_of_block[0]);
  for (int i = threadIdx.x; i < kBracketBins; i += 256)
    if (counts[i]) atomicAdd(&state->counts[i], counts[i]);
}

// Larger is better: a higher key, then a lower index.
__device__ inline unsigned long long rank_of(Listed e) { return static_cast<unsigned long long>(e.key) << 32 | (0xFFFFFFFFu - e.index); }

__global__ void __launch_bounds__(256) settle_kernel(int64_t k, const Listed* list, unsigned long long room, uint8_t* mask, unsigned long long* few, Bracket* state) {
  TERSOR_SHARED(int, bin_of_block, 1);
  if (threadIdx.x < 32) {
    const long long need = static_cast<long long>(k) - static_cast<long long>(state->set);
    long long above = 0;
    int bin = find_from_top(state->counts, kBracketBins, need - 1, &above);
    const long long wanted = need - above;  // of the bin
    bool missed = state->listed > room || need < 0 || (need > 0 && wanted > static_cast<long long>(state->counts[bin]));
    if (need == 0) bin = kBracketBins;  // nothing inside
    if (threadIdx.x == 0) {
      if (blockIdx.x == 0) state->bin = static_cast<unsigned>(bin), state->wanted = need == 0 ? 0 : wanted;
      if (missed && blockIdx.x == 0) state->failed = 1;
      bin_of_block[0] = missed ? -1 : bin;
    }
  }
  __syncthreads();
  const int bin = bin_of_block[0];
  if (bin < 0 || bin == kBracketBins) return;
  const uint32_t lo = state->lo;
  const int shift = state->shift;
  const unsigned long long listed = state->listed, step = static_cast<unsigned long long>(gridDim.x) * 256;
  for (unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * 256 + threadIdx.x; i < listed; i += step) {
    const Listed e = list[i];
    if (e.index == kHole) continue;
    const int at = static_cast<int>((e.key - lo) >> shift);
    if (at > bin) set_bit(mask, e.index);
    if (at != bin) continue;
    const unsigned place = atomicAdd(&state->few, 1u);
    if (place < kFewRoom) few[place] = rank_of(e);
  }
}

__global__ void __launch_bounds__(1024) few_left_kernel(uint8_t* mask, const unsigned long long* few, Bracket* state) {
  TERSOR_SHARED(unsigned, counts, 2048);
  TERSOR_SHARED(int, bin, 1);
  TERSOR_SHARED(long long, over, 1);
  const int t = threadIdx.x;
  const unsigned n = state->few;
  const long long wanted = state->wanted;
  if (state->failed || wanted == 0) return;
  if (n > kFewRoom) {
    if (t == 0) state->failed = 1;
    return;
  }
  // Keys of the bin differ in their low `shift` bits only (as distances from the bin's lower end); then come the 32 bits of the index.
  const unsigned long long base = static_cast<unsigned long long>(state->lo + (state->bin << state->shift)) << 32;
  int upper = state->shift + 32;
  unsigned long long prefix = 0;  // of (rank - base) >> upper
  long long above = 0;
  bool all = false;  // the rest of the prefix's bin is wanted
  while (upper > 0 && !all) {
    const int width = upper < 11 ? upper : 11, lower = upper - width;
    for (int i = t; i < 2048; i += 1024) counts[i] = 0;
    __syncthreads();
    for (unsigned i = static_cast<unsigned>(t); i < n; i += 1024) {
      const unsigned long long r = few[i] - base;
      if (r >> upper == prefix) atomicAdd(&counts[(r >> lower) & ((1ull << width) - 1)], 1u);
    }
    __syncthreads();
    if (t < 32) {
      long long over_bin = above;
      const int b = find_from_top(counts, 2048, wanted - 1, &over_bin);
      if (t == 0) bin[0] = b, over[0] = over_bin;
    }
    __syncthreads();
    above = over[0];
    prefix = prefix << width | static_cast<unsigned long long>(bin[0]);
    all = above + static_cast<long long>(counts[bin[0]]) == wanted;
    upper = lower;
    __syncthreads();
  }
  for (unsigned i = static_cast<unsigned>(t); i < n; i += 1024) {
    const unsigned long long r = few[i] - base;
    if (r >> upper >= prefix) set_bit(mask, static_cast<int64_t>(0xFFFFFFFFu - static_cast<uint32_t>(few[i])));
  }
}

}  // namespace

Status topk_by_bracket(Stream& s, const float* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask, bool* done) {
  *done = false;
  const double p = static_cast<double>(k) / static_cast<double>(n), middle = p * kSamples, spread = 5 * sqrt(p * (1 - p) * kSamples) + 16;
  const int rank_lo = middle + spread >= kSamples ? kSamples : static_cast<int>(middle + spread);
  const int rank_hi = middle - spread < 0 ? -1 : static_cast<int>(middle - spread);
  const unsigned blocks = warp_blocks(s, tiles_of(n), 4);
  const int64_t room = n / 16 + static_cast<int64_t>(blocks) * 8 * kRoom + (1 << 18);
  Bracket* state;
  Listed* list;
  unsigned long long* few;
  TERSOR_TRY(s.scratch(1, &state));
  TERSOR_TRY(s.scratch(room, &list));
  TERSOR_TRY(s.scratch(kFewRoom, &few));
  TERSOR_TRY(launch<sample_kernel>(s, Grid{1}, kSampleThreads, 0, x, n, magnitude, rank_lo, rank_hi, state));
  TERSOR_TRY(launch<bracket_kernel>(s, Grid{blocks}, 256, 0, x, n, magnitude, mask, list, static_cast<unsigned long long>(room), state));
  TERSOR_TRY(launch<settle_kernel>(s, Grid{warp_blocks(s, room / 32 / 4, 8)}, 256, 0, k, static_cast<const Listed*>(list), static_cast<unsigned long long>(room), mask, few, state));
  TERSOR_TRY(launch<few_left_kernel>(s, Grid{1}, 1024, 0, mask, static_cast<const unsigned long long*>(few), state));
  unsigned failed = 0;
  TERSOR_TRY(s.download(&failed, &state->failed, sizeof failed));
  *done = failed == 0;
  return {};
}

namespace {

constexpr int64_t kBracketFrom = 1 << 20;  // below, the radix passes take less time than the sample

template <class T> Status topk_run(Stream& s, topk_mask_args& a, const T* x) {
  const int64_t n = a.scores.size(), k = a.k;
  uint8_t* mask = a.mask.as<uint8_t>();
  if (k == 0) return s.fill(mask, 0, a.mask.shape[0]);
  if (k == n) return mark_from(s, x, n, a.magnitude, KeyOf<T>(0), mask);
  if constexpr (sizeof(T) == 4)
    if (n >= kBracketFrom && n < 0xFFFFFFFF) {
      bool done = false;
      TERSOR_TRY(topk_by_bracket(s, x, n, k, a.magnitude, mask, &done));
      if (done) return {};
    }
  return topk_by_radix(s, x, n, k, a.magnitude, mask);
}

}  // namespace

Status topk_mask_cuda(Stream& s, topk_mask_args& a) {
  TensorRef x;
  TERSOR_TRY(dense(s, a.scores, &x));
  return x.dtype == DType::f64 ? topk_run(s, a, x.as<const double>()) : topk_run(s, a, x.as<const float>());
}

}  // namespace cuda
}  // namespace tersor
