// Quantization, bit fields, long vectors and selected rows against the CPU: bits are exact but for products.
#include <cmath>
#include <limits>

#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
}

TERSOR_TEST(cuda_range_rows) {
  for (const DType t : {DType::f32, DType::f64})
    for (const auto& [rows, cols, groups] : {std::tuple<int64_t, int64_t, int64_t>{5, 70, 1}, {3, 130, 4}, {7, 33, 33}, {2, 20000, 1}, {1, 9000, 2}, {2, 1500, 1}}) {
      Arena arena;
      DEVICE_OP(op, range_rows);
      op.args.x = arena.uniform(t, {rows, cols}, -5, 5), op.args.groups = groups;
      if (t == DType::f32 && rows > 1) op.args.x.as<float>()[cols + 3] = kNan, op.args.x.as<float>()[1] = kInf;
      op.check(arena, exact());
    }
}

TERSOR_TEST(cuda_quantize_rows) {
  for (const auto& [rows, cols, groups, lead] : {std::tuple<int64_t, int64_t, int64_t, int64_t>{9, 70, 1, 9}, {3, 130, 4, 3}, {4, 33, 1, 1}, {2, 5000, 3, 2}, {6, 3, 3, 6}}) {
    Arena arena;
    const TensorRef scale = arena.uniform(DType::f32, {lead, groups}, 0.01, 0.1), zero = arena.make(DType::f32, {lead, groups == 4 ? 1 : groups});
    for (int64_t i = 0; i < zero.size(); i++) zero.as<float>()[i] = static_cast<float>(static_cast<int>(rng()() % 41) - 20);
    for (const bool affine : {false, true}) {
      DEVICE_OP(quantize, quantize_rows);
      quantize.args.x = arena.uniform(DType::f32, {rows, cols}, -5, 5), quantize.args.scale = scale, quantize.args.qmin = -128, quantize.args.qmax = 127;
      quantize.args.x.as<float>()[2] = kInf;
      if (affine) quantize.args.zero = zero;
      quantize.check(arena, exact());
      DEVICE_OP(wide, quantize_rows);
      wide.args = quantize.args;
      wide.args.x = Arena::transposed(arena.uniform(DType::f64, {cols, rows}, -5, 5));
      wide.check(arena, exact());
      DEVICE_OP(back, dequantize_rows);
      back.args.q = arena.uniform(DType::i8, {rows, cols}, -128, 127), back.args.scale = scale, back.args.zero = quantize.args.zero;
      back.check(arena, exact());
      DEVICE_OP(fake, fake_quantize_rows);
      fake.args.x = quantize.args.x, fake.args.scale = scale, fake.args.zero = quantize.args.zero, fake.args.qmin = -8, fake.args.qmax = 7;
      fake.check(arena, exact());
      for (const bool learned : {false, true}) {
        if (zero.shape[1] > scale.shape[1]) continue;
        DEVICE_OP(grad, fake_quantize_rows_grad);
        grad.args.x = arena.uniform(DType::f32, {rows, cols}, -1, 1), grad.args.dy = arena.normal({rows, cols}), grad.args.scale = scale, grad.args.zero = quantize.args.zero;
        grad.args.qmin = -8, grad.args.qmax = 7, grad.args.learned = learned;
        grad.check(arena, exact());
      }
    }
  }
}

TERSOR_TEST(cuda_values_that_cannot_be_codes) {
  Arena arena;
  DEVICE_OP(op, quantize_rows);
  op.args.x = arena.uniform(DType::f32, {5, 40}, -1, 1), op.args.scale = arena.values({0.5f}, {1, 1}), op.args.qmin = -8, op.args.qmax = 7;
  Results results;
  CHECK_OK(run_device(arena, "quantize_rows", &op.args, &results));
  op.args.x.as<float>()[77] = kNan;
  CHECK(run_device(arena, "quantize_rows", &op.args, &results).code == Code::numeric);
  op.args.x.as<float>()[77] = 0;
  op.args.scale.as<float>()[0] = 0;
  CHECK(run_device(arena, "quantize_rows", &op.args, &results).code == Code::numeric);
  DEVICE_OP(pack, pack_bits);
  pack.args.q = arena.integers(DType::i8, {1, -9, 3}, {3}), pack.args.bits = 4;
  CHECK(run_device(arena, "pack_bits", &pack.args, &results).code == Code::option);
  DEVICE_OP(count, histogram);
  count.args.x = arena.values({1, kNan}, {2}), count.args.lo = 0, count.args.hi = 1, count.args.bins = 4;
  CHECK(run_device(arena, "histogram", &count.args, &results).code == Code::numeric);
  CHECK_OK(backend().synchronize(stream()));
}

TERSOR_TEST(cuda_bit_fields_and_blocks) {
  Arena arena;
  for (int64_t bits = 2; bits <= 8; bits++)
    for (const int64_t n : {int64_t(1), int64_t(64), int64_t(1003)}) {
      DEVICE_OP(pack, pack_bits);
      pack.args.q = arena.uniform(DType::i8, {n}, -static_cast<double>(1 << (bits - 1)), (1 << (bits - 1)) - 1), pack.args.bits = bits;
      pack.check(arena, exact());
      DEVICE_OP(unpack, unpack_bits);
      unpack.args.packed = arena.bits(DType::u8, {n / 8 * bits + (n % 8 * bits + 7) / 8}), unpack.args.bits = bits, unpack.args.size = n;
      unpack.check(arena, exact());
    }
  const int64_t bytes[] = {34, 18, 20, 144, 210};
  for (int f = 0; f < 5; f++) {
    DEVICE_OP(op, block_decode);
    op.args.blocks = arena.bits(DType::u8, {3, 2 * bytes[f]}), op.args.format = static_cast<block_format>(f);
    op.check(arena, exact());
  }
  for (const DType t : {DType::f32, DType::f64})
    for (const int64_t bins : {int64_t(1), int64_t(100), int64_t(3000), int64_t(20000)}) {
      DEVICE_OP(op, histogram);
      op.args.x = arena.uniform(t, {3001}, -2, 3), op.args.lo = -1.5, op.args.hi = 2.25, op.args.bins = bins;
      op.check(arena, exact());
    }
}

