// Masks with a fixed number of ones per row (topk_mask_rows) or per group of m <= 64 (nm_mask) of the last axis; order as topk_mask has it.
//   rows: a block per row: histograms of 8 bits of the key from the top in shared memory, then one walk that sets bits, the first of the ties. The row is read
//         passes + 1 times, from the second time on by way of the caches.
//   nm:   m = 2, 4, 8: eight elements a thread in registers, one byte of mask; other m: an element a thread that compares itself with its group.
//         Bytes: 4 n + n / 8.
#include "cuda/topk.h"

namespace tersor {
namespace cuda {
namespace {

template <class T> __global__ void __launch_bounds__(256) topk_rows_kernel(const T* x, int64_t rows, int64_t cols, int64_t k, bool magnitude, uint8_t* mask) {
  using Key = KeyOf<T>;
  TERSOR_SHARED(unsigned, counts, 256);
  TERSOR_SHARED(int, found, 1);
  TERSOR_SHARED(long long, over, 1);
  TERSOR_SHARED(int, ties_of_warp, 8);
  const int t = threadIdx.x, lane = t & 31, warp = t / 32;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* from = x + row * cols;
    Key prefix = 0;
    long long above = 0;
    for (int lower = static_cast<int>(sizeof(Key)) * 8 - 8; lower >= 0; lower -= 8) {
      counts[t] = 0;
      __syncthreads();
      for (int64_t i = t; i < cols; i += 256) {
        const Key key = key_of(from[i], magnitude);
        if (lower + 8 == static_cast<int>(sizeof(Key)) * 8 || key >> (lower + 8) == prefix) atomicAdd(&counts[(key >> lower) & 255], 1u);
      }
      __syncthreads();
      if (warp == 0) {
        long long sum = above;
        const int bin = find_from_top(counts, 256, static_cast<long long>(k) - 1, &sum);
        if (lane == 0) found[0] = bin, over[0] = sum;
      }
      __syncthreads();
      prefix = static_cast<Key>(prefix << 8 | static_cast<Key>(found[0]));
      above = over[0];
    }
    long long left = static_cast<long long>(k) - above;  // ties that are taken
    for (int64_t base = 0; base < cols; base += 256) {
      const int64_t i = base + t;
      const Key key = i < cols ? key_of(from[i], magnitude) : Key(0);
      const bool tie = i < cols && key == prefix;
      const unsigned tied = __ballot_sync(0xFFFFFFFFu, tie);
      if (lane == 0) ties_of_warp[warp] = __popc(tied);
      __syncthreads();
      int before = 0, all = 0;
      for (int w = 0; w < 8; w++) before += w < warp ? ties_of_warp[w] : 0, all += ties_of_warp[w];
      const bool on = i < cols && (key > prefix || (tie && before + __popc(tied & ((1u << lane) - 1)) < left));
      left -= all;
      const unsigned word = __ballot_sync(0xFFFFFFFFu, on);
      if (lane < 5 && word) {  // 32 bits that may begin anywhere: five bytes, shared with the neighbours
        const int64_t bit = row * cols + base + warp * 32;
        const unsigned byte = static_cast<unsigned>((static_cast<unsigned long long>(word) << (bit & 7)) >> (8 * lane)) & 255u;
        const uintptr_t at = reinterpret_cast<uintptr_t>(mask) + static_cast<uintptr_t>(bit / 8 + lane);
        if (byte) atomicOr(reinterpret_cast<uint32_t*>(at & ~uintptr_t(3)), byte << (8 * (at & 3)));
      }
      __syncthreads();
    }
  }
}

template <class T, int M> __global__ void __launch_bounds__(256) nm_kernel(const T* x, int64_t n, int keep, bool magnitude, uint8_t* mask) {
  const int64_t bytes = (n + 7) / 8;
  for (int64_t b = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; b < bytes; b += static_cast<int64_t>(gridDim.x) * 256) {
    T v[8];
    load_four(x, b * 8, n, v);
    load_four(x, b * 8 + 4, n, v + 4);
    KeyOf<T> keys[8];
  TERSOR_UNROLL
    for (int i = 0; i < 8; i++) keys[i] = key_of(v[i], magnitude);
    unsigned on = 0;
  TERSOR_UNROLL
    for (int i = 0; i < 8; i++) {
      int better = 0;
  TERSOR_UNROLL
      for (int j = i / M * M; j < i / M * M + M; j++)
        if (j != i) better += keys[j] > keys[i] || (keys[j] == keys[i] && j < i);
      on |= static_cast<unsigned>(better < keep && b * 8 + i < n) << i;
    }
    mask[b] = static_cast<uint8_t>(on);
  }
}

template <class T> __global__ void __launch_bounds__(256) groups_kernel(const T* x, int64_t n, int m, int keep, bool magnitude, uint8_t* mask) {
  const int64_t padded = (n + 31) / 32 * 32;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; i < padded; i += static_cast<int64_t>(gridDim.x) * 256) {
    bool on = false;
    if (i < n) {
      const KeyOf<T> key = key_of(x[i], magnitude);
      const int64_t first = i / m * m;
      int better = 0;
      for (int j = 0; j < m; j++) {
        const KeyOf<T> other = key_of(x[first + j], magnitude);
        better += other > key || (other == key && first + j < i);
      }
      on = better < keep;
    }
    const unsigned word = __ballot_sync(0xFFFFFFFFu, on);
    const int lane = threadIdx.x & 31;
    const int64_t at = i - lane;
    if (lane < 4 && at + lane * 8 < n) mask[at / 8 + lane] = static_cast<uint8_t>(word >> (8 * lane));
  }
}

template <class T> Status rows_run(Stream& s, topk_mask_rows_args& a, const T* x) {
  const int64_t cols = a.scores.dim(-1), rows = a.scores.size() / cols;
  return launch<topk_rows_kernel<T>>(s, Grid{static_cast<unsigned>(rows < (1 << 20) ? rows : 1 << 20)}, 256, 0, x, rows, cols, a.k, a.magnitude, a.mask.as<uint8_t>());
}

template <class T> Status nm_run(Stream& s, nm_mask_args& a, const T* x) {
  const int64_t n = a.scores.size();
  const int keep = static_cast<int>(a.n), m = static_cast<int>(a.m);
  const Grid by_byte{warp_blocks(s, (n + 255) / 256, 8)}, by_element{warp_blocks(s, (n + 31) / 32, 8)};
  uint8_t* mask = a.mask.as<uint8_t>();
  if (m == 2) return launch<nm_kernel<T, 2>>(s, by_byte, 256, 0, x, n, keep, a.magnitude, mask);
  if (m == 4) return launch<nm_kernel<T, 4>>(s, by_byte, 256, 0, x, n, keep, a.magnitude, mask);
  if (m == 8) return launch<nm_kernel<T, 8>>(s, by_byte, 256, 0, x, n, keep, a.magnitude, mask);
  return launch<groups_kernel<T>>(s, by_element, 256, 0, x, n, m, keep, a.magnitude, mask);
}

}  // namespace

Status topk_mask_rows_cuda(Stream& s, topk_mask_rows_args& a) {
  TERSOR_TRY(s.fill(a.mask.data, 0, a.mask.shape[0]));
  if (a.scores.size() == 0 || a.k == 0) return {};
  TensorRef x;
  TERSOR_TRY(dense(s, a.scores, &x));
  return x.dtype == DType::f64 ? rows_run(s, a, x.as<const double>()) : rows_run(s, a, x.as<const float>());
}

Status nm_mask_cuda(Stream& s, nm_mask_args& a) {
  if (a.scores.size() == 0) return {};
  TensorRef x;
  TERSOR_TRY(dense(s, a.scores, &x));
  return x.dtype == DType::f64 ? nm_run(s, a, x.as<const double>()) : nm_run(s, a, x.as<const float>());
}

}  // namespace cuda
}  // namespace tersor
