// One matrix product of 16-bit operands of any strides with f32 sums, in parallel. The operands are widened to f32 as they are packed (exactly: every bf16 and f16 is
// an f32), so memory is read in 16 bits and the f32 rows of kernels/gemm multiply. Each element is one chain of sums over k, whatever blocks and threads are.
#pragma once
#include "ops/gemm_run.h"
#include "ops/util.h"

namespace tersor {

// C[m,n] = bias[n] + A[m,k] B[k,n]. In each of A and B one of the two strides is 1 (or the extent along the other one is at most 1).
struct HalfMatrix {
  DType dtype = DType::bf16;  // of A and B: bf16 or f16
  int64_t m = 0, n = 0, k = 0;
  const uint16_t* a = nullptr;
  int64_t a_row = 0, a_col = 1;
  const uint16_t* b = nullptr;
  int64_t b_row = 0, b_col = 1;
  const float* bias = nullptr;
  float* c = nullptr;     // f32 result, or null:
  uint16_t* h = nullptr;  // result in `dtype`
  int64_t c_row = 0;
};

// batches products of one shape; offsets(i, &a, &b) gives where the i-th begins (elements), results stand one after another.
struct HalfBatch {
  int64_t count = 1;
  void (*offsets)(const void* state, int64_t i, int64_t* a, int64_t* b) = nullptr;
  const void* state = nullptr;
};

// n values of a 16-bit type as f32.
void half_widen(DType dtype, const uint16_t* x, float* y, int64_t n);
Status half_parallel(const char* op, const HalfMatrix& g, const HalfBatch& batch, const Cancel* cancel);

}  // namespace tersor
