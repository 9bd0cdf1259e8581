// qconv2d(x f32 [B,C,H,W], packed (of w as [O, C*kh*kw]), w_scale, bias?, weight_shape, stride, padding, x_scale, x_zero, act) -> y f32 [B,O,OH,OW].
// The same arithmetic as qlinear over the columns of the convolution; padding is x = 0, that is q = x_zero. Each task quantizes the rows that
// a band of output needs, gathers the taps of a block of pixels, multiplies, and stores the block transposed.
#include <cstring>

#include "ops/conv_shape.h"
#include "ops/qgemm_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "qconv2d";
constexpr int64_t kBlockPixels = 64;
constexpr int64_t kSlackBytes = 16;

// One quantized band: rows [y0, y0 + rows) of the padded image, `pitch` columns each, per channel.
struct Band {
  int64_t y0, rows, pitch;
};

// Both buffers have kSlackBytes behind them.
void gather_taps(const ConvShape& s, const Band& band, const uint8_t* image, int64_t first, int64_t count, int64_t depth, int64_t r0, uint8_t* out) {
  const int64_t k = s.in * s.kh * s.kw;
  int64_t oy = r0 + first / s.out_w, ox = first % s.out_w;
  for (int64_t p = 0; p < count; p++, out += depth) {
    const uint8_t* corner = image + (oy * s.sh - band.y0) * band.pitch + ox * s.sw;
    uint8_t* to = out;
    for (int64_t c = 0; c < s.in; c++)
      for (int64_t ky = 0; ky < s.kh; ky++, to += s.kw) {
        const uint8_t* from = corner + (c * band.rows + ky) * band.pitch;
        if (s.kw <= 8) memcpy(to, from, 8);  // one move; what is too much is overwritten next, or lies in the slack
        else memcpy(to, from, static_cast<size_t>(s.kw));
      }
    for (int64_t i = k; i < depth; i++) out[i] = 0;
    if (++ox == s.out_w) ox = 0, oy++;
  }
}

Status run(qconv2d_args& a, const ConvShape& s, Context& ctx) {
  const int64_t k = s.in * s.kh * s.kw;
  Contiguous x, bias;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  Scratch scales;
  TERSOR_TRY(qgemm_scales(kOp, a.w_scale, s.out, a.x_scale, &scales));
  const QgemmWidth& width = *qgemm_row(kBlockPixels).width;
  const int64_t depth = qgemm_layout().depth(k);
  const int32_t zero = static_cast<int32_t>(a.x_zero);
  QgemmFinish f;
  f.x_zero = &zero;
  f.column = qgemm_blob_sums(a.packed.data);
  f.to = QgemmTo::f32;
  f.y_row = s.out;
  f.scale = scales.as<float>();
  f.bias = a.bias.present() ? bias.as<float>() : nullptr;
  f.act = static_cast<QgemmAct>(a.act);
  const float x_scale = static_cast<float>(a.x_scale);

  const int64_t pitch = (s.out_w - 1) * s.sw + s.kw;  // columns of the padded image that any tap reads
  const int64_t band = conv_band_rows(s.out_h, (s.kh - 1) / s.sh + 1, s.in * s.sh * pitch, int64_t(1) << 18, s.out * k * s.out_w / 4);
  const int64_t bands = (s.out_h + band - 1) / band;
  const int64_t most_rows = (band - 1) * s.sh + s.kh;
  const int64_t image_bytes = (s.in * most_rows * pitch + kSlackBytes + 63) / 64 * 64;
  const int64_t block_bytes = (kBlockPixels * depth + kSlackBytes + 63) / 64 * 64;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, image_bytes + block_bytes + kBlockPixels * s.out * 4, s.batch * bands));
  return parallel_for(s.batch * bands, grain_for(band * s.out_w * s.out * k / 32), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    uint8_t* const image = slot.as<uint8_t>();
    uint8_t* const block = image + image_bytes;
    float* const tile = reinterpret_cast<float*>(image + image_bytes + block_bytes);
    QgemmFinish here = f;
    here.y = tile;
    for (int64_t task = begin; task < end; task++) {
      const int64_t b = task / bands, r0 = task % bands * band;
      const int64_t rows = s.out_h - r0 < band ? s.out_h - r0 : band;
      const Band at{r0 * s.sh, (rows - 1) * s.sh + s.kh, pitch};
      uint8_t* to = image;
      for (int64_t c = 0; c < s.in; c++)
        for (int64_t r = 0; r < at.rows; r++, to += pitch) {
          const int64_t y = at.y0 + r - s.ph;
          const int64_t first = s.pw < pitch ? s.pw : pitch, room = pitch - first, live = y < 0 || y >= s.height ? 0 : s.width < room ? s.width : room;
          for (int64_t j = 0; j < first; j++) to[j] = static_cast<uint8_t>(zero);
          if (live > 0) width.quantize({x.as<float>() + ((b * s.in + c) * s.height + y) * s.width, live, x_scale, zero, to + first});
          for (int64_t j = first + live; j < pitch; j++) to[j] = static_cast<uint8_t>(zero);
        }
      const int64_t pixels = rows * s.out_w, plane = s.out_h * s.out_w;
      float* const y = a.y.as<float>() + b * s.out * plane + r0 * s.out_w;
      for (int64_t p = 0; p < pixels; p += kBlockPixels) {
        const int64_t count = pixels - p < kBlockPixels ? pixels - p : kBlockPixels;
        gather_taps(s, at, image, p, count, depth, r0, block);
        qgemm_part({block, depth, false}, 0, count, a.packed.data, 0, s.out, k, {0, k}, here);
        for (int64_t c = 0; c < s.out; c++)
          for (int64_t i = 0; i < count; i++) y[c * plane + p + i] = tile[i * s.out + c];
      }
    }
  });
}

}  // namespace

