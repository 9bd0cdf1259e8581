// sparse_encode(q i8 [rows, cols]) -> code u8 [n] and back: the on-disk form of pruned and quantized weights (codecs/sparse_code.h).
#include "codecs/sparse_code.h"

#include "ops/shape_list.h"

namespace tersor {

Status sparse_encode_infer(sparse_encode_args& a) {
  TERSOR_TRY(expect_dtype("sparse_encode", "q", a.q, DType::i8));
  TERSOR_TRY(expect_rank("sparse_encode", "q", a.q, 2));
  const int64_t bound = sparse_code_bound(a.q.shape[0], a.q.shape[1]);
  set_shape(a.code, DType::u8, &bound, 1);
  return {};
}

Status sparse_encode_cpu(sparse_encode_args& a, Context& ctx) {
  Contiguous q;
  TERSOR_TRY(q.open("sparse_encode", a.q, ctx.cancel));
  Scratch workspace;
  TERSOR_TRY(workspace.reserve("sparse_encode", sparse_code_workspace(a.q.size() ? a.q.shape[1] : 0)));
  return sparse_code_encode(q.as<int8_t>(), a.q.shape[0], a.q.shape[1], workspace.as<void>(), ctx.cancel, a.code.as<uint8_t>(), &a.code.shape[0]);
}

Status sparse_decode_infer(sparse_decode_args& a) {
  TERSOR_TRY(expect_dtype("sparse_decode", "code", a.code, DType::u8));
  TERSOR_TRY(expect_rank("sparse_decode", "code", a.code, 1));
  if (a.shape.n != 2) return fail(Code::shape, "sparse_decode: shape must be [rows, cols], got %d values", a.shape.n);
  return shape_from_list("sparse_decode", "shape", a.shape, DType::i8, a.q);
}

Status sparse_decode_cpu(sparse_decode_args& a, Context& ctx) {
  Contiguous code;
  TERSOR_TRY(code.open("sparse_decode", a.code, ctx.cancel));
  Scratch workspace;
  TERSOR_TRY(workspace.reserve("sparse_decode", sparse_code_workspace(a.q.size() ? a.q.shape[1] : 0)));
  return sparse_code_decode(code.as<uint8_t>(), a.code.shape[0], a.q.shape[0], a.q.shape[1], workspace.as<void>(), ctx.cancel, a.q.as<int8_t>());
}

}  // namespace tersor
