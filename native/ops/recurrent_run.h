// What lstm and gru share: checks, the weights' panels, the loop over time, sums of bias gradients.
//
// Forward, per step: the gates of a range of units = their input part (one product for all steps, made before) + h_prev W_hh^T, then the step's formula
// on the same range while it is in cache. A task owns whole units, so there is one barrier per step; the state before each step is kept
// (`previous`), so nothing that a task reads is written by another one. Backward, per step: dh += dgates W_hh for a range of units, then the formula of
// the step before it on the same range: one barrier again. Every element is one chain of sums whatever the cut, so threads do not show.
#pragma once
#include <cstring>
#include <initializer_list>

#include "kernels/recurrent/recurrent.h"
#include "ops/gemm_run.h"
#include "ops/util.h"

namespace tersor {

struct RecurrentShape {
  int64_t steps, batch, in, units, gates;
  bool reverse;  // the sequence is read from its end
  int64_t rows() const { return steps * batch; }
  int64_t state() const { return batch * units; }
  // Time of the k-th step that is computed.
  int64_t time(int64_t k) const { return reverse ? steps - 1 - k : k; }
};

// x [T,B,C], w_ih [GH,C], w_hh [GH,H].
inline Status recurrent_shape(const char* op, const TensorRef& x, const TensorRef& w_ih, const TensorRef& w_hh, const TensorRef& lengths, int64_t gates,
                              bool reverse, RecurrentShape* out) {
  TERSOR_TRY(expect_float(op, "x", x));
  TERSOR_TRY(expect_rank(op, "x", x, 3));
  TERSOR_TRY(expect_rank(op, "w_ih", w_ih, 2));
  TERSOR_TRY(expect_rank(op, "w_hh", w_hh, 2));
  TERSOR_TRY(expect_same_dtype(op, x, w_ih));
  TERSOR_TRY(expect_same_dtype(op, x, w_hh));
  const int64_t units = w_hh.shape[1], wide[2] = {gates * units, x.shape[2]}, square[2] = {gates * units, units};
  TERSOR_TRY(expect_shape(op, "w_hh", w_hh, square, 2));
  TERSOR_TRY(expect_shape(op, "w_ih", w_ih, wide, 2));
  if (lengths.present()) {
    TERSOR_TRY(expect_dtype(op, "lengths", lengths, DType::i32));
    TERSOR_TRY(expect_shape(op, "lengths", lengths, &x.shape[1], 1));
  }
  *out = {x.shape[0], x.shape[1], x.shape[2], units, gates, reverse};
  return {};
}

inline Status expect_optional(const char* op, const char* name, const TensorRef& x, const TensorRef& t, std::initializer_list<int64_t> shape) {
  if (!t.present()) return {};
  TERSOR_TRY(expect_same_dtype(op, x, t));
  return expect_shape(op, name, t, shape.begin(), static_cast<int>(shape.size()));
}

inline void give_shape(TensorRef& t, DType dtype, std::initializer_list<int64_t> shape) { set_shape(t, dtype, shape.begin(), static_cast<int>(shape.size())); }

// Row-major i32 lengths, each in [0, steps]; null when there are none.
class Lengths {
 public:
  Status open(const char* op, const TensorRef& t, const RecurrentShape& s, const Cancel* cancel) {
    if (!t.present()) return {};
    TERSOR_TRY(values_.open(op, t, cancel));
    data_ = values_.as<int32_t>();
    for (int64_t b = 0; b < s.batch; b++)
      if (data_[b] < 0 || data_[b] > s.steps)
        return fail(Code::shape, "%s: lengths must be in [0, %lld], got %d for sequence %lld", op, static_cast<long long>(s.steps), data_[b], static_cast<long long>(b));
    return {};
  }
  const int32_t* get() const { return data_; }

