// Elementwise families against the CPU, to the bit where the formulas are shared (f32); f64 goes through each side's own library.
#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

const Tolerance kDouble = within(1e-14, 1e-300);

template <class Args> void binary_case(const char* name, const Arena& arena, const TensorRef& a, const TensorRef& b) {
  DeviceOp<Args> op(name);
  op.args.a = a;
  op.args.b = b;
  op.check(arena, exact());
}

// Values of every kind: infinities, NaN, zeros of both signs, subnormals, ties.
TensorRef special(Arena& arena, DType t, int64_t n) {
  const TensorRef x = t == DType::i32 ? arena.bits(t, {n}) : arena.uniform(t, {n}, -9, 9);
  if (t == DType::i32) return x;
  const double values[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-42, -1e-42, 0.5, 1.5, 2.5, -0.5, 87.5, -87.5, 103.0, -103.0, 1e-30, 3.0, -3.0, 20.5, 1.0};
  int64_t i = 0;
  for (const double v : values) {
    if (i >= n) break;
    if (t == DType::f64) x.as<double>()[i++] = v;
    else x.as<float>()[i++] = static_cast<float>(v);
  }
  return x;
}

template <class Args> void unary_case(const char* name, const Arena& arena, const TensorRef& x) {
  DeviceOp<Args> op(name);
  op.args.x = x;
  op.check(arena, x.dtype == DType::f64 ? kDouble : exact());
}

}  // namespace

TERSOR_TEST(cuda_add_broadcasts_and_strides) {
  for (const DType t : {DType::f32, DType::f64, DType::i32}) {
    Arena arena;
    const TensorRef m = arena.uniform(t, {37, 19}, -100, 100), row = arena.uniform(t, {19}, -100, 100), column = arena.uniform(t, {37, 1}, -100, 100);
    const TensorRef one = arena.uniform(t, {}, -100, 100), wide = arena.uniform(t, {19, 37}, -100, 100), flat = arena.uniform(t, {4099}, -100, 100);
    const TensorRef even = arena.uniform(t, {6, 5, 8}, -100, 100), middle = arena.uniform(t, {5, 1}, -100, 100), last = arena.uniform(t, {8}, -100, 100);
    binary_case<add_args>("add", arena, m, m);
    binary_case<add_args>("add", arena, m, row);
    binary_case<add_args>("add", arena, column, m);
    binary_case<add_args>("add", arena, column, row);
    binary_case<add_args>("add", arena, one, m);
    binary_case<add_args>("add", arena, one, one);
    binary_case<add_args>("add", arena, m, Arena::transposed(wide));
    binary_case<add_args>("add", arena, flat, flat);
    binary_case<add_args>("add", arena, Arena::sliced(flat, 0, 1, 4098), Arena::sliced(flat, 0, 0, 4098));
    binary_case<add_args>("add", arena, Arena::sliced(flat, 0, 3, 1000, 4), one);
    binary_case<add_args>("add", arena, even, middle);
    binary_case<add_args>("add", arena, Arena::permuted(even, {2, 0, 1}), arena.uniform(t, {5}, -9, 9));
    binary_case<add_args>("add", arena, even, last);
    binary_case<add_args>("add", arena, arena.make(t, {0, 3}), arena.uniform(t, {3}, 0, 1));
  }
}

TERSOR_TEST(cuda_binary_formulas) {
  for (const DType t : {DType::f32, DType::f64, DType::i32}) {
    Arena arena;
    const TensorRef a = special(arena, t, 301), b = special(arena, t, 301), column = Arena::broadcast(Arena::sliced(a, 0, 0, 20), {20});
    TensorRef across = column;  // every special value beside every other
    across.rank = 2;
    across.shape[0] = 20, across.shape[1] = 1, across.stride[0] = 1, across.stride[1] = 0;
#define CASE(name)                                        \
  binary_case<name##_args>(#name, arena, a, b);           \
  binary_case<name##_args>(#name, arena, across, column);
    CASE(sub)
    CASE(mul)
    CASE(maximum)
    CASE(minimum)
    CASE(greater)
    CASE(equal)
    CASE(gate)
    if (t != DType::i32) binary_case<div_args>("div", arena, a, b);
    if (t != DType::i32) binary_case<div_args>("div", arena, across, column);
#undef CASE
  }
}

