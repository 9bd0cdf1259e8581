// dual_lstm: an LSTM whose insensitive gates are those of a little twin (Liu et al., ICML 2020, section 4). x [T,B,C], w_ih [4H,C], w_hh [4H,H] f32, or i8
// with scale_ih, scale_hh [4H]; bias [4H]?, h0 [B,H]?, c0 [B,H]?, lengths i32 [B]?, thresholds [4] (i f g o), twins: dual_run.h
//   -> states [T+2,B,H]: outputs, then last h and last c; count i32 [T,B]: gates that the twin answered, 0 where a sequence has ended
// With insensitive = 0 every row is exact and the twins are not read.
#include "ops/dual_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "dual_lstm";
constexpr int64_t kGates = 4;

}  // namespace

Status dual_lstm_infer(dual_lstm_args& a) {
  RecurrentShape s;
  TERSOR_TRY(dual_recurrent_infer(TERSOR_DUAL_RECURRENT(a, kOp, kGates, a.bias), &s));
  TERSOR_TRY(expect_optional(kOp, "c0", a.x, a.c0, {s.batch, s.units}));
  give_shape(a.states, DType::f32, {s.steps + 2, s.batch, s.units});
  give_shape(a.count, DType::i32, {s.steps, s.batch});
  return {};
}

Status dual_lstm_cpu(dual_lstm_args& a, Context& ctx) {
  DualRecurrent d;
  TERSOR_TRY(d.open(TERSOR_DUAL_RECURRENT(a, kOp, kGates, a.bias), ctx));
  const RecurrentShape& s = d.s;
  const int64_t size = s.state(), n = d.n;
  float* const states = a.states.as<float>();
  float *const h = states + s.steps * size, *const c = h + size;  // the running states
  int32_t* const count = a.count.as<int32_t>();
  TERSOR_TRY(copy_or_zero(kOp, a.h0, h, size, ctx.cancel));
  TERSOR_TRY(copy_or_zero(kOp, a.c0, c, size, ctx.cancel));
  if (s.rows() > 0) memset(count, 0, static_cast<size_t>(s.rows()) * 4);
  if (s.steps == 0 || size == 0) return {};
  Scratch own;
  TERSOR_TRY(own.reserve(kOp, s.batch * n * 4));
  float* const gates = own.as<float>();
  const DualRule rule{a.insensitive, false, d.thresholds.as<float>(), s.units};
  for (int64_t k = 0; k < s.steps; k++) {
    const int64_t t = s.time(k);
    if (a.insensitive != 0) {
      const float* input = d.input(t);
      TERSOR_TRY(d.little_h.run(h, s.batch, {}, gates));
      for (int64_t i = 0; i < s.batch * n; i++) gates[i] += input[i];
    }
    d.select(rule, t, gates, n, 0, n, count + t * s.batch);
    TERSOR_TRY(d.exact(t, h, nullptr, gates, nullptr, 0, ctx.cancel));
    lstm_step(LstmStep<float>{s.batch, s.units, s.units, t, d.lengths.get(), gates, c, h, c, h, states + t * size});
  }
  return {};
}

}  // namespace tersor
