// Pooling windows in blocks, written once over the vector in scope (simd/vec_<isa>.h). Selections, no branches: what they find costs the same.
#pragma once
#include "kernels/lanes/lanes.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

template <class V> TERSOR_VEC_INLINE uint32_t live_bits(int images, int first) {
  const int n = images - first;
  return n >= V::lanes ? (V::lanes == 32 ? ~0u : (1u << V::lanes) - 1u) : n <= 0 ? 0u : (1u << n) - 1u;
}

// f(window j, vector v of the block) with the plane position of the window's first element.
template <class V, int LANES> TERSOR_VEC_INLINE bool lanes_expand(const LanesWindows& a) {
  uint32_t missed = 0;
  for (int64_t j = 0; j < a.columns; j++)
    for (int v = 0; v < LANES; v += V::lanes) {
      const V value = simd::load(a.value + j * LANES + v);
      const simd::I32 index = simd::load(a.index + j * LANES + v);
      uint32_t found = 0;
      for (int64_t r = 0; r < a.ph; r++)
        for (int64_t c = 0; c < a.pw; c++) {
          const simd::M32 here = index == simd::I32(static_cast<int32_t>(a.first + r * a.row + j * a.pw + c));
          found |= simd::mask_bits(here);
          if (r >= a.r0 && r < a.r1) simd::store(a.dense + (r * a.pitch + j * a.pw + c) * LANES + v, simd::select(here, value, V(0.0f)));
        }
      missed |= ~found & live_bits<V>(a.images, v);
    }
  return missed == 0;
}

template <class V, int LANES> TERSOR_VEC_INLINE void lanes_pool(const LanesWindows& a) {
  for (int64_t j = 0; j < a.columns; j++)
    for (int v = 0; v < LANES; v += V::lanes) {
      const float* const from = a.dense + j * a.pw * LANES + v;
      V top = simd::load(from);
      simd::I32 index(static_cast<int32_t>(a.first + j * a.pw));
      for (int64_t r = 0; r < a.ph; r++)
        for (int64_t c = 0; c < a.pw; c++) {
          const V x = simd::load(from + (r * a.pitch + c) * LANES);
          const simd::M32 over = !(x <= top), take = over & (top == top);
          top = simd::select(take, x, top);
          index = simd::select(take, simd::I32(static_cast<int32_t>(a.first + r * a.row + j * a.pw + c)), index);
        }
      simd::store(a.value + j * LANES + v, top);
      simd::store(a.index + j * LANES + v, index);
    }
}

template <class V, int LANES> TERSOR_VEC_INLINE bool lanes_select(const LanesWindows& a) {
  uint32_t missed = 0;
  for (int64_t j = 0; j < a.columns; j++)
    for (int v = 0; v < LANES; v += V::lanes) {
      const float* const from = a.dense + j * a.pw * LANES + v;
      const simd::I32 index = simd::load(a.index + j * LANES + v);
      V value(0.0f);
      uint32_t found = 0;
      for (int64_t r = 0; r < a.ph; r++)
        for (int64_t c = 0; c < a.pw; c++) {
          const simd::M32 here = index == simd::I32(static_cast<int32_t>(a.first + r * a.row + j * a.pw + c));
          found |= simd::mask_bits(here);
          value = simd::select(here, simd::load(from + (r * a.pitch + c) * LANES), value);
        }
      missed |= ~found & live_bits<V>(a.images, v);
      simd::store(a.value + j * LANES + v, value);
    }
  return missed == 0;
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#define TERSOR_LANES_WINDOWS(name, lanes)                                                          \
  bool name##_expand(const LanesWindows& a) { return lanes_expand<simd::F32, lanes>(a); }          \
  void name##_pool(const LanesWindows& a) { lanes_pool<simd::F32, lanes>(a); }                     \
  bool name##_select(const LanesWindows& a) { return lanes_select<simd::F32, lanes>(a); }
