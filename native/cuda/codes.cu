// pack_bits, unpack_bits, block_decode, histogram (contracts: ops/pack_bits.cc, kernels/blocks/blocks.h, ops/histogram.cc).
//   pack, unpack: a thread takes 32 codes, which are `bits` whole words. Bytes: n (1 + bits / 8).
//   block_decode: a thread makes four values that lie side by side. Bytes: 4 n and the blocks.
//   histogram:    counts in shared memory, four tables for neighbours that fall into one bin, or in global memory beyond 8192 bins. Bytes: 4 n.
#include "cuda/bitset.h"
#include "cuda/numeric.h"
#include "cuda/offsets.h"

namespace tersor {
namespace cuda {
namespace {

__global__ void __launch_bounds__(256) code_pack_kernel(const int8_t* q, int64_t n, int bits, const RuleCheck range, uint8_t* packed) {
  const int64_t step = int64_t(gridDim.x) * 256, bytes = n / 8 * bits + (n % 8 * bits + 7) / 8;
  const int half = 1 << (bits - 1);
  const bool words = (reinterpret_cast<uintptr_t>(packed) & 3) == 0;
  for (int64_t t = int64_t(blockIdx.x) * 256 + threadIdx.x; t * 32 < n; t += step) {
    unsigned long long waiting = 0;
    int filled = 0;
    int64_t at = t * 4 * bits;
    for (int i = 0; i < 32; i += 4) {
      int8_t v[4];
      load_four(q, t * 32 + i, n, v);
      TERSOR_UNROLL
      for (int c = 0; c < 4; c++) {
        const bool live = t * 32 + i + c < n;
        if (live && (v[c] < -half || v[c] >= half)) range.report(t * 32 + i + c);
        waiting |= static_cast<unsigned long long>(live ? static_cast<unsigned>(v[c] + half) & ((2u * static_cast<unsigned>(half)) - 1) : 0u) << filled;
        filled += bits;
      }
      for (; filled >= 32; filled -= 32, waiting >>= 32, at += 4) {
        if (words && at + 4 <= bytes) *reinterpret_cast<uint32_t*>(packed + at) = static_cast<uint32_t>(waiting);
        else
          for (int b = 0; b < 4 && at + b < bytes; b++) packed[at + b] = static_cast<uint8_t>(waiting >> (8 * b));
      }
    }
  }
}

__global__ void __launch_bounds__(256) code_unpack_kernel(const uint8_t* packed, int64_t n, int bits, int8_t* q) {
  const int64_t step = int64_t(gridDim.x) * 256, bytes = n / 8 * bits + (n % 8 * bits + 7) / 8;
  const int half = 1 << (bits - 1);
  const bool words = (reinterpret_cast<uintptr_t>(packed) & 3) == 0;
  for (int64_t t = int64_t(blockIdx.x) * 256 + threadIdx.x; t * 32 < n; t += step) {
    unsigned long long waiting = 0;
    int filled = 0;
    int64_t at = t * 4 * bits;
    for (int i = 0; i < 32; i += 4) {
      if (filled < 4 * bits) {
        uint32_t word = 0;
        if (words && at + 4 <= bytes) word = *reinterpret_cast<const uint32_t*>(packed + at);
        else
          for (int b = 0; b < 4 && at + b < bytes; b++) word |= static_cast<uint32_t>(packed[at + b]) << (8 * b);
        waiting |= static_cast<unsigned long long>(word) << filled;
        filled += 32, at += 4;
      }
      int8_t v[4];
      TERSOR_UNROLL
      for (int c = 0; c < 4; c++) {
        v[c] = static_cast<int8_t>(static_cast<int>(waiting & ((2u * static_cast<unsigned>(half)) - 1)) - half);
        waiting >>= bits;
      }
      filled -= 4 * bits;
      store_four(q, t * 32 + i, n, v);
    }
  }
}

__device__ inline float half_at(const uint8_t* p) { return widen_f16(static_cast<uint16_t>(p[0] | p[1] << 8)); }

// Values i .. i + 3 of a block.
__device__ inline void decode_four(block_format format, const uint8_t* in, int i, float* out) {
  if (format == block_format::q8_0) {
    const float d = half_at(in);
    for (int c = 0; c < 4; c++) out[c] = d * static_cast<float>(static_cast<int8_t>(in[2 + i + c]));
  } else if (format == block_format::q4_0) {
    const float d = half_at(in);
    for (int c = 0; c < 4; c++) out[c] = d * static_cast<float>((in[2 + i % 16 + c] >> (i < 16 ? 0 : 4) & 15) - 8);
  } else if (format == block_format::q4_1) {
    const float d = half_at(in), m = half_at(in + 2);
    for (int c = 0; c < 4; c++) out[c] = d * static_cast<float>(in[4 + i % 16 + c] >> (i < 16 ? 0 : 4) & 15) + m;
  } else if (format == block_format::q4_k) {
    const uint8_t* p = in + 4;
    const int j = i / 32, k = j & 3;
    const int s = j < 4 ? p[k] & 63 : (p[8 + k] & 15) | (p[k] >> 6) << 4, m = j < 4 ? p[4 + k] & 63 : p[8 + k] >> 4 | (p[4 + k] >> 6) << 4;
    const float scale = half_at(in) * static_cast<float>(s), shift = half_at(in + 2) * static_cast<float>(m);
    const uint8_t* from = in + 16 + 32 * (j / 2) + i % 32;
    for (int c = 0; c < 4; c++) out[c] = scale * static_cast<float>(from[c] >> (j % 2 * 4) & 15) - shift;
  } else {
    const int h = i / 128, k = i / 32 % 4, half = i / 16 % 2;
    const float s = half_at(in + 208) * static_cast<float>(static_cast<int8_t>(in[192 + 8 * h + 2 * k + half]));
    const uint8_t *a = in + 64 * h + 32 * (k & 1) + 16 * half + i % 16, *b = in + 128 + 32 * h + 16 * half + i % 16;
    for (int c = 0; c < 4; c++) out[c] = s * static_cast<float>(((a[c] >> (k < 2 ? 0 : 4) & 15) | (b[c] >> (2 * k) & 3) << 4) - 32);
  }
}

__global__ void __launch_bounds__(256) decode_kernel(const uint8_t* blocks, int64_t n, block_format format, int values, int bytes, float* x) {
  const int64_t step = int64_t(gridDim.x) * 1024;
  for (int64_t i = (int64_t(blockIdx.x) * 256 + threadIdx.x) * 4; i < n; i += step) {
    float v[4];
    decode_four(format, blocks + i / values * bytes, static_cast<int>(i % values), v);
    store_four(x, i, n, v);
  }
}

constexpr int kSharedBins = 8192;

// tables: 4 or 1 in shared memory, 0: none.
template <class T>
__global__ void __launch_bounds__(256) histogram_kernel(const T* x, int64_t n, double origin, double inverse, int32_t bins, int tables, const RuleCheck nan, unsigned long long* counts) {
  unsigned* table = shared_memory<unsigned>();
  for (int i = threadIdx.x; i < bins * tables; i += 256) table[i] = 0;
  __syncthreads();
  const double top = bins - 1;
  const int64_t step = int64_t(gridDim.x) * 1024;
  unsigned* mine = table + (tables == 4 ? (threadIdx.x & 3) * static_cast<unsigned>(bins) : 0u);
  for (int64_t i = (int64_t(blockIdx.x) * 256 + threadIdx.x) * 4; i < n; i += step) {
    T v[4];
    load_four(x, i, n, v);
    TERSOR_UNROLL
    for (int c = 0; c < 4; c++) {
      if (i + c >= n) break;
      double b = (static_cast<double>(v[c]) - origin) * inverse;
      if (b != b) {
        nan.report(i + c);
        continue;
      }
      b = b > 0 ? b : 0;
      const int bin = static_cast<int>(b < top ? b : top);
      if (tables) atomicAdd(mine + bin, 1u);
      else atomicAdd(counts + bin, 1ull);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; tables && i < bins; i += 256) {
    unsigned long long sum = 0;
    for (int t = 0; t < tables; t++) sum += table[t * bins + i];
    if (sum) atomicAdd(counts + i, sum);
  }
}

template <class T> Status histogram(Stream& s, histogram_args& a, const T* x, int64_t n) {
  RuleCheck nan;
  TERSOR_TRY(nan.open(s, Code::numeric, "histogram: x must not be NaN"));
  const int tables = a.bins <= kSharedBins / 4 ? 4 : a.bins <= kSharedBins ? 1 : 0;
  // A block counts less than 2^32 values.
  const int64_t blocks = blocks_for(s, n, 4096, 8), least = n >> 31;
  return launch<histogram_kernel<T>>(s, blocks > least ? blocks : least + 1, 256, a.bins * tables * 4, x, n, a.lo, static_cast<double>(a.bins) / (a.hi - a.lo),
                                     static_cast<int32_t>(a.bins), tables, nan, a.counts.as<unsigned long long>());
}

const char* const kRangeRules[] = {"pack_bits: values of 2 bits must be in [-2, 1]",   "pack_bits: values of 3 bits must be in [-4, 3]",
                                   "pack_bits: values of 4 bits must be in [-8, 7]",   "pack_bits: values of 5 bits must be in [-16, 15]",
                                   "pack_bits: values of 6 bits must be in [-32, 31]", "pack_bits: values of 7 bits must be in [-64, 63]",
                                   "pack_bits: values of 8 bits must be in [-128, 127]"};

}  // namespace

Status pack_bits_cuda(Stream& s, pack_bits_args& a) {
  const int64_t n = a.q.size();
  if (n == 0) return {};
  TensorRef q;
  RuleCheck range;
  TERSOR_TRY(dense(s, a.q, &q));
  TERSOR_TRY(range.open(s, Code::option, kRangeRules[a.bits - 2]));
  return launch<code_pack_kernel>(s, blocks_for(s, n, 8192), 256, 0, q.as<const int8_t>(), n, static_cast<int>(a.bits), range, a.packed.as<uint8_t>());
}

Status unpack_bits_cuda(Stream& s, unpack_bits_args& a) {
  if (a.size == 0) return {};
  TensorRef packed;
  TERSOR_TRY(dense(s, a.packed, &packed));
  return launch<code_unpack_kernel>(s, blocks_for(s, a.size, 8192), 256, 0, packed.as<const uint8_t>(), a.size, static_cast<int>(a.bits), a.q.as<int8_t>());
}

Status block_decode_cuda(Stream& s, block_decode_args& a) {
  static constexpr int kValues[] = {32, 32, 32, 256, 256}, kBytes[] = {34, 18, 20, 144, 210};
  const int64_t n = a.x.size();
  TensorRef blocks;
  TERSOR_TRY(dense(s, a.blocks, &blocks));
  const int f = static_cast<int>(a.format);
  return launch<decode_kernel>(s, blocks_for(s, n, 1024), 256, 0, blocks.as<const uint8_t>(), n, a.format, kValues[f], kBytes[f], a.x.as<float>());
}

Status histogram_cuda(Stream& s, histogram_args& a) {
  TERSOR_TRY(s.fill(a.counts.data, 0, a.bins * 8));
  const int64_t n = a.x.size();
  if (n == 0) return {};
  TensorRef x;
  TERSOR_TRY(dense(s, a.x, &x));
  return x.dtype == DType::f64 ? histogram(s, a, x.as<const double>(), n) : histogram(s, a, x.as<const float>(), n);
}

}  // namespace cuda
}  // namespace tersor
