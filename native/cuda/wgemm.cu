// wgemm (native/ops/wgemm.cc): few rows of x meet the packed codes on the 8-bit tensor cores, exactly as the CPU's vector rows do it: in blocks of at most 128 k x becomes
// integers of 24 bits times a power of two, cut in three signed bytes; three products of bytes, exact sums, combined and scaled in f32 (kernels/wgemm/wgemm.h has
// the bound of the error). Rows that blocks of integers cannot hold are multiplied in f32. Many rows: the weight is unpacked and multiplied in f32.
//
// Limit on paper (H200, 4 bits): the bytes of the codes, N K / 2 at 4.3 TB/s: 19 bytes or 38 weights a cycle and multiprocessor. 128 k of 16 outputs are 2048 weights: 12 mma
// (m16n8k32) and about 100 instructions of a warp for 8 rows of x, 24 and about 170 for 16: 82 and 48 weights a cycle at four instructions a cycle. Eight warps of a block
// share what they read of x in L1 (3 bytes a value and row): L2 gives 3 * 8 / 64 of the bytes of the codes beside them at 8 rows, twice that at 16.
#include "cuda/activations.h"
#include "cuda/gemm.h"
#include "cuda/kernels.h"
#include "cuda/mma.h"
#include "cuda/wgemm.h"

