// lstm and lstm_grad, f32 or f64: semantics of ops/lstm.cc, formulas of kernels/recurrent/recurrent.h. How a step runs: cuda/recurrent.h.
#include "cuda/kernels.h"
#include "cuda/recurrent.h"
#include "cuda/recurrent_cells.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kLstmGates = 4;

// grid: x four units, y 32 sequences
template <class T> __global__ void __launch_bounds__(32 * kStepWarps) lstm_step(LstmCell<T> a, const T* w_hh, IndexCheck check) {
  TERSOR_SHARED(T, memory, kStepElements);
  const int64_t b0 = static_cast<int64_t>(blockIdx.y) * kStepRows, j0 = static_cast<int64_t>(blockIdx.x) * 4, rows = a.batch - b0 < kStepRows ? a.batch - b0 : kStepRows;
  step_product<T, true>(a.h_prev + b0 * a.units, a.units, rows, a.units, GateColumns<T>{w_hh, a.units, j0, kLstmGates}, memory);
  const int row = static_cast<int>(threadIdx.x) / 4, unit = static_cast<int>(threadIdx.x) % 4;
  const int64_t b = b0 + row, j = j0 + unit;
  if (row >= rows || j >= a.units) return;
  const bool ended = has_ended(a, b, j, check);
  T v[kLstmGates];
  TERSOR_UNROLL
  for (int q = 0; q < kLstmGates; q++) v[q] = ended ? T(0) : a.gates[(b * kLstmGates + q) * a.units + j] + step_result(memory, row, unit * 4 + q);
  lstm_cell(a, b, j, v, ended);
}

template <class T> struct LstmBackward {
  int64_t batch, units, step;
  const int32_t* lengths;
  const T *w_hh, *after;  // after: dgates of the step behind, null for the last step
  const T *gates, *c_prev, *c, *dy;
  T *dh, *dc, *dgates;    // dgates null: only the product, behind the first step
};

// grid: x sixteen units, y 32 sequences
template <class T> __global__ void __launch_bounds__(32 * kStepWarps) lstm_step_grad(LstmBackward<T> a) {
  TERSOR_SHARED(T, memory, kStepElements);
  const int64_t b0 = static_cast<int64_t>(blockIdx.y) * kStepRows, j0 = static_cast<int64_t>(blockIdx.x) * kStepColumns, wide = kLstmGates * a.units;
  const int64_t rows = a.batch - b0 < kStepRows ? a.batch - b0 : kStepRows;
  if (a.after) step_product<T, false>(a.after + b0 * wide, wide, rows, wide, UnitColumns<T>{a.w_hh, a.units, j0}, memory);
  for (int e = static_cast<int>(threadIdx.x); e < kStepResults; e += 32 * kStepWarps) {
    const int row = e / kStepColumns, column = e % kStepColumns;
    const int64_t b = b0 + row, j = j0 + column, at = b * a.units + j;
    if (row >= rows || j >= a.units) continue;
    const T dh = a.after ? a.dh[at] + step_result(memory, row, column) : a.dh[at];
    if (!a.dgates) {
      a.dh[at] = dh;
      continue;
    }
    T* out = a.dgates + b * wide + j;
    if (a.lengths && a.step >= a.lengths[b]) {
      for (int q = 0; q < kLstmGates; q++) out[q * a.units] = T(0);
      a.dh[at] = dh;
      continue;
    }
    const T* gates = a.gates + b * wide + j;
    const T i = gates[0], f = gates[a.units], g = gates[2 * a.units], o = gates[3 * a.units];
    const T t = tanh_of(a.c[at]), d = dh + a.dy[at], e2 = a.dc[at] + d * o * (T(1) - t * t);
    out[0] = e2 * g * (i * (T(1) - i));
    out[a.units] = e2 * a.c_prev[at] * (f * (T(1) - f));
    out[2 * a.units] = e2 * i * (T(1) - g * g);
    out[3 * a.units] = d * t * (o * (T(1) - o));
    a.dc[at] = e2 * f;
    a.dh[at] = T(0);
  }
}

