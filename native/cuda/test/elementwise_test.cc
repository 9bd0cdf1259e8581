#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

template <class Args> void binary_case(const char* name, const Arena& arena, const TensorRef& a, const TensorRef& b) {
  DeviceOp<Args> op(name);
  op.args.a = a;
  op.args.b = b;
  op.check(arena, exact());
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
