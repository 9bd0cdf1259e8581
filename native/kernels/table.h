// Helpers for families whose table holds several variants: a row has `variant`, `needs`, `function` and `kernel`.
#pragma once
#include <cstring>

#include "kernels/row.h"

namespace tersor {

template <class Row, int N> const Row& select_variant(const Row (&rows)[N], const char* variant) {
  const uint32_t allowed = isa::allowed();
  const Row* last = &rows[N - 1];
  for (const Row& row : rows) {
    if (strcmp(row.variant, variant) != 0) continue;
    if ((row.needs & ~allowed) == 0) return row;
    last = &row;
  }
  return *last;
}

template <class Row, int N> int describe_rows(const char* family, const Row (&rows)[N], RowInfo* out, int capacity) {
  const uint32_t allowed = isa::allowed();
  for (int i = 0; i < N && i < capacity; i++) {
    const bool usable = (rows[i].needs & ~allowed) == 0;
    const bool chosen = usable && &select_variant(rows, rows[i].variant) == &rows[i];
    out[i] = {family, rows[i].variant, rows[i].function, rows[i].needs, usable, chosen};
  }
  return N;
}

}  // namespace tersor
