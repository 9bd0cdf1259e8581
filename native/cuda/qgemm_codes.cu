// x as 8-bit codes (a warp a row: two passes, of which the second finds the row in L1 or L2), sums of rows, and the rare product with 64-bit totals.
// Bound by bytes: quantizing reads 4 bytes a value (8 where the row falls out of the caches) and writes 1.
#include "cuda/qgemm.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kRowsPerBlock = kThreads / kWarp;

__device__ __forceinline__ uint32_t code_of(float v, float scale, int32_t zero) {
  v = v / scale;
  const float lo = static_cast<float>(-zero), hi = static_cast<float>(255 - zero);
  v = v != v ? 0.0f : v < lo ? lo : v > hi ? hi : v;
  return static_cast<uint32_t>(static_cast<int32_t>(rintf(v)) + zero) & 255u;
}

// Four codes a thread.
__global__ void codes_by_scale(const float* x, int64_t m, int64_t k, float scale, int32_t zero, uint8_t* codes, int64_t row_bytes) {
  const int64_t words = row_bytes / 4, total = m * words;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < total; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t row = i / words, c = i % words * 4;
    uint32_t word = 0;
    TERSOR_UNROLL
    for (int b = 0; b < 4; b++)
      if (c + b < k) word |= code_of(x[row * k + c + b], scale, zero) << (8 * b);
    *reinterpret_cast<uint32_t*>(codes + row * row_bytes + c) = word;
  }
}

__device__ __forceinline__ float warp_min(float v) {
  for (int by = 16; by > 0; by >>= 1) {
    const float other = __shfl_xor_sync(kFullMask, v, by);
    v = other < v ? other : v;
  }
  return v;
}

// QgemmDynamic (kernels/qgemm/qgemm.h). Symmetric codes are stored without the 128 that the CPU's unsigned rows add.
__global__ void __launch_bounds__(kThreads) codes_by_row(const float* x, int64_t m, int64_t k, bool symmetric, uint8_t* codes, int64_t row_bytes, float* scales, int32_t* zeros) {
  const int lane = lane_id();
  for (int64_t row = blockIdx.x * int64_t(kRowsPerBlock) + warp_id(); row < m; row += int64_t(gridDim.x) * kRowsPerBlock) {
    const float* const from = x + row * k;
    float lo = 0, hi = 0;
    bool bad = false;
    for (int64_t i = lane; i < k; i += kWarp) {
      const float v = from[i];
      bad = bad || !(v - v == 0.0f);
      lo = v < lo ? v : lo, hi = v > hi ? v : hi;
    }
    lo = warp_min(lo), hi = -warp_min(-hi);
    bad = __any_sync(kFullMask, bad) != 0;
    const float range = symmetric ? (-lo > hi ? -lo : hi) / 127.0f : hi / 255.0f - lo / 255.0f;
    const float scale = range >= 1.17549435e-38f ? range : 1.17549435e-38f, inverse = 1.0f / scale;
    const float z = -lo / scale;
    const int32_t zero = symmetric ? 0 : bad ? 128 : static_cast<int32_t>(rintf(z < 255.0f ? z : 255.0f));
    uint8_t* const to = codes + row * row_bytes;
    for (int64_t i = lane; i < row_bytes / 4; i += kWarp) {
      uint32_t word = 0;
      TERSOR_UNROLL
      for (int b = 0; b < 4; b++) {
        const int64_t at = i * 4 + b;
        if (at >= k) continue;
        int32_t q = bad ? zero : static_cast<int32_t>(rintf(from[at] * inverse)) + zero;
        if (!symmetric) q = q < 0 ? 0 : q > 255 ? 255 : q;
        word |= (static_cast<uint32_t>(q) & 255u) << (8 * b);
      }
      *reinterpret_cast<uint32_t*>(to + i * 4) = word;
    }
    if (lane == 0) {
      scales[row] = bad ? __uint_as_float(0x7fc00000u) : scale;
      if (zeros) zeros[row] = zero;
    }
  }
}

__global__ void rows_of_bytes(const uint8_t* from, int64_t from_row, int64_t m, int64_t k, uint8_t* to, int64_t to_row) {
  const int64_t words = to_row / 4, total = m * words;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < total; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t row = i / words, c = i % words * 4;
    uint32_t word = 0;
    TERSOR_UNROLL
    for (int b = 0; b < 4; b++)
      if (c + b < k) word |= static_cast<uint32_t>(from[row * from_row + c + b]) << (8 * b);
    *reinterpret_cast<uint32_t*>(to + row * to_row + c) = word;
  }
}

