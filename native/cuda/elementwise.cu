// Elementwise ops of two inputs with NumPy broadcasting (f32, f64, i32), and where: the formulas of kernels/elementwise/binary.def, one kernel a type and
// access width; the formula is picked by a uniform branch around a thread's 16 elements. Bound by memory: f32 moves 12 bytes an element.
#include "cuda/kernels.h"
#include "cuda/vec.h"
#include "cuda/walk.h"
#include "kernels/elementwise/generic.h"

namespace tersor {
namespace cuda {
namespace {

template <class T> struct Lane;
template <> struct Lane<float> { using V = simd::F32; };
template <> struct Lane<double> { using V = simd::F64; };

template <class T> struct Binary {
  using In = T;
  using Out = T;
  static constexpr int inputs = 2;
  BinaryOp op;

  template <int n> __device__ void apply(const T (&x)[2][n], T (&y)[n]) const {
    using V = typename Lane<T>::V;
    switch (op) {
#define TERSOR_BINARY(name, formula, integer)                                                                           \
  case BinaryOp::name:                                                                                                  \
    TERSOR_UNROLL for (int i = 0; i < n; i++) y[i] = Binary_##name::template of<V>(V(x[0][i]), V(x[1][i])).v;           \
    break;
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
      default: break;
    }
  }
};

// i32: computed in 64 bits, then wrapped.
struct BinaryInteger {
  using In = int32_t;
  using Out = int32_t;
  static constexpr int inputs = 2;
  BinaryOp op;

  template <int n> __device__ void apply(const int32_t (&x)[2][n], int32_t (&y)[n]) const {
    switch (op) {
#define TERSOR_NONE 0
#define TERSOR_BINARY(name, formula, integer)                                \
  case BinaryOp::name:                                                       \
    TERSOR_UNROLL for (int i = 0; i < n; i++) {                              \
      const int64_t a = x[0][i], b = x[1][i];                                \
      (void)a, (void)b;                                                      \
      y[i] = static_cast<int32_t>(static_cast<uint32_t>(integer));           \
    }                                                                        \
    break;
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
#undef TERSOR_NONE
      default: break;
    }
  }
};

// a where the condition is not 0, else b; the inputs are condition, a, b.
template <class T> struct Where {
  using In = T;
  using Out = T;
  static constexpr int inputs = 3;
  template <int n> __device__ void apply(const T (&x)[3][n], T (&y)[n]) const {
    TERSOR_UNROLL for (int i = 0; i < n; i++) y[i] = x[0][i] != T(0) ? x[1][i] : x[2][i];
  }
};

template <class T> Status where_run(Stream& s, where_args& a) {
  const TensorRef* const in[3] = {&a.condition, &a.a, &a.b};
  const T* const data[3] = {a.condition.as<T>(), a.a.as<T>(), a.b.as<T>()};
  return walk(s, Where<T>{}, walk_dims(in, a.y), data, a.y.as<T>());
}

template <class F> Status binary_run(Stream& s, BinaryOp op, const TensorRef& a, const TensorRef& b, const TensorRef& y) {
  using T = typename F::In;
  const TensorRef* const in[2] = {&a, &b};
  const T* const data[2] = {a.as<T>(), b.as<T>()};
  return walk(s, F{op}, walk_dims(in, y), data, y.as<T>());
}

Status binary(Stream& s, BinaryOp op, const TensorRef& a, const TensorRef& b, const TensorRef& y) {
  if (y.size() == 0) return {};
  if (a.dtype == DType::f32) return binary_run<Binary<float>>(s, op, a, b, y);
  if (a.dtype == DType::f64) return binary_run<Binary<double>>(s, op, a, b, y);
  return binary_run<BinaryInteger>(s, op, a, b, y);
}

}  // namespace

#define TERSOR_BINARY(name, formula, integer) \
  Status name##_any(Stream& s, name##_args& a) { return binary(s, BinaryOp::name, a.a, a.b, a.y); }
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY

Status where_any(Stream& s, where_args& a) { return a.a.dtype == DType::f32 ? where_run<float>(s, a) : where_run<double>(s, a); }

}  // namespace cuda
}  // namespace tersor
