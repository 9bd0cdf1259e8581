// Dual modules on the device beside the CPU: little products in f32 and packed codes, with and without projections, choices by thresholds and by number.
#include <functional>
#include <limits>

#include "cuda/test/packed_op.h"

using namespace tersor;
using namespace tersor::test;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// What stands for [rows, cols] on each side; a side packs for itself.
struct Little {
  TensorRef projection[2], values[2];  // device, CPU
  int64_t k, copies;
};
Little little_of(Arena& arena, int64_t rows, int64_t cols, bool projected, bool codes) {
  Little l{{}, {}, projected ? cols / 2 : cols, codes ? 2 : 1};
  if (projected) {
    ternary_pack_args p{};
    p.out = l.k, p.cols = cols, p.seed = 7, p.stream = 3;
    const PackedBoth packed = pack_both(arena, "ternary_pack", p);
    l.projection[0] = packed.device, l.projection[1] = packed.cpu;
  }
  if (!codes) {
    l.values[0] = l.values[1] = arena.uniform(DType::f32, {rows, l.k}, -0.6, 0.6);
    return l;
  }
  wgemm_pack_args p{};
  p.q = arena.uniform(DType::i8, {rows, 2 * l.k}, -8, 7), p.bits = 4, p.scale = arena.uniform(DType::f32, {rows, 2}, 0.02, 0.06);
  const PackedBoth packed = pack_both(arena, "wgemm_pack", p);
  l.values[0] = packed.device, l.values[1] = packed.cpu;
  return l;
}

}  // namespace

TERSOR_TEST(cuda_dual_linear) {
  for (const DType t : {DType::f32, DType::i8})
    for (const int64_t insensitive : {0, 11, 30, -1})
      for (const bool below : {false, true}) {
        Arena arena;
        const int64_t m = 5, n = 30, k = 24;
        DEVICE_OP(op, dual_linear);
        op.args.x = arena.uniform(DType::f32, {m, k}, -1, 1), op.args.w = arena.uniform(t, {n, k}, -9, 9);
        if (t == DType::i8) op.args.scale = arena.uniform(DType::f32, {n}, 0.5, 2);
        if (insensitive != 11) op.args.bias = arena.uniform(DType::f32, {n}, -1, 1);
        op.args.little = arena.uniform(DType::f32, {n, k}, -1, 1), op.args.threshold = arena.values({0.2f}, {1});
        op.args.k = k, op.args.copies = 1, op.args.insensitive = insensitive, op.args.below = below;
        if (insensitive == 11) op.args.x.as<float>()[3] = kNan;  // all outputs of a row are sensitive
        op.check(arena, within(1e-4, 1e-3));
      }
}

TERSOR_TEST(cuda_dual_linear_with_packed_codes) {
  for (const bool projected : {false, true})
    for (const int64_t insensitive : {0, 17, -1}) {
      Arena arena;
      const int64_t m = 9, n = 40, k = 64;
      dual_linear_args device{};
      device.x = arena.uniform(DType::f32, {m, k}, -1, 1), device.w = arena.uniform(DType::i8, {n, k}, -9, 9), device.scale = arena.uniform(DType::f32, {n}, 0.05, 0.1);
      device.bias = arena.uniform(DType::f32, {n}, -1, 1), device.threshold = arena.values({0.2f}, {1}), device.insensitive = insensitive;
      const Little l = little_of(arena, n, k, projected, true);
      device.k = l.k, device.copies = l.copies;
      dual_linear_args cpu = device;
      device.projection = l.projection[0], device.little = l.values[0], cpu.projection = l.projection[1], cpu.little = l.values[1];
      check_sides(arena, "dual_linear", device, cpu, within(1e-4, 1e-4));
    }
}

// More rows than the little product takes at a time (256): the last ones are fewer.
TERSOR_TEST(cuda_dual_linear_of_many_rows) {
  for (const bool codes : {false, true}) {
    Arena arena;
    const int64_t m = 600, n = 10, k = 32;
    dual_linear_args device{};
    device.x = arena.uniform(DType::f32, {m, k}, -1, 1), device.w = arena.uniform(DType::f32, {n, k}, -1, 1), device.bias = arena.uniform(DType::f32, {n}, -1, 1);
    device.threshold = arena.values({0.2f}, {1}), device.insensitive = 6;
    const Little l = little_of(arena, n, k, true, codes);
    device.k = l.k, device.copies = l.copies;
    dual_linear_args cpu = device;
    device.projection = l.projection[0], device.little = l.values[0], cpu.projection = l.projection[1], cpu.little = l.values[1];
    check_sides(arena, "dual_linear", device, cpu, within(1e-4, 1e-4));
  }
}

