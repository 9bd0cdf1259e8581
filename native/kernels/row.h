// A kernel row: which function of a family runs on which processor. Each family has kernels.inc (rows, best first, the last one is the
// scalar reference) and reads it several times: declarations, the table, tests, benches. Selection happens once per process.
#pragma once
#include <cstdint>

#include "cpu/isa.h"

namespace tersor {

// One row of any family, as `devices --verbose` shows it.
struct RowInfo {
  const char* family;
  const char* variant;   // what the row computes, for example "u8s8s32"
  const char* function;
  uint32_t needs;        // isa:: features
  bool usable;           // allowed on this machine under the cap
  bool chosen;           // first usable row of its (family, variant) that is not passed over
  const char* passed_over = nullptr;  // why a row that may run is left out on this processor, or null
};

// First usable row of a best-first table; the last row needs nothing.
template <class Row, int N> const Row& select_row(const Row (&rows)[N]) {
  const uint32_t allowed = isa::allowed();
  for (const Row& row : rows)
    if ((row.needs & ~allowed) == 0) return row;
  return rows[N - 1];
}

// All rows of all families, in the order of kernels/families.inc. Returns the number of rows; writes at most `capacity`.
int all_rows(RowInfo* out, int capacity);

}  // namespace tersor