__global__ void __launch_bounds__(kThreads) row_sums(const uint8_t* codes, bool is_signed, int64_t m, int64_t k, int64_t row_bytes, int32_t* sums) {
  for (int64_t row = blockIdx.x * int64_t(kRowsPerBlock) + warp_id(); row < m; row += int64_t(gridDim.x) * kRowsPerBlock) {
    uint32_t s = 0;
    for (int64_t i = lane_id(); i < k; i += kWarp) {
      const uint8_t c = codes[row * row_bytes + i];
      s += static_cast<uint32_t>(is_signed ? static_cast<int32_t>(static_cast<int8_t>(c)) : static_cast<int32_t>(c));
    }
    for (int by = 16; by > 0; by >>= 1) s += __shfl_xor_sync(kFullMask, s, by);
    if (lane_id() == 0) sums[row] = static_cast<int32_t>(s);
  }
}

// As qgemm_finish_wide of kernels/qgemm.
__global__ void wide(const uint8_t* codes, bool is_signed, int64_t row_bytes, const uint8_t* w, int64_t w_row, IntegerEpilogue e) {
  e.look();
  const int64_t total = e.m * e.n;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < total; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t row = i / e.n, column = i % e.n;
    const int32_t w_zero = e.w_zeros ? e.w_zeros[column * e.w_zeros_step] : 0, x_zero = e.x_zeros ? e.x_zeros[row * e.x_zeros_step] : e.x_zero;
    int64_t v = 0;
    for (int64_t k = 0; k < e.k; k++) {
      const uint8_t c = codes[row * row_bytes + k];
      const int32_t x = (is_signed ? static_cast<int32_t>(static_cast<int8_t>(c)) : static_cast<int32_t>(c)) - x_zero;
      v += static_cast<int64_t>(x) * (static_cast<int32_t>(static_cast<int8_t>(w[column * w_row + k])) - w_zero);
    }
    if (e.to == IntegerTo::s32) {
      static_cast<int64_t*>(e.y)[i] = v;
      continue;
    }
    IntegerEpilogue::Part part;
    e.open(part, column, 1);
    const float f = e.scaled(part, 0, static_cast<float>(v), row, i);
    if (e.to == IntegerTo::f32) static_cast<float*>(e.y)[i] = f;
    else static_cast<uint8_t*>(e.y)[i] = e.narrow(f);
  }
}

}  // namespace

Status quantize_codes(Stream& stream, const float* x, int64_t m, int64_t k, float scale, int32_t zero, uint8_t* codes, int64_t row_bytes) {
  return launch<codes_by_scale>(stream, blocks_for(stream, m * row_bytes / 4, kThreads), kThreads, 0, x, m, k, scale, zero, codes, row_bytes);
}
Status quantize_rows_own(Stream& stream, const float* x, int64_t m, int64_t k, bool symmetric, uint8_t* codes, int64_t row_bytes, float* scales, int32_t* zeros) {
  return launch<codes_by_row>(stream, blocks_for(stream, m, kRowsPerBlock), kThreads, 0, x, m, k, symmetric, codes, row_bytes, scales, zeros);
}
Status copy_rows(Stream& stream, const uint8_t* from, int64_t from_row, int64_t m, int64_t k, uint8_t* to, int64_t to_row) {
  return launch<rows_of_bytes>(stream, blocks_for(stream, m * to_row / 4, kThreads), kThreads, 0, from, from_row, m, k, to, to_row);
}
Status sum_code_rows(Stream& stream, const uint8_t* codes, bool is_signed, int64_t m, int64_t k, int64_t row_bytes, int32_t* sums) {
  return launch<row_sums>(stream, blocks_for(stream, m, kRowsPerBlock), kThreads, 0, codes, is_signed, m, k, row_bytes, sums);
}
Status run_wide(Stream& stream, const uint8_t* codes, bool is_signed, int64_t row_bytes, const PackedWeight& w, const IntegerEpilogue& e) {
  return launch<wide>(stream, blocks_for(stream, e.m * e.n, kThreads), kThreads, 0, codes, is_signed, row_bytes, w.codes, w.row_bytes, e);
}

}  // namespace cuda
}  // namespace tersor
