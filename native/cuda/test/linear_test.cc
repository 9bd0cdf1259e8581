// f32 and f64 products on the device against the CPU: both are within (k + 8) 2^-24 sum |a||b| of the exact result (f64: 2^-53).
#include "cuda/test/packed_op.h"

using namespace tersor;
using namespace tersor::test;

namespace {

// Values in [-1, 1]: sum |a||b| <= k.
Tolerance bound(DType t, int64_t k) { return within(0, 2.0 * static_cast<double>((k + 8) * (k + 1)) * (t == DType::f64 ? 1.2e-16 : 6e-8)); }

void matmul_case(Arena& arena, const TensorRef& a, const TensorRef& b, bool ta = false, bool tb = false) {
  DeviceOp<matmul_args> op("matmul");
  op.args.a = a, op.args.b = b, op.args.transpose_a = ta, op.args.transpose_b = tb;
  op.check(arena, bound(a.dtype, a.dim(ta ? -2 : -1)));
}

}  // namespace

TERSOR_TEST(cuda_matmul_of_all_strides) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    const auto make = [&](std::vector<int64_t> shape) { return arena.uniform(t, shape, -1, 1); };
    matmul_case(arena, make({9, 5}), make({5, 7}));
    matmul_case(arena, make({65, 33}), make({33, 70}));
    matmul_case(arena, make({33, 65}), make({70, 33}), true, true);
    matmul_case(arena, make({64, 32}), make({32, 64}), false, false);
    matmul_case(arena, make({3, 100}), make({40, 100}), false, true);   // few rows, dense along K
    matmul_case(arena, make({8, 101}), make({17, 101}), false, true);
    matmul_case(arena, make({1, 64}), make({3, 64}), false, true);
    matmul_case(arena, make({4, 0}), make({0, 6}));
    matmul_case(arena, make({0, 4}), make({4, 6}));
    matmul_case(arena, make({2, 3, 10, 12}), make({3, 12, 9}));          // batches broadcast
    matmul_case(arena, make({4, 1, 5, 6}), make({1, 3, 6, 5}));
    matmul_case(arena, Arena::permuted(make({10, 4, 2, 8}), {1, 2, 0, 3}), Arena::permuted(make({9, 4, 2, 8}), {1, 2, 3, 0}));
    matmul_case(arena, Arena::sliced(make({20, 30}), 1, 1, 14, 2), Arena::sliced(make({14, 40}), 1, 3, 11, 3));
    matmul_case(arena, make({10, 1100}), make({1100, 10}));              // parts of K
  }
  Arena arena;
  matmul_case(arena, arena.uniform(DType::f32, {12, 130, 20}, -1, 1), arena.uniform(DType::f32, {20, 1030}, -1, 1));  // the wide tile
}

TERSOR_TEST(cuda_linear_and_its_epilogues) {
  Arena arena;
  const int64_t m = 21, n = 34, k = 40;
  for (const DType t : {DType::f32, DType::f64}) {
    DeviceOp<linear_args> op("linear");
    op.args.x = arena.uniform(t, {3, 7, k}, -1, 1), op.args.w = Arena::transposed(arena.uniform(t, {k, n}, -1, 1));
    op.check(arena, bound(t, k));
    op.args.bias = arena.uniform(t, {n}, -1, 1);
    op.check(arena, bound(t, k));

    DeviceOp<gemm_args> g("gemm");
    g.args.a = arena.uniform(t, {k, m}, -1, 1), g.args.b = arena.uniform(t, {k, n}, -1, 1), g.args.transpose_a = true, g.args.alpha = -0.5, g.args.beta = 2;
    g.check(arena, bound(t, k));
    g.args.c = arena.uniform(t, {m, 1}, -1, 1);
    g.check(arena, bound(t, k));
    g.args.c = arena.uniform(t, {n}, -1, 1);
    g.check(arena, bound(t, k));
  }
  gemm_pack_args p{};
  p.w = arena.uniform(DType::f32, {n, k}, -1, 1);
  const PackedBoth packed = pack_both(arena, "gemm_pack", p);
  for (int act = 0; act < 6; act++) {
    DeviceOp<linear_fused_args> op("linear_fused");
    op.args.x = arena.uniform(DType::f32, {m, k}, -1, 1), op.args.w = p.w, op.args.bias = arena.uniform(DType::f32, {n}, -1, 1);
    op.args.residual = arena.uniform(DType::f32, {m, n}, -1, 1), op.args.act = static_cast<activation>(act);
    op.check(arena, bound(DType::f32, 2 * k));
    linear_packed_args l{};
    l.x = op.args.x, l.bias = op.args.bias, l.residual = op.args.residual, l.out = n, l.act = op.args.act;
    check_packed(arena, "linear_packed", l, packed, bound(DType::f32, 2 * k));
  }
}