 private:
  Contiguous values_;
  const int32_t* data_ = nullptr;
};

// Products of a [B, K] that changes with a fixed matrix, cut into ranges of columns; its panels are packed once where enough rows follow.
template <class T> class StepProduct {
 public:
  // `parts` matrices of n columns each, `apart` elements from one to the next.
  Status open(const char* op, const GemmMatrix<T>& g, int64_t parts, int64_t apart, int64_t times, const Cancel* cancel) {
    g_ = g, apart_ = apart;
    path_ = g.m * times > 16 ? GemmPath::packed : g.b_col == 1 ? GemmPath::direct : GemmPath::dot;
    if (path_ != GemmPath::packed || g.n == 0) return {};
    each_ = gemm_packed_elements(row_, g.k, g.n);
    TERSOR_TRY(panels_.reserve(op, parts * each_ * static_cast<int64_t>(sizeof(T))));
    const int64_t panels = gemm_panels(row_, g.n);
    return parallel_for(parts * panels, grain_for(g.k * row_.nr), cancel, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; p++) {
        GemmMatrix<T> h = g_;
        h.b += p / panels * apart_;
        gemm_pack_b(row_, h, p % panels, p % panels + 1, panels_.template as<T>() + p / panels * each_);
      }
    });
  }
  // Columns [n0, n1) of part q of a: c += a b or c = a b + bias.
  void run(int64_t q, const T* a, T* c, int64_t c_row, bool accumulate, const T* bias, int64_t n0, int64_t n1) const {
    GemmMatrix<T> g = g_;
    g.a = a, g.c = c, g.c_row = c_row, g.accumulate = accumulate, g.bias = bias;
    g.b += q * apart_;
    gemm_block(row_, g, path_, path_ == GemmPath::packed ? panels_.template as<T>() + q * each_ : nullptr, 0, g.m, n0, n1);
  }
  // Columns of a task: whole panels, as many tasks as threads where a step is worth sharing.
  int64_t columns(int64_t flops) const {
    const int64_t panels = gemm_panels(row_, g_.n), tasks = flops < (int64_t(1) << 18) ? 1 : thread_count();
    return (tasks < 2 ? panels : ceil_div(panels, tasks)) * row_.nr;
  }

 private:
  const GemmRow<T>& row_ = gemm_row<T>();
  GemmMatrix<T> g_;
  GemmPath path_ = GemmPath::packed;
  int64_t apart_ = 0, each_ = 0;
  Scratch panels_;
};

// y[M,N] = x[M,K] w[N,K]^T + bias
template <class T> Status input_product(const char* op, const T* x, const T* w, const T* bias, T* y, int64_t m, int64_t n, int64_t k, const Cancel* cancel) {
  GemmMatrix<T> g;
  g.m = m, g.n = n, g.k = k;
  g.a = x, g.a_row = k;
  g.b = w, g.b_row = 1, g.b_col = k;
  g.c = y, g.c_row = n, g.bias = bias;
  return gemm_parallel(op, g, cancel);
}

// dx[M,K] = dy[M,N] w[N,K] and dw[N,K] = dy^T x.
template <class T> Status product_gradients(const char* op, const T* dy, const T* x, const T* w, T* dx, T* dw, int64_t m, int64_t n, int64_t k, const Cancel* cancel) {
  GemmMatrix<T> g;
  if (dx) {
    g.m = m, g.n = k, g.k = n;
    g.a = dy, g.a_row = n;
    g.b = w, g.b_row = k;
    g.c = dx, g.c_row = k;
    TERSOR_TRY(gemm_parallel(op, g, cancel));
  }
  g.m = n, g.n = k, g.k = m;
  g.a = dy, g.a_row = 1, g.a_col = n;
  g.b = x, g.b_row = k;
  g.c = dw, g.c_row = k;
  return gemm_parallel(op, g, cancel);
}

// out[j] = sum over rows, in double, in row order.
template <class T> Status column_sums(const T* x, int64_t rows, int64_t n, T* out, const Cancel* cancel) {
  constexpr int64_t kColumns = 128;
  return parallel_for(ceil_div(n, kColumns), grain_for(rows * kColumns), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
      double sums[kColumns] = {};
      const int64_t j0 = c * kColumns, count = n - j0 < kColumns ? n - j0 : kColumns;
      for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < count; j++) sums[j] += static_cast<double>(x[r * n + j0 + j]);
      for (int64_t j = 0; j < count; j++) out[j0 + j] = static_cast<T>(sums[j]);
    }
  });
}

// n elements of a contiguous tensor, or zeros where there is none.
template <class T> Status copy_or_zero(const char* op, const TensorRef& t, T* out, int64_t n, const Cancel* cancel) {
  if (t.present()) {
    Contiguous values;
    TERSOR_TRY(values.open(op, t, cancel));
    if (n > 0) memcpy(out, values.as<T>(), static_cast<size_t>(n) * sizeof(T));
  } else if (n > 0) {
    memset(out, 0, static_cast<size_t>(n) * sizeof(T));
  }
  return {};
}

}  // namespace tersor