TERSOR_TEST(cuda_unary_formulas) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    const TensorRef x = special(arena, t, 2051), odd = Arena::sliced(x, 0, 1, 999), strided = Arena::sliced(x, 0, 2, 500, 3);
#define CASE(name)                                \
  for (const TensorRef& v : {x, odd, strided}) unary_case<name##_args>(#name, arena, v);
    CASE(neg)
    CASE(abs)
    CASE(sign)
    CASE(step)
    CASE(exp)
    CASE(log)
    CASE(sqrt)
    CASE(reciprocal)
    CASE(sin)
    CASE(cos)
    CASE(tanh)
    CASE(sigmoid)
    CASE(relu)
    CASE(erf)
    CASE(gelu)
    CASE(round)
#undef CASE
    DEVICE_OP(clip, clip);
    clip.args.x = x;
    clip.args.lo = -1.25, clip.args.hi = 2;
    clip.check(arena, exact());
    DEVICE_OP(shift, scale_shift);
    shift.args.x = Arena::sliced(x, 0, 0, 0);
    shift.args.scale = 1.1, shift.args.shift = -0.3;
    shift.check(arena, exact());
    shift.args.x = x;
    shift.check(arena, exact());
  }
  for (const DType t : {DType::f16, DType::bf16}) {
    Arena arena;
    const TensorRef x = arena.bits(t, {1023});
    unary_case<relu_args>("relu", arena, x);
    unary_case<gelu_args>("gelu", arena, x);
    unary_case<gelu_args>("gelu", arena, Arena::sliced(x, 0, 1, 7));
  }
}

TERSOR_TEST(cuda_nonlinear_formulas) {
  for (const DType t : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    Arena arena;
    const bool half = t == DType::f16 || t == DType::bf16;
    const TensorRef x = half ? arena.uniform(t, {517}, -9, 9) : special(arena, t, 517), dy = arena.uniform(t, {517}, -2, 2);
    for (int kind = 0; kind <= static_cast<int>(nonlinearity::log_sigmoid); kind++) {
      DEVICE_OP(forward, nonlinear);
      forward.args.x = x;
      forward.args.kind = static_cast<nonlinearity>(kind);
      forward.args.p = 0.7, forward.args.q = 1.1;
      forward.check(arena, t == DType::f64 ? within(1e-13, 1e-15) : exact());
      DEVICE_OP(gradient, nonlinear_grad);
      gradient.args.x = x;
      gradient.args.dy = kind % 2 ? dy : Arena::broadcast(Arena::sliced(dy, 0, 3, 1), {517});
      gradient.args.kind = static_cast<nonlinearity>(kind);
      gradient.args.p = 0.7, gradient.args.q = 1.1;
      gradient.check(arena, t == DType::f64 ? within(1e-12, 1e-15) : exact());
    }
  }
}

TERSOR_TEST(cuda_where) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    DEVICE_OP(op, where);
    op.args.condition = arena.uniform(t, {7, 1, 9}, 0, 1);
    for (int64_t i = 0; i < 63; i += 2) (t == DType::f32 ? void(op.args.condition.as<float>()[i] = 0) : void(op.args.condition.as<double>()[i] = 0));
    op.args.a = special(arena, t, 9);
    op.args.b = Arena::transposed(arena.uniform(t, {9, 5}, -1, 1));
    op.check(arena, exact());
    op.args.a = arena.uniform(t, {}, 1, 2);
    op.check(arena, exact());
  }
}
