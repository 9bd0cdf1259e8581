// Groups of rows of a sparse W that share loads of x: y = W x for lanes of vectors that lie side by side, on one thread.
//
// The rows of W are taken R at a time. For each panel of columns a group has 2^R - 1 lists: list p - 1 holds the columns that are stored in exactly those rows whose
// bits are set in p. A column's values lie together, one per row of p. So x is read once for all rows that need it, nothing is multiplied that is not
// stored, and there is no branch but the end of a list.
//
// Contract:
// - groups in a row: group g has the counts counts[g * (2^R - 1) ..]; columns and values of all lists follow one another, from `columns` and `values` on.
// - y[(g * R + i) * y_pitch + lane] (+)= sum over the entries of row i of value * x[column * x_pitch + lane], for g * R + i < rows and lane < lanes. Columns
//   are in range: the caller checked them, and the counts.
// - rows of a group from `rows` on have no entries; they are not stored.
// - ahead: while group g is summed, the second cache level is asked for ahead_bytes from ahead + r * ahead_pitch for each of its rows r: only a hint.
// - sums run in the order of the lists, which depends on W and R alone. Tolerance, alignment and NaN as in spmm.h.
#pragma once
#include "kernels/spmm/spmm.h"

namespace tersor {

constexpr int kSpmmGroupRows = 4;  // at most
// Rows that list p stands for.
constexpr int spmm_rows_in(int p) { return p ? (p & 1) + spmm_rows_in(p >> 1) : 0; }

struct SpmmGroups {
  int group_rows = 0, lanes = 0;  // a pair that the row of the table has
  int64_t groups = 0, rows = 0;
  const uint16_t* counts = nullptr;
  const uint16_t* columns = nullptr;
  const float* values = nullptr;
  const float* x = nullptr;
  float* y = nullptr;
  int64_t x_pitch = 0, y_pitch = 0;
  bool accumulate = false;
  const float* ahead = nullptr;
  int64_t ahead_pitch = 0, ahead_bytes = 0;
};

struct SpmmGroupForm {
  int rows, lanes;
};

struct SpmmGroupedRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  SpmmGroupForm dense, sparse;  // for matrices with at least / less than a quarter of their values
  void (*kernel)(const SpmmGroups&);
};

#define TERSOR_SPMM_GROUPED(variant, needs, function, r0, l0, r1, l1) void function(const SpmmGroups&);
#include "kernels/spmm/grouped.inc"
#undef TERSOR_SPMM_GROUPED

const SpmmGroupedRow& spmm_grouped_row();  // the chosen row; its lanes are 0 where groups do not pay
int spmm_grouped_table(const SpmmGroupedRow** rows);
int spmm_grouped_rows(RowInfo* out, int capacity);

}  // namespace tersor
