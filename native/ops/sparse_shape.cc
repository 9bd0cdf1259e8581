#include "ops/sparse_shape.h"

#include <cstring>

namespace tersor {

Status sparse_check_linear(const char* op, const TensorRef& x, const TensorRef& values, const TensorRef& scale, const TensorRef& bias, int64_t rows, TensorRef* y) {
  TERSOR_TRY(expect_dtype(op, "x", x, DType::f32));
  if (x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", op, TERSOR_TEXT(x));
  if (scale.present()) {
    TERSOR_TRY(expect_dtype(op, "scale", scale, DType::f32));
    TERSOR_TRY(expect_rank(op, "scale", scale, 1));
    if (scale.shape[0] != 1 && scale.shape[0] != rows)
      return fail(Code::shape, "%s: scale must have 1 or %lld entries, got %s", op, static_cast<long long>(rows), TERSOR_TEXT(scale));
  } else if (values.dtype == DType::i8) {
    return fail(Code::option, "%s: i8 values need a scale", op);
  }
  if (bias.present()) {
    TERSOR_TRY(expect_dtype(op, "bias", bias, DType::f32));
    TERSOR_TRY(expect_shape(op, "bias", bias, &rows, 1));
  }
  int64_t shape[kMaxRank];
  for (int i = 0; i < x.rank; i++) shape[i] = x.shape[i];
  shape[x.rank - 1] = rows;
  set_shape(*y, DType::f32, shape, x.rank);
  return {};
}

Status SparseOperands::open(const char* op, const TensorRef& x_ref, const TensorRef& values_ref, const TensorRef& scale_ref, const TensorRef& bias_ref,
                            int64_t rows, const Cancel* cancel) {
  TERSOR_TRY(x.open(op, x_ref, cancel));
  TERSOR_TRY(values.open(op, values_ref, cancel));
  if (scale_ref.present()) {
    TERSOR_TRY(scale.open(op, scale_ref, cancel));
    scale_data = scale.as<float>();
    scale_step = scale_ref.shape[0] != 1 || rows == 1 ? 1 : 0;
  }
  if (bias_ref.present()) {
    TERSOR_TRY(bias.open(op, bias_ref, cancel));
    bias_data = bias.as<float>();
  }
  k = x_ref.dim(-1);
  m = 1;
  for (int i = 0; i + 1 < x_ref.rank; i++) m *= x_ref.shape[i];
  return {};
}

Status SparseOperands::padded_rows(const char* op, int64_t padded, const float** out) {
  *out = x.as<float>();
  if (padded == k) return {};
  TERSOR_TRY(padding_.reserve(op, m * padded * 4));
  for (int64_t i = 0; i < m; i++) {
    float* row = padding_.as<float>() + i * padded;
    if (k > 0) memcpy(row, x.as<float>() + i * k, static_cast<size_t>(k) * 4);
    memset(row + k, 0, static_cast<size_t>(padded - k) * 4);
  }
  *out = padding_.as<float>();
  return {};
}

}  // namespace tersor
