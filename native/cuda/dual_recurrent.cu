// dual_lstm and dual_gru (contracts: ops/dual_lstm.cc, ops/dual_gru.cc): steps whose insensitive gates are those of a little twin. A step is the twin's product,
// the choice, the exact rows and the cell, queued one after the other; nothing waits.
#include "cuda/dense_product.h"
#include "cuda/dual_run.h"
#include "cuda/kernels.h"
#include "cuda/recurrent.h"
#include "cuda/recurrent_cells.h"

namespace tersor {
namespace cuda {
namespace {

__global__ void __launch_bounds__(256) add_kernel(const float* x, int64_t n, float* y) {
  const int64_t step = int64_t(gridDim.x) * 256;
  for (int64_t i = thread_index(); i < n; i += step) y[i] += x[i];
}

// From the input's part and the twin's [batch, 3 units]: gates r and z are sums, those of n stay apart.
__global__ void __launch_bounds__(256) split_kernel(const float* input, const float* twin, int64_t batch, int64_t units, float* gates, float* recurrent) {
  const int64_t step = int64_t(gridDim.x) * 256, wide = 3 * units;
  for (int64_t i = thread_index(); i < batch * wide; i += step) {
    const int64_t b = i / wide, j = i % wide;
    if (j < 2 * units) gates[i] = input[i] + twin[i];
    else gates[i] = input[i], recurrent[b * units + j - 2 * units] = twin[i];
  }
}

// n' + r q with the final r, which the candidate's choice is made by.
__global__ void __launch_bounds__(256) predict_kernel(const float* gates, const float* recurrent, int64_t batch, int64_t units, float* predicted) {
  const int64_t step = int64_t(gridDim.x) * 256;
  for (int64_t i = thread_index(); i < batch * units; i += step) {
    const float* const r = gates + i / units * 3 * units + i % units;
    predicted[i] = r[2 * units] + recurrent[i] / (1.0f + exp_of(-r[0]));
  }
}

__global__ void __launch_bounds__(256) lstm_cells(LstmCell<float> a, IndexCheck check) {
  const int64_t i = thread_index();
  if (i >= a.batch * a.units) return;
  const int64_t b = i / a.units, j = i % a.units;
  const bool ended = has_ended(a, b, j, check);
  float v[4];
  for (int q = 0; q < 4; q++) v[q] = ended ? 0.0f : a.gates[(b * 4 + q) * a.units + j];
  lstm_cell(a, b, j, v, ended);
}
__global__ void __launch_bounds__(256) gru_cells(GruCell<float> a, IndexCheck check) {
  const int64_t i = thread_index();
  if (i >= a.batch * a.units) return;
  const int64_t b = i / a.units, j = i % a.units;
  const bool ended = has_ended(a, b, j, check);
  float v[3];
  for (int q = 0; q < 3; q++) v[q] = ended ? 0.0f : a.gates[(b * 3 + q) * a.units + j];
  gru_cell(a, b, j, v, ended ? 0.0f : a.recurrent[i], ended);
}

struct DualRecurrent {
  RecurrentSizes s{};
  int64_t n = 0;       // gates units
  bool whole = false;  // little_x is there
  const float *x = nullptr, *bias = nullptr, *thresholds = nullptr;
  const int32_t* lengths = nullptr;
  IndexCheck check;
  DualPart parts[2];  // w_hh, w_ih
  DualLittle little_x, little_h;
  DualLists lists;
  float* inputs = nullptr;

  const float* input(int64_t t) const { return inputs + t * s.batch * n; }

  // And the part of the input that rows have before exact ones replace it.
  template <class Args> Status open(Stream& stream, const char* op, const Args& a, const TensorRef& input_bias) {
    s = recurrent_sizes(a), n = a.w_ih.shape[0], whole = a.little_x.present();
    TERSOR_TRY(open_lengths(stream, op, a.lengths, s, &lengths, &check));
    TERSOR_TRY(cuda::open(stream, a.x, &x));
    TERSOR_TRY(cuda::open(stream, input_bias, &bias));
    TERSOR_TRY(cuda::open(stream, a.thresholds, &thresholds));
    TERSOR_TRY(parts[0].open(stream, a.w_hh, a.scale_hh));
    TERSOR_TRY(parts[1].open(stream, a.w_ih, a.scale_ih));
    TERSOR_TRY(little_h.open(stream, op, a.projection_h, a.little_h, a.k, a.copies, n, s.units));
    if (whole) TERSOR_TRY(little_x.open(stream, op, a.projection_x, a.little_x, a.k, a.copies, n, s.in));
    TERSOR_TRY(lists.open(stream, s.batch, n));
    const int64_t rows = s.rows();
    TERSOR_TRY(stream.scratch(rows * n, &inputs));
    if (rows == 0 || n == 0) return {};
    if (whole) return a.insensitive == 0 ? Status{} : little_x.run(stream, x, rows, bias, inputs);
    if (!parts[1].codes)
      return dense_product(stream, DenseProduct<float>{rows, n, s.in, x, s.in, 1, static_cast<const float*>(parts[1].w), 1, parts[1].w_row, inputs, n, bias});
    DualExact all;
    all.parts[0] = parts[1], all.parts[0].x = x;
    all.sinks[0].y = inputs, all.sinks[0].y_row = n, all.sinks[0].first = 0, all.sinks[0].add[0] = bias;
    return dual_all_rows(stream, all, rows, n);
  }

  Status select(Stream& stream, const DualRule& rule, int64_t t, const float* y, int64_t y_row, int64_t first, int64_t rows, int32_t* answered) const {
    DualChoice c;
    c.rule = rule, c.y = y, c.y_row = y_row, c.rows = rows, c.first = first, c.lengths = lengths, c.step = t, c.answered = answered;
    return dual_select(stream, c, lists);
  }

