// lstm(x [T,B,C], w_ih [4H,C], w_hh [4H,H], bias [4H]?, h0 [B,H]?, c0 [B,H]?, lengths i32 [B]?, reverse)
//   -> states [T+2,B,H]: outputs, then last h and last c; gates [T,B,4H] (i f g o), cells [T,B,H], previous [T,B,H]: h before each step
// Formulas: kernels/recurrent/recurrent.h; how a step runs: recurrent_run.h. f32 or f64. Missing states are zeros. With lengths, sequence b takes part in
// steps 0 .. lengths[b] - 1 only: later outputs are 0 and its state stays; `reverse` begins at its last step.
// lstm_grad gives the gradients of everything that can have one from dstates, the gradient of states.
#include "ops/recurrent_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "lstm";
constexpr const char* kGrad = "lstm_grad";
constexpr int64_t kGates = 4;

template <class T> Status forward(lstm_args& a, const RecurrentShape& s, const Cancel* cancel) {
  Contiguous x, w_ih, w_hh, bias;
  Lengths lengths;
  TERSOR_TRY(lengths.open(kOp, a.lengths, s, cancel));
  TERSOR_TRY(x.open(kOp, a.x, cancel));
  TERSOR_TRY(w_ih.open(kOp, a.w_ih, cancel));
  TERSOR_TRY(w_hh.open(kOp, a.w_hh, cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, cancel));
  const int64_t size = s.state(), h = s.units, wide = kGates * h;
  T *states = a.states.as<T>(), *gates = a.gates.as<T>(), *cells = a.cells.as<T>(), *previous = a.previous.as<T>();
  T *last_h = states + s.steps * size, *last_c = last_h + size;
  TERSOR_TRY(copy_or_zero(kOp, a.h0, s.steps > 0 ? previous + s.time(0) * size : last_h, size, cancel));
  TERSOR_TRY(copy_or_zero(kOp, a.c0, last_c, size, cancel));
  if (s.steps == 0 || size == 0) return {};
  TERSOR_TRY(input_product(kOp, x.as<T>(), w_ih.as<T>(), bias.as<T>(), gates, s.rows(), wide, s.in, cancel));
  GemmMatrix<T> g;
  g.m = s.batch, g.n = h, g.k = h;
  g.a_row = h, g.b = w_hh.as<T>(), g.b_row = 1, g.b_col = h;
  StepProduct<T> product;
  TERSOR_TRY(product.open(kOp, g, kGates, h * h, s.steps, cancel));
  const int64_t grain = product.columns(2 * s.batch * wide * h);
  for (int64_t k = 0; k < s.steps; k++) {
    const int64_t t = s.time(k);
    TERSOR_TRY(parallel_for(h, grain, cancel, [&](int64_t j0, int64_t j1) {
      const T* before = previous + t * size;
      T* at = gates + t * kGates * size;
      for (int64_t q = 0; q < kGates; q++) product.run(q, before, at + q * h, wide, true, nullptr, j0, j1);
      LstmStep<T> step{s.batch, j1 - j0, h, t, lengths.get(), at + j0, nullptr, before + j0, nullptr, nullptr, nullptr};
      step.c_prev = (k == 0 ? last_c : cells + s.time(k - 1) * size) + j0;
      step.c = cells + t * size + j0;
      step.h = (k + 1 < s.steps ? previous + s.time(k + 1) * size : last_h) + j0;
      step.y = states + t * size + j0;
      lstm_step(step);
    }));
  }
  memcpy(last_c, cells + s.time(s.steps - 1) * size, static_cast<size_t>(size) * sizeof(T));
  return {};
}