namespace tersor {
namespace cuda {

Status unpack_weight(Stream& stream, const char* op, const TensorRef& packed, int64_t n, int64_t k, float* w);

namespace {

constexpr int64_t kDirectRows = 512;  // more rows of x: unpack and multiply in f32 (not measured)
constexpr int kOutputs = 128;         // of a block: eight warps of 16

struct alignas(16) BlockInfo {
  float scale, sum;  // 2^-t, sum of X
  int32_t start[3];  // -2^(bits-1) * sum of the plane's bytes
  int32_t unused[3];
};

struct Prepared {  // of all rows of x
  int8_t* planes;  // [m][3][room]
  BlockInfo* info; // [m][room / 32]: by the first step of the block
  int32_t* held;   // [m]
  int64_t room;    // bytes of a plane; at least 32 * row_steps
};

// A block of threads a row.
__global__ void __launch_bounds__(256) prepare_rows(const float* x, int64_t k, const WgemmDeviceHeader* header, Prepared p) {
  TERSOR_SHARED(float, tops, 8);
  const WgemmDeviceHeader h = *header;
  const int64_t row = blockIdx.x;
  if (h.magic != kWgemmDeviceMagic || h.k != k || h.row_steps() * 32 > p.room) {
    if (threadIdx.x == 0) p.held[row] = 0;
    return;
  }
  const float* const from = x + row * k;
  float top = 0;
  for (int64_t i = threadIdx.x; i < k; i += 256) {
    const float v = fabsf(from[i]);
    top = v > top || v != v ? v : top;
    if (v != v) break;
  }
  // NaN counts as infinity: such rows are not held either.
  top = top != top ? INFINITY : top;
  for (int by = 16; by > 0; by >>= 1) {
    const float other = __shfl_xor_sync(kFullMask, top, by);
    top = other > top ? other : top;
  }
  if (lane_id() == 0) tops[warp_id()] = top;
  __syncthreads();
  for (int i = 0; i < 8; i++) top = tops[i] > top ? tops[i] : top;
  const bool fits = top == 0.0f || (top >= 9.094947017729282e-13f && top < 1.152921504606847e18f);
  if (threadIdx.x == 0) p.held[row] = fits ? 1 : 0;
  const int64_t blocks = (h.steps() + 3) / 4;
  for (int64_t b = warp_id(); b < h.groups * blocks; b += 8) {
    const int64_t g = b / blocks, first = b % blocks * 128, left = h.group() - first, live = left < 128 ? left : 128;
    float v[4];
    float largest = 0;
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) {
      const int at = lane_id() * 4 + i;
      v[i] = fits && at < live ? from[g * h.group() + first + at] : 0.0f;
      largest = fabsf(v[i]) > largest ? fabsf(v[i]) : largest;
    }
    for (int by = 16; by > 0; by >>= 1) {
      const float other = __shfl_xor_sync(kFullMask, largest, by);
      largest = other > largest ? other : largest;
    }
    int t = 22 + 127 - static_cast<int>(__float_as_uint(largest) >> 23);
    if (t > 82) t = 82;
    if (largest * __uint_as_float(static_cast<uint32_t>(127 + t) << 23) > 8355711.0f) t--;
    const float up = __uint_as_float(static_cast<uint32_t>(127 + t) << 23);
    uint32_t bytes[3] = {};
    int32_t sums[3] = {};
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) {
      const uint32_t d = (static_cast<uint32_t>(static_cast<int32_t>(rintf(v[i] * up))) + 0x00808080u) ^ 0x00808080u;
      TERSOR_UNROLL
      for (int q = 0; q < 3; q++) {
        const uint32_t byte = d >> (8 * q) & 255u;
        bytes[q] |= byte << (8 * i);
        sums[q] += static_cast<int32_t>(static_cast<int8_t>(byte));
      }
    }
    const int64_t at = (g * h.steps() + first / 32) * 32;
    TERSOR_UNROLL
    for (int q = 0; q < 3; q++) {
      if (lane_id() * 4 < (live + 31) / 32 * 32) *reinterpret_cast<uint32_t*>(p.planes + (row * 3 + q) * p.room + at + lane_id() * 4) = bytes[q];
      for (int by = 16; by > 0; by >>= 1) sums[q] += __shfl_xor_sync(kFullMask, sums[q], by);
    }
    if (lane_id() != 0) continue;
    const int32_t offset = 1 << (h.bits - 1);
    p.info[row * (p.room / 32) + at / 32] = {__uint_as_float(static_cast<uint32_t>(127 - t) << 23), static_cast<float>(int64_t(sums[2]) * 65536 + int64_t(sums[1]) * 256 + sums[0]),
                                             {-offset * sums[0], -offset * sums[1], -offset * sums[2]}, {0, 0, 0}};
  }
}

struct Dot {
  const unsigned char* packed;
  int64_t m, n, k;
  Prepared x;
  float* partial;  // [splits][m][n]
};

// 16 outputs a warp, rows [row0, row0 + 8 kTiles) of x. kWide: blocks of four whole steps, of which lane t % 4 takes step t.
template <int bits, bool kWide, int kTiles>
__device__ __forceinline__ void dot_rows(const Dot& d, const WgemmDeviceHeader& h, int64_t output0, int64_t row0, int64_t begin, int64_t end, float (&total)[kTiles][4]) {
  const int g = lane_id() >> 2, t = lane_id() & 3;
  const int64_t row_steps = h.row_steps(), steps = h.steps();
  const uint32_t* codes[2];
  int64_t outputs[2];
  TERSOR_UNROLL
  for (int i = 0; i < 2; i++) {
    const int64_t n = output0 + g + 8 * i;
    outputs[i] = n < d.n ? n : d.n - 1;
    codes[i] = reinterpret_cast<const uint32_t*>(d.packed + 64) + outputs[i] * row_steps * bits;
  }
  const float* const scales = reinterpret_cast<const float*>(d.packed + h.scales_at());
  const float* const zeros = reinterpret_cast<const float*>(d.packed + h.zeros_at());
  const int8_t* planes[kTiles];
  TERSOR_UNROLL
  for (int r = 0; r < kTiles; r++) planes[r] = d.x.planes + (row0 + r * 8 + g < d.m ? row0 + r * 8 + g : d.m - 1) * 3 * d.x.room;
  for (int64_t step = begin; step < end;) {
    const int64_t group = step / steps, in_group = step % steps, left = steps - in_group;
    const int count = left < 4 ? static_cast<int>(left) : 4;
    int32_t acc[kTiles][3][4] = {};
    if (kWide) {
      uint32_t words[2][bits];
      TERSOR_UNROLL
      for (int i = 0; i < 2; i++) {
        const uint32_t* const from = codes[i] + (step + t) * bits;
        if constexpr (bits % 4 == 0) {
          TERSOR_UNROLL
          for (int w = 0; w < bits; w += 4) {
            const uint4 v = __ldcs(reinterpret_cast<const uint4*>(from + w));
            words[i][w] = v.x, words[i][w + 1] = v.y, words[i][w + 2] = v.z, words[i][w + 3] = v.w;
          }
        } else {
          TERSOR_UNROLL
          for (int w = 0; w < bits; w++) words[i][w] = __ldcs(from + w);
        }
      }
      TERSOR_UNROLL
      for (int half = 0; half < 2; half++) {
        uint4 x[kTiles][3];
        TERSOR_UNROLL
        for (int r = 0; r < kTiles; r++)
          TERSOR_UNROLL
          for (int q = 0; q < 3; q++) x[r][q] = *reinterpret_cast<const uint4*>(planes[r] + q * d.x.room + (step + t) * 32 + half * 16);
        TERSOR_UNROLL
        for (int s = 0; s < 2; s++) {
          const int quad = half * 4 + s * 2;
          const uint32_t a[4] = {wgemm_quad<bits>(words[0], quad), wgemm_quad<bits>(words[1], quad), wgemm_quad<bits>(words[0], quad + 1), wgemm_quad<bits>(words[1], quad + 1)};
          TERSOR_UNROLL
          for (int r = 0; r < kTiles; r++)
            TERSOR_UNROLL
            for (int q = 0; q < 3; q++) {
              const uint32_t b[2] = {s ? x[r][q].z : x[r][q].x, s ? x[r][q].w : x[r][q].y};
              mma_m16n8k32_u8s8(acc[r][q], a, b);
            }
        }
      }
    } else {
      for (int s = 0; s < count; s++) {
        uint32_t a[4];
        TERSOR_UNROLL
        for (int i = 0; i < 2; i++) {
          const uint32_t* const words = codes[i] + (step + s) * bits;
          a[i] = wgemm_quad<bits>(words, 2 * t), a[2 + i] = wgemm_quad<bits>(words, 2 * t + 1);
        }
        TERSOR_UNROLL
        for (int r = 0; r < kTiles; r++)
          TERSOR_UNROLL
          for (int q = 0; q < 3; q++) {
            const uint2 v = *reinterpret_cast<const uint2*>(planes[r] + q * d.x.room + (step + s) * 32 + t * 8);
            const uint32_t b[2] = {v.x, v.y};
            mma_m16n8k32_u8s8(acc[r][q], a, b);
          }
      }
    }
    float scale[2], zero[2];
    TERSOR_UNROLL
    for (int i = 0; i < 2; i++) {
      scale[i] = scales[outputs[i] * h.groups + group];
      zero[i] = h.affine ? zeros[outputs[i] * h.groups + group] : 0.0f;
    }
    TERSOR_UNROLL
    for (int j = 0; j < 2 * kTiles; j++) {
      const int64_t wanted = row0 + j / 2 * 8 + 2 * t + j % 2, row = wanted < d.m ? wanted : d.m - 1;
      const BlockInfo info = d.x.info[row * (d.x.room / 32) + step];
      const int32_t(&sums)[3][4] = acc[j / 2];
      TERSOR_UNROLL
      for (int i = 0; i < 2; i++) {
        const int v = i * 2 + j % 2;
        float f = fmaf(static_cast<float>((sums[2][v] + info.start[2]) * 256 + sums[1][v] + info.start[1]), 256.0f, static_cast<float>(sums[0][v] + info.start[0]));
        if (h.affine) f = fmaf(-info.sum, zero[i], f);
        total[j / 2][v] = fmaf(f, scale[i] * info.scale, total[j / 2][v]);
      }
    }
    step += count;
  }
}

// blockIdx: x outputs, y part of K, z rows of x by eight or, with two tiles, sixteen.
template <int kTiles> __global__ void __launch_bounds__(256) dot_blocks(Dot d, PackedCheck check) {
  check.look();
  const WgemmDeviceHeader h = *reinterpret_cast<const WgemmDeviceHeader*>(d.packed);
  if (h.magic != kWgemmDeviceMagic || h.n != d.n || h.k != d.k || h.row_steps() * 32 > d.x.room) return;
  const bool wide = h.group() % 128 == 0;
  const int64_t unit = wide ? 4 : h.steps(), units = unit > 0 ? h.row_steps() / unit : 0;
  const int64_t begin = units * blockIdx.y / gridDim.y * unit, end = units * (blockIdx.y + 1) / gridDim.y * unit;
  const int64_t output0 = blockIdx.x * int64_t(kOutputs) + warp_id() * 16, row0 = blockIdx.z * int64_t(8 * kTiles);
  if (output0 >= d.n) return;
  float total[kTiles][4] = {};
  switch (h.bits * 2 + (wide ? 1 : 0)) {
    case 17: dot_rows<8, true, kTiles>(d, h, output0, row0, begin, end, total); break;
    case 16: dot_rows<8, false, kTiles>(d, h, output0, row0, begin, end, total); break;
    case 9: dot_rows<4, true, kTiles>(d, h, output0, row0, begin, end, total); break;
    case 8: dot_rows<4, false, kTiles>(d, h, output0, row0, begin, end, total); break;
    case 7: dot_rows<3, true, kTiles>(d, h, output0, row0, begin, end, total); break;
    case 6: dot_rows<3, false, kTiles>(d, h, output0, row0, begin, end, total); break;
    case 5: dot_rows<2, true, kTiles>(d, h, output0, row0, begin, end, total); break;
    default: dot_rows<2, false, kTiles>(d, h, output0, row0, begin, end, total); break;
  }
  TERSOR_UNROLL
  for (int r = 0; r < kTiles; r++)
    TERSOR_UNROLL
    for (int v = 0; v < 4; v++) {
      const int64_t n = output0 + (lane_id() >> 2) + v / 2 * 8, row = row0 + r * 8 + (lane_id() & 3) * 2 + v % 2;
      if (n < d.n && row < d.m) d.partial[(blockIdx.y * d.m + row) * d.n + n] = total[r][v];
    }
}

// Parts of K are added in their order; rows that integers cannot hold are computed here, in f32.
__global__ void finish_rows(Dot d, int splits, const float* x, const float* bias, int64_t bias_step, const float* residual, Act act, float* y) {
  const WgemmDeviceHeader h = *reinterpret_cast<const WgemmDeviceHeader*>(d.packed);
  const int64_t size = d.m * d.n;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < size; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t row = i / d.n, n = i % d.n;
    float v = 0;
    if (d.x.held[row]) {
      v = d.partial[i];
      for (int s = 1; s < splits; s++) v = v + d.partial[s * size + i];
    } else if (h.magic == kWgemmDeviceMagic && h.n == d.n && h.k == d.k) {
      for (int64_t k = 0; k < d.k; k++) {
        const int64_t g = k / h.group(), in = k % h.group(), step = g * h.steps() + in / 32;
        const uint32_t* const words = reinterpret_cast<const uint32_t*>(d.packed + 64) + (n * h.row_steps() + step) * h.bits;
        const int u = static_cast<int>(wgemm_quad_any(h.bits, words, static_cast<int>(in % 32) / 4) >> (in % 4 * 8) & 255u) - (1 << (h.bits - 1));
        const float zero = h.affine ? reinterpret_cast<const float*>(d.packed + h.zeros_at())[n * h.groups + g] : 0.0f;
        v = fmaf(x[row * d.k + k], (static_cast<float>(u) - zero) * reinterpret_cast<const float*>(d.packed + h.scales_at())[n * h.groups + g], v);
      }
    }
    if (bias) v = v + bias[n * bias_step];
    v = act_of(act, v);
    y[i] = residual ? v + residual[i] : v;
  }
}

}  // namespace

