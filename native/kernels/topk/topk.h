// Bit sets (bit i of byte i / 8, least significant first, belongs to element i) and the passes that select the k largest.
//   mark:    mask bit = x > t (NaN: no); bits past n in the last byte are 0. Returns how many bits are set; *ties = how many x == t.
//   bracket: mask bit = x > hi; the elements with lo <= x <= hi go to values / positions (bits of x; position in this call's range,
//            ascending). *ties counts all of them; the first `capacity` are kept. Both arrays have capacity + kTopkRoom entries, of which
//            those behind the kept ones may be overwritten with anything. Returns how many bits are set.
//   pack:    mask bit = (x != 0), NaN counts as nonzero; x has 4-byte elements that are floats.
//   unpack:  out[i] = bit ? 1.0f : 0.0f
//   apply:   out[i] = bit ? x[i] : +0, 4-byte elements, bits copied as they are. out may be x.
// lo, hi, t are ordinary numbers or infinities, not NaN. mask has (n + 7) / 8 bytes; nothing outside is touched; no alignment is assumed.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

constexpr int64_t kTopkRoom = 16;

struct TopkArgs {
  const float* x;
  int64_t n;
  float lo, hi;  // mark: hi = t
  uint8_t* mask;
  float* out;  // unpack, apply
  uint32_t* values;
  int32_t* positions;
  int64_t capacity;
  int64_t ties;
};

using TopkKernel = int64_t (*)(TopkArgs&);
struct TopkRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  TopkKernel kernel;
};

#define TERSOR_TOPK(variant, needs, function) int64_t function(TopkArgs& a);
#include "kernels/topk/kernels.inc"
#undef TERSOR_TOPK

struct TopkKernels {
  TopkKernel mark, bracket, pack, unpack, apply;
};

int topk_rows(RowInfo* out, int capacity);
int topk_table(const TopkRow** rows);  // all rows, for tests
const TopkKernels& topk_kernels();     // the chosen row of each variant

}  // namespace tersor
