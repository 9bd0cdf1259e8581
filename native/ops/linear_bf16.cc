// bf16_pack(w f32|bf16 [N,K]) -> packed u8 [bytes]: a weight rounded to bf16 in the layout that every kernel row reads (opaque).
// linear_bf16(x f32|bf16 [...,K], packed, bias f32 [out]?, out, act, dtype f32|bf16) -> y dtype [...,out] = act(x w^T + bias), x rounded to
// bf16 on the way in, sums in f32. Both operands may be strided views.
#include "kernels/gemm_bf16/gemm_bf16.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr const char* kPack = "bf16_pack";
constexpr const char* kOp = "linear_bf16";
constexpr int64_t kRows = 256;               // rows of a task: A's share stays in L2 while the panels pass by
constexpr int64_t kPassBytes = 16ll << 20;   // converted rows that exist at a time

Status expect_f32_or_bf16(const char* op, const char* name, const TensorRef& t) {
  if (t.dtype == DType::f32 || t.dtype == DType::bf16) return {};
  return fail(Code::dtype, "%s: %s must be f32 or bf16, got %s", op, name, TERSOR_TEXT(t));
}

}  // namespace

Status bf16_pack_infer(bf16_pack_args& a) {
  TERSOR_TRY(expect_f32_or_bf16(kPack, "w", a.w));
  TERSOR_TRY(expect_rank(kPack, "w", a.w, 2));
  const int64_t bytes = bf16_blob_bytes(a.w.shape[0], a.w.shape[1]);
  if (bytes < 0) return fail(Code::limit, "%s: w is too large to pack, got %s", kPack, TERSOR_TEXT(a.w));
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status bf16_pack_cpu(bf16_pack_args& a, Context& ctx) {
  const int64_t n = a.w.shape[0], k = a.w.shape[1];
  bf16_blob_header(n, k, a.packed.data);
  return parallel_for(bf16_panels(n), grain_for(bf16_panel_elements(k)), ctx.cancel, [&](int64_t begin, int64_t end) {
    bf16_pack_panels(a.w.data, a.w.dtype == DType::bf16, a.w.stride[0], a.w.stride[1], n, k, begin, end, a.packed.data);
  });
}

Status linear_bf16_infer(linear_bf16_args& a) {
  TERSOR_TRY(expect_f32_or_bf16(kOp, "x", a.x));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  if (a.out < 0 || a.out > (int64_t(1) << 40)) return fail(Code::option, "%s: out must be in [0, 2^40], got %lld", kOp, static_cast<long long>(a.out));
  if (a.dtype != DType::f32 && a.dtype != DType::bf16) return fail(Code::dtype, "%s: dtype must be f32 or bf16, got %s", kOp, dtype_name(a.dtype));
  TERSOR_TRY(expect_dtype(kOp, "packed", a.packed, DType::u8));
  TERSOR_TRY(expect_rank(kOp, "packed", a.packed, 1));
  const int64_t k = a.x.dim(-1), bytes = bf16_blob_bytes(a.out, k);
  if (a.packed.shape[0] != bytes)
    return fail(Code::shape, "%s: packed must come from bf16_pack of a [%lld,%lld] weight (%lld bytes), got %s", kOp, static_cast<long long>(a.out),
                static_cast<long long>(k), static_cast<long long>(bytes), TERSOR_TEXT(a.packed));
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(kOp, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &a.out, 1));
  }
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i];
  shape[a.x.rank - 1] = a.out;
  set_shape(a.y, a.dtype, shape, a.x.rank);
  return {};
}

Status linear_bf16_cpu(linear_bf16_args& a, Context& ctx) {
  const int64_t n = a.out, k = a.x.dim(-1);
  if (!a.packed.contiguous() || !bf16_blob_fits(a.packed.data, a.packed.shape[0], n, k))
    return fail(Code::option, "%s: packed was not made by bf16_pack for a [%lld,%lld] weight", kOp, static_cast<long long>(n), static_cast<long long>(k));
  if (a.y.size() == 0) return {};
  const int64_t m = a.y.size() / n;
  Contiguous x, bias;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  const GemmBf16Row& row = gemm_bf16_row();
  const bool halves = a.x.dtype == DType::bf16;
  const int64_t row_bytes = row.a_row(k) * row.a_bytes, x_bytes = k * (halves ? 2 : 4), panel = bf16_panel_elements(k);
  // Rows are converted and multiplied in passes of bounded memory; whole tasks, so that blocks are the same whatever m is.
  int64_t pass = row_bytes > 0 ? kPassBytes / row_bytes / kRows * kRows : m;
  if (pass < kRows) pass = kRows;
  if (pass > m) pass = m;
  Scratch converted;
  TERSOR_TRY(converted.reserve(kOp, pass * row_bytes));
  for (int64_t m0 = 0; m0 < m; m0 += pass) {
    const int64_t rows = m - m0 < pass ? m - m0 : pass;
    const char* from = x.as<char>() + m0 * x_bytes;
    char* const to = converted.as<char>();
    const int64_t grain = (grain_for(k) + 31) / 32 * 32;
    TERSOR_TRY(parallel_for(rows, grain, ctx.cancel, [&](int64_t begin, int64_t end) {
      row.pack({end - begin, k, from + begin * x_bytes, k, halves, to + begin * row_bytes});
    }));
    // Tasks of about 2^20 multiply-adds; one or two rows stream eight panels at once, and memory bounds them: half as many, in whole eights.
    const int64_t row_blocks = (rows + kRows - 1) / kRows, share = rows < kRows ? rows : kRows, panels = bf16_panels(n);
    const int64_t least = share <= 2 ? 8 : 2, work = share <= 2 ? int64_t(1) << 19 : int64_t(1) << 20;
    int64_t width = work / (share * (k > 0 ? k : 1) * kBf16Panel) / least * least;
    if (width < least) width = least;
    const int64_t column_blocks = (panels + width - 1) / width;
    TERSOR_TRY(parallel_for(row_blocks * column_blocks, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        const int64_t i = t / column_blocks * kRows, p = t % column_blocks * width, j = p * kBf16Panel;
        Bf16Block q;
        q.m = rows - i < kRows ? rows - i : kRows;
        q.n = n - j < width * kBf16Panel ? n - j : width * kBf16Panel;
        q.k = k;
        q.a = to + i * row_bytes;
        q.b = bf16_blob_panels(a.packed.data) + p * panel;
        q.bias = a.bias.present() ? bias.as<float>() + j : nullptr;
        q.act = static_cast<Act>(a.act);
        if (a.dtype == DType::f32) q.c = a.y.as<float>() + (m0 + i) * n + j;
        else q.h = a.y.as<uint16_t>() + (m0 + i) * n + j;
        q.y_row = n;
        row.block(q);
      }
    }));
  }
  return {};
}

}  // namespace tersor