Status wgemm(Stream& stream, wgemm_args& a) {
  const int64_t n = a.out, k = a.x.dim(-1);
  if (!packed_lies_well(a.packed, 64)) return fail(Code::option, "wgemm: packed was not made by wgemm_pack on this device");
  if (a.y.size() == 0) return {};
  const int64_t m = a.y.size() / n;
  TensorRef x, residual = a.residual;
  TERSOR_TRY(dense(stream, a.x, &x));
  if (a.residual.present()) TERSOR_TRY(dense(stream, a.residual, &residual));
  if (m > kDirectRows) {
    Gemm<float> g;
    float* w;
    TERSOR_TRY(stream.scratch(n * k, &w));
    TERSOR_TRY(unpack_weight(stream, "wgemm", a.packed, n, k, w));
    g.m = m, g.n = n, g.k = k, g.a = x.as<float>(), g.a_row = k, g.b = w, g.b_row = 1, g.b_col = k, g.y = a.y.as<float>();
    if (a.bias.present()) g.bias = a.bias.as<float>(), g.bias_step = a.bias.stride[0];
    if (a.residual.present()) g.residual = residual.as<float>();
    g.act = static_cast<Act>(a.act);
    return run_gemm(stream, g);
  }
  Dot d{a.packed.as<unsigned char>(), m, n, k, {}, nullptr};
  // A step takes at least eight bytes of codes for each output, so the size of `packed` bounds their number.
  d.x.room = a.packed.size() / (8 * n) * 32 + 32;
  TERSOR_TRY(stream.scratch(m * 3 * d.x.room, &d.x.planes));
  TERSOR_TRY(stream.scratch(m * (d.x.room / 32), &d.x.info));
  TERSOR_TRY(stream.scratch(m, &d.x.held));
  const int64_t blocks = ceil_div<int64_t>(n, kOutputs);
  int64_t splits = blocks < 256 ? 256 / blocks : 1;
  if (splits > k / 512) splits = k / 512;
  if (splits < 1) splits = 1;
  TERSOR_TRY(stream.scratch(splits * m * n, &d.partial));
  PackedCheck check;
  TERSOR_TRY(check.open(stream, "wgemm", a.packed.data, kWgemmDeviceMagic));
  TERSOR_TRY(launch<prepare_rows>(stream, m, 256, 0, x.as<float>(), k, a.packed.as<WgemmDeviceHeader>(), d.x));
  if (m <= 8) TERSOR_TRY(launch<dot_blocks<1>>(stream, Grid(blocks, splits), 256, 0, d, check));
  else TERSOR_TRY(launch<dot_blocks<2>>(stream, Grid(blocks, splits, ceil_div<int64_t>(m, 16)), 256, 0, d, check));
  return launch<finish_rows>(stream, blocks_for(stream, m * n, 256), 256, 0, d, static_cast<int>(splits), x.as<float>(), a.bias.present() ? a.bias.as<float>() : nullptr,
                             a.bias.present() ? a.bias.stride[0] : 0, a.residual.present() ? residual.as<float>() : nullptr, static_cast<Act>(a.act), a.y.as<float>());
}

}  // namespace cuda
}  // namespace tersor
