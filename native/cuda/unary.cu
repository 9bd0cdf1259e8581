// Elementwise ops of one input: the formulas of kernels/elementwise/unary.def. f32, f64; relu and gelu also f16 and bf16, computed in f32. Bound by memory:
// f32 moves 8 bytes an element.
#include "cuda/kernels.h"
#include "cuda/vec.h"
#include "cuda/walk.h"
#include "kernels/elementwise/generic.h"

namespace tersor {
namespace cuda {
namespace {

// Formulas whose code is long (they hold a path through double functions) have kernels of their own.
__host__ __device__ constexpr bool is_long(UnaryOp op) { return op == UnaryOp::sin || op == UnaryOp::cos; }

template <DType D> struct Unary {
  using In = typename Number<D>::Storage;
  using Out = In;
  using Value = typename Number<D>::Value;
  static constexpr int inputs = 1, elements = 8;
  UnaryOp op;
  Value p, q;

  template <int n> __device__ void apply(const In (&x)[1][n], Out (&y)[n]) const {
    using V = typename LaneOf<Value>::V;
    switch (op) {
#define TERSOR_UNARY(name, formula)                                                                                             \
  case UnaryOp::name:                                                                                                           \
    if (!is_long(UnaryOp::name)) {                                                                                              \
      TERSOR_UNROLL for (int i = 0; i < n; i++) y[i] = Number<D>::write(Unary_##name::template of<V>(V(Number<D>::read(x[0][i])), V(p), V(q)).v); \
    }                                                                                                                           \
    break;
#include "kernels/elementwise/unary.def"
#undef TERSOR_UNARY
      default: break;
    }
  }
};

// 16-bit types have two formulas only.
template <DType D> struct UnaryHalf {
  using In = uint16_t;
  using Out = uint16_t;
  static constexpr int inputs = 1, elements = 8;
  UnaryOp op;

  template <int n> __device__ void apply(const In (&x)[1][n], Out (&y)[n]) const {
    TERSOR_UNROLL
    for (int i = 0; i < n; i++) {
      const simd::F32 v(Number<D>::read(x[0][i]));
      y[i] = Number<D>::write((op == UnaryOp::relu ? Unary_relu::of<simd::F32>(v, v, v) : Unary_gelu::of<simd::F32>(v, v, v)).v);
    }
  }
};

template <DType D, bool cosine> struct Circular {
  using In = typename Number<D>::Storage;
  using Out = In;
  static constexpr int inputs = 1, elements = 8;
  template <int n> __device__ void apply(const In (&x)[1][n], Out (&y)[n]) const {
    using V = typename LaneOf<In>::V;
    TERSOR_UNROLL
    for (int i = 0; i < n; i++) y[i] = cosine ? Unary_cos::of<V>(V(x[0][i]), V(0), V(0)).v : Unary_sin::of<V>(V(x[0][i]), V(0), V(0)).v;
  }
};

template <class F> Status run_unary(Stream& s, const F& f, const TensorRef& x, const TensorRef& y) {
  const TensorRef* const in[1] = {&x};
  const typename F::In* const data[1] = {x.as<typename F::In>()};
  return walk(s, f, walk_dims(in, y), data, y.as<typename F::Out>());
}

Status unary(Stream& s, UnaryOp op, const TensorRef& x, const TensorRef& y, double p = 0, double q = 0) {
  const bool single = x.dtype == DType::f32;
  if (x.dtype == DType::f16) return run_unary(s, UnaryHalf<DType::f16>{op}, x, y);
  if (x.dtype == DType::bf16) return run_unary(s, UnaryHalf<DType::bf16>{op}, x, y);
  if (op == UnaryOp::sin) return single ? run_unary(s, Circular<DType::f32, false>{}, x, y) : run_unary(s, Circular<DType::f64, false>{}, x, y);
  if (op == UnaryOp::cos) return single ? run_unary(s, Circular<DType::f32, true>{}, x, y) : run_unary(s, Circular<DType::f64, true>{}, x, y);
  if (single) return run_unary(s, Unary<DType::f32>{op, static_cast<float>(p), static_cast<float>(q)}, x, y);
  return run_unary(s, Unary<DType::f64>{op, p, q}, x, y);
}

}  // namespace

#define TERSOR_ENTRY(name) \
  Status name##_any(Stream& s, name##_args& a) { return unary(s, UnaryOp::name, a.x, a.y); }
TERSOR_ENTRY(neg)
TERSOR_ENTRY(abs)
TERSOR_ENTRY(sign)
TERSOR_ENTRY(step)
TERSOR_ENTRY(exp)
TERSOR_ENTRY(log)
TERSOR_ENTRY(sqrt)
TERSOR_ENTRY(reciprocal)
TERSOR_ENTRY(sin)
TERSOR_ENTRY(cos)
TERSOR_ENTRY(tanh)
TERSOR_ENTRY(sigmoid)
TERSOR_ENTRY(relu)
TERSOR_ENTRY(erf)
TERSOR_ENTRY(gelu)
TERSOR_ENTRY(round)
#undef TERSOR_ENTRY
Status clip_any(Stream& s, clip_args& a) { return unary(s, UnaryOp::clip, a.x, a.y, a.lo, a.hi); }
Status scale_shift_any(Stream& s, scale_shift_args& a) { return unary(s, UnaryOp::scale_shift, a.x, a.y, a.scale, a.shift); }

}  // namespace cuda
}  // namespace tersor
