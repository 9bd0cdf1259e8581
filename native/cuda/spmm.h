// Products of a sparse weight W [rows, cols] in CSR with dense vectors (spmm.cu), which the other formats use after a pass that lists their entries.
#pragma once
#include "cuda/launch.h"

namespace tersor {
namespace cuda {

struct SparseMatrix {
  int64_t rows = 0, cols = 0, stored = 0;  // stored: entries; offsets beyond are taken as that
  const int32_t* indptr = nullptr;         // [rows + 1]
  const void* columns = nullptr;           // u16, or i32 if wide
  const void* values = nullptr;            // f32, or i8 if quantized
  bool wide = false, quantized = false;
  bool padded = false;                     // a column >= cols stands for a zero; else it is damage, and the row's results are NaN
  const float* scale = nullptr;            // [rows] or [1]
  int64_t scale_step = 0;
  float factor = 1;                        // of every scale: the step of quantized x
  const float* bias = nullptr;             // [rows]
};

enum class Vectors { rows, columns };  // x [n, cols], y [n, rows]; or x [cols, n], y [rows, n]

// y = W x * scale + bias; x contiguous. Each result is one chain of sums over the entries of its row in order (few vectors: 32 chains, then a tree).
Status spmm(Stream& s, const SparseMatrix& w, Vectors side, const float* x, int64_t n, float* y);
// The same in integers: x are codes less their zero point, vectors are rows, values are i8.
Status spmm_s32(Stream& s, const SparseMatrix& w, const int32_t* x, int64_t n, float* y);

// scale and bias of a product, opened; `values` decides whether they are needed.
Status open_epilogue(Stream& s, const TensorRef& scale, const TensorRef& bias, SparseMatrix* w);

}  // namespace cuda
}  // namespace tersor
