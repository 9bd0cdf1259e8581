// qgemm_pack(w i8 [N,K]) -> packed u8 [bytes]: a weight in the layout of the kernel row of this process (opaque; do not store it).
// qgemm_s32(x u8 [M,K], w i8 [N,K], x_zero) -> y i32 [M,N] = sum_k (x - x_zero) * w, exact. Packs on every call: for tests and one-off use.
#include "ops/qgemm_run.h"

namespace tersor {

Status qgemm_pack_infer(qgemm_pack_args& a) {
  TERSOR_TRY(expect_dtype("qgemm_pack", "w", a.w, DType::i8));
  TERSOR_TRY(expect_rank("qgemm_pack", "w", a.w, 2));
  TERSOR_TRY(qgemm_check_depth("qgemm_pack", a.w.shape[1]));
  const int64_t bytes = qgemm_blob_bytes(qgemm_layout(), a.w.shape[0], a.w.shape[1]);
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status qgemm_pack_cpu(qgemm_pack_args& a, Context& ctx) {
  Contiguous w;
  TERSOR_TRY(w.open("qgemm_pack", a.w, ctx.cancel));
  return qgemm_pack_parallel("qgemm_pack", w.as<int8_t>(), a.w.shape[1], a.w.shape[0], a.w.shape[1], a.packed.data, ctx.cancel);
}

Status qgemm_s32_infer(qgemm_s32_args& a) {
  constexpr const char* op = "qgemm_s32";
  TERSOR_TRY(expect_dtype(op, "x", a.x, DType::u8));
  TERSOR_TRY(expect_dtype(op, "w", a.w, DType::i8));
  TERSOR_TRY(expect_rank(op, "x", a.x, 2));
  TERSOR_TRY(expect_rank(op, "w", a.w, 2));
  if (a.x.shape[1] != a.w.shape[1])
    return fail(Code::shape, "%s: x and w must have equally many columns, got %s and %s", op, TERSOR_TEXT(a.x), TERSOR_TEXT(a.w));
  TERSOR_TRY(qgemm_check_depth(op, a.x.shape[1]));
  if (a.x_zero < 0 || a.x_zero > 255) return fail(Code::option, "%s: x_zero must be in [0, 255], got %lld", op, static_cast<long long>(a.x_zero));
  const int64_t shape[2] = {a.x.shape[0], a.w.shape[0]};
  set_shape(a.y, DType::i32, shape, 2);
  return {};
}

Status qgemm_s32_cpu(qgemm_s32_args& a, Context& ctx) {
  constexpr const char* op = "qgemm_s32";
  const int64_t m = a.x.shape[0], n = a.w.shape[0], k = a.x.shape[1];
  if (m == 0 || n == 0) return {};
  const QgemmLayout& layout = qgemm_layout();
  Contiguous x, w;
  TERSOR_TRY(x.open(op, a.x, ctx.cancel));
  TERSOR_TRY(w.open(op, a.w, ctx.cancel));
  Scratch blob;
  TERSOR_TRY(blob.reserve(op, qgemm_blob_bytes(layout, n, k)));
  TERSOR_TRY(qgemm_pack_parallel(op, w.as<int8_t>(), k, n, k, blob.as<void>(), ctx.cancel));
  const int32_t zero = static_cast<int32_t>(a.x_zero);
  QgemmFinish f;
  f.x_zero = &zero;
  f.column = qgemm_blob_sums(blob.as<void>());
  f.y = a.y.data, f.y_row = n;
  return qgemm_parallel({x.data(), k, false}, m, blob.as<void>(), n, k, f, ctx.cancel);  // every block has slack behind it for the padding of k
}

}  // namespace tersor
