// gru and gru_grad, f32 or f64: semantics of ops/gru.cc, formulas of kernels/recurrent/recurrent.h. How a step runs: cuda/recurrent.h.
#include "cuda/kernels.h"
#include "cuda/recurrent.h"
#include "cuda/recurrent_cells.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kGruGates = 3;

// grid: x four units, y 32 sequences. b_hh may be null.
template <class T> __global__ void __launch_bounds__(32 * kStepWarps) gru_step(GruCell<T> a, const T* w_hh, const T* b_hh, IndexCheck check) {
  TERSOR_SHARED(T, memory, kStepElements);
  const int64_t b0 = static_cast<int64_t>(blockIdx.y) * kStepRows, j0 = static_cast<int64_t>(blockIdx.x) * 4, rows = a.batch - b0 < kStepRows ? a.batch - b0 : kStepRows;
  step_product<T, true>(a.h_prev + b0 * a.units, a.units, rows, a.units, GateColumns<T>{w_hh, a.units, j0, kGruGates}, memory);
  const int row = static_cast<int>(threadIdx.x) / 4, unit = static_cast<int>(threadIdx.x) % 4;
  const int64_t b = b0 + row, j = j0 + unit;
  if (row >= rows || j >= a.units) return;
  const bool ended = has_ended(a, b, j, check);
  const T q = step_result(memory, row, unit * 4 + 2) + (b_hh ? b_hh[2 * a.units + j] : T(0));
  a.recurrent[b * a.units + j] = q;
  T v[kGruGates];
  TERSOR_UNROLL
  for (int g = 0; g < kGruGates; g++) v[g] = ended ? T(0) : a.gates[(b * kGruGates + g) * a.units + j] + (g < 2 ? step_result(memory, row, unit * 4 + g) : T(0));
  gru_cell(a, b, j, v, q, ended);
}

template <class T> struct GruBackward {
  int64_t batch, units, step;
  const int32_t* lengths;
  const T *w_hh, *after;  // after: drecurrent of the step behind, null for the last step
  const T *gates, *recurrent, *h_prev, *dy;
  T *dh, *dgates, *drecurrent;  // dgates null: only the product, behind the first step
};

// grid: x sixteen units, y 32 sequences
template <class T> __global__ void __launch_bounds__(32 * kStepWarps) gru_step_grad(GruBackward<T> a) {
  TERSOR_SHARED(T, memory, kStepElements);
  const int64_t b0 = static_cast<int64_t>(blockIdx.y) * kStepRows, j0 = static_cast<int64_t>(blockIdx.x) * kStepColumns, wide = kGruGates * a.units;
  const int64_t rows = a.batch - b0 < kStepRows ? a.batch - b0 : kStepRows;
  if (a.after) step_product<T, false>(a.after + b0 * wide, wide, rows, wide, UnitColumns<T>{a.w_hh, a.units, j0}, memory);
  for (int e = static_cast<int>(threadIdx.x); e < kStepResults; e += 32 * kStepWarps) {
    const int row = e / kStepColumns, column = e % kStepColumns;
    const int64_t b = b0 + row, j = j0 + column, at = b * a.units + j;
    if (row >= rows || j >= a.units) continue;
    const T dh = a.after ? a.dh[at] + step_result(memory, row, column) : a.dh[at];
    if (!a.dgates || (a.lengths && a.step >= a.lengths[b])) {
      a.dh[at] = dh;
      for (int q = 0; a.dgates && q < kGruGates; q++) a.dgates[b * wide + j + q * a.units] = a.drecurrent[b * wide + j + q * a.units] = T(0);
      continue;
    }
    const T* gates = a.gates + b * wide + j;
    const T r = gates[0], z = gates[a.units], n = gates[2 * a.units], q = a.recurrent[at], d = dh + a.dy[at];
    const T dn = d * (T(1) - z) * (T(1) - n * n), dz = d * (a.h_prev[at] - n) * (z * (T(1) - z)), dr = dn * q * (r * (T(1) - r));
    T *out = a.dgates + b * wide + j, *back = a.drecurrent + b * wide + j;
    out[0] = back[0] = dr;
    out[a.units] = back[a.units] = dz;
    out[2 * a.units] = dn;
    back[2 * a.units] = dn * r;
    a.dh[at] = d * z;
  }
}

// Biases of r and z are added once, those of n stay apart.
template <class T> __global__ void add_biases(const T* b_ih, const T* b_hh, T* out, int64_t units) {
  const int64_t j = thread_index();
  if (j >= kGruGates * units) return;
  const T first = b_ih ? b_ih[j] : T(0);
  out[j] = b_hh && j < 2 * units ? first + b_hh[j] : first;
}

