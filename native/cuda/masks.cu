// Bit sets: mask_slice, mask_count, mask_unpack, mask_pack, mask_apply, mask_indices (contracts: ops/mask.cc, ops/rows.cc). Elements by tiles (bitset.h), so
// that every access is 16 bytes a lane. Bytes: 4 n and n / 8 for f32; mask_apply 8 n + n / 8.
#include <cstring>

#include "cuda/offsets.h"
#include "cuda/topk.h"

namespace tersor {
namespace cuda {
namespace {

// Bits behind `size` count as nothing.
__device__ inline uint32_t word_of(const uint8_t* mask, int64_t word, int64_t size) {
  uint32_t bits = 0;
  const int64_t first = word * 32, bytes = (size + 7) / 8;
  if (first + 32 <= size && (reinterpret_cast<uintptr_t>(mask) & 3) == 0) return reinterpret_cast<const uint32_t*>(mask)[word];
  for (int b = 0; b < 4 && word * 4 + b < bytes; b++) bits |= static_cast<uint32_t>(mask[word * 4 + b]) << (8 * b);
  return size - first < 32 ? bits & ((1u << (size - first)) - 1) : bits;
}

__global__ void __launch_bounds__(256) mask_count_kernel(const uint8_t* mask, int64_t size, unsigned long long* total) {
  TERSOR_SHARED(unsigned long long, sum_of_block, 1);
  if (threadIdx.x == 0) sum_of_block[0] = 0;
  __syncthreads();
  unsigned long long sum = 0;
  for (int64_t w = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; w * 32 < size; w += static_cast<int64_t>(gridDim.x) * 256)
    sum += static_cast<unsigned>(__popc(word_of(mask, w, size)));
  for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(kFullMask, sum, d);
  if ((threadIdx.x & 31) == 0) atomicAdd(&sum_of_block[0], sum);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(total, sum_of_block[0]);
}

__global__ void __launch_bounds__(256) slice_kernel(const uint8_t* mask, int64_t left, int shift, int64_t size, uint8_t* part) {
  const int64_t bytes = (size + 7) / 8;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; i < bytes; i += static_cast<int64_t>(gridDim.x) * 256) {
    unsigned v = static_cast<unsigned>(mask[i] | (i + 1 < left ? mask[i + 1] << 8 : 0)) >> shift;
    if (i == bytes - 1 && size % 8) v &= (1u << (size % 8)) - 1;
    part[i] = static_cast<uint8_t>(v);
  }
}

__global__ void __launch_bounds__(256) mask_unpack_kernel(const uint8_t* mask, int64_t n, float* y) {
  const int64_t tiles = (n + kTile - 1) / kTile;
  for (int64_t tile = warp_of_grid(); tile < tiles; tile += warps_of_grid()) {
    const uint32_t bits = transpose_tile(load_word(mask, tile * kTile, n));
    const int64_t first = tile * kTile + (threadIdx.x & 31) * 4;
    TERSOR_UNROLL
    for (int u = 0; u < 8; u++) {
      float v[4];
      for (int c = 0; c < 4; c++) v[c] = static_cast<float>(bits >> (u * 4 + c) & 1);
      store_four(y, first + u * 128, n, v);
    }
  }
}

// Bit of an element: (x & value) != 0.
template <class T> __global__ void __launch_bounds__(256) mask_pack_kernel(const T* x, int64_t n, T value, uint8_t* mask) {
  const int64_t tiles = (n + kTile - 1) / kTile;
  for (int64_t tile = warp_of_grid(); tile < tiles; tile += warps_of_grid()) {
    const int64_t first = tile * kTile + (threadIdx.x & 31) * 4;
    uint32_t on = 0;
    TERSOR_UNROLL
    for (int u = 0; u < 8; u++) {
      T v[4];
      load_four(x, first + u * 128, n, v);
      for (int c = 0; c < 4; c++) on |= static_cast<uint32_t>((v[c] & value) != 0) << (u * 4 + c);
    }
    store_word(mask, tile * kTile, n, transpose_tile(on));
  }
}

// y may be x: all of a tile is read before any of it is written.
template <class T> __global__ void __launch_bounds__(256) apply_kernel(const T* x, const uint8_t* mask, int64_t n, T* y) {
  const int64_t tiles = (n + kTile - 1) / kTile;
  for (int64_t tile = warp_of_grid(); tile < tiles; tile += warps_of_grid()) {
    const uint32_t bits = transpose_tile(load_word(mask, tile * kTile, n));
    const int64_t first = tile * kTile + (threadIdx.x & 31) * 4;
    T v[32];
    TERSOR_UNROLL
    for (int u = 0; u < 8; u++) load_four(x, first + u * 128, n, v + u * 4);
    TERSOR_UNROLL
    for (int u = 0; u < 8; u++) {
      for (int c = 0; c < 4; c++) v[u * 4 + c] = bits >> (u * 4 + c) & 1 ? v[u * 4 + c] : T(0);
      store_four(y, first + u * 128, n, v + u * 4);
    }
  }
}

constexpr int kWordsOfBlock = 2048;  // of mask_indices: 65536 elements, 256 threads of 8 words

// Ones of each block's words.
__global__ void __launch_bounds__(256) ones_kernel(const uint8_t* mask, int64_t size, int32_t* counts) {
  TERSOR_SHARED(int, sum_of_block, 1);
  if (threadIdx.x == 0) sum_of_block[0] = 0;
  __syncthreads();
  int sum = 0;
  for (int i = 0; i < kWordsOfBlock / 256; i++) {
    const int64_t w = static_cast<int64_t>(blockIdx.x) * kWordsOfBlock + i * 256 + threadIdx.x;
    if (w * 32 < size) sum += __popc(word_of(mask, w, size));
  }
  for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(kFullMask, sum, d);
  if ((threadIdx.x & 31) == 0) atomicAdd(&sum_of_block[0], sum);
  __syncthreads();
  if (threadIdx.x == 0) counts[blockIdx.x] = sum_of_block[0];
}

__global__ void __launch_bounds__(256) places_kernel(const uint8_t* mask, int64_t size, const int32_t* first, int32_t* index) {
  TERSOR_SHARED(int, of_warp, 8);
  const int t = threadIdx.x, lane = t & 31, warp = t / 32;
  int at = first[blockIdx.x];
  for (int i = 0; i < kWordsOfBlock / 256; i++) {
    const int64_t w = static_cast<int64_t>(blockIdx.x) * kWordsOfBlock + i * 256 + t;
    uint32_t word = w * 32 < size ? word_of(mask, w, size) : 0;
    int until = __popc(word);
    for (int d = 1; d < 32; d *= 2) {
      const int other = __shfl_up_sync(kFullMask, until, d);
      if (lane >= d) until += other;
    }
    if (lane == 31) of_warp[warp] = until;
    __syncthreads();
    int place = at + until - __popc(word);
    for (int v = 0; v < 8; v++) {
      if (v < warp) place += of_warp[v];
      at += of_warp[v];
    }
    for (; word; word &= word - 1) index[place++] = static_cast<int32_t>(w * 32 + (__ffs(static_cast<int>(word)) - 1));
    __syncthreads();
  }
}

bool is_float(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

template <class T> Status pack_run(Stream& s, const TensorRef& x, T value, uint8_t* mask) {
  const int64_t n = x.size();
  return launch<mask_pack_kernel<T>>(s, Grid{warp_blocks(s, tiles_of(n), 4)}, 256, 0, x.as<const T>(), n, value, mask);
}

template <class T> Status apply_run(Stream& s, const TensorRef& x, const TensorRef& mask, TensorRef& y) {
  const int64_t n = x.size();
  return launch<apply_kernel<T>>(s, Grid{warp_blocks(s, tiles_of(n), 4)}, 256, 0, x.as<const T>(), mask.as<const uint8_t>(), n, y.as<T>());
}

}  // namespace

Status mask_count_cuda(Stream& s, mask_count_args& a) {
  TensorRef mask;
  TERSOR_TRY(dense(s, a.mask, &mask));
  TERSOR_TRY(s.fill(a.count.data, 0, 8));
  if (a.size == 0) return {};
  return launch<mask_count_kernel>(s, Grid{warp_blocks(s, (a.size + 1023) / 1024, 8)}, 256, 0, mask.as<const uint8_t>(), a.size, a.count.as<unsigned long long>());
}

Status mask_slice_cuda(Stream& s, mask_slice_args& a) {
  if (a.size == 0) return {};
  TensorRef mask;
  TERSOR_TRY(dense(s, a.mask, &mask));
  return launch<slice_kernel>(s, Grid{warp_blocks(s, a.size / 256 + 1, 8)}, 256, 0, mask.as<const uint8_t>() + a.start / 8, a.mask.shape[0] - a.start / 8,
                              static_cast<int>(a.start % 8), a.size, a.part.as<uint8_t>());
}

Status mask_unpack_cuda(Stream& s, mask_unpack_args& a) {
  const int64_t n = a.y.size();
  if (n == 0) return {};
  TensorRef mask;
  TERSOR_TRY(dense(s, a.mask, &mask));
  return launch<mask_unpack_kernel>(s, Grid{warp_blocks(s, tiles_of(n), 8)}, 256, 0, mask.as<const uint8_t>(), n, a.y.as<float>());
}

Status mask_pack_cuda(Stream& s, mask_pack_args& a) {
  if (a.x.size() == 0) return {};
  TensorRef x;
  TERSOR_TRY(dense(s, a.x, &x));
  const bool drop_sign = is_float(x.dtype);
  uint8_t* mask = a.mask.as<uint8_t>();
  switch (dtype_bytes(x.dtype)) {
    case 8: return pack_run<unsigned long long>(s, x, ~0ull >> drop_sign, mask);
    case 4: return pack_run<uint32_t>(s, x, ~0u >> drop_sign, mask);
    case 2: return pack_run<uint16_t>(s, x, static_cast<uint16_t>(0xFFFF >> drop_sign), mask);
    default: return pack_run<uint8_t>(s, x, uint8_t(0xFF), mask);
  }
}

Status mask_apply_cuda(Stream& s, mask_apply_args& a) {
  if (a.x.size() == 0) return {};
  TensorRef x, mask;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.mask, &mask));
  switch (dtype_bytes(x.dtype)) {
    case 8: return apply_run<unsigned long long>(s, x, mask, a.y);
    case 4: return apply_run<uint32_t>(s, x, mask, a.y);
    case 2: return apply_run<uint16_t>(s, x, mask, a.y);
    default: return apply_run<uint8_t>(s, x, mask, a.y);
  }
}

Status mask_indices_cuda(Stream& s, mask_indices_args& a) {
  a.index.shape[0] = 0;
  if (a.size == 0) return {};
  TensorRef mask;
  TERSOR_TRY(dense(s, a.mask, &mask));
  const int64_t blocks = (a.size + kWordsOfBlock * 32 - 1) / (kWordsOfBlock * 32);
  int32_t *counts, total = 0;
  TERSOR_TRY(s.scratch(blocks + 1, &counts));
  TERSOR_TRY(launch<ones_kernel>(s, Grid{static_cast<unsigned>(blocks)}, 256, 0, mask.as<const uint8_t>(), a.size, counts));
  TERSOR_TRY(offsets_from_counts(s, counts, blocks, counts));
  TERSOR_TRY(s.download(&total, counts + blocks, 4));
  a.index.shape[0] = total;
  return launch<places_kernel>(s, Grid{static_cast<unsigned>(blocks)}, 256, 0, mask.as<const uint8_t>(), a.size, static_cast<const int32_t*>(counts), a.index.as<int32_t>());
}

}  // namespace cuda
}  // namespace tersor