Status qconv2d_infer(qconv2d_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  TERSOR_TRY(conv_list4(kOp, "weight_shape", a.weight_shape));
  ConvShape s;
  TERSOR_TRY(conv_shape(kOp, a.x.shape, a.weight_shape.v, a.stride, a.padding, &s));
  constexpr int64_t kDeepest = 65793;  // 255 * 128 * 65793 < 2^31: 32-bit sums stay exact
  // Factors first, so that the product cannot overflow.
  if (s.in > kDeepest || s.kh > kDeepest || s.kw > kDeepest || s.in * s.kh > kDeepest || s.in * s.kh * s.kw > kDeepest)
    return fail(Code::limit, "%s: C * kh * kw must be <= %lld (32-bit sums stay exact), got %lld * %lld * %lld", kOp, static_cast<long long>(kDeepest),
                static_cast<long long>(s.in), static_cast<long long>(s.kh), static_cast<long long>(s.kw));
  const int64_t k = s.in * s.kh * s.kw, bytes = qgemm_blob_bytes(qgemm_layout(), s.out, k);
  TERSOR_TRY(expect_dtype(kOp, "packed", a.packed, DType::u8));
  TERSOR_TRY(expect_rank(kOp, "packed", a.packed, 1));
  if (a.packed.shape[0] != bytes)
    return fail(Code::shape, "%s: packed must come from qgemm_pack of a [%lld,%lld] weight in this process (%lld bytes), got %s", kOp,
                static_cast<long long>(s.out), static_cast<long long>(k), static_cast<long long>(bytes), TERSOR_TEXT(a.packed));
  TERSOR_TRY(qgemm_check_scales(kOp, a.w_scale, a.bias, s.out));
  TERSOR_TRY(qgemm_check_scale(kOp, "x_scale", a.x_scale));
  if (a.x_zero < 0 || a.x_zero > 255) return fail(Code::option, "%s: x_zero must be in [0, 255], got %lld", kOp, static_cast<long long>(a.x_zero));
  const int64_t shape[4] = {s.batch, s.out, s.out_h, s.out_w};
  set_shape(a.y, DType::f32, shape, 4);
  return {};
}

Status qconv2d_cpu(qconv2d_args& a, Context& ctx) {
  ConvShape s;
  TERSOR_TRY(conv_shape(kOp, a.x.shape, a.weight_shape.v, a.stride, a.padding, &s));
  TERSOR_TRY(qgemm_check_blob(kOp, a.packed, s.out, s.in * s.kh * s.kw));
  if (a.y.size() == 0) return {};
  return run(a, s, ctx);
}

}  // namespace tersor
