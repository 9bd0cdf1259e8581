// What the integer convolutions on images with channels last share: how filters are packed, and the run itself.
#pragma once
#include "kernels/qconv/qconv.h"
#include "ops/conv_grouped.h"
#include "ops/qgemm_run.h"

namespace tersor {

constexpr int64_t kQconvDeepest = 65793;  // values of a filter: 255 * 128 * 65793 < 2^31, so 32-bit sums stay exact

struct QconvHeader {
  uint32_t magic;
  int32_t depthwise;
  int64_t out, group_in, taps, groups, bytes, reserved[2];
};
static_assert(sizeof(QconvHeader) == 64, "what follows starts on a cache line");

// Dense: for each group a packed weight of kernels/qgemm [group_out, taps * group_in], taps outside. Depthwise: the codes as f32 [taps, out rounded up to 16].
struct QconvPacking {
  int64_t out, group_in, taps, groups, group_out;
  bool depthwise;

  QconvPacking(const int64_t w[4], int64_t n)
      : out(w[0]),
        group_in(w[1]),
        taps(w[2] * w[3]),
        groups(n),
        group_out(w[0] / n),
        depthwise(w[1] == 1 && w[0] == n && n > 1 && taps <= kQconvMostTaps) {}
  int64_t depth() const { return taps * group_in; }
  int64_t row() const { return (out + 15) / 16 * 16; }
  int64_t blob() const { return (qgemm_blob_bytes(qgemm_layout(), group_out, depth()) + 63) / 64 * 64; }
  int64_t bytes() const { return static_cast<int64_t>(sizeof(QconvHeader)) + (depthwise ? taps * row() * 4 : groups * blob()); }
  QconvHeader header() const { return {0x31514354u, depthwise, out, group_in, taps, groups, bytes(), {0, 0}}; }  // "TCQ1"
};

// Filters that can be packed in so many groups: ERR_OPTION, ERR_SHAPE or ERR_LIMIT where not.
Status qconv_check_filters(const char* op, const int64_t w[4], int64_t groups);
// Codes w[O, C/groups, kh, kw], contiguous, into `packed` of QconvPacking::bytes().
Status qconv_pack(const char* op, const int8_t* w, const QconvPacking& packing, void* packed, const Cancel* cancel);

struct QconvCall {
  const char* op;
  TensorRef x;  // u8 or f32 [B,H,W,C], any strides
  const void* packed;
  const TensorRef *w_scale, *bias, *residual;
  float x_scale;
  int32_t x_zero;
  ConvFinish act;
  bool codes;
  float y_scale;
  int32_t y_zero;
  void* y;  // [B,OH,OW,O]
};
Status qconv_run(const QconvCall& call, const GroupedShape& s, const QconvPacking& packing, const Cancel* cancel);

}  // namespace tersor
