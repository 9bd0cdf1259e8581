// gru(x [T,B,C], w_ih [3H,C], w_hh [3H,H], b_ih [3H]?, b_hh [3H]?, h0 [B,H]?, lengths i32 [B]?, reverse)
//   -> states [T+1,B,H]: outputs, then the last h; gates [T,B,3H] (r z n), recurrent [T,B,H]: h W_hn^T + b_hn, previous [T,B,H]: h before each step
// The reset gate acts on the recurrent product and its bias (as cuDNN and PyTorch have it). Formulas: kernels/recurrent/recurrent.h; lengths, reverse,
// element types: as lstm.cc. gru_grad gives the gradients of everything that can have one from dstates, the gradient of states.
#include "ops/recurrent_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "gru";
constexpr const char* kGrad = "gru_grad";
constexpr int64_t kGates = 3;

template <class T> Status forward(gru_args& a, const RecurrentShape& s, const Cancel* cancel) {
  Contiguous x, w_ih, w_hh;
  Lengths lengths;
  TERSOR_TRY(lengths.open(kOp, a.lengths, s, cancel));
  TERSOR_TRY(x.open(kOp, a.x, cancel));
  TERSOR_TRY(w_ih.open(kOp, a.w_ih, cancel));
  TERSOR_TRY(w_hh.open(kOp, a.w_hh, cancel));
  const int64_t size = s.state(), h = s.units, wide = kGates * h;
  T *states = a.states.as<T>(), *gates = a.gates.as<T>(), *recurrent = a.recurrent.as<T>(), *previous = a.previous.as<T>();
  T* last = states + s.steps * size;
  TERSOR_TRY(copy_or_zero(kOp, a.h0, s.steps > 0 ? previous + s.time(0) * size : last, size, cancel));
  if (s.steps == 0 || size == 0) return {};
  // Biases of r and z are added once, those of n stay apart: [3H of the input's product, 3H of the recurrent one].
  Scratch biases;
  TERSOR_TRY(biases.reserve(kOp, 2 * wide * static_cast<int64_t>(sizeof(T))));
  T *b_ih = biases.as<T>(), *b_hh = b_ih + wide;
  TERSOR_TRY(copy_or_zero(kOp, a.b_ih, b_ih, wide, cancel));
  TERSOR_TRY(copy_or_zero(kOp, a.b_hh, b_hh, wide, cancel));
  for (int64_t j = 0; j < 2 * h; j++) b_ih[j] += b_hh[j];
  TERSOR_TRY(input_product(kOp, x.as<T>(), w_ih.as<T>(), b_ih, gates, s.rows(), wide, s.in, cancel));
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
      for (int64_t q = 0; q < 2; q++) product.run(q, before, at + q * h, wide, true, nullptr, j0, j1);
      product.run(2, before, recurrent + t * size, h, false, b_hh + 2 * h, j0, j1);
      T* after = k + 1 < s.steps ? previous + s.time(k + 1) * size : last;
      gru_step(GruStep<T>{s.batch, j1 - j0, h, t, lengths.get(), at + j0, recurrent + t * size + j0, before + j0, after + j0, states + t * size + j0});
    }));
  }
  return {};
}

