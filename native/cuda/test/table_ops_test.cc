// gather, scatter, top_k, recurrent layers, CTC and attention on the device, beside the CPU.
#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

const DType kFloats[] = {DType::f32, DType::f64};
Tolerance near(DType t, double ulps) { return within(ulps * (t == DType::f32 ? 6e-8 : 2e-16), ulps * (t == DType::f32 ? 6e-8 : 2e-16)); }

}  // namespace

TERSOR_TEST(cuda_gather_and_scatter_add) {
  for (const DType t : {DType::f32, DType::f64, DType::u8, DType::i16}) {
    Arena arena;
    for (const int64_t width : {1, 5, 16}) {
      DEVICE_OP(op, gather);
      op.args.table = arena.uniform(t, {7, width}, 0, 100), op.args.index = arena.uniform(DType::i32, {3, 4}, 0, 6);
      op.check(arena, exact());
    }
  }
  for (const DType t : kFloats) {
    Arena arena;
    for (const int64_t count : {0, 40, 1400})  // more positions than a block keeps at a time
      for (const int64_t width : {3, 140}) {
        if (count == 1400 && width == 140) continue;
        DEVICE_OP(op, scatter_add);
        op.args.dy = arena.uniform(t, {count, width}, -1, 1), op.args.index = arena.uniform(DType::i32, {count}, 0, 34), op.args.rows = 37;
        op.check(arena, exact());
      }
  }
  Arena arena;
  gather_args args{};
  args.table = arena.uniform(DType::f32, {7, 2}, 0, 1), args.index = arena.integers(DType::i32, {6, 7, -1}, {3});
  Results results;
  const Status status = run_device(arena, "gather", &args, &results);
  CHECK_MSG(status.code == Code::shape && strstr(status.message, "position 1"), "got \"%s\"", status.message);
}

TERSOR_TEST(cuda_gather_and_scatter_along) {
  for (const DType t : kFloats)
    for (const int64_t axis : {0, 1, 2}) {
      Arena arena;
      std::vector<int64_t> shape = {4, 5, 6};
      const TensorRef x = arena.uniform(t, shape, -1, 1);
      const double last = static_cast<double>(shape[static_cast<size_t>(axis)] - 1);
      shape[static_cast<size_t>(axis)] = 9;
      std::vector<int64_t> list = {1, 1, 1};
      list[static_cast<size_t>(axis)] = 9;
      const TensorRef stretched = Arena::broadcast(arena.uniform(DType::i32, list, 0, last), shape);
      for (const TensorRef& index : {arena.uniform(DType::i32, shape, 0, last), stretched}) {
        DEVICE_OP(op, gather_along);
        op.args.x = x, op.args.index = index, op.args.axis = axis;
        op.check(arena, exact());
        DEVICE_OP(back, scatter_along);
        back.args.dy = arena.uniform(t, shape, -1, 1), back.args.index = index, back.args.axis = axis, back.args.size = static_cast<int64_t>(last) + 1;
        back.check(arena, exact());
      }
    }
}

TERSOR_TEST(cuda_top_k) {
  for (const DType t : kFloats)
    for (const bool largest : {true, false}) {
      Arena arena;
      for (const int64_t k : {1, 5, 300, 0}) {
        DEVICE_OP(op, top_k);
        op.args.x = arena.uniform(t, {3, 300}, -1, 1), op.args.k = k, op.args.largest = largest;
        op.check(arena, exact());
      }
      DEVICE_OP(ties, top_k);
      ties.args.x = arena.uniform(t, {2, 600}, -2, 2), ties.args.k = 40, ties.args.largest = largest;
      for (int64_t i = 0; i < 1200; i++) {
        const double v = std::round(arena.get(ties.args.x, i)), value = i % 97 == 3 ? NAN : i % 5 == 0 ? -0.0 : v;
        if (t == DType::f32) ties.args.x.as<float>()[i] = static_cast<float>(value);
        else ties.args.x.as<double>()[i] = value;
      }
      ties.check(arena, exact());
    }
}

TERSOR_TEST(cuda_lstm_and_gru) {
  for (const DType t : kFloats)
    for (const bool full : {true, false}) {
      Arena arena;
      const int64_t T = 3, B = full ? 35 : 2, C = 5, H = full ? 7 : 70;
      const auto any = [&](std::vector<int64_t> shape) { return arena.uniform(t, shape, -0.6, 0.6); };
      const TensorRef lengths = arena.uniform(DType::i32, {B}, 0, static_cast<double>(T));
      for (int64_t b = 0; b < B; b++) lengths.as<int32_t>()[b] = static_cast<int32_t>(full ? T : b);  // gates of steps that do not count are anything
      DEVICE_OP(lstm, lstm);
      lstm.args.x = any({T, B, C}), lstm.args.w_ih = any({4 * H, C}), lstm.args.w_hh = any({4 * H, H}), lstm.args.reverse = full;
      if (full) lstm.args.bias = any({4 * H}), lstm.args.h0 = any({B, H}), lstm.args.c0 = any({B, H}), lstm.args.lengths = lengths;
      lstm.check(arena, near(t, 100));
      DEVICE_OP(lstm_grad, lstm_grad);
      lstm_grad.args.x = lstm.args.x, lstm_grad.args.w_ih = lstm.args.w_ih, lstm_grad.args.w_hh = lstm.args.w_hh, lstm_grad.args.c0 = lstm.args.c0;
      lstm_grad.args.reverse = full, lstm_grad.args.lengths = lengths;
      lstm_grad.args.gates = arena.uniform(t, {T, B, 4 * H}, 0, 1), lstm_grad.args.cells = any({T, B, H}), lstm_grad.args.previous = any({T, B, H});
      lstm_grad.args.dstates = any({T + 2, B, H});
      lstm_grad.check(arena, near(t, 400));
      DEVICE_OP(gru, gru);
      gru.args.x = lstm.args.x, gru.args.w_ih = any({3 * H, C}), gru.args.w_hh = any({3 * H, H}), gru.args.reverse = full;
      if (full) gru.args.b_ih = any({3 * H}), gru.args.b_hh = any({3 * H}), gru.args.h0 = any({B, H}), gru.args.lengths = lengths;
      gru.check(arena, near(t, 100));
      DEVICE_OP(gru_grad, gru_grad);
      gru_grad.args.x = gru.args.x, gru_grad.args.w_ih = gru.args.w_ih, gru_grad.args.w_hh = gru.args.w_hh, gru_grad.args.lengths = lengths, gru_grad.args.reverse = full;
      gru_grad.args.gates = arena.uniform(t, {T, B, 3 * H}, 0, 1), gru_grad.args.recurrent = any({T, B, H}), gru_grad.args.previous = any({T, B, H});
      gru_grad.args.dstates = any({T + 1, B, H});
      gru_grad.check(arena, near(t, 400));
    }
}

