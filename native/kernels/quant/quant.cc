#include "kernels/quant/quant.h"

#include <cmath>
#include <cstring>

#include "kernels/table.h"

namespace tersor {

int64_t quant_range_f32_scalar(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  for (int64_t r = 0; r < a.runs; r++, x += a.n) {
    float lo = INFINITY, hi = -INFINITY;
    bool nan = false;
    for (int64_t i = 0; i < a.n; i++) {
      lo = x[i] < lo ? x[i] : lo;
      hi = x[i] > hi ? x[i] : hi;
      nan = nan || x[i] != x[i];
    }
    a.lo[r] = nan ? NAN : lo;
    a.hi[r] = nan ? NAN : hi;
  }
  return -1;
}

int64_t quant_quantize_f32_scalar(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  const float lo = a.qmin - a.zero, hi = a.qmax - a.zero, magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds half to even
  int64_t bad = -1;
  for (int64_t i = a.n - 1; i >= 0; i--) {
    float t = x[i] / a.scale;
    if (t != t) bad = i;
    t = t > lo ? t : lo;
    t = t < hi ? t : hi;
    q[i] = static_cast<int8_t>((t + magic) - magic + a.zero);
  }
  return bad;
}

int64_t quant_dequantize_f32_scalar(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  float* x = static_cast<float*>(a.out);
  for (int64_t i = 0; i < a.n; i++) x[i] = (static_cast<float>(q[i]) - a.zero) * a.scale;
  return -1;
}

int64_t quant_pack4_scalar(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  unsigned over = 0;
  for (int64_t i = 0; i < a.n; i += 2) {
    const unsigned u = static_cast<unsigned>(q[i] + 8), v = static_cast<unsigned>(q[i + 1] + 8);
    over |= u | v;
    out[i / 2] = static_cast<uint8_t>(u | v << 4);
  }
  if (over < 16) return -1;
  int64_t i = 0;
  while (q[i] >= -8 && q[i] <= 7) i++;
  return i;
}

int64_t quant_unpack4_scalar(QuantArgs& a) {
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  for (int64_t i = 0; i < a.n; i += 2) {
    q[i] = static_cast<int8_t>((in[i / 2] & 15) - 8);
    q[i + 1] = static_cast<int8_t>((in[i / 2] >> 4) - 8);
  }
  return -1;
}

int64_t quant_bins_f32_scalar(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int32_t* out = static_cast<int32_t*>(a.out);
  const double top = a.bins - 1;
  int64_t bad = -1;
  for (int64_t i = a.n - 1; i >= 0; i--) {
    double b = (static_cast<double>(x[i]) - a.origin) * a.inverse;
    if (b != b) bad = i;
    b = b > 0 ? b : 0;
    b = b < top ? b : top;
    out[i] = static_cast<int32_t>(b);  // b >= 0: truncation is floor
  }
  return bad;
}

namespace {
const QuantRow kRows[] = {
#define TERSOR_QUANT(variant, needs, function) {variant, needs, #function, function},
#include "kernels/quant/kernels.inc"
#undef TERSOR_QUANT
};
}  // namespace

int quant_rows(RowInfo* out, int capacity) { return describe_rows("quant", kRows, out, capacity); }

int quant_table(const QuantRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

const QuantKernels& quant_kernels() {
  static const QuantKernels chosen = {select_variant(kRows, "range_f32").kernel,      select_variant(kRows, "quantize_f32").kernel,
                                      select_variant(kRows, "dequantize_f32").kernel, select_variant(kRows, "pack4").kernel,
                                      select_variant(kRows, "unpack4").kernel,        select_variant(kRows, "bins_f32").kernel,
                                      select_variant(kRows, "pack_bits").kernel,      select_variant(kRows, "unpack_bits").kernel};
  return chosen;
}

}  // namespace tersor