  // The input's sum goes to `input_to` [batch, n], the state's is added to it or goes to `state_to` [batch, units], moved by `first` rows.
  Status exact(Stream& stream, int64_t t, const float* h, const float* state_bias, float* input_to, float* state_to, int64_t first) const {
    DualExact e;
    e.parts[0] = parts[0], e.parts[0].x = h, e.parts[1] = parts[1], e.parts[1].x = x + t * s.batch * s.in;
    e.parts_n = whole ? 2 : 1, e.sinks_n = state_to ? 2 : 1;
    DualSink &in = e.sinks[0], &state = state_to ? e.sinks[1] : e.sinks[0];
    in.y = input_to, in.y_row = n, in.first = whole ? 1 : -1;
    in.add[0] = whole ? bias : input(t), in.add_row[0] = whole ? 0 : n;
    if (state_to) state.y = state_to - first, state.y_row = s.units;
    state.second = 0, state.add[1] = state_bias;
    return dual_exact(stream, e, lists);
  }
};

}  // namespace

Status dual_lstm_cuda(Stream& stream, dual_lstm_args& a) {
  DualRecurrent d;
  TERSOR_TRY(d.open(stream, "dual_lstm", a, a.bias));
  const RecurrentSizes& s = d.s;
  const int64_t size = s.state(), elements = s.batch * d.n;
  float *const states = a.states.as<float>(), *const h = states + s.steps * size, *const c = h + size, *gates;
  int32_t* const count = a.count.as<int32_t>();
  TERSOR_TRY(copy_or_zero(stream, a.h0, h, size));
  TERSOR_TRY(copy_or_zero(stream, a.c0, c, size));
  TERSOR_TRY(stream.fill(count, 0, s.rows() * 4));
  if (s.steps == 0 || size == 0) return {};
  TERSOR_TRY(stream.scratch(elements, &gates));
  const DualRule rule{a.insensitive, false, d.thresholds, s.units};
  for (int64_t k = 0; k < s.steps; k++) {
    const int64_t t = s.time(k);
    if (a.insensitive != 0) {
      TERSOR_TRY(d.little_h.run(stream, h, s.batch, nullptr, gates));
      TERSOR_TRY(launch<add_kernel>(stream, blocks_for(stream, elements, 256), 256, 0, d.input(t), elements, gates));
    }
    TERSOR_TRY(d.select(stream, rule, t, gates, d.n, 0, d.n, count + t * s.batch));
    TERSOR_TRY(d.exact(stream, t, h, nullptr, gates, nullptr, 0));
    const LstmCell<float> cell = {s.batch, s.units, t, d.lengths, h, c, gates, c, h, states + t * size};
    TERSOR_TRY(launch<lstm_cells>(stream, Grid(blocks_for(size)), kThreads, 0, cell, d.check));
  }
  return {};
}

Status dual_gru_cuda(Stream& stream, dual_gru_args& a) {
  DualRecurrent d;
  TERSOR_TRY(d.open(stream, "dual_gru", a, a.b_ih));
  const RecurrentSizes& s = d.s;
  const int64_t size = s.state(), elements = s.batch * d.n, u = s.units;
  float *const states = a.states.as<float>(), *const h = states + s.steps * size, *gates, *twin, *recurrent, *predicted;
  const float* b_hh;
  int32_t* const count = a.count.as<int32_t>();
  TERSOR_TRY(copy_or_zero(stream, a.h0, h, size));
  TERSOR_TRY(stream.fill(count, 0, s.rows() * 4));
  if (s.steps == 0 || size == 0) return {};
  TERSOR_TRY(open(stream, a.b_hh, &b_hh));
  TERSOR_TRY(stream.scratch(elements, &gates));
  TERSOR_TRY(stream.scratch(elements, &twin));
  TERSOR_TRY(stream.scratch(size, &recurrent));
  TERSOR_TRY(stream.scratch(size, &predicted));
  const int64_t of_gates = a.insensitive < 0 ? -1 : 2 * a.insensitive / 3, of_candidates = a.insensitive < 0 ? -1 : a.insensitive - of_gates;
  const DualRule rule{of_gates, false, d.thresholds, u}, candidate{of_candidates, false, d.thresholds + 2, u};
  for (int64_t k = 0; k < s.steps; k++) {
    const int64_t t = s.time(k);
    int32_t* const answered = count + t * s.batch;
    if (a.insensitive != 0) {
      TERSOR_TRY(d.little_h.run(stream, h, s.batch, b_hh, twin));
      TERSOR_TRY(launch<split_kernel>(stream, blocks_for(stream, elements, 256), 256, 0, d.input(t), twin, s.batch, u, gates, recurrent));
    }
    TERSOR_TRY(d.select(stream, rule, t, gates, d.n, 0, 2 * u, answered));
    TERSOR_TRY(d.exact(stream, t, h, b_hh, gates, nullptr, 0));
    if (a.insensitive != 0) TERSOR_TRY(launch<predict_kernel>(stream, blocks_for(stream, size, 256), 256, 0, gates, recurrent, s.batch, u, predicted));
    TERSOR_TRY(d.select(stream, candidate, t, predicted, u, 2 * u, u, answered));
    TERSOR_TRY(d.exact(stream, t, h, b_hh, gates, recurrent, 2 * u));
    const GruCell<float> cell = {s.batch, u, t, d.lengths, h, gates, recurrent, h, states + t * size};
    TERSOR_TRY(launch<gru_cells>(stream, Grid(blocks_for(size)), kThreads, 0, cell, d.check));
  }
  return {};
}

}  // namespace cuda
}  // namespace tersor
