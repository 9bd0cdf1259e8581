// What dual_linear, dual_lstm and dual_gru share (dual-module inference, Liu et al., ICML 2020, section 3): the little product, the choice of the rows that
// it cannot answer, and the exact products of these rows only.
//
//   little:  y = L (P x), P ternary or absent, L packed codes of wgemm_pack or f32. With copies = 2 the columns of L are two runs of k, high and low
//            bytes of 16-bit codes, and P x stands before each.
//   rule:    DualRule of kernels/rows/dual.h.
//   exact:   dot products of kernels/rows: no memory of other rows is read.
//
// One sum is one chain whatever the list, the number of rows of x and the threads are, so results do not depend on them.
#pragma once
#include <cstring>

#include "kernels/rows/dual.h"
#include "kernels/rows/rows.h"
#include "ops/recurrent_run.h"
#include "ops/topk_keys.h"
#include "ops/wgemm_run.h"

namespace tersor {

inline TensorRef dual_ref(const void* data, DType dtype, std::initializer_list<int64_t> shape) {
  TensorRef t{};
  give_shape(t, dtype, shape);
  t.data = const_cast<void*>(data);
  return t;
}

// --- checks ---

Status dual_check_options(const char* op, int64_t k, int64_t copies, int64_t exactly, int64_t rows);
// w f32 or i8 [rows, cols], scale f32 [rows] with i8 only.
Status dual_check_weight(const char* op, const char* name, const TensorRef& w, const char* scale_name, const TensorRef& scale);
Status dual_check_little(const char* op, const char* name, const TensorRef& projection, const TensorRef& little, int64_t k, int64_t copies, int64_t rows, int64_t cols);
Status dual_check_vector(const char* op, const char* name, const TensorRef& t, int64_t n);

// --- the little product ---

class DualLittle {
 public:
  // At most m rows at a time.
  Status open(const char* op, const TensorRef& projection, const TensorRef& little, int64_t k, int64_t copies, int64_t rows, int64_t cols, int64_t m,
              Context& ctx);
  // y [m, rows] = L (P x) + bias for x [m, cols].
  Status run(const float* x, int64_t m, const TensorRef& bias, float* y);
  // Rows that one call may take so that every row is computed as it would be in calls of `batch` rows.
  static int64_t chunk(int64_t batch) {
    const int64_t most = wgemm_row().strip_from8 < wgemm_row().strip_from ? wgemm_row().strip_from8 : wgemm_row().strip_from, wide = most < 32 ? most - 1 : 32;
    return batch > 0 && wide / batch > 1 ? wide / batch * batch : batch;
  }

 private:
  const char* op_ = nullptr;
  TensorRef projection_{}, little_{};
  int64_t k_ = 0, copies_ = 1, rows_ = 0, cols_ = 0;
  Context* ctx_ = nullptr;
  Scratch projected_, doubled_;
};

// --- which rows ---

// Places of the sensitive rows among y[0, n), ascending, `first` added to each. keys: room for n, used when rule.exactly > 0.
int64_t dual_select(const DualRule& rule, const float* y, int64_t n, int64_t first, uint32_t* keys, int32_t* list);

// --- exact rows ---

struct DualPart {
  TensorRef w{};
  const float* scale = nullptr;
  const float* x = nullptr;  // [m, cols]
  float* out = nullptr;      // [m, count]

  // The copies live as long as the part.
  Status open(const char* op, const TensorRef& weight, const TensorRef& steps, Contiguous* w_copy, Contiguous* scale_copy, const Cancel* cancel);
  // Entries [begin, end) of the list.
  void run(const int32_t* list, int64_t count, int64_t m, int64_t begin, int64_t end) const;
};

// Lists of a batch: one for each sample, and their union, for which the weights are read once where many samples share rows.
class DualLists {
 public:
  Status reserve(const char* op, int64_t batch, int64_t rows, bool keys);
  uint32_t* keys() const { return keys_.as<uint32_t>(); }
  int32_t* list(int64_t b) const { return lists_.as<int32_t>() + b * rows_; }
  int64_t& count(int64_t b) { return counts_.as<int64_t>()[b]; }
  // The parts over the lists of the first `batch` samples; each row of a list goes to the sinks of its sample.
  Status run(const DualPart* parts, int n, int64_t batch, const DualSink* sinks, int sinks_n, const Cancel* cancel);

 private:
  int64_t join(int64_t batch);
  Status exact(const DualPart* parts, int n, const int32_t* list, int64_t count, int64_t first, int64_t m, const DualSink* sinks, int sinks_n, const Cancel* cancel);
  int64_t batch_ = 0, rows_ = 0, joined_ = 0;
  Scratch keys_, lists_, counts_, mask_;
};

// --- recurrent layers ---

// What dual_lstm and dual_gru share. With little_x both parts of a row are answered by the twins or computed exactly: [w_ih | w_hh] [x; h]. Without it the
// input part is one exact product for all steps, as in lstm, and only rows of w_hh are chosen.
struct DualRecurrentArgs {
  const char* op;
  int64_t gates;
  const TensorRef &x, &w_ih, &w_hh, &scale_ih, &scale_hh, &bias, &projection_x, &projection_h, &little_x, &little_h, &h0, &lengths, &thresholds;
  int64_t k, copies, insensitive;
  bool reverse;
};
#define TERSOR_DUAL_RECURRENT(a, op, gates, bias)                                                                                                       \
  DualRecurrentArgs{op,           gates,      a.x,  a.w_ih,    a.w_hh,       a.scale_ih, a.scale_hh, bias,          a.projection_x, a.projection_h,        \
                    a.little_x, a.little_h, a.h0, a.lengths, a.thresholds, a.k,        a.copies,   a.insensitive, a.reverse}

Status dual_recurrent_infer(const DualRecurrentArgs& a, RecurrentShape* s);

struct DualRecurrent {
  RecurrentShape s{};
  bool whole = false;  // little_x is there
  int64_t n = 0;       // gates * units
  Lengths lengths;
  Contiguous x, bias, thresholds, copies[4];
  DualPart parts[2];  // w_hh, w_ih
  DualLittle little_x, little_h;
  DualLists lists;
  Scratch outs, inputs;

  // Checks, scratch, and the part of the input that rows have before exact ones replace it.
  Status open(const DualRecurrentArgs& a, Context& ctx);
  const float* input(int64_t t) const { return inputs.as<float>() + t * s.batch * n; }
  // The choice among rows [first, first + rows) of each sample by y [B, y_row]; adds the twin's rows to count [B].
  void select(const DualRule& rule, int64_t t, const float* y, int64_t y_row, int64_t first, int64_t rows, int32_t* count);
  // Exact rows of step t. The input's sum goes to `input_to`, the state's is added to it or goes to `state_to` [B, units], moved by `first` rows.
  Status exact(int64_t t, const float* h, const float* state_bias, float* input_to, float* state_to, int64_t first, const Cancel* cancel);

 private:
  Status exact_inputs(const DualRecurrentArgs& a, float* y, Context& ctx);
};

}  // namespace tersor
