// wgemm(x f32 [...,K], packed, bias f32 [out]?, residual f32 [...,out]?, out, act) -> y f32 [...,out] = act(x w^T + bias) + residual, w the weight that
// wgemm_pack made `packed` of. Few rows of x meet the packed codes directly; many rows (and those that blocks of integers cannot hold, see
// kernels/wgemm/wgemm.h) are multiplied in f32 with weights unpacked part by part into cache. Results do not depend on the threads.
#include "kernels/gemm/gemm.h"
#include "ops/wgemm_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "wgemm";
constexpr int64_t kWork = int64_t(1) << 20;  // products of a task

struct Problem {
  const WgemmRow& row;
  WgemmShape s;
  int64_t m;
  const float* x;
  const void* blob;
  WgemmFinish finish;  // of the whole of y
};

// bias, activation and residual of rows [m0, m1) and columns [n0, n1).
void finish(const Problem& p, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  WgemmFinish f = p.finish;
  if (!f.bias && !f.residual && f.act == Act::none) return;
  f.m = m1 - m0, f.n = n1 - n0;
  f.y += m0 * f.y_row + n0;
  if (f.bias) f.bias += n0;
  if (f.residual) f.residual += m0 * f.y_row + n0;
  p.row.finish(f);
}

// Panels of the f32 product that one task unpacks, and its scratch.
struct Strip {
  const GemmRow<float>& gemm = gemm_row<float>();
  int64_t columns;  // a multiple of both panel widths
  explicit Strip(int64_t m, int64_t n) {
    const int64_t width = gemm.nr;
    columns = n * m * 4 > 512 * 512 ? 256 : 128;
    columns = (columns + width - 1) / width * width;
  }
  int64_t bytes(const WgemmShape& s) const { return columns * wgemm_part(s) * 4; }
};

// Rows [m0, m1) of columns [n0, n1): weights unpacked into `w`, then the f32 product. n0 is a multiple of both panel widths.
void strip(const Problem& p, const Strip& t, float* w, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  const int64_t width = t.gemm.nr, nr = p.row.nr;
  GemmMatrix<float> g;
  g.m = m1 - m0, g.n = n1 - n0;
  g.a_row = p.s.k, g.c = p.finish.y + m0 * p.finish.y_row + n0, g.c_row = p.finish.y_row;
  for (int64_t k = 0; k == 0 || k < p.s.k; k += g.k) {
    g.k = p.s.k > 0 ? wgemm_part_at(p.s, k) : 0;
    for (int64_t c = 0; g.k > 0 && c < n1 - n0; c += nr)  // element (i, c) of a panel of the f32 row stands at i * width + c % width
      wgemm_unpack_part(p.row, p.s, p.blob, (n0 + c) / nr, k, w + c / width * width * g.k + c % width, width);
    g.a = p.x + m0 * p.s.k + k;
    gemm_block(t.gemm, g, GemmPath::packed, w, 0, g.m, 0, g.n);
    if (g.k == 0) break;
    g.accumulate = true;
  }
  finish(p, m0, m1, n0, n1);
}

Status run_strips(const Problem& p, const Cancel* cancel) {
  const Strip t(p.m, p.s.n);
  const int64_t blocks = (p.s.n + t.columns - 1) / t.columns;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, t.bytes(p.s), blocks));
  return parallel_for(blocks, 1, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t b = begin; b < end; b++) {
      const int64_t n1 = (b + 1) * t.columns < p.s.n ? (b + 1) * t.columns : p.s.n;
      strip(p, t, slot.as<float>(), 0, p.m, b * t.columns, n1);
    }
  });
}

Status run_direct(const Problem& p, const Cancel* cancel) {
  const int64_t x_row = (wgemm_x_bytes(p.s) + 63) / 64 * 64 + 64, nr = p.row.nr;  // + 64: rows a power of two apart fall into the same L1 sets
  Scratch prepared, flags;
  TERSOR_TRY(prepared.reserve(kOp, p.m * x_row));
  TERSOR_TRY(flags.reserve(kOp, p.m));
  bool* held = flags.as<bool>();
  TERSOR_TRY(parallel_for(p.m, grain_for(p.s.k), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) held[i] = p.row.prepare(p.s, p.x + i * p.s.k, prepared.as<char>() + i * x_row);
  }));
  bool all = true;
  for (int64_t i = 0; i < p.m; i++) all = all && held[i];
  const Strip t(1, p.s.n);
  ScratchSlots slots;
  if (!all) TERSOR_TRY(slots.reserve(kOp, t.bytes(p.s), (p.s.n + t.columns - 1) / t.columns));
  // A task takes whole strips, so that it can redo a row in f32.
  int64_t columns = kWork / (p.m * (p.s.k > 0 ? p.s.k : 1));
  columns = columns < t.columns ? t.columns : columns / t.columns * t.columns;
  return parallel_for((p.s.n + columns - 1) / columns, 1, cancel, [&](int64_t begin, int64_t end) {
    const int64_t n0 = begin * columns, n1 = end * columns < p.s.n ? end * columns : p.s.n;
    // Few panels at a time when there are many rows: they stay in cache while the rows pass by.
    const int64_t wide = p.m > p.row.tall ? 4 * nr : n1 - n0;
    for (int64_t n = n0; n < n1; n += wide) {
      WgemmDot d;
      d.shape = &p.s, d.m = p.m, d.n = n1 - n < wide ? n1 - n : wide;
      d.x = prepared.as<char>(), d.x_row = x_row;
      d.panels = wgemm_blob_panels(p.blob) + n / nr * p.row.panel_bytes(p.s);
      d.y = p.finish.y + n, d.y_row = p.finish.y_row;
      p.row.dot(d);
      if (all) finish(p, 0, p.m, n, n + d.n);
    }
    if (all) return;
    const ScratchSlots::Lease slot(slots);
    for (int64_t i = 0; i < p.m; i++)
      if (held[i]) finish(p, i, i + 1, n0, n1);
      else
        for (int64_t n = n0; n < n1; n += t.columns) strip(p, t, slot.as<float>(), i, i + 1, n, n1 - n < t.columns ? n1 : n + t.columns);
  });
}

}  // namespace

