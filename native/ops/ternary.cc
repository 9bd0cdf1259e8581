// Random projection with entries sqrt(3 / out) * {+1 w.p. 1/6, 0 w.p. 2/3, -1 w.p. 1/6} (Achlioptas, "Database-friendly random projections", 2003), which
// keeps squared lengths on average. P depends on (out, cols, seed, stream) only; its definition stands in kernels/rows/rows.h.
//   ternary_pack(out, cols, seed, stream) -> packed u8 [bytes], the layout of this process's kernel (opaque; store the seed instead)
//   ternary_unpack(packed, out, cols) -> p i8 [out, cols] of -1, 0, 1
//   ternary_project(x f32 [...,cols], packed, out) -> y f32 [...,out] = sqrt(3 / out) * sum_k p x, by additions only
#include <cmath>
#include <cstring>

#include "kernels/rows/rows.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status check_sizes(const char* op, int64_t out, int64_t cols) {
  constexpr int64_t kMost = int64_t(1) << 31;
  if (out >= 0 && cols >= 0 && out < kMost && cols < kMost) return {};
  return fail(Code::option, "%s: out and cols must be in [0, 2^31), got %lld and %lld", op, static_cast<long long>(out), static_cast<long long>(cols));
}

Status check_packed(const char* op, const TensorRef& packed, int64_t out, int64_t cols) {
  TERSOR_TRY(check_sizes(op, out, cols));
  TERSOR_TRY(expect_dtype(op, "packed", packed, DType::u8));
  TERSOR_TRY(expect_rank(op, "packed", packed, 1));
  const int64_t bytes = ternary_blob_bytes(rows_row(), out, cols);
  if (packed.shape[0] == bytes) return {};
  return fail(Code::shape, "%s: packed must come from ternary_pack of a [%lld,%lld] projection in this process (%lld bytes), got %s", op, static_cast<long long>(out),
              static_cast<long long>(cols), static_cast<long long>(bytes), TERSOR_TEXT(packed));
}

Status check_blob(const char* op, const TensorRef& packed, int64_t out, int64_t cols) {
  if (packed.contiguous() && ternary_blob_fits(rows_row(), packed.data, packed.shape[0], out, cols)) return {};
  return fail(Code::option, "%s: packed was not made by ternary_pack for a [%lld,%lld] projection and the kernel row %s", op, static_cast<long long>(out),
              static_cast<long long>(cols), rows_row().function);
}

}  // namespace

Status ternary_pack_infer(ternary_pack_args& a) {
  TERSOR_TRY(check_sizes("ternary_pack", a.out, a.cols));
  const int64_t bytes = ternary_blob_bytes(rows_row(), a.out, a.cols);
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status ternary_pack_cpu(ternary_pack_args& a, Context& ctx) {
  const RowsRow& row = rows_row();
  ternary_blob_header(row, a.out, a.cols, a.seed, a.stream, a.packed.data);
  const int64_t panels = row.panels(a.out);
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve("ternary_pack", a.cols, panels));
  return parallel_for(panels, grain_for(16 * a.cols * row.nr), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    ternary_pack_panels(row, a.out, a.cols, a.seed, a.stream, begin, end, slot.as<int8_t>(), a.packed.data);
  });
}

Status ternary_unpack_infer(ternary_unpack_args& a) {
  TERSOR_TRY(check_packed("ternary_unpack", a.packed, a.out, a.cols));
  const int64_t shape[2] = {a.out, a.cols};
  set_shape(a.p, DType::i8, shape, 2);
  return {};
}

Status ternary_unpack_cpu(ternary_unpack_args& a, Context& ctx) {
  TERSOR_TRY(check_blob("ternary_unpack", a.packed, a.out, a.cols));
  TernaryHeader h;
  memcpy(&h, a.packed.data, sizeof h);
  return parallel_for(a.p.size(), 4096, ctx.cancel, [&](int64_t begin, int64_t end) {
    ternary_entries(static_cast<uint64_t>(h.seed), static_cast<uint64_t>(h.stream), begin, end - begin, a.p.as<int8_t>() + begin);
  });
}

Status ternary_project_infer(ternary_project_args& a) {
  constexpr const char* op = "ternary_project";
  TERSOR_TRY(expect_dtype(op, "x", a.x, DType::f32));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", op, TERSOR_TEXT(a.x));
  TERSOR_TRY(check_packed(op, a.packed, a.out, a.x.dim(-1)));
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i];
  shape[a.x.rank - 1] = a.out;
  set_shape(a.y, DType::f32, shape, a.x.rank);
  return {};
}

Status ternary_project_cpu(ternary_project_args& a, Context& ctx) {
  constexpr const char* op = "ternary_project";
  const int64_t k = a.x.dim(-1), n = a.out;
  TERSOR_TRY(check_blob(op, a.packed, n, k));
  if (a.y.size() == 0) return {};
  const int64_t m = a.y.size() / n;
  const RowsRow& row = rows_row();
  Contiguous x;
  TERSOR_TRY(x.open(op, a.x, ctx.cancel));
  const float scale = static_cast<float>(std::sqrt(3.0 / static_cast<double>(n)));
  const int64_t floats = row.table_floats(k);
  const auto project = [&](const float* tables, int64_t i, int64_t n0, int64_t n1) {
    RowsProject p;
    p.tables = tables, p.words = row.words(k), p.scale = scale;
    p.packed = ternary_blob_panels(a.packed.data) + n0 / row.nr * row.panel_bytes(k);
    p.n = n1 - n0, p.y = a.y.as<float>() + i * n + n0;
    row.project(p);
  };
  if (m == 1) {
    Scratch tables;
    TERSOR_TRY(tables.reserve(op, floats * 4));
    row.tables(x.as<float>(), k, tables.as<float>());
    const int64_t block = 8 * row.nr;
    const int64_t grain = grain_for(k * block / 16 + 1);
    return parallel_for((n + block - 1) / block, grain, ctx.cancel, [&](int64_t begin, int64_t end) {
      project(tables.as<float>(), 0, begin * block, end * block < n ? end * block : n);
    });
  }
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(op, floats * 4, m));
  return parallel_for(m, grain_for(k * n / 16 + 1), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t i = begin; i < end; i++) {
      row.tables(x.as<float>() + i * k, k, slot.as<float>());
      project(slot.as<float>(), i, 0, n);
    }
  });
}

}  // namespace tersor
