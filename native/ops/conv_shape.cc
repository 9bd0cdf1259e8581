#include "ops/conv_shape.h"

namespace tersor {

Status conv_list4(const char* op, const char* name, const IntList& list) {
  if (list.n != 4) return fail(Code::shape, "%s: %s must have 4 entries, got %d", op, name, list.n);
  for (int i = 0; i < 4; i++)
    if (list.v[i] < 0) return fail(Code::shape, "%s: %s[%d] must not be negative, got %lld", op, name, i, static_cast<long long>(list.v[i]));
  return {};
}

Status conv_shape(const char* op, const int64_t x[4], const int64_t w[4], const IntList& stride, const IntList& padding, ConvShape* out) {
  constexpr int64_t kMax = int64_t(1) << 24;
  if (stride.n != 2 || stride.v[0] < 1 || stride.v[1] < 1 || stride.v[0] > kMax || stride.v[1] > kMax)
    return fail(Code::option, "%s: stride must be two integers >= 1", op);
  if (padding.n != 2 || padding.v[0] < 0 || padding.v[1] < 0 || padding.v[0] > kMax || padding.v[1] > kMax)
    return fail(Code::option, "%s: padding must be two integers >= 0", op);
  if (x[1] != w[1])
    return fail(Code::shape, "%s: channels of input and weight must be equal, got %lld and %lld", op, static_cast<long long>(x[1]), static_cast<long long>(w[1]));
  for (int i = 0; i < 4; i++)
    if (x[i] > kMax * 64 || w[i] > kMax * 64) return fail(Code::limit, "%s: a dimension is beyond 2^30", op);
  if (w[1] * w[2] > kMax * 64 || w[1] * w[2] * w[3] > kMax * 64)
    return fail(Code::limit, "%s: more than 2^30 weights per output channel", op);
  ConvShape s;
  s.batch = x[0], s.in = x[1], s.height = x[2], s.width = x[3];
  s.out = w[0], s.kh = w[2], s.kw = w[3];
  s.sh = stride.v[0], s.sw = stride.v[1], s.ph = padding.v[0], s.pw = padding.v[1];
  if (s.kh < 1 || s.kw < 1)
    return fail(Code::shape, "%s: the kernel must be at least 1x1, got %lldx%lld", op, static_cast<long long>(s.kh), static_cast<long long>(s.kw));
  const int64_t room_h = s.height + 2 * s.ph - s.kh, room_w = s.width + 2 * s.pw - s.kw;
  if (room_h < 0 || room_w < 0)
    return fail(Code::shape, "%s: the kernel %lldx%lld is larger than the padded input %lldx%lld", op, static_cast<long long>(s.kh),
                static_cast<long long>(s.kw), static_cast<long long>(s.height + 2 * s.ph), static_cast<long long>(s.width + 2 * s.pw));
  s.out_h = room_h / s.sh + 1, s.out_w = room_w / s.sw + 1;
  *out = s;
  return {};
}

int64_t conv_band_rows(int64_t rows, int64_t fixed_rows, int64_t bytes_per_row, int64_t bytes, int64_t work_per_row) {
  if (rows < 1) return 1;
  int64_t fit = bytes / (bytes_per_row > 0 ? bytes_per_row : 1) - fixed_rows;
  const int64_t least = fixed_rows > 8 ? fixed_rows : 8;  // below this the halo costs more than the cache gives
  if (fit < least) fit = least;
  const int64_t worth = (int64_t(1) << 22) / (work_per_row > 0 ? work_per_row : 1) + 1;
  int64_t band = fit < worth ? fit : worth;
  if (band < least) band = least;
  if (band >= rows) return rows;
  const int64_t bands = (rows + band - 1) / band;
  return (rows + bands - 1) / bands;
}

ConvPlanes conv_forward_planes(const ConvShape& s) {
  ConvPlanes p;
  p.channels = s.in, p.height = s.height, p.width = s.width;
  p.sh = s.sh, p.sw = s.sw;
  p.phases_y = s.sh < s.kh ? s.sh : s.kh, p.phases_x = s.sw < s.kw ? s.sw : s.kw;
  p.top = s.ph, p.left = s.pw;
  p.pitch = conv_planes_are_image(s) ? s.width : s.out_w + (s.kw - 1) / s.sw;
  return p;
}

void conv_forward_offsets(const ConvShape& s, int64_t plane, int64_t pitch, int64_t* offset) {
  const int64_t phases_y = s.sh < s.kh ? s.sh : s.kh, phases_x = s.sw < s.kw ? s.sw : s.kw;
  for (int64_t c = 0; c < s.in; c++)
    for (int64_t ky = 0; ky < s.kh; ky++)
      for (int64_t kx = 0; kx < s.kw; kx++)
        *offset++ = ((c * phases_y + ky % s.sh) * phases_x + kx % s.sw) * plane + (ky / s.sh) * pitch + kx / s.sw;
}

}  // namespace tersor
