// matmul(a[...,M,K], b[...,K,N], transpose_a, transpose_b) -> y[...,M,N]: batch dimensions broadcast as in NumPy, the flags swap the last
// two dimensions. f32 or f64. Strided views are used where they lie.
#include "ops/gemm_run.h"
#include "ops/matmul_batch.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr const char* kOp = "matmul";

struct Sides {
  int64_t m, n, k;
  int64_t a_row, a_col, b_row, b_col;
};

Sides sides_of(const matmul_args& x) {
  const int ra = x.a.rank, rb = x.b.rank;
  Sides s;
  s.m = x.a.shape[ra - 2], s.k = x.a.shape[ra - 1];
  s.a_row = x.a.stride[ra - 2], s.a_col = x.a.stride[ra - 1];
  s.b_row = x.b.stride[rb - 2], s.b_col = x.b.stride[rb - 1];
  s.n = x.b.shape[rb - 1];
  if (x.transpose_a) {
    s.m = x.a.shape[ra - 1], s.k = x.a.shape[ra - 2];
    s.a_row = x.a.stride[ra - 1], s.a_col = x.a.stride[ra - 2];
  }
  if (x.transpose_b) {
    s.n = x.b.shape[rb - 2];
    s.b_row = x.b.stride[rb - 1], s.b_col = x.b.stride[rb - 2];
  }
  return s;
}

template <class T> Status run(matmul_args& x, Context& ctx) {
  const Sides s = sides_of(x);
  GemmMatrix<T> g;
  g.m = s.m, g.n = s.n, g.k = s.k;
  g.a_row = s.a_row, g.a_col = s.a_col, g.b_row = s.b_row, g.b_col = s.b_col;
  g.a = x.a.as<T>(), g.b = x.b.as<T>(), g.c = x.y.as<T>(), g.c_row = s.n;
  if (x.y.size() == 0) return {};
  const int batch_rank = x.y.rank - 2;
  const TensorRef ab = broadcast_to(batch_of(x.a), x.y.shape, batch_rank), bb = broadcast_to(batch_of(x.b), x.y.shape, batch_rank);
  int64_t batches = 1;
  bool one_b = true;
  for (int i = 0; i < batch_rank; i++) {
    batches *= x.y.shape[i];
    one_b = one_b && (x.y.shape[i] == 1 || bb.stride[i] == 0);
  }
  if (one_b && rows_are_one_run(ab, s.m, s.a_row)) {
    g.m *= batches;
    return gemm_parallel(kOp, g, ctx.cancel);
  }
  const int64_t work = s.m * s.n * (s.k > 0 ? s.k : 1);
  if (work >= int64_t(1) << 24) {  // each product is large enough to be cut itself
    for (int64_t i = 0; i < batches; i++) {
      g.a = x.a.as<T>() + batch_offset(ab, i), g.b = x.b.as<T>() + batch_offset(bb, i), g.c = x.y.as<T>() + i * s.m * s.n;
      TERSOR_TRY(gemm_parallel(kOp, g, ctx.cancel));
    }
    return {};
  }
  const GemmRow<T>& row = gemm_row<T>();
  const GemmPath path = gemm_path(row, g);
  const int64_t grain = (int64_t(1) << 19) / work + 1;
  ScratchSlots slots;
  const bool packs = path == GemmPath::packed;
  TERSOR_TRY(slots.reserve(kOp, packs ? gemm_packed_elements(row, g.k, g.n) * static_cast<int64_t>(sizeof(T)) : 0, (batches + grain - 1) / grain));
  return parallel_for(batches, grain, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    GemmMatrix<T> h = g;
    const T* packed_from = nullptr;
    for (int64_t i = begin; i < end; i++) {
      h.a = x.a.as<T>() + batch_offset(ab, i), h.b = x.b.as<T>() + batch_offset(bb, i), h.c = x.y.as<T>() + i * s.m * s.n;
      if (packs && packed_from != h.b) gemm_pack_b(row, h, 0, gemm_panels(row, h.n), slot.as<T>());
      packed_from = h.b;
      gemm_block(row, h, path, slot.as<T>(), 0, h.m, 0, h.n);
    }
  });
}

}  // namespace

Status matmul_infer(matmul_args& x) {
  TERSOR_TRY(expect_float(kOp, "a", x.a));
  TERSOR_TRY(expect_same_dtype(kOp, x.a, x.b));
  if (x.a.rank < 2 || x.b.rank < 2)
    return fail(Code::shape, "%s: a and b must have rank 2 or more, got %s and %s", kOp, TERSOR_TEXT(x.a), TERSOR_TEXT(x.b));
  const int64_t ka = x.a.dim(x.transpose_a ? -2 : -1), kb = x.b.dim(x.transpose_b ? -1 : -2);
  if (ka != kb)
    return fail(Code::shape, "%s: inner dimensions must be equal, got %lld and %lld from %s%s and %s%s", kOp, static_cast<long long>(ka),
                static_cast<long long>(kb), TERSOR_TEXT(x.a), x.transpose_a ? " transposed" : "", TERSOR_TEXT(x.b), x.transpose_b ? " transposed" : "");
  int64_t shape[kMaxRank];
  int rank = 0;
  TERSOR_TRY(broadcast_shapes(kOp, batch_of(x.a), batch_of(x.b), shape, &rank));
  shape[rank] = x.a.dim(x.transpose_a ? -1 : -2);
  shape[rank + 1] = x.b.dim(x.transpose_b ? -2 : -1);
  set_shape(x.y, x.a.dtype, shape, rank + 2);
  return {};
}

Status matmul_cpu(matmul_args& x, Context& ctx) { return x.a.dtype == DType::f32 ? run<float>(x, ctx) : run<double>(x, ctx); }

}  // namespace tersor
