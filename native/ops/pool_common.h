// What the pooling ops share: window lists and the check of x [B, C, H, W] against them.
#pragma once
#include "ops/shape_list.h"

namespace tersor {

struct PoolWindow {
  int64_t kh, kw, sh, sw;
};

inline Status pool_window(const char* op, const IntList& kernel, const IntList& stride, PoolWindow* out) {
  if (kernel.n != 2 || stride.n != 2)
    return fail(Code::shape, "%s: kernel and stride must have 2 values, got %d and %d", op, kernel.n, stride.n);
  for (int i = 0; i < 2; i++)
    if (kernel.v[i] < 1 || stride.v[i] < 1 || kernel.v[i] > INT32_MAX || stride.v[i] > INT32_MAX)
      return fail(Code::option, "%s: kernel and stride must be in [1, 2^31), got kernel [%lld,%lld], stride [%lld,%lld]", op,
                  static_cast<long long>(kernel.v[0]), static_cast<long long>(kernel.v[1]), static_cast<long long>(stride.v[0]),
                  static_cast<long long>(stride.v[1]));
  *out = {kernel.v[0], kernel.v[1], stride.v[0], stride.v[1]};
  return {};
}

// Shape [B, C, ho, wo] of the pooled tensor; `x` needs shape and dtype only.
inline Status pool_output(const char* op, const TensorRef& x, const PoolWindow& window, int64_t out[4]) {
  TERSOR_TRY(expect_rank(op, "x", x, 4));
  if (x.shape[2] < window.kh || x.shape[3] < window.kw)
    return fail(Code::shape, "%s: kernel [%lld,%lld] does not fit in %s", op, static_cast<long long>(window.kh),
                static_cast<long long>(window.kw), TERSOR_TEXT(x));
  if (x.shape[3] > INT32_MAX || x.shape[2] > INT32_MAX || x.shape[2] * x.shape[3] > INT32_MAX)
    return fail(Code::limit, "%s: a plane must have fewer than 2^31 elements, got %s", op, TERSOR_TEXT(x));
  out[0] = x.shape[0];
  out[1] = x.shape[1];
  out[2] = (x.shape[2] - window.kh) / window.sh + 1;
  out[3] = (x.shape[3] - window.kw) / window.sw + 1;
  return {};
}

}  // namespace tersor
