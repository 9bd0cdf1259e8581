// Products in f32 and f64 on a device, exact as on the CPU: fused multiply-adds in a fixed order, no tensor cores. |error| <= (k + 8) 2^-24 (|init| + sum |a||b|)
// (f64: 2^-53), NaN and infinities as IEEE has them, equal calls give equal bits.
//
// Why not 3xTF32: it would run about 1.5 times as fast on paper (H200: 494 TFLOP/s of TF32 by three, against 67 of FFMA, of which mma.sync reaches some 60 %), but its products are
// off by up to 3 * 2^-22 |a||b| each, the tensor cores cut sums instead of rounding them, and infinities become NaN. Who wants speed takes bf16 or int8.
#pragma once
#include "cuda/launch.h"
#include "cuda/product.h"

namespace tersor {
namespace cuda {

// y[i,j] = act(alpha * sum_k a[i,k] b[k,j] + bias[j]) + residual[i,j] + beta * c[i,j]; strides count elements, y is row-major, batches one after another.
template <class T> struct Gemm {
  int64_t m = 0, n = 0, k = 0, batches = 1;
  const T* a = nullptr;
  int64_t a_row = 0, a_col = 1;
  const T* b = nullptr;
  int64_t b_row = 0, b_col = 1;
  BatchMap map;  // elements
  T* y = nullptr;
  const T* bias = nullptr;
  int64_t bias_step = 1;
  Act act = Act::none;
  const T* residual = nullptr;
  T alpha = 1, beta = 0;
  const T* c = nullptr;
  int64_t c_row = 0, c_col = 0;
  PackedCheck packed;
};

template <class T> Status run_gemm(Stream& stream, const Gemm<T>& g);
extern template Status run_gemm<float>(Stream&, const Gemm<float>&);
extern template Status run_gemm<double>(Stream&, const Gemm<double>&);

// Batch dimensions of a product (everything before the last two of a and b, broadcast to those of y), in units of `unit` bytes or elements a stride.
// Code::unsupported when they do not merge into kMaxBatchRank. batches: their number.
Status batch_map(const char* op, const TensorRef& a, const TensorRef& b, const TensorRef& y, int64_t unit, BatchMap* map, int64_t* batches);

}  // namespace cuda
}  // namespace tersor
