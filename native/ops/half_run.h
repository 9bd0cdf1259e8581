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
void half_narrow(DType dtype, const float* x, uint16_t* y, int64_t n);
inline bool is_half(DType t) { return t == DType::bf16 || t == DType::f16; }

// y[i] = f(x[i], dy[i]) for 16-bit tensors of one dtype, in pieces of f32 that stay in L1: run(x, dy, y, n). dy may be null.
template <class F> void half_pieces(DType dtype, const uint16_t* x, const uint16_t* dy, uint16_t* y, int64_t n, F run) {
  constexpr int64_t kPiece = 1024;
  float a[kPiece], b[kPiece];
  for (int64_t i = 0; i < n; i += kPiece) {
    const int64_t piece = n - i < kPiece ? n - i : kPiece;
    half_widen(dtype, x + i, a, piece);
    if (dy) half_widen(dtype, dy + i, b, piece);
    run(a, dy ? b : nullptr, a, piece);
    half_narrow(dtype, a, y + i, piece);
  }
}

Status half_parallel(const char* op, const HalfMatrix& g, const HalfBatch& batch, const Cancel* cancel);

}  // namespace tersor