TERSOR_TEST(cuda_ctc_loss) {
  for (const DType t : kFloats) {
    Arena arena;
    const TensorRef x = arena.uniform(t, {4, 9, 5}, -4, -0.2), targets = arena.integers(DType::i32, {1, 2, 2, 1, 3, 3, 1, 4, 2, 1, 3, 4, 2, 2, 2, 2}, {4, 4});
    for (const bool ragged : {false, true}) {
      DEVICE_OP(loss, ctc_loss);
      loss.args.log_probs = x, loss.args.targets = targets, loss.args.zero_infinity = ragged;
      if (ragged) loss.args.input_lengths = arena.integers(DType::i32, {9, 3, 0, 6}, {4}), loss.args.target_lengths = arena.integers(DType::i32, {2, 4, 0, 3}, {4});
      loss.check(arena, near(t, 100));
      DEVICE_OP(grad, ctc_loss_grad);
      grad.args.log_probs = x, grad.args.targets = targets, grad.args.zero_infinity = ragged, grad.args.dloss = arena.uniform(t, {4}, 0.5, 2);
      grad.args.input_lengths = loss.args.input_lengths, grad.args.target_lengths = loss.args.target_lengths;
      grad.check(arena, t == DType::f32 ? near(t, 100) : within(1e-12, 1e-13));
    }
  }
}

namespace {

struct Attention {
  int64_t batch, heads, queries, keys, depth, width;
  bool split, causal, masked;
  double dropout;
};

}  // namespace

TERSOR_TEST(cuda_attention) {
  const Attention cases[] = {{2, 2, 5, 7, 4, 3, false, false, true, 0}, {1, 1, 70, 66, 33, 65, true, true, false, 0.3}, {1, 2, 3, 90, 8, 8, false, true, true, 0.5},
                             {1, 1, 4, 0, 3, 3, false, false, false, 0}, {1, 1, 9, 4, 2, 2, true, true, false, 0}};
  for (const DType t : kFloats)
    for (const Attention& c : cases) {
      Arena arena;
      const auto rows = [&](int64_t length, int64_t size) {  // also [B, heads, L, D] as a view of [B, L, heads, D]
        if (!c.split) return arena.uniform(t, {c.batch, length, c.heads * size}, -1, 1);
        return Arena::permuted(arena.uniform(t, {c.batch, length, c.heads, size}, -1, 1), {0, 2, 1, 3});
      };
      DEVICE_OP(forward, attention);
      attention_args& a = forward.args;
      a.q = rows(c.queries, c.depth), a.k = rows(c.keys, c.depth), a.v = rows(c.keys, c.width);
      a.heads = c.heads, a.scale = 0.5, a.causal = c.causal, a.dropout = c.dropout, a.seed = 77, a.stream = 5;
      if (c.masked) {
        a.mask = arena.uniform(t, {c.heads, 1, c.keys}, -1, 1), a.key_mask = arena.uniform(t, {c.batch, c.keys}, 1, 2);
        for (int64_t i = 0; i < a.key_mask.size(); i += 3) memset(a.key_mask.as<char>() + i * dtype_bytes(t), 0, static_cast<size_t>(dtype_bytes(t)));
      }
      forward.check(arena, near(t, 100));
      if (forward.results.list.size() != 2) continue;
      DEVICE_OP(grad, attention_grad);
      attention_grad_args& g = grad.args;
      g.q = a.q, g.k = a.k, g.v = a.v, g.mask = a.mask, g.key_mask = a.key_mask, g.heads = a.heads, g.scale = a.scale, g.causal = a.causal, g.dropout = a.dropout;
      g.seed = a.seed, g.stream = a.stream;
      for (int i = 0; i < 2; i++) {
        TensorRef& to = i == 0 ? g.y : g.lse;
        const Results::One& from = forward.results.list[static_cast<size_t>(i)];
        to = arena.make(t, std::vector<int64_t>(from.shape.shape, from.shape.shape + from.shape.rank));
        memcpy(to.data, from.cpu.data(), static_cast<size_t>(to.bytes()));
      }
      g.dy = arena.uniform(t, std::vector<int64_t>(g.y.shape, g.y.shape + g.y.rank), -1, 1);
      grad.check(arena, near(t, 400));
    }
}
