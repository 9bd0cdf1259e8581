// Values in the block formats of ggml (ggml-common.h: block_q8_0, block_q4_0, block_q4_1, block_q4_K, block_q6_K), little-endian:
//
//   q8_0   32 values   f16 d | 32 x i8               x = d q
//   q4_0   32 values   f16 d | 16 bytes              x = d (q - 8); low halves of the bytes are values 0-15, high halves 16-31
//   q4_1   32 values   f16 d | f16 m | 16 bytes      x = d q + m
//   q4_k  256 values   f16 d | f16 e | 12 bytes | 128 bytes    x = d s q - e m; 8 parts of 32 values, 6-bit s and m in the 12 bytes
//   q6_k  256 values   128 bytes: low 4 bits | 64 bytes: high 2 bits | 16 x i8 s | f16 d   x = d s (q - 32); 16 parts of 16 values
//
//   decode: out f32 = the values, one rounding each. Any bytes are legal.
//   encode: out = blocks for the values; scales are searched for (fit.h). Returns the first value that is not finite or larger in magnitude than
//           kLargestInBlock, else -1; out is then not to be used.
// Exactly `blocks` blocks are read and written; no alignment is assumed; in and out do not overlap. All rows give the same bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

enum class BlockFormat : int { q8_0, q4_0, q4_1, q4_k, q6_k };
struct BlockSize {
  int values, bytes;
};
constexpr BlockSize kBlockSizes[] = {{32, 34}, {32, 18}, {32, 20}, {256, 144}, {256, 210}};
constexpr float kLargestInBlock = 65504.0f;  // the largest half: the offset of q4_1 is one

struct BlocksArgs {
  const void* in;
  void* out;
  int64_t blocks;
  BlockFormat format;
};
using BlocksKernel = int64_t (*)(const BlocksArgs&);
struct BlocksRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  BlocksKernel kernel;
};

#define TERSOR_BLOCKS(variant, needs, function) int64_t function(const BlocksArgs& a);
#include "kernels/blocks/kernels.inc"
#undef TERSOR_BLOCKS

int blocks_rows(RowInfo* out, int capacity);
int blocks_table(const BlocksRow** rows);  // all rows, for tests
int64_t blocks_encode(const BlocksArgs& a);
int64_t blocks_decode(const BlocksArgs& a);

}  // namespace tersor
