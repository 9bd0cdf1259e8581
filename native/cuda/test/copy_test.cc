#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

void copy_case(const Arena& arena, const TensorRef& x) {
  DEVICE_OP(op, copy);
  op.args.x = x;
  op.check(arena, exact());
}

}  // namespace

TERSOR_TEST(cuda_copies_strided_views) {
  for (const DType t : {DType::f64, DType::f32, DType::u16, DType::u8}) {
    Arena arena;
    const TensorRef m = arena.bits(t, {70, 131}), q = arena.bits(t, {5, 16, 9, 32});
    copy_case(arena, m);
    copy_case(arena, Arena::transposed(m));
    copy_case(arena, Arena::sliced(m, 1, 3, 64));
    copy_case(arena, Arena::sliced(Arena::sliced(m, 1, 16, 96), 0, 1, 33, 2));
    copy_case(arena, Arena::sliced(m, 1, 0, 40, 3));
    copy_case(arena, Arena::permuted(q, {0, 2, 1, 3}));
    copy_case(arena, Arena::permuted(q, {3, 0, 2, 1}));
    copy_case(arena, Arena::permuted(q, {0, 3, 1, 2}));
    copy_case(arena, Arena::broadcast(Arena::sliced(m, 0, 4, 1), {12, 131}));
    copy_case(arena, Arena::sliced(m, 0, 2, 0));
    copy_case(arena, arena.bits(t, {}));
  }
}

TERSOR_TEST(cuda_concat_pad_assign) {
  for (const DType t : {DType::f32, DType::i8, DType::i64}) {
    Arena arena;
    for (const int64_t axis : {0, 1, -1}) {
      DEVICE_OP(op, concat2);
      op.args.a = arena.bits(t, {axis == 0 ? 3 : 4, axis == 1 ? 7 : 5, axis == -1 ? 2 : 6});
      op.args.b = Arena::permuted(arena.bits(t, {6, 5, 4}), {2, 1, 0});
      op.args.axis = axis;
      op.check(arena, exact());
    }
    DEVICE_OP(pad, pad_slice);
    pad.args.x = arena.bits(t, {3, 8});
    pad.args.shape = IntList{{5, 16}, 2};
    pad.args.start = IntList{{1, 8}, 2};
    pad.check(arena, exact());
    DEVICE_OP(assign, assign);
    assign.args.x = arena.bits(t, {6, 7});
    assign.args.value = Arena::transposed(arena.bits(t, {7, 6}));
    assign.check(arena, exact());
  }
  Arena arena;  // a value that lies in the very buffer
  DEVICE_OP(assign, assign);
  assign.args.x = arena.bits(DType::f32, {9, 9});
  assign.args.value = Arena::transposed(assign.args.x);
  Results r;
  CHECK_OK(run_device(arena, "assign", &assign.args, &r));
  for (int64_t i = 0; i < 81; i++) CHECK(!memcmp(r.device<float>(0) + i, assign.args.x.as<float>() + i % 9 * 9 + i / 9, 4));
}

TERSOR_TEST(cuda_one_hot_and_labels_out_of_range) {
  Arena arena;
  DEVICE_OP(op, one_hot);
  op.args.labels = arena.uniform(DType::i32, {3, 11}, 0, 6);
  op.args.classes = 7;
  op.check(arena, exact());
  op.args.labels = Arena::transposed(op.args.labels);
  op.check(arena, exact());
  op.args.labels = arena.integers(DType::i32, {0, 3, 7, -1}, {4});
  const Status status = run_device(arena, "one_hot", &op.args, &op.results);
  CHECK_MSG(status.code == Code::shape && !strcmp(status.message, "one_hot: labels must be in [0, 7), which the one at position 2 is not"), "%s", status.message);
  op.args.labels = arena.integers(DType::i32, {0, 3}, {2});
  op.check(arena, exact());  // and then all is well again
}

TERSOR_TEST(cuda_casts_all_pairs) {
  Arena arena;
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) DType::name,
  const DType all[] = {
#include "base/dtype.def"
  };
#undef TERSOR_DTYPE
  for (const DType from : all) {
    const TensorRef x = from == DType::b8 ? arena.uniform(from, {777}, 0, 3) : arena.bits(from, {777}), odd = Arena::sliced(x, 0, 1, 70);
    if (from == DType::f32)
      for (int i = 0; i < 400; i++) x.as<float>()[i] = std::uniform_real_distribution<float>(-300, 300)(rng());
    if (from == DType::f64)
      for (int i = 0; i < 400; i++) x.as<double>()[i] = std::uniform_real_distribution<double>(-7e4, 7e4)(rng());
    for (const DType to : all) {
      DEVICE_OP(op, cast);
      op.args.x = x;
      op.args.dtype = to;
      op.check(arena, exact());
      op.args.x = odd;
      op.check(arena, exact());
    }
  }
  DEVICE_OP(op, cast);
  op.args.x = Arena::transposed(arena.uniform(DType::f32, {20, 30}, -9, 9));
  op.args.dtype = DType::bf16;
  op.check(arena, exact());
}

TERSOR_TEST(cuda_random_is_the_same_stream) {
  Arena arena;
  for (const int64_t n : {0, 1, 63, 64, 1000, 4097}) {
    DEVICE_OP(uniform, random_uniform);
    uniform.args.shape = IntList{{n}, 1};
    uniform.args.seed = -5, uniform.args.stream = int64_t(7) << 33;
    uniform.check(arena, exact());
    DEVICE_OP(normal, random_normal);
    normal.args.shape = IntList{{n, 2}, 2};
    normal.args.seed = int64_t(1) << 40, normal.args.stream = 3;
    normal.check(arena, exact());
  }
}
