// What the ops on images with channels last share: where the taps of an output pixel lie, and what is checked of a call.
#pragma once
#include <cmath>

#include "kernels/channels_last/channels_last.h"
#include "ops/conv_grouped.h"
#include "ops/util.h"

namespace tersor {

// Windows over an image [B, height, width, pixel]: taps (ky, kx) of an output pixel, in this order.
struct Windows {
  const float* image;
  const float* outside;  // what a tap in the padding reads
  int64_t height, width, pixel;
  int64_t kh, kw, sh, sw, dh, dw, top, left;
  int64_t out_h, out_w;

  int64_t taps() const { return kh * kw; }
  // Pointers of output pixels [first, first + count), counted over the whole batch.
  void fill(int64_t first, int64_t count, const float** to) const {
    int64_t ox = first % out_w, oy = first / out_w % out_h, b = first / (out_w * out_h);
    for (int64_t i = 0; i < count; i++) {
      const float* const plane = image + b * height * width * pixel;
      const int64_t y0 = oy * sh - top, x0 = ox * sw - left;
      for (int64_t ky = 0; ky < kh; ky++) {
        const int64_t y = y0 + ky * dh;
        if (y < 0 || y >= height) {
          for (int64_t kx = 0; kx < kw; kx++) *to++ = outside;
          continue;
        }
        const float* at = plane + (y * width + x0) * pixel;
        for (int64_t kx = 0, x = x0; kx < kw; kx++, x += dw, at += dw * pixel)
          *to++ = static_cast<uint64_t>(x) < static_cast<uint64_t>(width) ? at : outside;
      }
      if (++ox < out_w) continue;
      ox = 0;
      if (++oy == out_h) oy = 0, b++;
    }
  }
};

// Filters as `pack` made them in this process.
inline Status check_packed_size(const char* op, const char* pack, const TensorRef& packed, int64_t bytes) {
  TERSOR_TRY(expect_dtype(op, "packed", packed, DType::u8));
  TERSOR_TRY(expect_rank(op, "packed", packed, 1));
  if (packed.shape[0] != bytes)
    return fail(Code::shape, "%s: packed must come from %s of such filters in this process (%lld bytes), got %s", op, pack, static_cast<long long>(bytes), TERSOR_TEXT(packed));
  return {};
}

// What follows the sums, and the shape of y [B,OH,OW,O].
template <class Args> Status finish_infer(const char* op, Args& a, const GroupedShape& s, DType dtype) {
  const int64_t shape[4] = {s.batch, s.out_h, s.out_w, s.out};
  if (a.residual.present()) {
    TERSOR_TRY(expect_dtype(op, "residual", a.residual, DType::f32));
    TERSOR_TRY(expect_shape(op, "residual", a.residual, shape, 4));
  }
  if (std::isnan(a.lo) || std::isnan(a.hi) || std::isnan(a.scale) || std::isnan(a.shift))
    return fail(Code::option, "%s: lo, hi, scale and shift must be numbers, got %g, %g, %g, %g", op, a.lo, a.hi, a.scale, a.shift);
  set_shape(a.y, dtype, shape, 4);
  return {};
}

}  // namespace tersor
