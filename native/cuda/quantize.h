// Scales and zeros of rows and groups: [rows, groups], [rows, 1] or [1, 1]; the columns are cut into runs of ceil(cols / groups) (ops/quantize_shape.h).
#pragma once
#include "cuda/numeric.h"
#include "cuda/offsets.h"

namespace tersor {
namespace cuda {

#define TERSOR_FACTOR_RULE(op) op ": scale must be finite and > 0, zero an integer in [-2^20, 2^20]"

struct RunOfElement {
  int64_t row, group;
  int64_t left;  // elements of the run from this one on
};

struct RowGroups {
  int64_t cols = 0, run = 0;
  bool small = false;  // indices below 2^31: divisions are multiplications
  FastDivide by_cols, by_run;
  const float *scale = nullptr, *zero = nullptr;  // as they are, with strides
  int64_t scale_row = 0, scale_group = 0, zero_row = 0, zero_group = 0;

  Status open(Stream& s, const TensorRef& x, const TensorRef& scale_of_rows, const TensorRef& zero_of_rows) {
    (void)s;
    int64_t groups = scale_of_rows.shape[1];
    if (zero_of_rows.present() && zero_of_rows.shape[1] > groups) groups = zero_of_rows.shape[1];
    cols = x.shape[1], run = ceil_div(cols, groups);
    small = x.size() < (int64_t(1) << 31) && x.size() > 0;
    if (small) by_cols = FastDivide(static_cast<uint32_t>(cols)), by_run = FastDivide(static_cast<uint32_t>(run));
    const auto row_step = [](const TensorRef& t) { return t.shape[0] == 1 ? 0 : t.stride[0]; };
    const auto group_step = [](const TensorRef& t) { return t.shape[1] == 1 ? 0 : t.stride[1]; };
    scale = scale_of_rows.as<const float>(), scale_row = row_step(scale_of_rows), scale_group = group_step(scale_of_rows);
    if (zero_of_rows.present()) zero = zero_of_rows.as<const float>(), zero_row = row_step(zero_of_rows), zero_group = group_step(zero_of_rows);
    return {};
  }
  __device__ RunOfElement at(int64_t i) const {
    const int64_t row = small ? int64_t(by_cols.quotient(static_cast<uint32_t>(i))) : i / cols, c = i - row * cols;
    const int64_t group = small ? int64_t(by_run.quotient(static_cast<uint32_t>(c))) : c / run, end = (group + 1) * run < cols ? (group + 1) * run : cols;
    return {row, group, end - c};
  }
  __device__ float scale_of(const RunOfElement& r) const { return scale[r.row * scale_row + r.group * scale_group]; }
  __device__ float zero_of(const RunOfElement& r) const { return zero ? zero[r.row * zero_row + r.group * zero_group] : 0.0f; }
  __device__ static bool fits(float s, float z) {
    return s > 0 && s <= 3.4028235e38f && z >= -1048576.0f && z <= 1048576.0f && z == static_cast<float>(static_cast<int32_t>(z));
  }
};

}  // namespace cuda
}  // namespace tersor
