// qgemm_pack(w i8 [N,K]) -> packed u8 [bytes]: a weight in the layout of the kernel rows of this process (opaque; do not store it).
// qgemm_s32(x u8 or i8 [...,K], packed, x_zeros i32 [rows]?, w_zeros i32 [out]?, out, x_zero) -> y [...,out] = sum_k (x - x_zero) * (w - w_zero),
// exact: i32 where every result of these forms and this K fits, else i64.
#include "ops/qgemm_product.h"

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

namespace {
QgemmInput input_of(qgemm_s32_args& a) {
  QgemmInput in{"qgemm_s32", QgemmForm::codes, &a.x, &a.packed, a.out};
  in.x_zero = a.x_zero, in.x_zeros = &a.x_zeros, in.w_zeros = &a.w_zeros;
  return in;
}
}  // namespace

Status qgemm_s32_infer(qgemm_s32_args& a) {
  const QgemmInput in = input_of(a);
  TERSOR_TRY(qgemm_check(in));
  qgemm_result(in, qgemm_needs_64(in) ? DType::i64 : DType::i32, a.y);
  return {};
}

Status qgemm_s32_cpu(qgemm_s32_args& a, Context& ctx) {
  QgemmFinish f;
  f.y = a.y.data, f.y_row = a.out;
  return qgemm_product(input_of(a), f, ctx.cancel);
}

}  // namespace tersor
