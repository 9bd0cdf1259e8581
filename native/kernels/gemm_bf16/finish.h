// Conversion to bf16 and the last step of a tile (bias, activation, type of the result), over the vector in scope.
// Not guarded: each ISA file includes it once, after simd/vec_<isa>.h.
#include "base/float16.h"
#include "kernels/gemm_bf16/gemm_bf16.h"
#include "simd/activation.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// The bits of v as bf16, in the low half: round to nearest even; NaN keeps its upper payload, or gets a bit so that it stays NaN.
TERSOR_VEC_INLINE simd::I32 bf16_bits(simd::F32 v) {
  using simd::I32;
  const I32 u = simd::bits(v), top = simd::shift_right_logical(u, 16);
  const I32 rounded = simd::shift_right_logical(u + I32(0x7fff) + (top & I32(1)), 16);
  const I32 nan = top | simd::select((top & I32(0x7f)) == I32(0), I32(0x40), I32(0));
  return simd::select(simd::is_nan(v), nan, rounded);
}

TERSOR_VEC_INLINE void store_halves(uint16_t* out, simd::I32 v, int64_t n) {
  int32_t t[simd::F32::lanes];
  simd::store(t, v);
  if (n == simd::F32::lanes) {
    for (int l = 0; l < simd::F32::lanes; l++) out[l] = static_cast<uint16_t>(t[l]);
  } else {
    for (int64_t l = 0; l < n; l++) out[l] = static_cast<uint16_t>(t[l]);
  }
}

inline void narrow(const float* x, int64_t n, uint16_t* out) {
  constexpr int64_t kL = simd::F32::lanes;
  int64_t i = 0;
  for (; i + kL <= n; i += kL) store_halves(out + i, bf16_bits(simd::load(x + i)), kL);
  if (i < n) store_halves(out + i, bf16_bits(simd::load_part(x + i, n - i)), n - i);
}

// f32 that hold the rounded values.
inline void round_to_bf16(const float* x, int64_t n, float* out) {
  constexpr int64_t kL = simd::F32::lanes;
  int64_t i = 0;
  for (; i + kL <= n; i += kL) simd::store(out + i, simd::as_float(bf16_bits(simd::load(x + i)) << 16));
  if (i < n) simd::store_part(out + i, simd::as_float(bf16_bits(simd::load_part(x + i, n - i)) << 16), n - i);
}

template <class F> void finish_rows(const Bf16Finish& f) {
  constexpr int64_t kL = simd::F32::lanes;
  for (int64_t i = 0; i < f.m; i++) {
    const float* s = f.s + i * f.s_row;
    for (int64_t j = 0; j < f.n; j += kL) {
      const int64_t left = f.n - j, live = left < kL ? left : kL;
      simd::F32 v = simd::load_part(s + j, live);
      if (f.bias) v = v + simd::load_part(f.bias + j, live);
      v = F::of(v);
      if (f.c) simd::store_part(f.c + i * f.y_row + j, v, live);
      else store_halves(f.h + i * f.y_row + j, bf16_bits(v), live);
    }
  }
}

inline void finish_block(const Bf16Finish& f) {
  switch (f.act) {
    case Act::relu: return finish_rows<ActRelu>(f);
    case Act::gelu: return finish_rows<ActGelu>(f);
    case Act::tanh: return finish_rows<ActTanh>(f);
    case Act::sigmoid: return finish_rows<ActSigmoid>(f);
    case Act::gelu_tanh: return finish_rows<ActGeluTanh>(f);
    default: return finish_rows<ActNone>(f);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