TERSOR_TEST(cuda_long_vectors) {
  for (const DType t : {DType::f32, DType::f64})
    for (const int64_t n : {int64_t(0), int64_t(5), int64_t(1000), int64_t(25001)}) {
      Arena arena;
      DEVICE_OP(dot, inner_product);
      dot.args.a = arena.uniform(t, {n}, -1, 1), dot.args.b = arena.uniform(t, {n}, -1, 1);
      dot.check(arena, exact());
      DEVICE_OP(scale, axpby);
      scale.args.y = arena.uniform(t, {n}, -1, 1), scale.args.x = arena.uniform(t, {n}, -1, 1), scale.args.alpha = 0.3, scale.args.beta = n == 5 ? 0.0 : -1.7;
      scale.check(arena, exact());
      for (const int64_t rows : {0, 1, 3}) {
        DEVICE_OP(op, orthogonalize);
        op.args.v = arena.uniform(t, {n}, -1, 1), op.args.basis = arena.uniform(t, {4, n}, -0.01, 0.01), op.args.rows = rows;
        op.check(arena, exact());
      }
    }
  Arena arena;
  DEVICE_OP(dot, inner_product);
  dot.args.a = Arena::transposed(arena.uniform(DType::f32, {40, 9}, -1, 1)), dot.args.b = arena.uniform(DType::f32, {9, 40}, -1, 1);
  dot.check(arena, exact());
}

TERSOR_TEST(cuda_selected_rows) {
  for (const DType t : {DType::f32, DType::i8})
    for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 30, 70}, {6, 19, 33}, {3, 8, 0}}) {
      Arena arena;
      DEVICE_OP(op, rows_dot);
      op.args.x = arena.uniform(DType::f32, {m, k}, -1, 1), op.args.w = arena.uniform(t, {n, k}, -9, 9);
      if (t == DType::i8) op.args.scale = arena.uniform(DType::f32, {n == 19 ? 1 : n}, 0.5, 2);
      if (n != 8) op.args.bias = arena.uniform(DType::f32, {n}, -1, 1);
      op.args.index = arena.integers(DType::i32, {0, 2, 3, 7}, {4});
      const Tolerance close = within(1e-5, 1e-3);
      op.check(arena, close);
      op.args.base = arena.uniform(DType::f32, {m, n}, -1, 1);
      op.check(arena, close);
      std::vector<int64_t> ends(static_cast<size_t>(m) + 1, 2);
      ends[0] = 0, ends[static_cast<size_t>(m)] = 4;
      op.args.index = arena.integers(DType::i32, m == 1 ? std::vector<int64_t>{0, 2, 3, 7} : std::vector<int64_t>{3, 7, 1, 2}, {4});
      op.args.offsets = arena.integers(DType::i32, ends, {m + 1});
      op.check(arena, close);
      op.args.base = {};
      op.check(arena, close);
      Results results;
      op.args.index.as<int32_t>()[3] = 99;
      CHECK(run_device(arena, "rows_dot", &op.args, &results).code == Code::option);
    }
}

TERSOR_TEST(cuda_ternary_projection) {
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{9, 70}, {64, 3}, {5, 1000}, {1, 20}}) {
    Arena arena;
    DEVICE_OP(pack, ternary_pack);  // the layouts differ; what they stand for does not
    pack.args.out = n, pack.args.cols = k, pack.args.seed = 7, pack.args.stream = 3;
    CHECK_OK(pack.run(arena));
    const auto keep = [&](const std::vector<char>& bytes) {
      const TensorRef t = arena.make(DType::u8, {static_cast<int64_t>(bytes.size())});
      memcpy(t.data, bytes.data(), bytes.size());
      return t;
    };
    const TensorRef of_device = keep(pack.results.list[0].device), of_cpu = keep(pack.results.list[0].cpu);
    ternary_unpack_args cpu{};
    cpu.packed = of_cpu, cpu.out = n, cpu.cols = k, cpu.p = arena.make(DType::i8, {n, k});
    Context context;
    CHECK_OK(ternary_unpack_cpu(cpu, context));
    ternary_unpack_args device{};
    device.packed = of_device, device.out = n, device.cols = k;
    Results results;
    CHECK_OK(run_device(arena, "ternary_unpack", &device, &results));
    CHECK(!memcmp(results.device<int8_t>(0), cpu.p.data, static_cast<size_t>(n * k)));
    device.packed = of_cpu;
    CHECK(run_device(arena, "ternary_unpack", &device, &results).code == Code::option);
    for (const int64_t m : {int64_t(1), int64_t(6)}) {
      ternary_project_args product{};
      product.x = arena.uniform(DType::f32, {m, k}, -1, 1), product.packed = of_cpu, product.out = n, product.y = arena.make(DType::f32, {m, n});
      CHECK_OK(ternary_project_cpu(product, context));
      ternary_project_args same{};
      same.x = product.x, same.packed = of_device, same.out = n;
      CHECK_OK(run_device(arena, "ternary_project", &same, &results));
      for (int64_t i = 0; i < m * n; i++) CHECK(std::fabs(results.device<float>(0)[i] - product.y.as<float>()[i]) <= 1e-4f);
    }
  }
}
