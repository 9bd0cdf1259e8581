// What the matrix products share: operands whose rows lie along K, the epilogues that take finished sums to their place, and how a tile of sums in
// shared memory is handed to one.
//
// All tensor-core kernels (product_mma.h, product_wgmma.h) compute sums[m,n] = sum_k A[m,k] * B[n,k]: rows of A and B 16-byte aligned and a multiple of 16
// bytes apart. A kind of element decides nothing but the instruction: 32 bytes of K are 32 8-bit or 16 16-bit values, and lie in registers alike.
#pragma once
#include "cuda/activations.h"
#include "cuda/numeric.h"
#include "cuda/packed.h"

namespace tersor {
namespace cuda {

enum class Kind { u8, s8, f16, bf16 };  // of A; B is s8 beside both 8-bit kinds
__host__ __device__ constexpr bool is_integer(Kind kind) { return kind == Kind::u8 || kind == Kind::s8; }
template <Kind kind> struct SumOf { using type = float; };
template <> struct SumOf<Kind::u8> { using type = int32_t; };
template <> struct SumOf<Kind::s8> { using type = int32_t; };

constexpr int kMaxBatchRank = 6;

// Where the operands of the i-th product of a batch begin (elements of the operand's unit); dimensions of size one have been left out by the host.
struct BatchMap {
  int rank = 0;
  int64_t size[kMaxBatchRank] = {};
  int64_t a[kMaxBatchRank] = {}, b[kMaxBatchRank] = {};
};

__host__ __device__ inline void batch_offsets(const BatchMap& map, int64_t i, int64_t* a, int64_t* b) {
  *a = *b = 0;
  for (int d = map.rank - 1; d >= 0; d--) {
    const int64_t at = i % map.size[d];
    *a += at * map.a[d], *b += at * map.b[d];
    i /= map.size[d];
  }
}

// k_bytes: of the rows of A and B that count; a multiple of 16 (what lies between K and that is 0 in B, or in both).
struct KMajor {
  const unsigned char* a = nullptr;
  const unsigned char* b = nullptr;
  int64_t a_row = 0, b_row = 0;  // bytes
  int64_t m = 0, n = 0, k_bytes = 0;
  int64_t batches = 1;
  BatchMap map;                  // bytes
};

// Whether four neighbours may be stored at once from every fourth element on: a result that was given (`into`) may be a view that begins anywhere.
__device__ __forceinline__ bool starts_wide(const void* y) { return (reinterpret_cast<uintptr_t>(y) & 15) == 0; }

// --- epilogues: put(part, row, column, live, v) takes `live` <= 4 adjacent sums of a row; `part` holds what belongs to their columns ---

// QgemmFinish of kernels/qgemm/qgemm.h, to the bit. Pointers are the device's; a null one leaves its term out.
enum class IntegerTo : int32_t { s32, f32, s8, u8, fixed };
struct IntegerEpilogue {
  using Sum = int32_t;
  int64_t m = 0, n = 0;
  int32_t k = 0;
  const int32_t* column_sums = nullptr;  // sum_k B[j,k]
  int32_t x_zero = 0;
  const int32_t* x_zeros = nullptr;      // by row instead of x_zero
  int64_t x_zeros_step = 1;
  const int32_t* w_zeros = nullptr;
  int64_t w_zeros_step = 1;
  const int32_t* row_sums = nullptr;     // with w_zeros
  const int32_t* add = nullptr;
  int64_t add_step = 1;
  IntegerTo to = IntegerTo::s32;
  Act act = Act::none;
  void* y = nullptr;
  float x_scale = 1;
  const float* x_scales = nullptr;       // by row
  int64_t x_scales_step = 1;
  const float* w_scale = nullptr;
  int64_t w_scale_step = 0;
  const float* bias = nullptr;
  int64_t bias_step = 1;
  const float* residual = nullptr;       // [m,n]
  float y_inverse = 1;
  int32_t y_zero = 0, lo = 0, hi = 0;
  const int32_t* multiplier = nullptr;
  const int32_t* exponent = nullptr;
  int64_t multiplier_step = 0, exponent_step = 0;
  PackedCheck packed;

