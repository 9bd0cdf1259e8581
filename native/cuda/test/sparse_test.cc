// Sparse formats and their products: structures exact, products against the CPU.
#include <cmath>
#include <limits>

#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

// W with about this share of nonzeros, f32 or i8.
TensorRef sparse_weight(Arena& arena, DType t, int64_t rows, int64_t cols, double density) {
  const TensorRef w = t == DType::f32 ? arena.uniform(t, {rows, cols}, -1, 1) : arena.uniform(t, {rows, cols}, -127, 127);
  for (int64_t i = 0; i < rows * cols; i++) {
    if (static_cast<double>(rng()() % 10000) < density * 10000) continue;
    if (t == DType::f32) w.as<float>()[i] = 0;
    else w.as<int8_t>()[i] = 0;
  }
  return w;
}

TensorRef kept(Arena& arena, const TensorRef& t, const char* data) {
  std::vector<int64_t> shape(t.shape, t.shape + t.rank);
  const TensorRef copy = arena.make(t.dtype, shape);
  memcpy(copy.data, data, static_cast<size_t>(t.bytes()));
  return copy;
}

struct Csr {
  TensorRef values, indptr, columns;
};
// By the op, on both sides.
Csr csr_of(Arena& arena, const TensorRef& w) {
  DEVICE_OP(op, csr_from_dense);
  op.args.w = w;
  op.check(arena, exact());
  const auto& list = op.results.list;
  return {kept(arena, list[0].shape, list[0].cpu.data()), kept(arena, list[1].shape, list[1].cpu.data()), kept(arena, list[2].shape, list[2].cpu.data())};
}

}  // namespace

TERSOR_TEST(cuda_csr_round_trip) {
  for (const DType t : {DType::f32, DType::i8}) {
    Arena arena;
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{13, 70}, {0, 5}, {3, 0}, {1, 1}, {300, 33}}) {
      const TensorRef w = sparse_weight(arena, t, rows, cols, 0.3);
      const Csr m = csr_of(arena, w);
      DEVICE_OP(op, csr_to_dense);
      op.args.values = m.values, op.args.indptr = m.indptr, op.args.columns = m.columns, op.args.cols = cols;
      op.check(arena, exact());
    }
    csr_of(arena, Arena::transposed(sparse_weight(arena, t, 9, 40, 0.2)));
  }
  Arena arena;
  const Csr wide = csr_of(arena, sparse_weight(arena, DType::f32, 2, 65537, 0.01));
  CHECK(wide.columns.dtype == DType::i32);
  DEVICE_OP(op, csr_to_dense);
  op.args.values = wide.values, op.args.indptr = wide.indptr, op.args.columns = wide.columns, op.args.cols = 65537;
  op.check(arena, exact());
  wide.columns.as<int32_t>()[5] = wide.columns.as<int32_t>()[4];
  Results results;
  CHECK(run_device(arena, "csr_to_dense", &op.args, &results).code == Code::model_format);
}

TERSOR_TEST(cuda_csr_products) {
  for (const DType t : {DType::f32, DType::i8})
    for (const auto& [rows, cols, density] : {std::tuple<int64_t, int64_t, double>{70, 300, 0.1}, {130, 129, 0.5}, {5, 40, 1.0}, {64, 256, 0.02}}) {
      Arena arena;
      const Csr m = csr_of(arena, sparse_weight(arena, t, rows, cols, density));
      const TensorRef scale = arena.uniform(DType::f32, {rows}, 0.5, 2), bias = arena.uniform(DType::f32, {rows}, -1, 1);
      for (const int64_t n : {int64_t(1), int64_t(6), int64_t(17), int64_t(67)}) {
        DEVICE_OP(linear, csr_linear);
        linear.args.x = arena.uniform(DType::f32, {n, cols}, -1, 1);
        linear.args.values = m.values, linear.args.indptr = m.indptr, linear.args.columns = m.columns;
        if (t == DType::i8 || n == 6) linear.args.scale = scale;
        if (n != 17) linear.args.bias = bias;
        const double size = (t == DType::i8 ? 127.0 : 1.0) * std::sqrt(static_cast<double>(cols));
        linear.check(arena, within(1e-5, 2e-6 * size));
        DEVICE_OP(multiply, csr_multiply);
        multiply.args.x = n == 17 ? Arena::transposed(arena.uniform(DType::f32, {n, cols}, -1, 1)) : arena.uniform(DType::f32, {cols, n}, -1, 1);
        multiply.args.values = m.values, multiply.args.indptr = m.indptr, multiply.args.columns = m.columns;
        multiply.args.scale = linear.args.scale, multiply.args.bias = linear.args.bias;
        multiply.check(arena, within(1e-5, 2e-6 * size));
      }
    }
}

TERSOR_TEST(cuda_csr_damage_is_contained) {
  Arena arena;
  const Csr m = csr_of(arena, sparse_weight(arena, DType::f32, 20, 200, 0.3));
  const int32_t at = m.indptr.as<int32_t>()[3] + 1;
  m.columns.as<uint16_t>()[at] = 60000;
  for (const int64_t n : {2, 33}) {
    DEVICE_OP(op, csr_linear);
    op.args.x = arena.uniform(DType::f32, {n, 200}, -1, 1);
    op.args.values = m.values, op.args.indptr = m.indptr, op.args.columns = m.columns;
    Results results;
    CHECK_OK(run_device(arena, "csr_linear", &op.args, &results));
    for (int64_t i = 0; i < n * 20; i++) CHECK((results.device<float>(0)[i] != results.device<float>(0)[i]) == (i % 20 == 3));
  }
}

