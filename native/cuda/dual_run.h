// What dual_linear, dual_lstm and dual_gru share on the device (contract: ops/dual_run.h): the little product, the choice of the rows that it cannot answer, and
// exact products of these rows only. Nothing waits: which rows these are, and how many, stays on the device; blocks beyond the end of a list stop at once.
#pragma once
#include "cuda/nn.h"
#include "kernels/rows/dual.h"

namespace tersor {
namespace cuda {

// y = L (P x) + bias: P ternary or absent, L f32 [rows, k] or packed codes of wgemm_pack.
class DualLittle {
 public:
  // Copies of what is not dense are taken now; they and `projection` live as long as the call.
  Status open(Stream& s, const char* op, const TensorRef& projection, const TensorRef& little, int64_t k, int64_t copies, int64_t rows, int64_t cols);
  // y [m, rows] for x [m, cols]; every row is computed as it would be alone. Scratch memory goes back at the end.
  Status run(Stream& s, const float* x, int64_t m, const float* bias, float* y) const;

 private:
  TensorRef projection_{}, little_{};
  int64_t k_ = 0, copies_ = 1, rows_ = 0, cols_ = 0;
};

// Sensitive rows of each sample, ascending: list [m, room], count [m].
struct DualLists {
  int64_t m = 0, room = 0;
  int32_t *list = nullptr, *count = nullptr;
  Status open(Stream& s, int64_t samples, int64_t rows);
};
struct DualChoice {
  DualRule rule;
  const float* y = nullptr;  // [m, y_row]: the little product's answers for `rows` rows
  int64_t y_row = 0, rows = 0;
  int64_t first = 0;                // added to every entry of a list
  const int32_t* lengths = nullptr; // samples that have ended (lengths[i] <= step) get an empty list
  int64_t step = 0;
  int32_t* answered = nullptr;      // [m]: rows that the twin answers are added
};
Status dual_select(Stream& s, const DualChoice& choice, const DualLists& lists);

// Exact products of the listed rows, which go where a DualSink says.
struct DualPart {
  const void* w = nullptr;  // f32 or i8 [rows, k], rows w_row apart
  bool codes = false;
  int64_t w_row = 0, k = 0;
  const float *scale = nullptr, *x = nullptr;  // x [m, k]
  Status open(Stream& s, const TensorRef& weight, const TensorRef& steps);
};
struct DualExact {
  DualPart parts[2];
  DualSink sinks[2];
  int parts_n = 1, sinks_n = 1;
};
Status dual_exact(Stream& s, const DualExact& exact, const DualLists& lists);
// The same for all `rows` rows of m samples.
Status dual_all_rows(Stream& s, const DualExact& exact, int64_t m, int64_t rows);

}  // namespace cuda
}  // namespace tersor
