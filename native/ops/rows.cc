// mask_indices(mask u8 [ceil(size / 8)], size) -> index i32 [ones]: places of the ones, ascending.
// rows_dot(x f32 [M,K], w f32 | i8 [N,K], scale f32 [N] | [1]?, bias f32 [N]?, index i32 [S], offsets i32 [M + 1]?, base f32 [M,N]?) -> y
//   exact products of selected rows of w, y = sum_k x w * scale + bias; memory of other rows is not touched. scale goes with i8 weights (and only them).
//   - index alone: one ascending list for all rows of x; y is [M,S]
//   - with offsets: row i of x has the list index[offsets[i] .. offsets[i + 1]), ascending; y is [S]
//   - with base: y is [M,N], base where nothing was selected
// w may be a view whose rows are contiguous. Source: Liu et al., "Boosting deep neural network efficiency with dual-module inference", ICML 2020, section 4.
#include <cstring>

#include "kernels/rows/rows.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr const char* kOp = "rows_dot";

// Entries [first, last) of index must ascend and lie in [0, n).
Status check_list(const int32_t* index, int64_t first, int64_t last, int64_t n) {
  for (int64_t i = first; i < last; i++) {
    if (index[i] < 0 || index[i] >= n)
      return fail(Code::option, "%s: indices must be in [0, %lld), got %d at %lld", kOp, static_cast<long long>(n), index[i], static_cast<long long>(i));
    if (i > first && index[i] <= index[i - 1])
      return fail(Code::option, "%s: indices must ascend, got %d then %d at %lld", kOp, index[i - 1], index[i], static_cast<long long>(i));
  }
  return {};
}

Status check_offsets(const int32_t* offsets, int64_t m, int64_t count) {
  for (int64_t i = 0; i < m; i++)
    if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || offsets[i + 1] > count)
      return fail(Code::option, "%s: offsets must rise from 0 to the number of indices %lld, got %d then %d at %lld", kOp, static_cast<long long>(count), offsets[i],
                  offsets[i + 1], static_cast<long long>(i));
  if (offsets[0] == 0 && offsets[m] == count) return {};
  return fail(Code::option, "%s: offsets must rise from 0 to the number of indices %lld, got %d and %d at the ends", kOp, static_cast<long long>(count), offsets[0],
              offsets[m]);
}

// The list of d, shared among threads.
Status run_list(RowsDot d, bool codes, int64_t count, const Cancel* cancel) {
  const auto kernel = codes ? rows_row().dot_i8 : rows_row().dot_f32;
  int64_t grain = grain_for(d.k * d.m / 4 + 1);
  grain = (grain + 7) / 8 * 8;
  return parallel_for(count, grain, cancel, [&](int64_t begin, int64_t end) {
    RowsDot part = d;
    part.index += begin;
    part.count = end - begin, part.more = count - end;
    if (!part.scatter) part.y += begin;
    kernel(part);
  });
}

}  // namespace

Status mask_indices_infer(mask_indices_args& a) {
  constexpr const char* op = "mask_indices";
  TERSOR_TRY(expect_dtype(op, "mask", a.mask, DType::u8));
  if (a.size < 0) return fail(Code::shape, "%s: size must be >= 0, got %lld", op, static_cast<long long>(a.size));
  if (a.size > INT32_MAX) return fail(Code::limit, "%s: indices are 32-bit: size must be at most 2^31 - 1, got %lld", op, static_cast<long long>(a.size));
  const int64_t bytes = (a.size + 7) / 8;
  TERSOR_TRY(expect_shape(op, "mask", a.mask, &bytes, 1));
  set_shape(a.index, DType::i32, &a.size, 1);
  return {};
}

Status mask_indices_cpu(mask_indices_args& a, Context& ctx) {
  Contiguous mask;
  TERSOR_TRY(mask.open("mask_indices", a.mask, ctx.cancel));
  a.index.shape[0] = rows_of_mask(mask.as<uint8_t>(), a.size, a.index.as<int32_t>());
  return {};
}

