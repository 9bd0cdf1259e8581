// Rows of a table by index.
//   copy:    out row i = table row index[i]; rows are `row_bytes` long, `stride` bytes apart in the table, dense in out.
//   sum_f32: out[j] = sum over i = 0 .. count-1, in this order, starting from +0, of float(table row index[i])[j], j < row_bytes / 4.
// Every index must be a valid row: nothing is checked here. Exactly the named bytes are read and written; no alignment is assumed;
// out does not overlap the inputs. All rows of the table below give identical bits (lanes never mix).
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

struct GatherArgs {
  const void* table;
  int64_t stride;
  int64_t row_bytes;
  const int32_t* index;
  int64_t count;
  void* out;
};

using GatherKernel = void (*)(const GatherArgs&);
struct GatherRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  GatherKernel kernel;
};

#define TERSOR_GATHER(variant, needs, function) void function(const GatherArgs& a);
#include "kernels/gather/kernels.inc"
#undef TERSOR_GATHER

int gather_rows(RowInfo* out, int capacity);
int gather_table(const GatherRow** rows);  // all rows, for tests
GatherKernel gather_copy();
GatherKernel gather_sum_f32();

}  // namespace tersor
