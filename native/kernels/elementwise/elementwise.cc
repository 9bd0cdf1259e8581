#include "kernels/elementwise/elementwise.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/elementwise/generic.h"

namespace tersor {

void elementwise_unary_f32_1_scalar(const UnaryArgs<float>& a) { unary_switch<simd::F32>(a); }
void elementwise_binary_f32_1_scalar(const BinaryArgs<float>& a) { binary_switch<simd::F32>(a); }
void elementwise_convert_1_scalar(const ConvertArgs& a) { convert_switch(a); }

namespace {

const ElementwiseRow<UnaryArgs<float>> kUnary[] = {
#define TERSOR_ELEMENTWISE_UNARY(variant, needs, function) {variant, needs, #function, function},
#define TERSOR_ELEMENTWISE_BINARY(variant, needs, function)
#define TERSOR_ELEMENTWISE_CONVERT(variant, needs, function)
#include "kernels/elementwise/kernels.inc"
#undef TERSOR_ELEMENTWISE_UNARY
#undef TERSOR_ELEMENTWISE_BINARY
};
const ElementwiseRow<BinaryArgs<float>> kBinary[] = {
#define TERSOR_ELEMENTWISE_UNARY(variant, needs, function)
#define TERSOR_ELEMENTWISE_BINARY(variant, needs, function) {variant, needs, #function, function},
#include "kernels/elementwise/kernels.inc"
#undef TERSOR_ELEMENTWISE_BINARY
#undef TERSOR_ELEMENTWISE_CONVERT
};
const ElementwiseRow<ConvertArgs> kConvert[] = {
#define TERSOR_ELEMENTWISE_BINARY(variant, needs, function)
#define TERSOR_ELEMENTWISE_CONVERT(variant, needs, function) {variant, needs, #function, function},
#include "kernels/elementwise/kernels.inc"
#undef TERSOR_ELEMENTWISE_UNARY
#undef TERSOR_ELEMENTWISE_BINARY
#undef TERSOR_ELEMENTWISE_CONVERT
};

// i32: computed in 64 bits, then wrapped.
#define TERSOR_NONE 0
#define TERSOR_BINARY(name, formula, integer) \
  struct Integer_##name {                     \
    static int64_t of(int64_t a, int64_t b) { \
      (void)a, (void)b;                       \
      return integer;                         \
    }                                         \
  };
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
#undef TERSOR_NONE

template <class F> void integer_run(const BinaryArgs<int32_t>& a) {
  for (int64_t r = 0; r < a.rows; r++)
    for (int64_t c = 0; c < a.cols; c++)
      a.y[r * a.cols + c] = static_cast<int32_t>(static_cast<uint32_t>(F::of(a.a[r * a.a_row + c * a.a_step], a.b[r * a.b_row + c * a.b_step])));
}

}  // namespace

int elementwise_rows(RowInfo* out, int capacity) {
  int n = describe_rows("elementwise", kUnary, out, capacity);
  n += describe_rows("elementwise", kBinary, out + (n < capacity ? n : capacity), capacity - n);
  n += describe_rows("elementwise", kConvert, out + (n < capacity ? n : capacity), capacity - n);
  return n;
}
int elementwise_unary_table(const ElementwiseRow<UnaryArgs<float>>** rows) {
  *rows = kUnary;
  return static_cast<int>(sizeof kUnary / sizeof *kUnary);
}
int elementwise_binary_table(const ElementwiseRow<BinaryArgs<float>>** rows) {
  *rows = kBinary;
  return static_cast<int>(sizeof kBinary / sizeof *kBinary);
}
int elementwise_convert_table(const ElementwiseRow<ConvertArgs>** rows) {
  *rows = kConvert;
  return static_cast<int>(sizeof kConvert / sizeof *kConvert);
}

void elementwise_unary(const UnaryArgs<float>& a) {
  static const auto chosen = select_row(kUnary).kernel;
  chosen(a);
}
void elementwise_unary(const UnaryArgs<double>& a) { unary_switch<simd::F64>(a); }
void elementwise_binary(const BinaryArgs<float>& a) {
  static const auto chosen = select_row(kBinary).kernel;
  chosen(a);
}
void elementwise_binary(const BinaryArgs<double>& a) { binary_switch<simd::F64>(a); }
void elementwise_binary(const BinaryArgs<int32_t>& a) {
  switch (a.op) {
#define TERSOR_BINARY(name, formula, integer) \
  case BinaryOp::name: return integer_run<Integer_##name>(a);
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
    default: return;
  }
}
void elementwise_convert(const ConvertArgs& a) {
  static const auto chosen = select_row(kConvert).kernel;
  chosen(a);
}

bool elementwise_has_i32(BinaryOp op) { return op != BinaryOp::div; }

}  // namespace tersor
