// Checks and steps that the products with sparse weights share: W[rows, cols] in some format, values f32 or i8 (then with a scale).
#pragma once
#include "ops/csr_shape.h"
#include "ops/spmm_run.h"

namespace tersor {

// x f32 [..., K], scale f32 [rows] or [1] (needed by i8 values), bias f32 [rows]; sets y [..., rows].
Status sparse_check_linear(const char* op, const TensorRef& x, const TensorRef& values, const TensorRef& scale, const TensorRef& bias, int64_t rows, TensorRef* y);

// The float operands of a product, opened.
struct SparseOperands {
  Contiguous x, values, scale, bias;
  int64_t m = 0, k = 0, scale_step = 0;
  const float* scale_data = nullptr;
  const float* bias_data = nullptr;
  Status open(const char* op, const TensorRef& x, const TensorRef& values, const TensorRef& scale, const TensorRef& bias, int64_t rows, const Cancel* cancel);
  // The rows of x with zeros up to `padded` columns; the tensor's own memory where nothing is missing.
  Status padded_rows(const char* op, int64_t padded, const float** out);

 private:
  Scratch padding_;
};

}  // namespace tersor
