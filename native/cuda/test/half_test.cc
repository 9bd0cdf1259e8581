// Products of 16-bit floats on the device against the CPU.
#include "cuda/test/packed_op.h"

using namespace tersor;
using namespace tersor::test;

namespace {

// Values in [-1, 1]; results of 16 bits round once more.
Tolerance bound(DType to, int64_t k) { return within(to == DType::f32 ? 0 : to == DType::f16 ? 0.002 : 0.016, 4.0 * static_cast<double>((k + 8) * (k + 1)) * 6e-8); }

void half_case(Arena& arena, const TensorRef& a, const TensorRef& b, DType to, bool ta = false, bool tb = false, bool bias = false) {
  DeviceOp<matmul_half_args> op("matmul_half");
  op.args.a = a, op.args.b = b, op.args.transpose_a = ta, op.args.transpose_b = tb, op.args.dtype = to;
  if (bias) op.args.bias = arena.uniform(a.dtype, {b.dim(tb ? -2 : -1)}, -1, 1);
  op.check(arena, bound(to, a.dim(ta ? -2 : -1)));
}

}  // namespace

TERSOR_TEST(cuda_matmul_half_of_all_strides) {
  for (const DType t : {DType::f16, DType::bf16})
    for (const DType to : {DType::f32, t}) {
      Arena arena;
      const auto make = [&](std::vector<int64_t> shape) { return arena.uniform(t, shape, -1, 1); };
      half_case(arena, make({9, 5}), make({5, 7}), to, false, false, true);
      half_case(arena, make({33, 64}), make({70, 64}), to, false, true, true);
      half_case(arena, make({40, 66}), make({40, 35}), to, true, false);
      half_case(arena, make({3, 2, 17, 24}), make({2, 24, 9}), to);
      half_case(arena, make({1, 4, 6, 16}), make({3, 1, 5, 16}), to, false, true);
      half_case(arena, Arena::sliced(make({20, 30}), 1, 1, 14, 2), Arena::transposed(make({11, 14})), to);
      half_case(arena, make({4, 0}), make({0, 6}), to);
    }
}

TERSOR_TEST(cuda_linear_bf16) {
  Arena arena;
  const int64_t m = 18, n = 37, k = 44;
  for (const DType t : {DType::f32, DType::bf16}) {
    bf16_pack_args p{};
    p.w = Arena::transposed(arena.uniform(t, {k, n}, -1, 1));
    const PackedBoth packed = pack_both(arena, "bf16_pack", p);
    for (const DType to : {DType::f32, DType::bf16}) {
      linear_bf16_args a{};
      a.x = arena.uniform(t, {m, k}, -1, 1), a.bias = arena.uniform(DType::f32, {n}, -1, 1), a.out = n, a.act = to == DType::f32 ? activation::gelu : activation::relu, a.dtype = to;
      check_packed(arena, "linear_bf16", a, packed, bound(to, 2 * k));
    }
  }
}