template <class T> Status backward(lstm_grad_args& a, const RecurrentShape& s, const Cancel* cancel) {
  Contiguous x, w_ih, w_hh, gates, cells, previous, dstates;
  Lengths lengths;
  TERSOR_TRY(lengths.open(kGrad, a.lengths, s, cancel));
  TERSOR_TRY(x.open(kGrad, a.x, cancel));
  TERSOR_TRY(w_ih.open(kGrad, a.w_ih, cancel));
  TERSOR_TRY(w_hh.open(kGrad, a.w_hh, cancel));
  TERSOR_TRY(gates.open(kGrad, a.gates, cancel));
  TERSOR_TRY(cells.open(kGrad, a.cells, cancel));
  TERSOR_TRY(previous.open(kGrad, a.previous, cancel));
  TERSOR_TRY(dstates.open(kGrad, a.dstates, cancel));
  const int64_t size = s.state(), h = s.units, wide = kGates * h;
  T *dh = a.dh0.as<T>(), *dc = a.dc0.as<T>();
  const T* dy = dstates.as<T>();
  Scratch own, first;
  TERSOR_TRY(own.reserve(kGrad, s.rows() * wide * static_cast<int64_t>(sizeof(T))));
  TERSOR_TRY(first.reserve(kGrad, size * static_cast<int64_t>(sizeof(T))));
  T *dgates = own.as<T>(), *c0 = first.as<T>();
  if (size > 0) {
    TERSOR_TRY(copy_or_zero(kGrad, a.c0, c0, size, cancel));
    memcpy(dh, dy + s.steps * size, static_cast<size_t>(size) * sizeof(T));
    memcpy(dc, dy + (s.steps + 1) * size, static_cast<size_t>(size) * sizeof(T));
    GemmMatrix<T> g;
    g.m = s.batch, g.n = h, g.k = wide;
    g.a_row = wide, g.b = w_hh.as<T>(), g.b_row = h;
    StepProduct<T> product;
    TERSOR_TRY(product.open(kGrad, g, 1, 0, s.steps, cancel));
    const int64_t grain = product.columns(2 * s.batch * wide * h);
    // Step k = steps - 1 has no product before its formula, and the product of step 0 no formula behind it.
    for (int64_t k = s.steps; k >= 0 && s.steps > 0; k--) {
      TERSOR_TRY(parallel_for(h, grain, cancel, [&](int64_t j0, int64_t j1) {
        if (k < s.steps) product.run(0, dgates + s.time(k) * kGates * size, dh, h, true, nullptr, j0, j1);
        if (k == 0) return;
        const int64_t t = s.time(k - 1);
        LstmStepGrad<T> step{s.batch, j1 - j0, h, t, lengths.get(), gates.as<T>() + t * kGates * size + j0, nullptr, cells.as<T>() + t * size + j0,
                             dy + t * size + j0, dh + j0, dc + j0, dgates + t * kGates * size + j0};
        step.c_prev = (k == 1 ? c0 : cells.as<T>() + s.time(k - 2) * size) + j0;
        lstm_step_grad(step);
      }));
    }
  }
  TERSOR_TRY(product_gradients(kGrad, dgates, x.as<T>(), w_ih.as<T>(), a.dx.as<T>(), a.dw_ih.as<T>(), s.rows(), wide, s.in, cancel));
  TERSOR_TRY(product_gradients<T>(kGrad, dgates, previous.as<T>(), nullptr, nullptr, a.dw_hh.as<T>(), s.rows(), wide, h, cancel));
  return column_sums(dgates, s.rows(), wide, a.dbias.as<T>(), cancel);
}

}  // namespace

Status lstm_infer(lstm_args& a) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kOp, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  TERSOR_TRY(expect_optional(kOp, "bias", a.x, a.bias, {kGates * s.units}));
  TERSOR_TRY(expect_optional(kOp, "h0", a.x, a.h0, {s.batch, s.units}));
  TERSOR_TRY(expect_optional(kOp, "c0", a.x, a.c0, {s.batch, s.units}));
  give_shape(a.states, a.x.dtype, {s.steps + 2, s.batch, s.units});
  give_shape(a.gates, a.x.dtype, {s.steps, s.batch, kGates * s.units});
  give_shape(a.cells, a.x.dtype, {s.steps, s.batch, s.units});
  give_shape(a.previous, a.x.dtype, {s.steps, s.batch, s.units});
  return {};
}
Status lstm_cpu(lstm_args& a, Context& ctx) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kOp, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  return a.x.dtype == DType::f64 ? forward<double>(a, s, ctx.cancel) : forward<float>(a, s, ctx.cancel);
}

Status lstm_grad_infer(lstm_grad_args& a) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kGrad, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  TERSOR_TRY(expect_optional(kGrad, "c0", a.x, a.c0, {s.batch, s.units}));
  TERSOR_TRY(expect_optional(kGrad, "gates", a.x, a.gates, {s.steps, s.batch, kGates * s.units}));
  TERSOR_TRY(expect_optional(kGrad, "cells", a.x, a.cells, {s.steps, s.batch, s.units}));
  TERSOR_TRY(expect_optional(kGrad, "previous", a.x, a.previous, {s.steps, s.batch, s.units}));
  TERSOR_TRY(expect_optional(kGrad, "dstates", a.x, a.dstates, {s.steps + 2, s.batch, s.units}));
  give_shape(a.dx, a.x.dtype, {s.steps, s.batch, s.in});
  give_shape(a.dw_ih, a.x.dtype, {kGates * s.units, s.in});
  give_shape(a.dw_hh, a.x.dtype, {kGates * s.units, s.units});
  give_shape(a.dbias, a.x.dtype, {kGates * s.units});
  give_shape(a.dh0, a.x.dtype, {s.batch, s.units});
  give_shape(a.dc0, a.x.dtype, {s.batch, s.units});
  return {};
}
Status lstm_grad_cpu(lstm_grad_args& a, Context& ctx) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kGrad, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  return a.x.dtype == DType::f64 ? backward<double>(a, s, ctx.cancel) : backward<float>(a, s, ctx.cancel);
}

}  // namespace tersor
