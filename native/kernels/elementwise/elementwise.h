// Elementwise functions on contiguous runs. Formulas: unary.def, binary.def; transcendental functions and their error bounds: simd/math.h.
//   unary:   y[i] = f(x[i]; p, q), 0 <= i < n. y may be x.
//   binary:  y[r * cols + c] = f(a[r * a_row + c * a_step], b[r * b_row + c * b_step]); steps are 0 or 1, row strides anything >= 0.
//            y may be a or b when that input has exactly y's layout.
//   convert: f32 <-> f16, bf16 (base/float16.h). x and y do not overlap.
// Exactly the named elements are read and written; no alignment is assumed. All rows of the table give identical bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

enum class UnaryOp : int32_t {
#define TERSOR_UNARY(name, formula) name,
#include "kernels/elementwise/unary.def"
#undef TERSOR_UNARY
  count
};
enum class BinaryOp : int32_t {
#define TERSOR_BINARY(name, formula, integer) name,
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
  count
};
enum class ConvertOp : int32_t { f32_f16, f16_f32, f32_bf16, bf16_f32, count };

template <class T> struct UnaryArgs {
  UnaryOp op;
  const T* x;
  T* y;
  int64_t n;
  T p, q;
};
template <class T> struct BinaryArgs {
  BinaryOp op;
  const T* a;
  const T* b;
  T* y;
  int64_t rows, cols, a_row, b_row, a_step, b_step;
};
struct ConvertArgs {
  ConvertOp op;
  const void* x;
  void* y;
  int64_t n;
};

template <class Args> struct ElementwiseRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  void (*kernel)(const Args&);
};

#define TERSOR_ELEMENTWISE_UNARY(variant, needs, function) void function(const UnaryArgs<float>& a);
#define TERSOR_ELEMENTWISE_BINARY(variant, needs, function) void function(const BinaryArgs<float>& a);
#define TERSOR_ELEMENTWISE_CONVERT(variant, needs, function) void function(const ConvertArgs& a);
#include "kernels/elementwise/kernels.inc"
#undef TERSOR_ELEMENTWISE_UNARY
#undef TERSOR_ELEMENTWISE_BINARY
#undef TERSOR_ELEMENTWISE_CONVERT

int elementwise_rows(RowInfo* out, int capacity);
int elementwise_unary_table(const ElementwiseRow<UnaryArgs<float>>** rows);  // all rows, for tests
int elementwise_binary_table(const ElementwiseRow<BinaryArgs<float>>** rows);
int elementwise_convert_table(const ElementwiseRow<ConvertArgs>** rows);

// The chosen row for f32; plain code for f64 and i32.
void elementwise_unary(const UnaryArgs<float>& a);
void elementwise_unary(const UnaryArgs<double>& a);
void elementwise_binary(const BinaryArgs<float>& a);
void elementwise_binary(const BinaryArgs<double>& a);
void elementwise_binary(const BinaryArgs<int32_t>& a);
void elementwise_convert(const ConvertArgs& a);
bool elementwise_has_i32(BinaryOp op);

}  // namespace tersor
