// What the ops with 8-bit weights share: x in any of the forms that they take becomes codes, the codes times a packed weight, and the sums go through
// the finish of the kernels. Where 32 bits could not hold a result, the product is taken in chunks of k with 64-bit totals.
#pragma once
#include "ops/qgemm_run.h"

namespace tersor {

// How x becomes codes: it holds them (u8, i8), or it is f32 and quantized by one scale, or each row by its own range.
enum class QgemmForm { codes, scale, token_symmetric, token_affine };

struct QgemmInput {
  const char* op;
  QgemmForm form;
  const TensorRef* x;         // [..., k]
  const TensorRef* packed;
  int64_t n;
  float x_scale = 1;          // form scale
  int64_t x_zero = 0;         // forms codes (unless x_zeros) and scale
  const TensorRef* x_scales = nullptr;  // f32 [rows] for codes, or absent
  const TensorRef* x_zeros = nullptr;   // i32 [rows] for codes, or absent
  const TensorRef* w_zeros = nullptr;   // i32 [n] or absent

  int64_t k() const { return x->dim(-1); }
  int64_t rows() const {
    int64_t m = 1;
    for (int i = 0; i + 1 < x->rank; i++) m *= x->shape[i];
    return m;
  }
};

// Checks of infer: dtypes, shapes, ranges of x, packed, n, k, zero points. Touches no data.
Status qgemm_check(const QgemmInput& in);
// True when some x and weights of these forms and sizes have results beyond 32 bits.
bool qgemm_needs_64(const QgemmInput& in);
// y's shape: that of x with the last size n.
void qgemm_result(const QgemmInput& in, DType dtype, TensorRef& y);

// f: what becomes of the sums; the fields of zero points and of the scales of x are set here. For 64-bit totals f.to is f32, s8, u8, or s32, which
// then means int64_t results.
Status qgemm_product(const QgemmInput& in, QgemmFinish f, const Cancel* cancel);

}  // namespace tersor
