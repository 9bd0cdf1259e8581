// What dual_lstm and dual_gru share: dual_run.h.
#include "ops/dual_run.h"

namespace tersor {

Status dual_recurrent_infer(const DualRecurrentArgs& a, RecurrentShape* s) {
  TERSOR_TRY(expect_dtype(a.op, "x", a.x, DType::f32));
  TERSOR_TRY(dual_check_weight(a.op, "w_ih", a.w_ih, "scale_ih", a.scale_ih));
  TERSOR_TRY(dual_check_weight(a.op, "w_hh", a.w_hh, "scale_hh", a.scale_hh));
  TensorRef w_ih, w_hh;  // shapes are those of lstm, whatever the weights hold
  copy_ref(w_ih, a.w_ih), copy_ref(w_hh, a.w_hh);
  w_ih.dtype = w_hh.dtype = DType::f32;
  TERSOR_TRY(recurrent_shape(a.op, a.x, w_ih, w_hh, a.lengths, a.gates, a.reverse, s));
  const int64_t n = a.gates * s->units;
  TERSOR_TRY(dual_check_options(a.op, a.k, a.copies, a.insensitive, n));
  TERSOR_TRY(dual_check_little(a.op, "little_h", a.projection_h, a.little_h, a.k, a.copies, n, s->units));
  if (a.little_x.present()) TERSOR_TRY(dual_check_little(a.op, "little_x", a.projection_x, a.little_x, a.k, a.copies, n, s->in));
  TERSOR_TRY(dual_check_vector(a.op, "thresholds", a.thresholds, a.gates));
  TERSOR_TRY(expect_optional(a.op, "bias", a.x, a.bias, {n}));
  return expect_optional(a.op, "h0", a.x, a.h0, {s->batch, s->units});
}

Status DualRecurrent::open(const DualRecurrentArgs& a, Context& ctx) {
  s = {a.x.shape[0], a.x.shape[1], a.x.shape[2], a.w_hh.shape[1], a.gates, a.reverse};
  whole = a.little_x.present();
  n = a.gates * s.units;
  const int64_t rows = s.rows(), chunk = DualLittle::chunk(s.batch);
  TERSOR_TRY(lengths.open(a.op, a.lengths, s, ctx.cancel));
  TERSOR_TRY(x.open(a.op, a.x, ctx.cancel));
  TERSOR_TRY(thresholds.open(a.op, a.thresholds, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(a.op, a.bias, ctx.cancel));
  TERSOR_TRY(parts[0].open(a.op, a.w_hh, a.scale_hh, &copies[0], &copies[1], ctx.cancel));
  TERSOR_TRY(parts[1].open(a.op, a.w_ih, a.scale_ih, &copies[2], &copies[3], ctx.cancel));
  TERSOR_TRY(little_h.open(a.op, a.projection_h, a.little_h, a.k, a.copies, n, s.units, s.batch, ctx));
  if (whole) TERSOR_TRY(little_x.open(a.op, a.projection_x, a.little_x, a.k, a.copies, n, s.in, chunk < rows ? chunk : rows, ctx));
  TERSOR_TRY(lists.reserve(a.op, s.batch, n, a.insensitive > 0));
  TERSOR_TRY(outs.reserve(a.op, 2 * s.batch * n * 4));
  TERSOR_TRY(inputs.reserve(a.op, rows * n * 4));
  parts[0].out = outs.as<float>(), parts[1].out = outs.as<float>() + s.batch * n;
  float* y = inputs.as<float>();
  if (rows == 0 || n == 0) return {};
  if (!whole) return exact_inputs(a, y, ctx);
  for (int64_t i = 0; i < rows && a.insensitive != 0; i += chunk)
    TERSOR_TRY(little_x.run(x.as<float>() + i * s.in, rows - i < chunk ? rows - i : chunk, a.bias, y + i * n));
  return {};
}

Status DualRecurrent::exact_inputs(const DualRecurrentArgs& a, float* y, Context& ctx) {
  const int64_t rows = s.rows();
  if (a.w_ih.dtype == DType::f32) {
    linear_args l{};
    l.x = dual_ref(x.as<float>(), DType::f32, {rows, s.in}), l.w = a.w_ih, l.bias = a.bias, l.y = dual_ref(y, DType::f32, {rows, n});
    return linear_cpu(l, ctx);
  }
  Scratch all;
  TERSOR_TRY(all.reserve(a.op, n * 4));
  int32_t* list = all.as<int32_t>();
  for (int64_t r = 0; r < n; r++) list[r] = static_cast<int32_t>(r);
  DualPart part = parts[1];
  part.x = x.as<float>(), part.out = y;
  const float* b = bias.as<float>();
  return parallel_for(n, 256, ctx.cancel, [&](int64_t begin, int64_t end) {
    part.run(list, n, rows, begin, end);
    for (int64_t i = 0; b && i < rows; i++)
      for (int64_t r = begin; r < end; r++) y[i * n + r] += b[r];
  });
}

void DualRecurrent::select(const DualRule& rule, int64_t t, const float* y, int64_t y_row, int64_t first, int64_t rows, int32_t* count) {
  for (int64_t b = 0; b < s.batch; b++) {
    lists.count(b) = 0;
    if (lengths.get() && t >= lengths.get()[b]) continue;
    lists.count(b) = dual_select(rule, y + b * y_row, rows, first, lists.keys(), lists.list(b));
    count[b] += static_cast<int32_t>(rows - lists.count(b));
  }
}

Status DualRecurrent::exact(int64_t t, const float* h, const float* state_bias, float* input_to, float* state_to, int64_t first, const Cancel* cancel) {
  parts[0].x = h, parts[1].x = x.as<float>() + t * s.batch * s.in;
  DualSink sinks[2];
  DualSink &in = sinks[0], &state = state_to ? sinks[1] : sinks[0];
  in.y = input_to, in.y_row = n;
  in.first = whole ? 1 : -1;
  in.add[0] = whole ? bias.as<float>() : input(t), in.add_row[0] = whole ? 0 : n;
  if (state_to) state.y = state_to - first, state.y_row = s.units;
  state.second = 0, state.add[1] = state_bias;
  return lists.run(parts, whole ? 2 : 1, s.batch, sinks, state_to ? 2 : 1, cancel);
}

}  // namespace tersor