namespace {

template <class Args> void check_recurrent(const char* op, int64_t gates, TensorRef Args::*input_bias, const std::function<void(Arena&, Args&)>& more) {
  for (const bool whole : {false, true})
    for (const bool codes : {false, true})
      for (const int64_t insensitive : {0, 9, -1}) {
        Arena arena;
        const int64_t T = 4, B = 3, C = 24, H = 16, n = gates * H;
        Args device{};
        device.x = arena.uniform(DType::f32, {T, B, C}, -1, 1);
        device.w_ih = codes ? arena.uniform(DType::i8, {n, C}, -9, 9) : Arena::transposed(arena.uniform(DType::f32, {C, n}, -0.6, 0.6));
        device.w_hh = codes ? arena.uniform(DType::i8, {n, H}, -9, 9) : arena.uniform(DType::f32, {n, H}, -0.6, 0.6);
        if (codes) device.scale_ih = arena.uniform(DType::f32, {n}, 0.05, 0.1), device.scale_hh = arena.uniform(DType::f32, {n}, 0.05, 0.1);
        if (whole) device.*input_bias = arena.uniform(DType::f32, {n}, -1, 1), device.h0 = arena.uniform(DType::f32, {B, H}, -1, 1), more(arena, device);
        if (codes) device.lengths = arena.integers(DType::i32, {T, 0, 2}, {B});
        device.thresholds = arena.uniform(DType::f32, {gates}, 0.3, 0.9), device.insensitive = insensitive, device.reverse = codes != whole;
        const Little in = little_of(arena, n, C, true, codes), state = little_of(arena, n, H, true, codes);
        Little plain = state;
        device.k = in.k;
        Args cpu = device;
        // One k for both products: that of the input's; the state's twin has a projection of its own to it.
        if (in.k != state.k) {
          ternary_pack_args p{};
          p.out = in.k, p.cols = H, p.seed = 11, p.stream = 3;
          const PackedBoth packed = pack_both(arena, "ternary_pack", p);
          plain = little_of(arena, n, 2 * in.k, true, codes);
          plain.projection[0] = packed.device, plain.projection[1] = packed.cpu;
        }
        device.copies = cpu.copies = in.copies;
        device.projection_h = plain.projection[0], device.little_h = plain.values[0], cpu.projection_h = plain.projection[1], cpu.little_h = plain.values[1];
        if (whole) device.projection_x = in.projection[0], device.little_x = in.values[0], cpu.projection_x = in.projection[1], cpu.little_x = in.values[1];
        check_sides(arena, op, device, cpu, within(1e-4, 1e-4));
      }
}

}  // namespace

TERSOR_TEST(cuda_dual_lstm) {
  check_recurrent<dual_lstm_args>("dual_lstm", 4, &dual_lstm_args::bias, [](Arena& arena, dual_lstm_args& a) { a.c0 = arena.uniform(DType::f32, {3, 16}, -1, 1); });
}
TERSOR_TEST(cuda_dual_gru) {
  check_recurrent<dual_gru_args>("dual_gru", 3, &dual_gru_args::b_ih, [](Arena& arena, dual_gru_args& a) { a.b_hh = arena.uniform(DType::f32, {48}, -1, 1); });
}
TERSOR_TEST(cuda_dual_lstm_reports_bad_lengths) {
  Arena arena;
  Results results;
  dual_lstm_args a{};
  a.x = arena.uniform(DType::f32, {2, 2, 4}, -1, 1), a.w_ih = arena.uniform(DType::f32, {16, 4}, -1, 1), a.w_hh = arena.uniform(DType::f32, {16, 4}, -1, 1);
  a.little_h = arena.uniform(DType::f32, {16, 4}, -1, 1), a.thresholds = arena.uniform(DType::f32, {4}, 0.3, 0.9), a.k = 4, a.copies = 1, a.insensitive = -1;
  a.lengths = arena.integers(DType::i32, {2, 3}, {2});
  CHECK(run_device(arena, "dual_lstm", &a, &results).code == Code::shape);
}
