// Random f32 numbers from Philox4x32-10 (base/random.h). Element i takes word (i / 16) % 4 of the block with
//   counter = ((i / 64) * 16 + i % 16, stream), key = seed
// so 64 elements come from 16 blocks and vectors are stored without shuffling. With r a word:
//   uniform: (r >> 8) 2^-24, in [0, 1)
//   normal (Box and Muller 1958): words 0, 1 (and 2, 3) of a block make a pair  rho cos t, rho sin t,  rho = sqrt(-2 log u), u = ((r0 >> 8) + 1) 2^-24 in (0, 1],
//           t = 2 pi (r1 >> 8) 2^-24; |value| <= 5.77
// `first`, the position of y[0], must be a multiple of 64. No alignment is assumed. All rows of the table give identical bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

struct RandomArgs {
  float* y;
  int64_t first, n;
  uint64_t seed, stream;
  bool normal;
};

constexpr int64_t kRandomGroup = 64;

using RandomKernel = void (*)(const RandomArgs&);
struct RandomRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  RandomKernel kernel;
};

#define TERSOR_RANDOM(variant, needs, function) void function(const RandomArgs& a);
#include "kernels/random/kernels.inc"
#undef TERSOR_RANDOM

int random_rows(RowInfo* out, int capacity);
int random_table(const RandomRow** rows);  // all rows, for tests

void random(const RandomArgs& a);  // the chosen row

}  // namespace tersor