  __device__ __forceinline__ void look() const { packed.look(); }
  struct Part {
    int32_t column[4], w_zero[4], add[4], multiplier[4], exponent[4];
    float scale[4], bias[4];
  };
  __device__ __forceinline__ void open(Part& p, int64_t column, int live) const {
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) {
      const int64_t j = column + (i < live ? i : 0);
      p.w_zero[i] = w_zeros ? w_zeros[j * w_zeros_step] : 0;
      p.column[i] = static_cast<int32_t>(static_cast<uint32_t>(column_sums[j]) - static_cast<uint32_t>(k) * static_cast<uint32_t>(p.w_zero[i]));
      p.add[i] = add ? add[j * add_step] : 0;
      p.scale[i] = w_scale ? x_scale * w_scale[j * w_scale_step] : 1.0f;
      p.bias[i] = bias ? bias[j * bias_step] : -0.0f;  // x + -0 = x for every x
      p.multiplier[i] = multiplier ? multiplier[j * multiplier_step] : 0;
      p.exponent[i] = exponent ? exponent[j * exponent_step] : 0;
    }
  }
  __device__ __forceinline__ void put(const Part& p, int64_t row, int64_t column, int live, const int32_t (&sums)[4]) const;
  __device__ __forceinline__ float scaled(const Part& p, int i, float v, int64_t row, int64_t at) const {
    const float s = x_scales ? x_scales[row * x_scales_step] * p.scale[i] : p.scale[i];
    const float f = act_of(act, v * s + p.bias[i]);
    return residual ? f + residual[at] : f;
  }
  __device__ __forceinline__ uint8_t narrow(float f) const {
    f = f * y_inverse;
    const float least = static_cast<float>(lo - y_zero), most = static_cast<float>(hi - y_zero);
    f = f != f ? 0.0f : f < least ? least : f > most ? most : f;
    return static_cast<uint8_t>(static_cast<int32_t>(rintf(f)) + y_zero);
  }
};

// gemmlowp's fixed point (qgemm.h): shift left saturating, rounding doubling high multiplication, rounding shift right.
__device__ __forceinline__ int32_t fixed_point(int32_t v, int32_t multiplier, int32_t exponent, int32_t lo, int32_t hi) {
  const int left = exponent > 0 ? exponent : 0, right = exponent < 0 ? -exponent : 0;
  const int32_t shifted = static_cast<int32_t>(static_cast<uint32_t>(v) << left);
  v = (shifted >> left) == v ? shifted : (v >> 31) ^ INT32_MAX;
  v = static_cast<int32_t>((static_cast<int64_t>(v) * multiplier + (int64_t(1) << 30)) >> 31);
  const int32_t mask = static_cast<int32_t>((uint32_t(1) << right) - 1u), half = static_cast<int32_t>(static_cast<uint32_t>(mask) >> 1);
  const int32_t up = (v & mask) > half + (v < 0 ? 1 : 0) ? 1 : 0;
  v = (v >> right) + up;
  return v < lo ? lo : v > hi ? hi : v;
}

__device__ __forceinline__ void IntegerEpilogue::put(const Part& p, int64_t row, int64_t column, int live, const int32_t (&sums)[4]) const {
  const uint32_t zero = static_cast<uint32_t>(x_zeros ? x_zeros[row * x_zeros_step] : x_zero);
  const uint32_t row_sum = row_sums ? static_cast<uint32_t>(row_sums[row]) : 0u;
  const int64_t at = row * n + column;
  int32_t v[4];
  TERSOR_UNROLL
  for (int i = 0; i < 4; i++)
    v[i] = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) - zero * static_cast<uint32_t>(p.column[i]) - row_sum * static_cast<uint32_t>(p.w_zero[i]) +
                                static_cast<uint32_t>(p.add[i]));
  const bool whole = live == 4 && n % 4 == 0 && starts_wide(y);
  if (to == IntegerTo::s32) {
    int32_t* const out = static_cast<int32_t*>(y) + at;
    if (whole) *reinterpret_cast<int4*>(out) = make_int4(v[0], v[1], v[2], v[3]);
    else
      for (int i = 0; i < 4; i++)
        if (i < live) out[i] = v[i];
    return;
  }
  if (to == IntegerTo::f32) {
    float f[4];
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) f[i] = i < live ? scaled(p, i, static_cast<float>(v[i]), row, at + i) : 0.0f;
    float* const out = static_cast<float*>(y) + at;
    if (whole) *reinterpret_cast<float4*>(out) = make_float4(f[0], f[1], f[2], f[3]);
    else
      for (int i = 0; i < 4; i++)
        if (i < live) out[i] = f[i];
    return;
  }
  uint32_t bytes = 0;
  TERSOR_UNROLL
  for (int i = 0; i < 4; i++) {
    if (i >= live) continue;
    const uint32_t code = to == IntegerTo::fixed ? static_cast<uint32_t>(fixed_point(v[i], p.multiplier[i], p.exponent[i], lo - y_zero, hi - y_zero) + y_zero) & 255u
                                                 : narrow(scaled(p, i, static_cast<float>(v[i]), row, at + i));
    bytes |= code << (8 * i);
  }
  uint8_t* const out = static_cast<uint8_t*>(y) + at;
  if (whole) *reinterpret_cast<uint32_t*>(out) = bytes;
  else
    for (int i = 0; i < 4; i++)
      if (i < live) out[i] = static_cast<uint8_t>(bytes >> (8 * i));
}

