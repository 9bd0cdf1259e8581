// top_k over the last axis, f32 or f64; semantics of ops/top_k.cc. A block per row: the k-th largest key by radix selection (a byte a pass, counts by integer
// atomics), then the k elements in the order of their positions, then each to its rank, counted against the others: k^2 comparisons, for the k of beam searches
// and accuracies.
#include "cuda/kernels.h"
#include "cuda/collect.h"
#include "cuda/nn.h"

namespace tersor {
namespace cuda {
namespace {

// Keys in the order of what comes first: NaN above everything, -0 equal to +0; the other way round for the smallest.
template <class T> struct KeyType;
template <> struct KeyType<float> { using type = uint32_t; };
template <> struct KeyType<double> { using type = unsigned long long; };
__device__ inline uint32_t key_bits(float v) { return __float_as_uint(v + 0.0f); }
__device__ inline unsigned long long key_bits(double v) { return static_cast<unsigned long long>(__double_as_longlong(v + 0.0)); }
template <class T> __device__ typename KeyType<T>::type key_of(T v, bool largest) {
  using Key = typename KeyType<T>::type;
  constexpr Key kTop = Key(1) << (8 * sizeof(Key) - 1);
  const Key b = key_bits(v), key = v != v ? ~Key(0) : b & kTop ? ~b : b | kTop;
  return largest ? key : ~key;
}

template <class T>
__global__ void top_k_rows(const T* x, int64_t n, int k, bool largest, typename KeyType<T>::type* keys, int32_t* places, T* y, int32_t* index) {
  using Key = typename KeyType<T>::type;
  TERSOR_SHARED(int, counts, 256);
  TERSOR_SHARED(int, found, 2);
  const int t = static_cast<int>(threadIdx.x), count = static_cast<int>(n);
  const T* row = x + static_cast<int64_t>(blockIdx.x) * n;
  keys += static_cast<int64_t>(blockIdx.x) * k;
  places += static_cast<int64_t>(blockIdx.x) * k;
  Key prefix = 0, mask = 0;
  int left = k;  // of those that begin with prefix
  for (int shift = 8 * static_cast<int>(sizeof(Key)) - 8; shift >= 0; shift -= 8) {
    counts[t] = 0;
    __syncthreads();
    for (int i = t; i < count; i += kThreads) {
      const Key key = key_of(row[i], largest);
      if ((key & mask) == prefix) atomicAdd(&counts[static_cast<int>(key >> shift & 255)], 1);
    }
    __syncthreads();
    int total;
    const int own = counts[255 - t], upto = block_scan<kThreads>(own, &total);
    if (upto >= left && upto - own < left) found[0] = 255 - t, found[1] = upto - own;
    __syncthreads();
    prefix |= static_cast<Key>(found[0]) << shift;
    mask |= static_cast<Key>(255) << shift;
    left -= found[1];
    __syncthreads();
  }
  // Those above the threshold, and the first `left` of those equal to it, in the order of their positions.
  int taken = 0, equal = 0;
  for (int i0 = 0; i0 < count; i0 += kThreads) {
    const Key key = i0 + t < count ? key_of(row[i0 + t], largest) : Key(0);
    const bool is_equal = i0 + t < count && key == prefix;
    int equals, takes;
    const int nth = equal + block_scan<kThreads>(is_equal ? 1 : 0, &equals);
    const bool take = i0 + t < count && (key > prefix || (is_equal && nth <= left));
    const int at = taken + block_scan<kThreads>(take ? 1 : 0, &takes) - 1;
    if (take) keys[at] = key, places[at] = i0 + t;
    taken += takes;
    equal += equals;
  }
  __syncthreads();
  for (int i = t; i < k; i += kThreads) {
    const Key key = keys[i];
    int rank = 0;
    for (int j = 0; j < k; j++) rank += keys[j] > key || (keys[j] == key && j < i);
    const int64_t at = static_cast<int64_t>(blockIdx.x) * k + rank;
    y[at] = row[places[i]];
    index[at] = places[i];
  }
}

template <class T> Status run_top_k(Stream& stream, top_k_args& a) {
  const int64_t n = a.x.dim(-1), size = a.y.size();
  if (size == 0) return {};
  const T* x;
  typename KeyType<T>::type* keys;
  int32_t* places;
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(stream.scratch(size, &keys));
  TERSOR_TRY(stream.scratch(size, &places));
  return launch<top_k_rows<T>>(stream, Grid{size / a.k}, kThreads, 0, x, n, static_cast<int>(a.k), a.largest, keys, places, a.y.as<T>(), a.index.as<int32_t>());
}

}  // namespace

Status top_k(Stream& stream, top_k_args& a) { return a.x.dtype == DType::f64 ? run_top_k<double>(stream, a) : run_top_k<float>(stream, a); }

}  // namespace cuda
}  // namespace tersor
