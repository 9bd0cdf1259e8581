// Bit sets (bit i of byte i / 8, least significant first, belongs to element i) and the passes that select the k largest.
// Scores x are f32 or f64 (the _f64 variants); with `magnitude` the kernels of selection read |x|.
//   mark:    mask bit = x > t (NaN: no); bits past n in the last byte are 0. Returns how many bits are set; *ties = how many x == t.
//   bracket: mask bit = x > hi, inside bit = lo <= x <= hi; the values inside go to `values` in order (bits of x or |x|). *ties counts all
//            of them; the first `capacity` are kept. values has capacity + kTopkRoom entries, of which those behind the kept ones may be
//            overwritten with anything. Returns how many mask bits are set. lo <= hi.
//   deposit: bit j of `values`, a bit set with as many bits as `inside` has ones, is or-ed to the mask at the j-th one of inside.
//   nm:      groups of m values (n is a multiple of m; m = 2, 4 or 8): mask bit = x is among the `keep` largest of its group, ties by
//            lowest index, NaN ranks lowest. 0 <= keep <= m.
//   pack:    mask bit = (x != 0), NaN counts as nonzero; x has 4-byte elements that are floats.
//   unpack:  out[i] = bit ? 1.0f : 0.0f
//   apply:   out[i] = bit ? x[i] : +0, 4-byte elements, bits copied as they are. out may be x.
// lo, hi, t are ordinary numbers or infinities, not NaN; +0 equals -0. mask and inside have (n + 7) / 8 bytes; nothing outside is touched;
// no alignment is assumed.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

constexpr int64_t kTopkRoom = 80;

struct TopkArgs {
  const void* x;
  int64_t n;
  double lo, hi;  // mark: hi = t. Values of x's type
  bool magnitude;
  uint8_t* mask;
  uint8_t* inside;
  float* out;    // unpack, apply
  void* values;  // floats or doubles; deposit: bits, readable to 8 bytes behind the last
  int64_t capacity;
  int64_t ties;
  int m, keep;  // nm
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
  TopkKernel mark[2], bracket[2];  // f32, f64
  TopkKernel deposit, nm, pack, unpack, apply;
};

int topk_rows(RowInfo* out, int capacity);
int topk_table(const TopkRow** rows);  // all rows, for tests
const TopkKernels& topk_kernels();     // the chosen row of each variant

}  // namespace tersor
