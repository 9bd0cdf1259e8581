#include "kernels/blocks/blocks.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/blocks/generic.h"

namespace tersor {

int64_t blocks_encode_1_scalar(const BlocksArgs& a) { return encode_run<simd::F32>(a); }
int64_t blocks_decode_1_scalar(const BlocksArgs& a) { return decode_run(a); }

namespace {
const BlocksRow kRows[] = {
#define TERSOR_BLOCKS(variant, needs, function) {variant, needs, #function, function},
#include "kernels/blocks/kernels.inc"
#undef TERSOR_BLOCKS
};
}  // namespace

int blocks_rows(RowInfo* out, int capacity) { return describe_rows("blocks", kRows, out, capacity); }
int blocks_table(const BlocksRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}
int64_t blocks_encode(const BlocksArgs& a) {
  static const BlocksKernel chosen = select_variant(kRows, "encode").kernel;
  return chosen(a);
}
int64_t blocks_decode(const BlocksArgs& a) {
  static const BlocksKernel chosen = select_variant(kRows, "decode").kernel;
  return chosen(a);
}

}  // namespace tersor
