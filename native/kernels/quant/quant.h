// Quantization of a run of n values (a row or a group of one, contiguous).
//   range_f32:      `runs` adjacent runs of n: lo[r] / hi[r] = smallest / largest value; NaN in both when one is NaN; n = 0: +inf / -inf.
//                   +0 and -0 count as equal.
//   quantize_f32:   out i8[i] = min(max(round_half_even(x / scale) + zero, qmin), qmax); zero, qmin, qmax integers, |zero| <= 2^20.
//                   Returns the first i with x[i] = NaN, else -1; out is then written all the same, with anything at NaN.
//   dequantize_f32: out f32[i] = (float(q[i]) - zero) * scale, two roundings.
//   pack4:          out u8[i] = (q[2i] + 8) | (q[2i+1] + 8) << 4, n even. Returns the first i of a value outside [-8, 7], else -1.
//   unpack4:        the inverse: out i8[n], n even.
//   pack_bits:      n elements of `bits` in [2, 8] to (n * bits + 7) / 8 bytes: q + 2^(bits-1) as fields in one stream, element 0 in the lowest
//                   bits of byte 0, zeros behind the last. Returns the first i of a value outside [-2^(bits-1), 2^(bits-1) - 1], else -1.
//   unpack_bits:    the inverse.
//   bins_f32:       out i32[i] = floor((double(x) - lo) * inverse) clamped to [0, bins - 1]. Returns the first i with NaN (out: 0), else -1.
// What cannot fail returns -1. Nothing outside the n values and their results is touched; no alignment is assumed; in and out do not overlap. The rounding mode is
// the default one (to nearest even). All rows give identical results, but for the sign of a zero in range_f32.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

struct QuantArgs {
  const void* in;
  void* out;
  int64_t n;
  float scale, zero;
  float qmin, qmax;
  int64_t runs;  // of range_f32, whose results are lo, hi
  float *lo, *hi;
  double origin, inverse;
  int32_t bins, bits;
  bool stream;  // quantize_f32, dequantize_f32: results may be written past the caches (there are more of them than caches hold)
};

constexpr int64_t kStreamFrom = 512;  // a shorter run is not worth the fence behind it

using QuantKernel = int64_t (*)(QuantArgs&);
struct QuantRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  QuantKernel kernel;
};

#define TERSOR_QUANT(variant, needs, function) int64_t function(QuantArgs& a);
#include "kernels/quant/kernels.inc"
#undef TERSOR_QUANT

struct QuantKernels {
  QuantKernel range, quantize, dequantize, pack4, unpack4, bins, pack_bits, unpack_bits;
};

int quant_rows(RowInfo* out, int capacity);
int quant_table(const QuantRow** rows);  // all rows, for tests
const QuantKernels& quant_kernels();     // the chosen row of each variant

}  // namespace tersor