template <class T> Status forward(Stream& stream, lstm_args& a) {
  const RecurrentSizes s = recurrent_sizes(a);
  const T *x, *w_ih, *w_hh, *bias;
  const int32_t* lengths;
  IndexCheck check;
  TERSOR_TRY(open_lengths(stream, "lstm", a.lengths, s, &lengths, &check));
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(open(stream, a.w_ih, &w_ih));
  TERSOR_TRY(open(stream, a.w_hh, &w_hh));
  TERSOR_TRY(open(stream, a.bias, &bias));
  const int64_t size = s.state(), h = s.units, wide = kLstmGates * h;
  T *states = a.states.as<T>(), *gates = a.gates.as<T>(), *cells = a.cells.as<T>(), *previous = a.previous.as<T>();
  T *last_h = states + s.steps * size, *last_c = last_h + size;
  TERSOR_TRY(copy_or_zero(stream, a.h0, s.steps > 0 ? previous + s.time(0) * size : last_h, size));
  TERSOR_TRY(copy_or_zero(stream, a.c0, last_c, size));
  if (s.steps == 0 || size == 0) return {};
  TERSOR_TRY(dense_product(stream, DenseProduct<T>{s.rows(), wide, s.in, x, s.in, 1, w_ih, 1, s.in, gates, wide, bias}));
  const Grid grid{blocks_for(h, 4), blocks_for(s.batch, kStepRows)};
  for (int64_t k = 0; k < s.steps; k++) {
    const int64_t t = s.time(k);
    const LstmCell<T> cell = {s.batch, h, t, lengths, previous + t * size, k == 0 ? last_c : cells + s.time(k - 1) * size, gates + t * kLstmGates * size,
                              cells + t * size, k + 1 < s.steps ? previous + s.time(k + 1) * size : last_h, states + t * size};
    TERSOR_TRY(launch<lstm_step<T>>(stream, grid, 32 * kStepWarps, 0, cell, w_hh, check));
  }
  return stream.copy(last_c, cells + s.time(s.steps - 1) * size, size * static_cast<int64_t>(sizeof(T)));
}

template <class T> Status backward(Stream& stream, lstm_grad_args& a) {
  const RecurrentSizes s = recurrent_sizes(a);
  const T *x, *w_ih, *w_hh, *gates, *cells, *previous, *dy;
  const int32_t* lengths;
  TERSOR_TRY(open(stream, a.lengths, &lengths));
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(open(stream, a.w_ih, &w_ih));
  TERSOR_TRY(open(stream, a.w_hh, &w_hh));
  TERSOR_TRY(open(stream, a.gates, &gates));
  TERSOR_TRY(open(stream, a.cells, &cells));
  TERSOR_TRY(open(stream, a.previous, &previous));
  TERSOR_TRY(open(stream, a.dstates, &dy));
  const int64_t size = s.state(), h = s.units, wide = kLstmGates * h, bytes = size * static_cast<int64_t>(sizeof(T));
  T *dh = a.dh0.as<T>(), *dc = a.dc0.as<T>(), *dgates, *c0;
  TERSOR_TRY(stream.scratch(s.rows() * wide, &dgates));
  TERSOR_TRY(stream.scratch(size, &c0));
  if (size > 0) {
    TERSOR_TRY(copy_or_zero(stream, a.c0, c0, size));
    TERSOR_TRY(stream.copy(dh, dy + s.steps * size, bytes));
    TERSOR_TRY(stream.copy(dc, dy + (s.steps + 1) * size, bytes));
    const Grid grid{blocks_for(h, kStepColumns), blocks_for(s.batch, kStepRows)};
    for (int64_t k = s.steps; k >= 0 && s.steps > 0; k--) {
      LstmBackward<T> step{};
      step.batch = s.batch, step.units = h, step.lengths = lengths, step.w_hh = w_hh, step.dh = dh, step.dc = dc;
      if (k < s.steps) step.after = dgates + s.time(k) * kLstmGates * size;
      if (k > 0) {
        const int64_t t = s.time(k - 1);
        step.step = t, step.gates = gates + t * kLstmGates * size, step.c = cells + t * size, step.dy = dy + t * size, step.dgates = dgates + t * kLstmGates * size;
        step.c_prev = k == 1 ? c0 : cells + s.time(k - 2) * size;
      }
      TERSOR_TRY(launch<lstm_step_grad<T>>(stream, grid, 32 * kStepWarps, 0, step));
    }
  }
  TERSOR_TRY(product_gradients(stream, dgates, x, w_ih, a.dx.as<T>(), a.dw_ih.as<T>(), s.rows(), wide, s.in));
  TERSOR_TRY(product_gradients<T>(stream, dgates, previous, nullptr, nullptr, a.dw_hh.as<T>(), s.rows(), wide, h));
  return column_sums(stream, dgates, s.rows(), wide, a.dbias.as<T>());
}

}  // namespace

Status lstm(Stream& stream, lstm_args& a) { return a.x.dtype == DType::f64 ? forward<double>(stream, a) : forward<float>(stream, a); }
Status lstm_grad(Stream& stream, lstm_grad_args& a) { return a.x.dtype == DType::f64 ? backward<double>(stream, a) : backward<float>(stream, a); }

}  // namespace cuda
}  // namespace tersor
