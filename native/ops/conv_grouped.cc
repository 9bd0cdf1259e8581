#include "ops/conv_grouped.h"

namespace tersor {
namespace {

constexpr int64_t kMax = int64_t(1) << 24, kMaxSize = int64_t(1) << 30;

Status check_list(const char* op, const char* name, const IntList& list, int n, int64_t least) {
  if (list.n != n) return fail(Code::option, "%s: %s must have %d values, got %d", op, name, n, list.n);
  for (int i = 0; i < n; i++)
    if (list.v[i] < least || list.v[i] > kMax)
      return fail(Code::option, "%s: %s must be in [%lld, 2^24], got %lld at position %d", op, name, static_cast<long long>(least),
                  static_cast<long long>(list.v[i]), i);
  return {};
}

}  // namespace

Status grouped_shape(const char* op, const int64_t x[4], const int64_t w[4], const GroupedAttributes& a, GroupedShape* out) {
  TERSOR_TRY(check_list(op, "stride", a.stride, 2, 1));
  TERSOR_TRY(check_list(op, "padding", a.padding, 4, 0));
  TERSOR_TRY(check_list(op, "dilation", a.dilation, 2, 1));
  if (a.groups < 1 || a.groups > kMaxSize) return fail(Code::option, "%s: groups must be >= 1, got %lld", op, static_cast<long long>(a.groups));
  for (int i = 0; i < 4; i++)
    if (x[i] > kMaxSize || w[i] > kMaxSize) return fail(Code::limit, "%s: a dimension is beyond 2^30", op);
  if (x[1] % a.groups != 0 || x[1] / a.groups != w[1] || w[0] % a.groups != 0)
    return fail(Code::shape, "%s: %lld groups of weights [%lld,%lld,..] do not fit %lld input channels", op, static_cast<long long>(a.groups),
                static_cast<long long>(w[0]), static_cast<long long>(w[1]), static_cast<long long>(x[1]));
  if (w[1] * w[2] > kMaxSize || w[1] * w[2] * w[3] > kMaxSize) return fail(Code::limit, "%s: more than 2^30 weights per output channel", op);
  GroupedShape s;
  s.batch = x[0], s.in = x[1], s.height = x[2], s.width = x[3];
  s.out = w[0], s.kh = w[2], s.kw = w[3];
  s.groups = a.groups, s.group_in = w[1], s.group_out = w[0] / a.groups;
  s.sh = a.stride.v[0], s.sw = a.stride.v[1];
  s.top = a.padding.v[0], s.left = a.padding.v[2];
  s.dh = a.dilation.v[0], s.dw = a.dilation.v[1];
  if (s.kh < 1 || s.kw < 1)
    return fail(Code::shape, "%s: the kernel must be at least 1x1, got %lldx%lld", op, static_cast<long long>(s.kh), static_cast<long long>(s.kw));
  if (s.span_h() > kMaxSize || s.span_w() > kMaxSize) return fail(Code::limit, "%s: the dilated kernel is beyond 2^30", op);
  const int64_t tall = s.height + s.top + a.padding.v[1], wide = s.width + s.left + a.padding.v[3];
  if (tall <= s.span_h() || wide <= s.span_w())
    return fail(Code::shape, "%s: the dilated kernel %lldx%lld is larger than the padded input %lldx%lld", op, static_cast<long long>(s.span_h() + 1),
                static_cast<long long>(s.span_w() + 1), static_cast<long long>(tall), static_cast<long long>(wide));
  s.out_h = (tall - s.span_h() - 1) / s.sh + 1, s.out_w = (wide - s.span_w() - 1) / s.sw + 1;
  *out = s;
  return {};
}

ConvPlanes grouped_planes(const GroupedShape& s) {
  ConvPlanes p;
  p.channels = s.group_in, p.height = s.height, p.width = s.width;
  p.sh = s.sh, p.sw = s.sw;
  p.phases_y = s.sh < s.span_h() + 1 ? s.sh : s.span_h() + 1, p.phases_x = s.sw < s.span_w() + 1 ? s.sw : s.span_w() + 1;
  p.top = s.top, p.left = s.left;
  p.pitch = s.out_w + s.span_w() / s.sw;
  return p;
}

void grouped_offsets(const GroupedShape& s, int64_t plane, int64_t pitch, int64_t* offset) {
  const ConvPlanes p = grouped_planes(s);
  for (int64_t c = 0; c < s.group_in; c++)
    for (int64_t ky = 0; ky < s.kh; ky++)
      for (int64_t kx = 0; kx < s.kw; kx++) {
        const int64_t y = ky * s.dh, x = kx * s.dw;
        *offset++ = ((c * p.phases_y + y % s.sh) * p.phases_x + x % s.sw) * plane + y / s.sh * pitch + x / s.sw;
      }
}

}  // namespace tersor
