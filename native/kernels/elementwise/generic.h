// The bodies, written once over the vector in scope.
#pragma once
#include "base/float16.h"
#include "kernels/elementwise/elementwise.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

#define TERSOR_UNARY(name, formula)                                  \
  struct Unary_##name {                                              \
    template <class V> static TERSOR_VEC_INLINE V of(V x, V p, V q) { \
      (void)p, (void)q;                                              \
      return formula;                                                \
    }                                                                \
  };
#include "kernels/elementwise/unary.def"
#undef TERSOR_UNARY

#define TERSOR_BINARY(name, formula, integer) \
  struct Binary_##name {                      \
    template <class V> static TERSOR_VEC_INLINE V of(V a, V b) { return formula; } \
  };
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY

template <class F, class V> void unary_run(const UnaryArgs<typename V::element>& a) {
  const V p(a.p), q(a.q);
  int64_t i = 0;
  for (; i + V::lanes <= a.n; i += V::lanes) simd::store(a.y + i, F::of(simd::load(a.x + i), p, q));
  if (i < a.n) simd::store_part(a.y + i, F::of(simd::load_part(a.x + i, a.n - i), p, q), a.n - i);
}

template <class V> void unary_switch(const UnaryArgs<typename V::element>& a) {
  switch (a.op) {
#define TERSOR_UNARY(name, formula) \
  case UnaryOp::name: return unary_run<Unary_##name, V>(a);
#include "kernels/elementwise/unary.def"
#undef TERSOR_UNARY
    default: return;
  }
}

// A and B say whether that input moves along the row.
template <class F, class V, bool A, bool B> void binary_rows(const BinaryArgs<typename V::element>& a) {
  using T = typename V::element;
  const int64_t n = a.cols;
  for (int64_t r = 0; r < a.rows; r++) {
    const T* pa = a.a + r * a.a_row;
    const T* pb = a.b + r * a.b_row;
    T* y = a.y + r * n;
    const V va(A || n == 0 ? T(0) : *pa), vb(B || n == 0 ? T(0) : *pb);
    int64_t i = 0;
    for (; i + V::lanes <= n; i += V::lanes) simd::store(y + i, F::of(A ? simd::load(pa + i) : va, B ? simd::load(pb + i) : vb));
    if (i < n) simd::store_part(y + i, F::of(A ? simd::load_part(pa + i, n - i) : va, B ? simd::load_part(pb + i, n - i) : vb), n - i);
  }
}
template <class F, class V> void binary_run(const BinaryArgs<typename V::element>& a) {
  if (a.a_step && a.b_step) binary_rows<F, V, true, true>(a);
  else if (a.a_step) binary_rows<F, V, true, false>(a);
  else if (a.b_step) binary_rows<F, V, false, true>(a);
  else binary_rows<F, V, false, false>(a);
}

template <class V> void binary_switch(const BinaryArgs<typename V::element>& a) {
  switch (a.op) {
#define TERSOR_BINARY(name, formula, integer) \
  case BinaryOp::name: return binary_run<Binary_##name, V>(a);
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
    default: return;
  }
}

// Plain loops: the compiler vectorises them for the region's instruction set.
inline void convert_switch(const ConvertArgs& a) {
  const int64_t n = a.n;
  if (a.op == ConvertOp::f32_f16 || a.op == ConvertOp::f32_bf16) {
    const float* __restrict x = static_cast<const float*>(a.x);
    uint16_t* __restrict y = static_cast<uint16_t*>(a.y);
    if (a.op == ConvertOp::f32_f16)
      for (int64_t i = 0; i < n; i++) y[i] = f16_from_f32(x[i]);
    else
      for (int64_t i = 0; i < n; i++) y[i] = bf16_from_f32(x[i]);
  } else {
    const uint16_t* __restrict x = static_cast<const uint16_t*>(a.x);
    float* __restrict y = static_cast<float*>(a.y);
    if (a.op == ConvertOp::f16_f32)
      for (int64_t i = 0; i < n; i++) y[i] = f32_from_f16(x[i]);
    else
      for (int64_t i = 0; i < n; i++) y[i] = f32_from_bf16(x[i]);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