template <class T> Status backward(gru_grad_args& a, const RecurrentShape& s, const Cancel* cancel) {
  Contiguous x, w_ih, w_hh, gates, recurrent, previous, dstates;
  Lengths lengths;
  TERSOR_TRY(lengths.open(kGrad, a.lengths, s, cancel));
  TERSOR_TRY(x.open(kGrad, a.x, cancel));
  TERSOR_TRY(w_ih.open(kGrad, a.w_ih, cancel));
  TERSOR_TRY(w_hh.open(kGrad, a.w_hh, cancel));
  TERSOR_TRY(gates.open(kGrad, a.gates, cancel));
  TERSOR_TRY(recurrent.open(kGrad, a.recurrent, cancel));
  TERSOR_TRY(previous.open(kGrad, a.previous, cancel));
  TERSOR_TRY(dstates.open(kGrad, a.dstates, cancel));
  const int64_t size = s.state(), h = s.units, wide = kGates * h;
  T* dh = a.dh0.as<T>();
  const T* dy = dstates.as<T>();
  Scratch own;
  TERSOR_TRY(own.reserve(kGrad, 2 * s.rows() * wide * static_cast<int64_t>(sizeof(T))));
  T *dgates = own.as<T>(), *drecurrent = dgates + s.rows() * wide;
  if (size > 0) {
    memcpy(dh, dy + s.steps * size, static_cast<size_t>(size) * sizeof(T));
    GemmMatrix<T> g;
    g.m = s.batch, g.n = h, g.k = wide;
    g.a_row = wide, g.b = w_hh.as<T>(), g.b_row = h;
    StepProduct<T> product;
    TERSOR_TRY(product.open(kGrad, g, 1, 0, s.steps, cancel));
    const int64_t grain = product.columns(2 * s.batch * wide * h);
    for (int64_t k = s.steps; k >= 0 && s.steps > 0; k--) {
      TERSOR_TRY(parallel_for(h, grain, cancel, [&](int64_t j0, int64_t j1) {
        if (k < s.steps) product.run(0, drecurrent + s.time(k) * kGates * size, dh, h, true, nullptr, j0, j1);
        if (k == 0) return;
        const int64_t t = s.time(k - 1), at = t * size + j0, first = t * kGates * size + j0;
        gru_step_grad(GruStepGrad<T>{s.batch, j1 - j0, h, t, lengths.get(), gates.as<T>() + first, recurrent.as<T>() + at, previous.as<T>() + at, dy + at, dh + j0,
                                     dgates + first, drecurrent + first});
      }));
    }
  }
  TERSOR_TRY(product_gradients(kGrad, dgates, x.as<T>(), w_ih.as<T>(), a.dx.as<T>(), a.dw_ih.as<T>(), s.rows(), wide, s.in, cancel));
  TERSOR_TRY(product_gradients<T>(kGrad, drecurrent, previous.as<T>(), nullptr, nullptr, a.dw_hh.as<T>(), s.rows(), wide, h, cancel));
  TERSOR_TRY(column_sums(dgates, s.rows(), wide, a.db_ih.as<T>(), cancel));
  return column_sums(drecurrent, s.rows(), wide, a.db_hh.as<T>(), cancel);
}

}  // namespace

Status gru_infer(gru_args& a) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kOp, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  TERSOR_TRY(expect_optional(kOp, "b_ih", a.x, a.b_ih, {kGates * s.units}));
  TERSOR_TRY(expect_optional(kOp, "b_hh", a.x, a.b_hh, {kGates * s.units}));
  TERSOR_TRY(expect_optional(kOp, "h0", a.x, a.h0, {s.batch, s.units}));
  give_shape(a.states, a.x.dtype, {s.steps + 1, s.batch, s.units});
  give_shape(a.gates, a.x.dtype, {s.steps, s.batch, kGates * s.units});
  give_shape(a.recurrent, a.x.dtype, {s.steps, s.batch, s.units});
  give_shape(a.previous, a.x.dtype, {s.steps, s.batch, s.units});
  return {};
}
Status gru_cpu(gru_args& a, Context& ctx) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kOp, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  return a.x.dtype == DType::f64 ? forward<double>(a, s, ctx.cancel) : forward<float>(a, s, ctx.cancel);
}

Status gru_grad_infer(gru_grad_args& a) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kGrad, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  TERSOR_TRY(expect_optional(kGrad, "gates", a.x, a.gates, {s.steps, s.batch, kGates * s.units}));
  TERSOR_TRY(expect_optional(kGrad, "recurrent", a.x, a.recurrent, {s.steps, s.batch, s.units}));
  TERSOR_TRY(expect_optional(kGrad, "previous", a.x, a.previous, {s.steps, s.batch, s.units}));
  TERSOR_TRY(expect_optional(kGrad, "dstates", a.x, a.dstates, {s.steps + 1, s.batch, s.units}));
  give_shape(a.dx, a.x.dtype, {s.steps, s.batch, s.in});
  give_shape(a.dw_ih, a.x.dtype, {kGates * s.units, s.in});
  give_shape(a.dw_hh, a.x.dtype, {kGates * s.units, s.units});
  give_shape(a.db_ih, a.x.dtype, {kGates * s.units});
  give_shape(a.db_hh, a.x.dtype, {kGates * s.units});
  give_shape(a.dh0, a.x.dtype, {s.batch, s.units});
  return {};
}
Status gru_grad_cpu(gru_grad_args& a, Context& ctx) {
  RecurrentShape s;
  TERSOR_TRY(recurrent_shape(kGrad, a.x, a.w_ih, a.w_hh, a.lengths, kGates, a.reverse, &s));
  return a.x.dtype == DType::f64 ? backward<double>(a, s, ctx.cancel) : backward<float>(a, s, ctx.cancel);
}

}  // namespace tersor
