// Activations and their derivatives: the formulas of kernels/nonlinear/nonlinear.def. f32, f64; f16 and bf16 computed in f32. Bound by memory: forward f32 moves
// 8 bytes an element, the gradient 12.
#include "cuda/kernels.h"
#include "cuda/vec.h"
#include "cuda/walk.h"
#include "kernels/nonlinear/generic.h"

namespace tersor {
namespace cuda {
namespace {

// One function a call; the branch is uniform.
template <DType D, bool gradient> struct Nonlinear {
  using In = typename Number<D>::Storage;
  using Out = In;
  using Value = typename Number<D>::Value;
  static constexpr int inputs = gradient ? 2 : 1, elements = 8;
  NonlinearOp op;
  Value p, q;

  template <int n> __device__ void apply(const In (&x)[inputs][n], Out (&y)[n]) const {
    using V = typename LaneOf<Value>::V;
    const V pv(p), qv(q);
    TERSOR_UNROLL
    for (int i = 0; i < n; i++) {
      const V v(Number<D>::read(x[0][i]));
      V r(Value(0));
      switch (op) {
#define TERSOR_NONLINEAR(name, formula, derivative)                                                                                      \
  case NonlinearOp::name:                                                                                                             \
    r = gradient ? V(Number<D>::read(x[inputs - 1][i])) * Nonlinear_##name::template slope<V>(v, pv, qv) : Nonlinear_##name::template of<V>(v, pv, qv); \
    break;
#include "kernels/nonlinear/nonlinear.def"
#undef TERSOR_NONLINEAR
        default: break;
      }
      y[i] = Number<D>::write(r.v);
    }
  }
};

template <DType D> Status run_nonlinear(Stream& s, NonlinearOp op, double p, double q, const TensorRef& x, const TensorRef* dy, const TensorRef& y) {
  using T = typename Number<D>::Storage;
  using Value = typename Number<D>::Value;
  if (!dy) {
    const TensorRef* const in[1] = {&x};
    const T* const data[1] = {x.as<T>()};
    return walk(s, Nonlinear<D, false>{op, static_cast<Value>(p), static_cast<Value>(q)}, walk_dims(in, y), data, y.as<T>());
  }
  const TensorRef* const in[2] = {&x, dy};
  const T* const data[2] = {x.as<T>(), dy->as<T>()};
  return walk(s, Nonlinear<D, true>{op, static_cast<Value>(p), static_cast<Value>(q)}, walk_dims(in, y), data, y.as<T>());
}

Status any(Stream& s, nonlinearity kind, double p, double q, const TensorRef& x, const TensorRef* dy, const TensorRef& y) {
  const NonlinearOp op = static_cast<NonlinearOp>(kind);
  switch (x.dtype) {
    case DType::f64: return run_nonlinear<DType::f64>(s, op, p, q, x, dy, y);
    case DType::f16: return run_nonlinear<DType::f16>(s, op, p, q, x, dy, y);
    case DType::bf16: return run_nonlinear<DType::bf16>(s, op, p, q, x, dy, y);
    default: return run_nonlinear<DType::f32>(s, op, p, q, x, dy, y);
  }
}

}  // namespace

Status nonlinear_any(Stream& s, nonlinear_args& a) { return any(s, a.kind, a.p, a.q, a.x, nullptr, a.y); }
Status nonlinear_grad_any(Stream& s, nonlinear_grad_args& a) { return any(s, a.kind, a.p, a.q, a.x, &a.dy, a.dx); }

}  // namespace cuda
}  // namespace tersor
