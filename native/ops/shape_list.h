// Shapes that callers give as lists: dimensions >= 0, a byte count that fits in 63 bits.
#pragma once
#include "base/checked.h"
#include "ops/util.h"

namespace tersor {

// Sets shape and dtype of `out` from `list`; `name` is the argument's name for messages.
inline Status shape_from_list(const char* op, const char* name, const IntList& list, DType dtype, TensorRef& out) {
  int64_t bytes = dtype_bytes(dtype);
  bool empty = false;
  for (int i = 0; i < list.n; i++) {
    if (list.v[i] < 0) return fail(Code::shape, "%s: %s[%d] must be >= 0, got %lld", op, name, i, static_cast<long long>(list.v[i]));
    empty = empty || list.v[i] == 0;
  }
  for (int i = 0; i < list.n && !empty; i++)
    if (mul_overflows(bytes, list.v[i], &bytes)) return fail(Code::limit, "%s: %s asks for more than 2^63 bytes", op, name);
  set_shape(out, dtype, list.v, list.n);
  return {};
}

}  // namespace tersor
