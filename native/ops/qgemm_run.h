// What the quantized ops share: packing in parallel, checks of scales, and products of quantized rows.
#pragma once
#include "kernels/qgemm/qgemm.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {

// Epilogue of a quantized product: float result = act(acc * scale + bias).
struct QgemmOutput {
  const float* scale;  // [n], x_scale * w_scale
  const float* bias;   // [n] or null
  activation act;
};

// ERR_LIMIT when k is too deep for exact 32-bit sums.
Status qgemm_check_depth(const char* op, int64_t k);
// Packs w[n,k] (rows w_row apart) into blob, header included.
Status qgemm_pack_parallel(const char* op, const int8_t* w, int64_t w_row, int64_t n, int64_t k, void* blob, const Cancel* cancel);
// packed, w_scale, bias, x_scale, x_zero of qlinear and qconv2d; touches no data.
Status qgemm_check_inputs(const char* op, const TensorRef& packed, const TensorRef& w_scale, const TensorRef& bias, int64_t n, int64_t k, double x_scale,
                          int64_t x_zero);
Status qgemm_check_blob(const char* op, const TensorRef& packed, int64_t n, int64_t k);
// scale[i] = float(x_scale) * w_scale[i or 0]
Status qgemm_scales(const char* op, const TensorRef& w_scale, int64_t n, double x_scale, Scratch* out);
// Rows of already quantized A (row.a_bytes elements, row.depth(k) apart) times columns [n0, n1) of the blob; n0 is a multiple of nr.
void qgemm_rows_f32(const QgemmRow& row, const void* a, int64_t m, const void* blob, int64_t n, int64_t k, int32_t x_zero, const QgemmOutput& o, int64_t n0,
                    int64_t n1, float* y, int64_t y_row);

}  // namespace tersor
