// pool2d_last(x f32 [B,H,W,C]) -> y f32 [B,OH,OW,C]: the largest value or the mean of each window per channel, windows as in max_pool2d and avg_pool2d (what lies
// outside is left out of the largest; in the mean it is 0 and counts with count_padding).
#include "ops/conv_last.h"
#include "ops/pool_common.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "pool2d_last";
constexpr int64_t kChunk = 32;

// As [B,C,H,W] for pool_output.
Status window_of(const pool2d_last_args& a, PoolWindow* p, int64_t out[4]) {
  TERSOR_TRY(pool_window(kOp, a.kernel, a.stride, a.padding, a.ceil, p));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 4));
  const int64_t shape[4] = {a.x.shape[0], a.x.shape[3], a.x.shape[1], a.x.shape[2]};
  TensorRef planes{};
  set_shape(planes, DType::f32, shape, 4);
  return pool_output(kOp, planes, *p, out);
}

}  // namespace

Status pool2d_last_infer(pool2d_last_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  PoolWindow p;
  int64_t out[4];
  TERSOR_TRY(window_of(a, &p, out));
  if (p.kh * p.kw > (int64_t(1) << 20)) return fail(Code::limit, "%s: more than 2^20 places in a window", kOp);
  const int64_t shape[4] = {out[0], out[2], out[3], out[1]};
  set_shape(a.y, DType::f32, shape, 4);
  return {};
}

Status pool2d_last_cpu(pool2d_last_args& a, Context& ctx) {
  if (a.y.size() == 0) return {};
  PoolWindow p;
  int64_t out[4];
  TERSOR_TRY(window_of(a, &p, out));
  Contiguous x;
  Scratch zeros;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  const int64_t h = a.x.shape[1], w = a.x.shape[2], channels = out[1], pixels = out[0] * out[2] * out[3];
  TERSOR_TRY(zeros.reserve(kOp, channels * 4));
  memset(zeros.as<void>(), 0, static_cast<size_t>(channels) * 4);
  const Windows windows{x.as<float>(), zeros.as<float>(), h, w, channels, p.kh, p.kw, p.sh, p.sw, 1, 1, p.ph, p.pw, out[2], out[3]};
  const int64_t taps = windows.taps(), chunks = (pixels + kChunk - 1) / kChunk;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, kChunk * (taps * 8 + 4), chunks));
  return parallel_for(chunks, grain_for(kChunk * taps * channels / 8), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    const float** const pointers = slot.as<const float*>();
    float* const scale = reinterpret_cast<float*>(pointers + kChunk * taps);
    for (int64_t chunk = begin; chunk < end; chunk++) {
      const int64_t first = chunk * kChunk, count = pixels - first < kChunk ? pixels - first : kChunk;
      windows.fill(first, count, pointers);
      for (int64_t i = 0; i < count; i++) {
        const PoolSpan rows = pool_span((first + i) / out[3] % out[2], h, p.kh, p.sh, p.ph), columns = pool_span((first + i) % out[3], w, p.kw, p.sw, p.pw);
        const int64_t inside = (rows.end - rows.begin) * (columns.end - columns.begin);
        scale[i] = 1.0f / static_cast<float>(a.count_padding ? rows.padded * columns.padded : inside);
        if (a.average || inside == taps) continue;
        const float* const any = pointers[i * taps + (rows.begin - ((first + i) / out[3] % out[2] * p.sh - p.ph)) * p.kw +
                                          (columns.begin - ((first + i) % out[3] * p.sw - p.pw))];
        for (int64_t t = i * taps; t < (i + 1) * taps; t++)
          if (pointers[t] == windows.outside) pointers[t] = any;  // a place of the window twice changes no largest value
      }
      conv_row().taps({a.average ? ConvTapsKind::sum : ConvTapsKind::largest, pointers, count, taps, channels, nullptr, 0, nullptr, scale, nullptr, 0,
                       a.y.as<float>() + first * channels, channels, {}});
    }
  });
}

}  // namespace tersor
