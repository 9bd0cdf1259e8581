// topk_mask by histograms of the key, 11 bits at a time from the top, and threshold_mask. For small tensors, f64, and values that very many share.
// A pass reads all scores; its last block to finish finds the bin with the k-th largest (nothing waits on the host). Then one pass marks what is above the
// key found (or equal, where all equal ones are wanted) and counts the ties of each tile; where only some are wanted, the first of them are set.
// Bytes: passes * 4 n (3 passes for f32, 6 for f64) + 4 n + n / 8, and once more 4 n over tiles with ties that are not all wanted.
#include "cuda/topk.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kRadixBins = 2048;

struct Radix {
  unsigned long long prefix;  // the key's bits that are known, at the low end; the whole key at last
  long long above;            // scores with a higher prefix
  long long equal;            // with this one
  unsigned done;              // blocks of the pass that have finished
  unsigned long long counts[kRadixBins];
};

// `upper` bits of the key are not known yet; this pass finds `width` of them.
template <class T> __global__ void __launch_bounds__(256) digits_kernel(const T* x, int64_t n, bool magnitude, int upper, int width, int64_t k, Radix* state) {
  TERSOR_SHARED(unsigned, counts, kRadixBins);
  TERSOR_SHARED(bool, last, 1);
  constexpr int bits = static_cast<int>(sizeof(KeyOf<T>)) * 8;
  for (int i = threadIdx.x; i < kRadixBins; i += 256) counts[i] = 0;
  __syncthreads();
  const unsigned long long prefix = state->prefix;
  const int lower = upper - width;
  const unsigned long long low = (1ull << width) - 1;
  const int lane = threadIdx.x & 31;
  const int64_t tiles = (n + kTile - 1) / kTile;
  for (int64_t tile = warp_of_grid(); tile < tiles; tile += warps_of_grid()) {
    const int64_t first = tile * kTile + lane * 4;
    T v[32];
  TERSOR_UNROLL
    for (int u = 0; u < 8; u++) load_four(x, first + u * 128, n, v + u * 4);
  TERSOR_UNROLL
    for (int i = 0; i < 32; i++) {
      const unsigned long long key = key_of(v[i], magnitude);
      if ((upper == bits || key >> upper == prefix) && first + i / 4 * 128 + i % 4 < n) atomicAdd(&counts[(key >> lower) & low], 1u);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kRadixBins; i += 256)
    if (counts[i]) atomicAdd(&state->counts[i], static_cast<unsigned long long>(counts[i]));
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last[0] = atomicAdd(&state->done, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last[0]) return;
  __threadfence();
  if (threadIdx.x < 32) {
    long long above = state->above;
    const int bin = find_from_top(const_cast<const volatile unsigned long long*>(state->counts), kRadixBins, static_cast<long long>(k) - 1, &above);
    if (threadIdx.x == 0) {
      state->above = above;
      state->equal = static_cast<long long>(const_cast<const volatile unsigned long long*>(state->counts)[bin]);
      state->prefix = prefix << width | static_cast<unsigned long long>(bin);
      state->done = 0;
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kRadixBins; i += 256) state->counts[i] = 0;
}

// Bits of keys above the state's one, or from it on where all equal ones are wanted; `ties` then stays 0. Without a state: from `from` on.
template <class T>
__global__ void __launch_bounds__(256) mark_kernel(const T* x, int64_t n, bool magnitude, KeyOf<T> from, int64_t k, const Radix* state, uint8_t* mask, int32_t* ties) {
  const int lane = threadIdx.x & 31;
  const int64_t tiles = (n + kTile - 1) / kTile;
  const KeyOf<T> key_from = state ? static_cast<KeyOf<T>>(state->prefix) : from;
  const bool all = !state || state->above + state->equal == k;
  for (int64_t tile = warp_of_grid(); tile < tiles; tile += warps_of_grid()) {
    const int64_t first = tile * kTile + lane * 4;
    T v[32];
  TERSOR_UNROLL
    for (int u = 0; u < 8; u++) load_four(x, first + u * 128, n, v + u * 4);
    uint32_t on = 0, equal = 0;
  TERSOR_UNROLL
    for (int i = 0; i < 32; i++) {
      const KeyOf<T> key = key_of(v[i], magnitude);
      const uint32_t live = static_cast<uint32_t>(first + i / 4 * 128 + i % 4 < n);
      on |= (live & static_cast<uint32_t>(all ? key >= key_from : key > key_from)) << i;
      equal |= (live & static_cast<uint32_t>(key == key_from)) << i;
    }
    store_word(mask, tile * kTile, n, transpose_tile(on));
    if (!ties) continue;
    int count = all ? 0 : __popc(equal);
    for (int d = 16; d > 0; d /= 2) count += __shfl_xor_sync(0xFFFFFFFFu, count, d);
    if (lane == 0) ties[tile] = count;
  }
}

// ties[t] becomes how many of tile t are taken when the first `wanted` of all are.
__global__ void __launch_bounds__(1024) share_kernel(int32_t* ties, int64_t tiles, int64_t k, const Radix* state) {
  TERSOR_SHARED(long long, sums, 1024);
  const int t = threadIdx.x;
  const long long wanted = static_cast<long long>(k) - state->above;
  if (state->equal == wanted) return;
  const int64_t each = (tiles + 1023) / 1024, begin = each * t < tiles ? each * t : tiles, end = begin + each < tiles ? begin + each : tiles;
  long long sum = 0;
  for (int64_t i = begin; i < end; i++) sum += ties[i];
  sums[t] = sum;
  __syncthreads();
  for (int d = 1; d < 1024; d *= 2) {
    const long long other = t >= d ? sums[t - d] : 0;
    __syncthreads();
    sums[t] += other;
    __syncthreads();
  }
  long long before = sums[t] - sum;
  for (int64_t i = begin; i < end; i++) {
    const long long have = ties[i], left = wanted - before;
    ties[i] = static_cast<int32_t>(left <= 0 ? 0 : have < left ? have : left);
    before += have;
  }
}

template <class T>
__global__ void __launch_bounds__(256) ties_kernel(const T* x, int64_t n, bool magnitude, int64_t k, const Radix* state, uint8_t* mask, const int32_t* ties) {
  const int lane = threadIdx.x & 31;
  const int64_t tiles = (n + kTile - 1) / kTile;
  if (state->above + state->equal == k) return;
  const KeyOf<T> wanted = static_cast<KeyOf<T>>(state->prefix);
  for (int64_t tile = warp_of_grid(); tile < tiles; tile += warps_of_grid()) {
    int left = ties[tile];
    if (left == 0) continue;
    const int64_t first = tile * kTile + lane * 4;
    uint32_t on = 0;
    for (int u = 0; u < 8; u++) {  // 128 elements in a row: the lanes in order, four each
      T v[4];
      load_four(x, first + u * 128, n, v);
      uint32_t equal = 0;
      for (int c = 0; c < 4; c++) equal |= static_cast<uint32_t>(key_of(v[c], magnitude) == wanted && first + u * 128 + c < n) << c;
      int until = __popc(equal);
      for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(0xFFFFFFFFu, until, d);
        if (lane >= d) until += other;
      }
      int mine = left - (until - __popc(equal));
      for (int c = 0; c < 4; c++)
        if (equal >> c & 1 && mine-- > 0) on |= 1u << (u * 4 + c);
      left -= __shfl_sync(0xFFFFFFFFu, until, 31);
    }
    store_word(mask, tile * kTile, n, load_word(mask, tile * kTile, n) | transpose_tile(on));
  }
}

template <class T> Status radix(Stream& s, const T* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask) {
  constexpr int bits = static_cast<int>(sizeof(KeyOf<T>)) * 8;
  const int64_t tiles = tiles_of(n);
  const unsigned blocks = warp_blocks(s, tiles, 4);
  Radix* state;
  int32_t* ties;
  TERSOR_TRY(s.scratch(1, &state));
  TERSOR_TRY(s.scratch(tiles, &ties));
  TERSOR_TRY(s.fill(state, 0, sizeof(Radix)));
  for (int upper = bits; upper > 0;) {
    const int width = upper < 11 ? upper : 11;
    TERSOR_TRY(launch<digits_kernel<T>>(s, Grid{blocks}, 256, 0, x, n, magnitude, upper, width, k, state));
    upper -= width;
  }
  const Radix* found = state;
  TERSOR_TRY(launch<mark_kernel<T>>(s, Grid{blocks}, 256, 0, x, n, magnitude, KeyOf<T>(0), k, found, mask, ties));
  TERSOR_TRY(launch<share_kernel>(s, Grid{1}, 1024, 0, ties, tiles, k, found));
  return launch<ties_kernel<T>>(s, Grid{blocks}, 256, 0, x, n, magnitude, k, found, mask, static_cast<const int32_t*>(ties));
}

template <class T> Status mark(Stream& s, const T* x, int64_t n, bool magnitude, KeyOf<T> from, uint8_t* mask) {
  if (n == 0) return {};
  return launch<mark_kernel<T>>(s, Grid{warp_blocks(s, tiles_of(n), 4)}, 256, 0, x, n, magnitude, from, int64_t(0), static_cast<const Radix*>(nullptr), mask,
                                static_cast<int32_t*>(nullptr));
}

// The lowest key of a score that is >= t; the key of a number on the host.
uint32_t host_key(float v) {
  v += 0.0f;
  uint32_t b;
  memcpy(&b, &v, 4);
  return b & 0x80000000u ? ~b : b | 0x80000000u;
}
unsigned long long host_key(double v) {
  v += 0.0;
  unsigned long long b;
  memcpy(&b, &v, 8);
  return b >> 63 ? ~b : b | 1ull << 63;
}
template <class T> KeyOf<T> first_key(double t) {
  const T v = static_cast<T>(t);
  return host_key(v) + (static_cast<double>(v) < t);
}

}  // namespace

Status topk_by_radix(Stream& s, const float* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask) { return radix(s, x, n, k, magnitude, mask); }
Status topk_by_radix(Stream& s, const double* x, int64_t n, int64_t k, bool magnitude, uint8_t* mask) { return radix(s, x, n, k, magnitude, mask); }
Status mark_from(Stream& s, const float* x, int64_t n, bool magnitude, uint32_t from, uint8_t* mask) { return mark(s, x, n, magnitude, from, mask); }
Status mark_from(Stream& s, const double* x, int64_t n, bool magnitude, unsigned long long from, uint8_t* mask) { return mark(s, x, n, magnitude, from, mask); }

Status threshold_mask_cuda(Stream& s, threshold_mask_args& a) {
  TensorRef x;
  TERSOR_TRY(dense(s, a.scores, &x));
  if (x.dtype == DType::f64) return mark_from(s, x.as<const double>(), x.size(), a.magnitude, first_key<double>(a.threshold), a.mask.as<uint8_t>());
  return mark_from(s, x.as<const float>(), x.size(), a.magnitude, first_key<float>(a.threshold), a.mask.as<uint8_t>());
}

}  // namespace cuda
}  // namespace tersor
