// Products with 8-bit weights on a device: the packed form, x as codes, and the paths of a product. Entries: qgemm.cu, qlinear.cu.
//
// Packed weight w[N,K], in the bytes that the op's infer asks for (those of the CPU's layout, which are more): QgemmDeviceHeader, column sums i32 [N], then at
// `codes_at` the rows of w, K rounded up to 64 bytes apart and padded with zeros. Bytes that the CPU packed have another
// magic number: see packed.h.
#pragma once
#include "cuda/launch.h"
#include "cuda/packed.h"
#include "cuda/product.h"

namespace tersor {
namespace cuda {

constexpr uint32_t kQgemmDeviceMagic = 0x44475154;  // "TQGD"
struct QgemmDeviceHeader {
  uint32_t magic, reserved;
  int64_t n, k;
  int64_t unused[5];
};
static_assert(sizeof(QgemmDeviceHeader) == 64, "column sums start on a cache line");

struct PackedWeight {
  const uint32_t* magic = nullptr;
  const int32_t* column_sums = nullptr;
  const unsigned char* codes = nullptr;
  int64_t row_bytes = 0;
};
inline int64_t qgemm_depth(int64_t k) { return (k + 63) / 64 * 64; }
inline int64_t qgemm_codes_at(int64_t n) { return static_cast<int64_t>(sizeof(QgemmDeviceHeader)) + (n * 4 + 63) / 64 * 64; }
// The parts of a packed tensor; ERR_OPTION where it is too small, not contiguous or not aligned.
Status open_packed(const char* op, const TensorRef& packed, int64_t n, int64_t k, PackedWeight* out);
// Codes i8 of n rows of k into `packed`, as above.
Status pack_rows(Stream& stream, const char* op, const TensorRef& codes, int64_t n, int64_t k, const TensorRef& packed);

// How x becomes codes, as QgemmForm (ops/qgemm_product.h); symmetric rows become s8 codes with zero 0 here, which gives the same sums.
enum class CodesFrom { codes, scale, token_symmetric, token_affine };
struct QgemmCall {
  const char* op;
  CodesFrom from = CodesFrom::codes;
  const TensorRef* x = nullptr;
  const TensorRef* packed = nullptr;
  int64_t n = 0;
  float x_scale = 1;
  int64_t x_zero = 0;
  const TensorRef* x_scales = nullptr;
  const TensorRef* x_zeros = nullptr;
  const TensorRef* w_zeros = nullptr;
  int64_t code_row = 0;  // not 0: x holds codes in rows so many bytes apart, K rounded up to 16; what lies behind K is 0
};
// w_scale, bias, residual and activation of an epilogue in floats (qlinear.cu).
Status open_epilogue(Stream& stream, const TensorRef& w_scale, const TensorRef& bias, const TensorRef* residual, double x_scale, activation act, IntegerEpilogue* e);
// e: what becomes of the sums; zero points, sizes, column sums and the scales of rows that x brings are set here. wide: totals need 64 bits (see needs_64).
Status run_qgemm(Stream& stream, const QgemmCall& call, IntegerEpilogue e);
// As qgemm_needs_64 of ops/qgemm_product.h.
bool needs_64(const QgemmCall& call);

// qgemm_codes.cu: x f32 [m,k] to rows of codes `row_bytes` apart (a multiple of 16; what lies beyond k is 0), as QgemmQuantize and QgemmDynamic have it.
Status quantize_codes(Stream& stream, const float* x, int64_t m, int64_t k, float scale, int32_t zero, uint8_t* codes, int64_t row_bytes);
Status quantize_rows_own(Stream& stream, const float* x, int64_t m, int64_t k, bool symmetric, uint8_t* codes, int64_t row_bytes, float* scales, int32_t* zeros);
// Rows of bytes to rows of another length; bytes beyond k are 0.
Status copy_rows(Stream& stream, const uint8_t* from, int64_t from_row, int64_t m, int64_t k, uint8_t* to, int64_t to_row);
// sums[i] = sum of the codes of row i.
Status sum_code_rows(Stream& stream, const uint8_t* codes, bool is_signed, int64_t m, int64_t k, int64_t row_bytes, int32_t* sums);
// Totals in 64 bits, one thread an output: for K beyond some 65,000. e.to s32 stores int64_t.
Status run_wide(Stream& stream, const uint8_t* codes, bool is_signed, int64_t row_bytes, const PackedWeight& w, const IntegerEpilogue& e);

}  // namespace cuda
}  // namespace tersor
