// dual_gru: a GRU whose insensitive gates are those of a little twin (Liu et al., ICML 2020, section 4); arguments as dual_lstm with w_ih [3H,C],
// w_hh [3H,H], b_ih [3H]?, b_hh [3H]?, thresholds [3] (r z n)
//   -> states [T+1,B,H]: outputs, then the last h; count i32 [T,B]
// The gates r and z are chosen and made first. The candidate's twin then predicts n' + r q with the final r; a sensitive candidate has both of its parts
// computed exactly. Of `insensitive` rows two thirds (rounded down) are gates, the others candidates.
#include <cmath>

#include "ops/dual_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "dual_gru";
constexpr int64_t kGates = 3;

}  // namespace

Status dual_gru_infer(dual_gru_args& a) {
  RecurrentShape s;
  TERSOR_TRY(dual_recurrent_infer(TERSOR_DUAL_RECURRENT(a, kOp, kGates, a.b_ih), &s));
  TERSOR_TRY(expect_optional(kOp, "b_hh", a.x, a.b_hh, {kGates * s.units}));
  give_shape(a.states, DType::f32, {s.steps + 1, s.batch, s.units});
  give_shape(a.count, DType::i32, {s.steps, s.batch});
  return {};
}

Status dual_gru_cpu(dual_gru_args& a, Context& ctx) {
  DualRecurrent d;
  TERSOR_TRY(d.open(TERSOR_DUAL_RECURRENT(a, kOp, kGates, a.b_ih), ctx));
  const RecurrentShape& s = d.s;
  const int64_t size = s.state(), n = d.n, u = s.units;
  float *const states = a.states.as<float>(), *const h = states + s.steps * size;
  int32_t* const count = a.count.as<int32_t>();
  TERSOR_TRY(copy_or_zero(kOp, a.h0, h, size, ctx.cancel));
  if (s.rows() > 0) memset(count, 0, static_cast<size_t>(s.rows()) * 4);
  if (s.steps == 0 || size == 0) return {};
  Contiguous bias;
  if (a.b_hh.present()) TERSOR_TRY(bias.open(kOp, a.b_hh, ctx.cancel));
  Scratch own;
  TERSOR_TRY(own.reserve(kOp, (2 * s.batch * n + 2 * size) * 4));
  float *const gates = own.as<float>(), *const twin = gates + s.batch * n, *const recurrent = twin + s.batch * n, *const predicted = recurrent + size;
  const int64_t of_gates = a.insensitive < 0 ? -1 : 2 * a.insensitive / 3, of_candidates = a.insensitive < 0 ? -1 : a.insensitive - of_gates;
  const float *const thresholds = d.thresholds.as<float>(), *const b_hh = bias.as<float>();
  const DualRule rule{of_gates, false, thresholds, u}, candidate{of_candidates, false, thresholds + 2, u};
  for (int64_t k = 0; k < s.steps; k++) {
    const int64_t t = s.time(k);
    if (a.insensitive != 0) {
      TERSOR_TRY(d.little_h.run(h, s.batch, a.b_hh, twin));
      for (int64_t b = 0; b < s.batch; b++) {
        const float *from = d.input(t) + b * n, *add = twin + b * n;
        float* to = gates + b * n;
        for (int64_t j = 0; j < 2 * u; j++) to[j] = from[j] + add[j];
        memcpy(to + 2 * u, from + 2 * u, static_cast<size_t>(u) * 4);
        memcpy(recurrent + b * u, add + 2 * u, static_cast<size_t>(u) * 4);
      }
    }
    d.select(rule, t, gates, n, 0, 2 * u, count + t * s.batch);
    TERSOR_TRY(d.exact(t, h, b_hh, gates, nullptr, 0, ctx.cancel));
    if (a.insensitive != 0)
      for (int64_t b = 0; b < s.batch; b++) {
        const float *r = gates + b * n, *q = recurrent + b * u;
        for (int64_t j = 0; j < u; j++) predicted[b * u + j] = r[2 * u + j] + q[j] / (1.0f + std::exp(-r[j]));
      }
    d.select(candidate, t, predicted, u, 2 * u, u, count + t * s.batch);
    TERSOR_TRY(d.exact(t, h, b_hh, gates, recurrent, 2 * u, ctx.cancel));
    gru_step(GruStep<float>{s.batch, u, u, t, d.lengths.get(), gates, recurrent, h, h, states + t * size});
  }
  return {};
}

}  // namespace tersor
