// Activations over the vector in scope, for the epilogues of products: as types for kernels that fuse them, and on a finished tile that is
// still in L1. Include it in an ISA file where vec_<isa>.h is in scope.
#pragma once
#include "simd/act.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

struct ActNone {
  static TERSOR_VEC_INLINE simd::F32 of(simd::F32 x) { return x; }
};
struct ActRelu {
  static TERSOR_VEC_INLINE simd::F32 of(simd::F32 x) { return simd::max(simd::F32(0.0f), x); }
};
struct ActGelu {
  static TERSOR_VEC_INLINE simd::F32 of(simd::F32 x) { return simd::gelu(x); }
};
struct ActTanh {
  static TERSOR_VEC_INLINE simd::F32 of(simd::F32 x) { return simd::tanh(x); }
};
struct ActSigmoid {
  static TERSOR_VEC_INLINE simd::F32 of(simd::F32 x) { return simd::sigmoid(x); }
};

struct ActGeluTanh {
  static TERSOR_VEC_INLINE simd::F32 of(simd::F32 x) { return simd::gelu_tanh(x); }
};

template <class F> void activate_tile(float* y, int64_t m, int64_t n, int64_t row) {
  for (int64_t i = 0; i < m; i++, y += row) {
    int64_t j = 0;
    for (; j + simd::F32::lanes <= n; j += simd::F32::lanes) simd::store(y + j, F::of(simd::load(y + j)));
    if (j < n) simd::store_part(y + j, F::of(simd::load_part(y + j, n - j)), n - j);
  }
}

[[maybe_unused]] inline void activate(Act act, float* y, int64_t m, int64_t n, int64_t row) {
  switch (act) {
    case Act::relu: return activate_tile<ActRelu>(y, m, n, row);
    case Act::gelu: return activate_tile<ActGelu>(y, m, n, row);
    case Act::tanh: return activate_tile<ActTanh>(y, m, n, row);
    case Act::sigmoid: return activate_tile<ActSigmoid>(y, m, n, row);
    case Act::gelu_tanh: return activate_tile<ActGeluTanh>(y, m, n, row);
    default: return;
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