// y = act(sum + bias) + residual in f32, bf16 or f16; batches stand one after another.
enum class FloatTo : int32_t { f32, f16, bf16 };
struct FloatEpilogue {
  using Sum = float;
  int64_t m = 0, n = 0;
  FloatTo to = FloatTo::f32;
  Act act = Act::none;
  void* y = nullptr;
  const void* bias = nullptr;   // [n], of type `bias_type`
  FloatTo bias_type = FloatTo::f32;
  int64_t bias_step = 1;
  const float* residual = nullptr;
  PackedCheck packed;

  __device__ __forceinline__ void look() const { packed.look(); }
  struct Part {
    float bias[4];
  };
  static __device__ __forceinline__ float at(const void* p, FloatTo type, int64_t i) {
    if (type == FloatTo::f32) return static_cast<const float*>(p)[i];
    const uint16_t h = static_cast<const uint16_t*>(p)[i];
    return type == FloatTo::f16 ? widen_f16(h) : widen_bf16(h);
  }
  __device__ __forceinline__ void open(Part& p, int64_t column, int live) const {
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) p.bias[i] = bias ? at(bias, bias_type, (column + (i < live ? i : 0)) * bias_step) : -0.0f;
  }
  __device__ __forceinline__ void put(const Part& p, int64_t row, int64_t column, int live, const float (&sums)[4]) const {
    const int64_t where = row * n + column;
    const bool whole = live == 4 && n % 4 == 0 && starts_wide(y);
    float f[4];
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) {
      f[i] = act_of(act, sums[i] + p.bias[i]);
      if (residual && i < live) f[i] = f[i] + residual[where + i];
    }
    if (to == FloatTo::f32) {
      float* const out = static_cast<float*>(y) + where;
      if (whole) *reinterpret_cast<float4*>(out) = make_float4(f[0], f[1], f[2], f[3]);
      else
        for (int i = 0; i < 4; i++)
          if (i < live) out[i] = f[i];
      return;
    }
    uint16_t h[4];
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) h[i] = to == FloatTo::f16 ? narrow_f16(f[i]) : narrow_bf16(f[i]);
    uint16_t* const out = static_cast<uint16_t*>(y) + where;
    if (whole) *reinterpret_cast<ushort4*>(out) = make_ushort4(h[0], h[1], h[2], h[3]);
    else
      for (int i = 0; i < 4; i++)
        if (i < live) out[i] = h[i];
  }
};

// --- tiles of sums in shared memory: kStageColumns columns; octets of a row change places by the row so that fragments are written without conflicts ---
constexpr int kStageColumns = 64;
__device__ __forceinline__ int stage_at(int row, int column) { return row * kStageColumns + (column ^ (row & 3) * 8); }

// `rows` rows of a stage to their place, by `threads` threads (a multiple of 16) of which this is the thread-th.
template <class E> __device__ __forceinline__ void put_stage(const E& e, const typename E::Sum* stage, int64_t row0, int rows, int64_t column0, int thread, int threads) {
  const int c = thread % (kStageColumns / 4) * 4;
  const int64_t column = column0 + c, left = e.n - column;
  if (left <= 0) return;
  const int live = left < 4 ? static_cast<int>(left) : 4;
  typename E::Part part;
  e.open(part, column, live);
  for (int r = thread / (kStageColumns / 4); r < rows && row0 + r < e.m; r += threads / (kStageColumns / 4)) {
    typename E::Sum v[4];
    const typename E::Sum* const from = stage + stage_at(r, c);
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++) v[i] = from[i];
    e.put(part, row0 + r, column, live, v);
  }
}

}  // namespace cuda
}  // namespace tersor
