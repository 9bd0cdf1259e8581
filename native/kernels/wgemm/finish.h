// y = act(y + bias) + residual over the vector in scope; the tile is still in cache when it runs. One file per vector width includes it.
#include "kernels/wgemm/wgemm.h"
#include "simd/activation.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using V = simd::F32;

template <class F> void finish_with(const WgemmFinish& f) {
  constexpr int64_t kLanes = V::lanes;
  const V nothing(-0.0f);  // x + -0 = x for every x
  for (int64_t i = 0; i < f.m; i++) {
    float* y = f.y + i * f.y_row;
    const float* residual = f.residual ? f.residual + i * f.y_row : nullptr;
    int64_t j = 0;
    for (; j + kLanes <= f.n; j += kLanes) {
      const V bias = f.bias ? simd::load(f.bias + j) : nothing, add = residual ? simd::load(residual + j) : nothing;
      simd::store(y + j, F::of(simd::load(y + j) + bias) + add);
    }
    if (j < f.n) {
      const int64_t live = f.n - j;
      const V bias = f.bias ? simd::load_part(f.bias + j, live) : nothing, add = residual ? simd::load_part(residual + j, live) : nothing;
      simd::store_part(y + j, F::of(simd::load_part(y + j, live) + bias) + add, live);
    }
  }
}

inline void finish(const WgemmFinish& f) {
  switch (f.act) {
    case Act::relu: return finish_with<ActRelu>(f);
    case Act::gelu: return finish_with<ActGelu>(f);
    case Act::tanh: return finish_with<ActTanh>(f);
    case Act::sigmoid: return finish_with<ActSigmoid>(f);
    case Act::gelu_tanh: return finish_with<ActGeluTanh>(f);
    default: return finish_with<ActNone>(f);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
