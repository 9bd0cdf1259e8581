// What the pooling ops share: the window, its checks, the shape of the result, and the part of a window that lies in the plane.
#pragma once
#include "ops/shape_list.h"

namespace tersor {

struct PoolWindow {
  int64_t kh, kw, sh, sw, ph, pw;
  bool ceil;
};

inline Status pool_window(const char* op, const IntList& kernel, const IntList& stride, const IntList& padding, bool ceil, PoolWindow* out) {
  if (kernel.n != 2 || stride.n != 2 || padding.n != 2)
    return fail(Code::shape, "%s: kernel, stride and padding must have 2 values, got %d, %d and %d", op, kernel.n, stride.n, padding.n);
  for (int i = 0; i < 2; i++) {
    if (kernel.v[i] < 1 || stride.v[i] < 1 || kernel.v[i] > INT32_MAX || stride.v[i] > INT32_MAX)
      return fail(Code::option, "%s: kernel and stride must be in [1, 2^31), got kernel [%lld,%lld], stride [%lld,%lld]", op,
                  static_cast<long long>(kernel.v[0]), static_cast<long long>(kernel.v[1]), static_cast<long long>(stride.v[0]),
                  static_cast<long long>(stride.v[1]));
    if (padding.v[i] < 0 || padding.v[i] > kernel.v[i] / 2)  // then every window holds an element
      return fail(Code::option, "%s: padding must be in [0, kernel / 2], got [%lld,%lld]", op, static_cast<long long>(padding.v[0]),
                  static_cast<long long>(padding.v[1]));
  }
  *out = {kernel.v[0], kernel.v[1], stride.v[0], stride.v[1], padding.v[0], padding.v[1], ceil};
  return {};
}

// Windows along one axis. A window that `ceil` adds must begin before the end of the data, padding behind it not counted.
inline int64_t pool_positions(int64_t size, int64_t kernel, int64_t stride, int64_t padding, bool ceil) {
  const int64_t room = size + 2 * padding - kernel;
  if (!ceil) return room / stride + 1;
  const int64_t n = (room + stride - 1) / stride + 1;
  return (n - 1) * stride >= size + padding ? n - 1 : n;
}

// Shape [B, C, ho, wo] of the pooled tensor; `x` needs shape and dtype only.
inline Status pool_output(const char* op, const TensorRef& x, const PoolWindow& window, int64_t out[4]) {
  TERSOR_TRY(expect_rank(op, "x", x, 4));
  if (x.shape[2] > INT32_MAX || x.shape[3] > INT32_MAX || x.shape[2] * x.shape[3] > INT32_MAX)
    return fail(Code::limit, "%s: a plane must have fewer than 2^31 elements, got %s", op, TERSOR_TEXT(x));
  if (x.shape[2] < 1 || x.shape[3] < 1 || x.shape[2] + 2 * window.ph < window.kh || x.shape[3] + 2 * window.pw < window.kw)
    return fail(Code::shape, "%s: kernel [%lld,%lld] does not fit in %s", op, static_cast<long long>(window.kh),
                static_cast<long long>(window.kw), TERSOR_TEXT(x));
  out[0] = x.shape[0];
  out[1] = x.shape[1];
  out[2] = pool_positions(x.shape[2], window.kh, window.sh, window.ph, window.ceil);
  out[3] = pool_positions(x.shape[3], window.kw, window.sw, window.pw, window.ceil);
  return {};
}

// The part [begin, end) of window i along one axis that lies in the data, and how many places of it lie in data or padding.
struct PoolSpan {
  int64_t begin, end, padded;
};
inline PoolSpan pool_span(int64_t i, int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t first = i * stride - padding, last = first + kernel;
  return {first > 0 ? first : 0, last < size ? last : size, (last < size + padding ? last : size + padding) - first};
}

// True when no window reaches outside: the kernels of kernels/pool apply.
inline bool pool_inside(const PoolWindow& w, int64_t h, int64_t width, int64_t ho, int64_t wo) {
  return w.ph == 0 && w.pw == 0 && (ho - 1) * w.sh + w.kh <= h && (wo - 1) * w.sw + w.kw <= width;
}

}  // namespace tersor
