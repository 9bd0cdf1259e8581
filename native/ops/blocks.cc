// block_encode(x f32 [.., n], format) -> blocks u8 [.., n / values * bytes]: each row as blocks of a GGUF format (kernels/blocks.h), n a multiple of the
// values of a block. block_decode is the way back. A value that is not finite, or too large for scales in half precision, is ERR_NUMERIC.
#include "kernels/blocks/blocks.h"

#include <atomic>

#include "ops/util.h"

namespace tersor {
namespace {

constexpr int64_t kDecodeChunk = 65536, kEncodeChunk = 8192;  // values per task

// The result has the shape of `in` with its last dimension `from` to `to` times as long.
Status scaled_rows(const char* op, const char* name, const TensorRef& in, int64_t from, int64_t to, DType dtype, TensorRef& out) {
  if (in.rank == 0 || in.shape[in.rank - 1] % from != 0)
    return fail(Code::shape, "%s: the last dimension of %s must be a multiple of %lld, got %s", op, name, static_cast<long long>(from), TERSOR_TEXT(in));
  int64_t shape[8];
  for (int i = 0; i < in.rank; i++) shape[i] = in.shape[i];
  shape[in.rank - 1] = shape[in.rank - 1] / from * to;
  set_shape(out, dtype, shape, in.rank);
  return {};
}

BlockSize size_of(block_format format) { return kBlockSizes[static_cast<int>(format)]; }

}  // namespace

Status block_encode_infer(block_encode_args& a) {
  TERSOR_TRY(expect_dtype("block_encode", "x", a.x, DType::f32));
  const BlockSize size = size_of(a.format);
  return scaled_rows("block_encode", "x", a.x, size.values, size.bytes, DType::u8, a.blocks);
}

Status block_encode_cpu(block_encode_args& a, Context& ctx) {
  const BlockSize size = size_of(a.format);
  const int64_t n = a.x.size();
  Contiguous x;
  TERSOR_TRY(x.open("block_encode", a.x, ctx.cancel));
  std::atomic<int64_t> bad{n};
  TERSOR_TRY(parallel_for(n / size.values, kEncodeChunk / size.values, ctx.cancel, [&](int64_t begin, int64_t end) {
    const BlocksArgs run = {x.as<float>() + begin * size.values, a.blocks.as<uint8_t>() + begin * size.bytes, end - begin, static_cast<BlockFormat>(a.format)};
    const int64_t found = blocks_encode(run);
    if (found < 0) return;
    int64_t seen = bad.load();
    while (begin * size.values + found < seen && !bad.compare_exchange_weak(seen, begin * size.values + found)) {
    }
  }));
  const int64_t i = bad.load();
  if (i == n) return {};
  return fail(Code::numeric, "block_encode: values must be finite and at most %g in magnitude, got %g at position %lld", static_cast<double>(kLargestInBlock),
              static_cast<double>(x.as<float>()[i]), static_cast<long long>(i));
}

Status block_decode_infer(block_decode_args& a) {
  TERSOR_TRY(expect_dtype("block_decode", "blocks", a.blocks, DType::u8));
  const BlockSize size = size_of(a.format);
  return scaled_rows("block_decode", "blocks", a.blocks, size.bytes, size.values, DType::f32, a.x);
}

Status block_decode_cpu(block_decode_args& a, Context& ctx) {
  const BlockSize size = size_of(a.format);
  Contiguous blocks;
  TERSOR_TRY(blocks.open("block_decode", a.blocks, ctx.cancel));
  return parallel_for(a.blocks.size() / size.bytes, kDecodeChunk / size.values, ctx.cancel, [&](int64_t begin, int64_t end) {
    blocks_decode({blocks.as<uint8_t>() + begin * size.bytes, a.x.as<float>() + begin * size.values, end - begin, static_cast<BlockFormat>(a.format)});
  });
}

}  // namespace tersor