Status rows_dot_infer(rows_dot_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank(kOp, "x", a.x, 2));
  TERSOR_TRY(expect_rank(kOp, "w", a.w, 2));
  if (a.w.dtype != DType::f32 && a.w.dtype != DType::i8) return fail(Code::dtype, "%s: w must be f32 or i8, got %s", kOp, TERSOR_TEXT(a.w));
  const int64_t m = a.x.shape[0], k = a.x.shape[1], n = a.w.shape[0];
  if (a.w.shape[1] != k) return fail(Code::shape, "%s: x and w must have equally many columns, got %s and %s", kOp, TERSOR_TEXT(a.x), TERSOR_TEXT(a.w));
  if (n > INT32_MAX) return fail(Code::limit, "%s: indices are 32-bit: w must have at most 2^31 - 1 rows, got %s", kOp, TERSOR_TEXT(a.w));
  if (a.scale.present() != (a.w.dtype == DType::i8))
    return fail(Code::option, "%s: i8 weights need a scale and f32 weights take none (w: %s)", kOp, TERSOR_TEXT(a.w));
  if (a.scale.present()) {
    TERSOR_TRY(expect_dtype(kOp, "scale", a.scale, DType::f32));
    TERSOR_TRY(expect_rank(kOp, "scale", a.scale, 1));
    if (a.scale.shape[0] != n && a.scale.shape[0] != 1)
      return fail(Code::shape, "%s: scale must have 1 or %lld entries, got %s", kOp, static_cast<long long>(n), TERSOR_TEXT(a.scale));
  }
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(kOp, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &n, 1));
  }
  TERSOR_TRY(expect_dtype(kOp, "index", a.index, DType::i32));
  TERSOR_TRY(expect_rank(kOp, "index", a.index, 1));
  const int64_t dense[2] = {m, n}, compact[2] = {m, a.index.shape[0]};
  if (a.offsets.present()) {
    const int64_t ends = m + 1;
    TERSOR_TRY(expect_dtype(kOp, "offsets", a.offsets, DType::i32));
    TERSOR_TRY(expect_shape(kOp, "offsets", a.offsets, &ends, 1));
  }
  if (a.base.present()) {
    TERSOR_TRY(expect_dtype(kOp, "base", a.base, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "base", a.base, dense, 2));
    set_shape(a.y, DType::f32, dense, 2);
  } else if (a.offsets.present()) {
    set_shape(a.y, DType::f32, a.index.shape, 1);
  } else {
    set_shape(a.y, DType::f32, compact, 2);
  }
  return {};
}

Status rows_dot_cpu(rows_dot_args& a, Context& ctx) {
  const int64_t m = a.x.shape[0], n = a.w.shape[0], count = a.index.shape[0];
  Contiguous x, w, scale, bias, index, offsets;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(index.open(kOp, a.index, ctx.cancel));
  if (a.scale.present()) TERSOR_TRY(scale.open(kOp, a.scale, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  const int32_t* list = index.as<int32_t>();
  if (a.offsets.present()) {
    TERSOR_TRY(offsets.open(kOp, a.offsets, ctx.cancel));
    TERSOR_TRY(check_offsets(offsets.as<int32_t>(), m, count));
    for (int64_t i = 0; i < m; i++) TERSOR_TRY(check_list(list, offsets.as<int32_t>()[i], offsets.as<int32_t>()[i + 1], n));
  } else {
    TERSOR_TRY(check_list(list, 0, count, n));
  }
  RowsDot d;
  d.w = a.w.data, d.w_row = a.w.stride[0];
  if (a.w.shape[1] > 1 && a.w.stride[1] != 1) {  // a copy touches everything; the caller asked for it with such a view
    TERSOR_TRY(w.open(kOp, a.w, ctx.cancel));
    d.w = w.data(), d.w_row = a.w.shape[1];
  }
  d.k = a.x.shape[1];
  d.x_row = d.k;
  if (a.scale.present()) d.scale = scale.as<float>(), d.scale_step = a.scale.shape[0] == 1 ? 0 : 1;
  d.bias = a.bias.present() ? bias.as<float>() : nullptr;
  d.scatter = a.base.present();
  if (d.scatter) TERSOR_TRY(copy_contiguous(a.base, a.y.data, ctx.cancel));
  if (a.y.size() == 0 || count == 0) return {};
  d.y_row = d.scatter ? n : count;
  d.x = x.as<float>(), d.y = a.y.as<float>(), d.index = list, d.m = m;
  const bool codes = a.w.dtype == DType::i8;
  if (!a.offsets.present()) return run_list(d, codes, count, ctx.cancel);
  d.m = 1;
  for (int64_t i = 0; i < m; i++) {
    const int32_t first = offsets.as<int32_t>()[i], last = offsets.as<int32_t>()[i + 1];
    d.x = x.as<float>() + i * d.k, d.index = list + first;
    d.y = d.scatter ? a.y.as<float>() + i * n : a.y.as<float>() + first;
    TERSOR_TRY(run_list(d, codes, last - first, ctx.cancel));
  }
  return {};
}

}  // namespace tersor
