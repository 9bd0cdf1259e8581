// A tensor as [outer, n, inner] around one axis, and the cut of outer x inner into tasks.
#pragma once
#include "ops/util.h"

namespace tersor {

struct AxisLoop {
  int64_t outer = 1, n = 1, inner = 1;
};

inline Status axis_loop(const char* op, const TensorRef& x, int64_t axis, int* at, AxisLoop* out) {
  if (x.rank < 1 || axis < -x.rank || axis >= x.rank)
    return fail(Code::shape, "%s: axis must be in [%d, %d), got %lld (x: %s)", op, -x.rank, x.rank, static_cast<long long>(axis), TERSOR_TEXT(x));
  *at = static_cast<int>(axis < 0 ? axis + x.rank : axis);
  *out = {};
  for (int i = 0; i < x.rank; i++) (i < *at ? out->outer : i == *at ? out->n : out->inner) *= x.shape[i];
  return {};
}

// body(outer, first, count): columns [first, first + count) of one outer index. Each column belongs to one call.
template <class Body> Status for_columns(const AxisLoop& l, int64_t rows, const Cancel* cancel, Body body) {
  constexpr int64_t kColumns = 1024;
  const int64_t parts = (l.inner + kColumns - 1) / kColumns, width = l.inner < kColumns ? l.inner : kColumns;
  return parallel_for(l.outer * parts, grain_for(4 * rows * width), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t first = t % parts * kColumns;
      body(t / parts, first, l.inner - first < kColumns ? l.inner - first : kColumns);
    }
  });
}

}  // namespace tersor
