#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

void reduce_case(const Arena& arena, const TensorRef& x, std::initializer_list<int64_t> axes, bool keep) {
  IntList list{};
  for (const int64_t a : axes) list.v[list.n++] = a;
  double size = 0;  // the sum of the absolute values bounds every partial sum
  for (int64_t i = 0; i < x.size(); i++) size += std::fabs(arena.get(x, i));
  DEVICE_OP(sum, sum);
  sum.args.x = x, sum.args.axes = list, sum.args.keep_dims = keep;
  sum.check(arena, x.dtype == DType::f64 ? within(1e-13, 1e-15 * size) : within(3e-6, 3e-7 * size));
  if (x.size() == 0) return;
  DEVICE_OP(most, amax);
  most.args.x = x, most.args.axes = list, most.args.keep_dims = keep;
  most.check(arena, exact());
  DEVICE_OP(least, amin);
  least.args.x = x, least.args.axes = list, least.args.keep_dims = keep;
  least.check(arena, exact());
}

}  // namespace

TERSOR_TEST(cuda_reductions_over_axes) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    const TensorRef m = arena.uniform(t, {33, 52}, -1, 2), odd = arena.uniform(t, {13, 7, 5}, -1, 2), q = arena.uniform(t, {4, 6, 8, 12}, -1, 2);
    for (const bool keep : {false, true}) {
      reduce_case(arena, m, {}, keep);
      reduce_case(arena, m, {0}, keep);
      reduce_case(arena, m, {-1}, keep);
    }
    reduce_case(arena, odd, {1}, false);
    reduce_case(arena, odd, {0, 2}, false);
    reduce_case(arena, odd, {0, 1}, true);
    reduce_case(arena, q, {1, 3}, false);
    reduce_case(arena, q, {0, 2}, false);
    reduce_case(arena, q, {0, 1, 2}, false);
    reduce_case(arena, Arena::permuted(q, {3, 1, 0, 2}), {0, 2}, false);
    reduce_case(arena, Arena::permuted(q, {3, 1, 0, 2}), {1}, false);
    reduce_case(arena, Arena::transposed(m), {0}, false);
    reduce_case(arena, Arena::sliced(m, 1, 1, 20, 2), {1}, false);
    reduce_case(arena, Arena::broadcast(Arena::sliced(m, 0, 0, 1), {9, 52}), {0}, false);
    reduce_case(arena, Arena::sliced(m, 1, 1, 51), {0}, false);
    reduce_case(arena, arena.uniform(t, {}, 1, 2), {}, false);
    reduce_case(arena, arena.make(t, {0, 4}), {0}, false);
  }
}

// Sizes at which rows and columns are cut into chunks.
TERSOR_TEST(cuda_reductions_of_long_rows) {
  Arena arena;
  const TensorRef x = arena.uniform(DType::f32, {70001}, -1, 1), tall = arena.uniform(DType::f32, {9000, 3}, -1, 1), even = arena.uniform(DType::f32, {2, 36000}, -1, 1);
  reduce_case(arena, x, {}, false);
  reduce_case(arena, tall, {0}, false);
  reduce_case(arena, even, {1}, false);
  x.as<float>()[54321] = NAN;
  tall.as<float>()[20000] = NAN;
  DEVICE_OP(most, amax);
  most.args.x = x;
  most.check(arena, exact());
  most.args.x = tall;
  most.args.axes = IntList{{0}, 1};
  most.check(arena, exact());
}

TERSOR_TEST(cuda_argmax) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    for (const int64_t n : {1, 5, 31, 64, 3000, 40000}) {
      DEVICE_OP(op, argmax);
      op.args.x = arena.uniform(t, {n > 1000 ? 2 : 9, n}, -1, 1);
      op.check(arena, exact());
      for (int64_t i = n / 3; i < n; i += n / 3 + 1) (t == DType::f32 ? void(op.args.x.as<float>()[i] = 7) : void(op.args.x.as<double>()[i] = 7));
      op.check(arena, exact());  // the first of equals
      if (n > 4) {
        for (const int64_t i : {n - 1, n / 2}) (t == DType::f32 ? void(op.args.x.as<float>()[i] = NAN) : void(op.args.x.as<double>()[i] = NAN));
        op.check(arena, exact());
      }
    }
    DEVICE_OP(op, argmax);
    op.args.x = Arena::transposed(arena.uniform(t, {40, 6}, -1, 1));
    op.check(arena, exact());
  }
}

TERSOR_TEST(cuda_counts) {
  Arena arena;
  for (const DType t : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i32, DType::u8, DType::b8, DType::i64}) {
    const TensorRef x = arena.bits(t, {61, 35});
    memset(x.data, 0, 300);
    if (t == DType::f32) x.as<float>()[3] = -0.0f, x.as<float>()[700] = NAN, x.as<float>()[701] = INFINITY;
    for (const TensorRef& v : {x, Arena::transposed(x), Arena::sliced(x, 0, 0, 0)}) {
      DEVICE_OP(nonzero, count_nonzero);
      nonzero.args.x = v;
      nonzero.check(arena, exact());
      DEVICE_OP(nonfinite, count_nonfinite);
      nonfinite.args.x = v;
      nonfinite.check(arena, exact());
    }
  }
}

TERSOR_TEST(cuda_cumsum) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    const TensorRef m = arena.uniform(t, {5, 7, 6}, -1, 1), row = arena.uniform(t, {20000}, -1, 1), rows = arena.uniform(t, {3, 1030}, -1, 1);
    for (const bool exclusive : {false, true})
      for (const bool reverse : {false, true}) {
        struct {
          TensorRef x;
          int64_t axis;
        } cases[] = {{m, 0}, {m, 1}, {m, 2}, {row, 0}, {rows, -1}, {Arena::transposed(rows), 0}};
        for (const auto& c : cases) {
          DEVICE_OP(op, cumsum);
          op.args.x = c.x, op.args.axis = c.axis, op.args.exclusive = exclusive, op.args.reverse = reverse;
          op.check(arena, t == DType::f64 ? within(0, 1e-12) : within(1.2e-7, 1e-9));
        }
      }
  }
}