template <class T> Status forward(Stream& stream, gru_args& a) {
  const RecurrentSizes s = recurrent_sizes(a);
  const T *x, *w_ih, *w_hh, *b_ih, *b_hh;
  const int32_t* lengths;
  IndexCheck check;
  TERSOR_TRY(open_lengths(stream, "gru", a.lengths, s, &lengths, &check));
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(open(stream, a.w_ih, &w_ih));
  TERSOR_TRY(open(stream, a.w_hh, &w_hh));
  TERSOR_TRY(open(stream, a.b_ih, &b_ih));
  TERSOR_TRY(open(stream, a.b_hh, &b_hh));
  const int64_t size = s.state(), h = s.units, wide = kGruGates * h;
  T *states = a.states.as<T>(), *gates = a.gates.as<T>(), *recurrent = a.recurrent.as<T>(), *previous = a.previous.as<T>(), *bias;
  T* last = states + s.steps * size;
  TERSOR_TRY(copy_or_zero(stream, a.h0, s.steps > 0 ? previous + s.time(0) * size : last, size));
  if (s.steps == 0 || size == 0) return {};
  TERSOR_TRY(stream.scratch(wide, &bias));
  TERSOR_TRY(launch<add_biases<T>>(stream, Grid{blocks_for(wide)}, kThreads, 0, b_ih, b_hh, bias, h));
  TERSOR_TRY(dense_product(stream, DenseProduct<T>{s.rows(), wide, s.in, x, s.in, 1, w_ih, 1, s.in, gates, wide, bias}));
  const Grid grid{blocks_for(h, 4), blocks_for(s.batch, kStepRows)};
  for (int64_t k = 0; k < s.steps; k++) {
    const int64_t t = s.time(k);
    const GruCell<T> cell = {s.batch, h, t, lengths, previous + t * size, gates + t * kGruGates * size, recurrent + t * size,
                             k + 1 < s.steps ? previous + s.time(k + 1) * size : last, states + t * size};
    TERSOR_TRY(launch<gru_step<T>>(stream, grid, 32 * kStepWarps, 0, cell, w_hh, b_hh, check));
  }
  return {};
}

template <class T> Status backward(Stream& stream, gru_grad_args& a) {
  const RecurrentSizes s = recurrent_sizes(a);
  const T *x, *w_ih, *w_hh, *gates, *recurrent, *previous, *dy;
  const int32_t* lengths;
  TERSOR_TRY(open(stream, a.lengths, &lengths));
  TERSOR_TRY(open(stream, a.x, &x));
  TERSOR_TRY(open(stream, a.w_ih, &w_ih));
  TERSOR_TRY(open(stream, a.w_hh, &w_hh));
  TERSOR_TRY(open(stream, a.gates, &gates));
  TERSOR_TRY(open(stream, a.recurrent, &recurrent));
  TERSOR_TRY(open(stream, a.previous, &previous));
  TERSOR_TRY(open(stream, a.dstates, &dy));
  const int64_t size = s.state(), h = s.units, wide = kGruGates * h;
  T *dh = a.dh0.as<T>(), *dgates, *drecurrent;
  TERSOR_TRY(stream.scratch(s.rows() * wide, &dgates));
  TERSOR_TRY(stream.scratch(s.rows() * wide, &drecurrent));
  if (size > 0) {
    TERSOR_TRY(stream.copy(dh, dy + s.steps * size, size * static_cast<int64_t>(sizeof(T))));
    const Grid grid{blocks_for(h, kStepColumns), blocks_for(s.batch, kStepRows)};
    for (int64_t k = s.steps; k >= 0 && s.steps > 0; k--) {
      GruBackward<T> step{};
      step.batch = s.batch, step.units = h, step.lengths = lengths, step.w_hh = w_hh, step.dh = dh;
      if (k < s.steps) step.after = drecurrent + s.time(k) * kGruGates * size;
      if (k > 0) {
        const int64_t t = s.time(k - 1);
        step.step = t, step.gates = gates + t * kGruGates * size, step.recurrent = recurrent + t * size, step.h_prev = previous + t * size, step.dy = dy + t * size;
        step.dgates = dgates + t * kGruGates * size, step.drecurrent = drecurrent + t * kGruGates * size;
      }
      TERSOR_TRY(launch<gru_step_grad<T>>(stream, grid, 32 * kStepWarps, 0, step));
    }
  }
  TERSOR_TRY(product_gradients(stream, dgates, x, w_ih, a.dx.as<T>(), a.dw_ih.as<T>(), s.rows(), wide, s.in));
  TERSOR_TRY(product_gradients<T>(stream, drecurrent, previous, nullptr, nullptr, a.dw_hh.as<T>(), s.rows(), wide, h));
  TERSOR_TRY(column_sums(stream, dgates, s.rows(), wide, a.db_ih.as<T>()));
  return column_sums(stream, drecurrent, s.rows(), wide, a.db_hh.as<T>());
}

}  // namespace

Status gru(Stream& stream, gru_args& a) { return a.x.dtype == DType::f64 ? forward<double>(stream, a) : forward<float>(stream, a); }
Status gru_grad(Stream& stream, gru_grad_args& a) { return a.x.dtype == DType::f64 ? backward<double>(stream, a) : backward<float>(stream, a); }

}  // namespace cuda
}  // namespace tersor