Status wgemm_check_packed(const char* op, const TensorRef& packed, int64_t out, int64_t k) {
  if (out < 0 || out > (int64_t(1) << 40)) return fail(Code::option, "%s: out must be in [0, 2^40], got %lld", op, static_cast<long long>(out));
  if (k < 0 || k > (int64_t(1) << 40)) return fail(Code::option, "%s: the inputs must be in [0, 2^40], got %lld", op, static_cast<long long>(k));
  TERSOR_TRY(expect_dtype(op, "packed", packed, DType::u8));
  TERSOR_TRY(expect_rank(op, "packed", packed, 1));
  // At least two bits a weight, so the sizes below cannot overflow.
  if (packed.shape[0] < static_cast<int64_t>(sizeof(WgemmHeader)) || (k > 0 && out / 4 > packed.shape[0] / k))
    return fail(Code::shape, "%s: packed must come from wgemm_pack of a [%lld,%lld] weight in this process, got %s", op, static_cast<long long>(out),
                static_cast<long long>(k), TERSOR_TEXT(packed));
  return {};
}

Status wgemm_open(const char* op, const TensorRef& packed, int64_t out, int64_t k, WgemmShape* s) {
  if (packed.contiguous() && wgemm_blob_open(wgemm_row(), packed.data, packed.shape[0], out, k, s)) return {};
  return fail(Code::option, "%s: packed was not made by wgemm_pack for a [%lld,%lld] weight and the kernel row %s", op, static_cast<long long>(out),
              static_cast<long long>(k), wgemm_row().function);
}

Status wgemm_infer(wgemm_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  TERSOR_TRY(wgemm_check_packed(kOp, a.packed, a.out, a.x.dim(-1)));
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(kOp, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &a.out, 1));
  }
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i];
  shape[a.x.rank - 1] = a.out;
  if (a.residual.present()) {
    TERSOR_TRY(expect_dtype(kOp, "residual", a.residual, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "residual", a.residual, shape, a.x.rank));
  }
  set_shape(a.y, DType::f32, shape, a.x.rank);
  return {};
}

static_assert(static_cast<int>(Act::none) == static_cast<int>(activation::none) && static_cast<int>(Act::relu) == static_cast<int>(activation::relu) &&
                  static_cast<int>(Act::gelu) == static_cast<int>(activation::gelu) && static_cast<int>(Act::tanh) == static_cast<int>(activation::tanh) &&
                  static_cast<int>(Act::sigmoid) == static_cast<int>(activation::sigmoid) && static_cast<int>(Act::gelu_tanh) == static_cast<int>(activation::gelu_tanh),
              "the kernels' activations are those of ops/enums.def");

Status wgemm_cpu(wgemm_args& a, Context& ctx) {
  Problem p{wgemm_row(), {}, 0, nullptr, a.packed.data, {}};
  TERSOR_TRY(wgemm_open(kOp, a.packed, a.out, a.x.dim(-1), &p.s));
  if (a.y.size() == 0) return {};
  p.m = a.y.size() / a.out;
  Contiguous x, bias, residual;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  if (a.residual.present()) TERSOR_TRY(residual.open(kOp, a.residual, ctx.cancel));
  p.x = x.as<float>();
  p.finish.y = a.y.as<float>(), p.finish.y_row = a.out;
  p.finish.bias = a.bias.present() ? bias.as<float>() : nullptr;
  p.finish.residual = a.residual.present() ? residual.as<float>() : nullptr;
  p.finish.act = static_cast<Act>(a.act);
  return p.m >= (p.s.bits == 8 ? p.row.strip_from8 : p.row.strip_from) ? run_strips(p, ctx.cancel) : run_direct(p, ctx.cancel);
}

}  // namespace tersor