TERSOR_TEST(cuda_blocked_formats) {
  for (const DType t : {DType::f32, DType::i8})
    for (const auto& [br, bc] : {std::pair<int64_t, int64_t>{1, 16}, {4, 4}, {16, 1}}) {
      Arena arena;
      const int64_t rows = 37, cols = 70;
      DEVICE_OP(from, bsr_from_dense);
      from.args.w = sparse_weight(arena, t, rows, cols, 0.05), from.args.block_rows = br, from.args.block_cols = bc;
      from.check(arena, exact());
      const auto& list = from.results.list;
      DEVICE_OP(to, bsr_to_dense);
      to.args.values = kept(arena, list[0].shape, list[0].cpu.data());
      to.args.indptr = kept(arena, list[1].shape, list[1].cpu.data());
      to.args.columns = kept(arena, list[2].shape, list[2].cpu.data());
      to.args.rows = rows, to.args.cols = cols, to.args.block_rows = br, to.args.block_cols = bc;
      to.check(arena, exact());
      for (const int64_t n : {int64_t(2), int64_t(35)})
        for (const double x_scale : {0.0, 0.01}) {
          if (x_scale > 0 && t == DType::f32) continue;
          DEVICE_OP(op, bsr_linear);
          op.args.x = arena.uniform(DType::f32, {n, cols}, -1, 1);
          op.args.values = to.args.values, op.args.indptr = to.args.indptr, op.args.columns = to.args.columns;
          op.args.rows = rows, op.args.block_rows = br, op.args.block_cols = bc, op.args.x_scale = x_scale, op.args.x_zero = x_scale > 0 ? 100 : 0;
          if (t == DType::i8) op.args.scale = arena.uniform(DType::f32, {rows}, 0.5, 2);
          op.args.bias = arena.uniform(DType::f32, {rows}, -1, 1);
          op.check(arena, within(1e-5, t == DType::i8 ? 2e-3 : 2e-5));
        }
    }
}

TERSOR_TEST(cuda_bitmask_and_two_of_four) {
  for (const DType t : {DType::f32, DType::i8})
    for (const int64_t cols : {int64_t(64), int64_t(75)}) {
      Arena arena;
      const int64_t rows = 21;
      const TensorRef w = sparse_weight(arena, t, rows, cols, 0.4), scale = arena.uniform(DType::f32, {rows}, 0.5, 2), bias = arena.uniform(DType::f32, {rows}, -1, 1);
      DEVICE_OP(from, bitmask_from_dense);
      from.args.w = w;
      from.check(arena, exact());
      const auto& list = from.results.list;
      DEVICE_OP(to, bitmask_to_dense);
      to.args.values = kept(arena, list[0].shape, list[0].cpu.data());
      to.args.indptr = kept(arena, list[1].shape, list[1].cpu.data());
      to.args.bits = kept(arena, list[2].shape, list[2].cpu.data());
      to.args.cols = cols;
      to.check(arena, exact());
      DEVICE_OP(nm, nm_from_dense);
      nm.args.w = kept(arena, w, w.as<char>());
      for (int64_t i = 0; i < rows * cols; i++) {  // two of four at most
        if (i % cols % 4 < 2) continue;
        if (t == DType::f32) nm.args.w.as<float>()[i] = 0;
        else nm.args.w.as<int8_t>()[i] = 0;
      }
      nm.check(arena, exact());
      DEVICE_OP(back, nm_to_dense);
      back.args.values = kept(arena, nm.results.list[0].shape, nm.results.list[0].cpu.data());
      back.args.indices = kept(arena, nm.results.list[1].shape, nm.results.list[1].cpu.data());
      back.args.cols = cols;
      back.check(arena, exact());
      for (const int64_t n : {int64_t(1), int64_t(20)}) {
        const Tolerance close = within(1e-5, t == DType::i8 ? 5e-3 : 2e-5);
        DEVICE_OP(op, bitmask_linear);
        op.args.x = arena.uniform(DType::f32, {n, cols}, -1, 1);
        op.args.values = to.args.values, op.args.indptr = to.args.indptr, op.args.bits = to.args.bits, op.args.bias = bias;
        if (t == DType::i8) op.args.scale = scale;
        op.check(arena, close);
        DEVICE_OP(two, nm_linear);
        two.args.x = op.args.x, two.args.values = back.args.values, two.args.indices = back.args.indices, two.args.scale = op.args.scale, two.args.bias = bias;
        two.check(arena, close);
      }
      Results results;
      to.args.bits.as<uint8_t>()[1] ^= 4;
      CHECK(run_device(arena, "bitmask_to_dense", &to.args, &results).code == Code::model_format);
      DEVICE_OP(dense_nm, nm_from_dense);
      dense_nm.args.w = t == DType::f32 ? arena.uniform(t, {3, 8}, 1, 2) : arena.uniform(t, {3, 8}, 1, 9);
      CHECK(run_device(arena, "nm_from_dense", &dense_nm.args, &results).code == Code::data);
    }
}
