// gather(table [N, ...rest], index i32 [...]) -> y [...index, ...rest]: rows of the table; any element type.
// scatter_add(dy [...index, D...], index, rows) -> dtable [rows, D...], its adjoint: rows of dy that share an index are added in the order
// of their positions, so the result depends neither on the number of threads nor on luck (a counting sort groups them first).
#include <cstring>

#include "kernels/gather/gather.h"
#include "ops/index_check.h"
#include "ops/shape_list.h"

namespace tersor {

Status gather_infer(gather_args& a) {
  TERSOR_TRY(expect_dtype("gather", "index", a.index, DType::i32));
  if (a.table.rank < 1) return fail(Code::shape, "gather: table must have rank >= 1, got %s", TERSOR_TEXT(a.table));
  const int rank = a.index.rank + a.table.rank - 1;
  if (rank > kMaxRank)
    return fail(Code::shape, "gather: the result would have rank %d, at most %d are possible (table: %s, index: %s)", rank, kMaxRank,
                TERSOR_TEXT(a.table), TERSOR_TEXT(a.index));
  IntList shape;
  shape.n = rank;
  for (int i = 0; i < rank; i++) shape.v[i] = i < a.index.rank ? a.index.shape[i] : a.table.shape[i - a.index.rank + 1];
  return shape_from_list("gather", "y", shape, a.table.dtype, a.y);
}

namespace {

// A row of the table lies in one piece: then only the distance between rows matters.
bool rows_dense(const TensorRef& t) {
  TensorRef row = t;
  row.rank = t.rank - 1;
  for (int i = 0; i < row.rank; i++) {
    row.shape[i] = t.shape[i + 1];
    row.stride[i] = t.stride[i + 1];
  }
  return row.contiguous();
}

Status check_rows(const char* op, const int32_t* index, int64_t n, int64_t rows, const Cancel* cancel) {
  int64_t bad;
  TERSOR_TRY(find_bad_index(index, n, rows, cancel, &bad));
  if (bad == n) return {};
  return fail(Code::shape, "%s: index must be in [0, %lld), got %d at position %lld", op, static_cast<long long>(rows), index[bad],
              static_cast<long long>(bad));
}

}  // namespace

Status gather_cpu(gather_args& a, Context& ctx) {
  const int64_t count = a.index.size();
  Contiguous index, table;
  TERSOR_TRY(index.open("gather", a.index, ctx.cancel));
  TERSOR_TRY(check_rows("gather", index.as<int32_t>(), count, a.table.shape[0], ctx.cancel));
  if (a.y.size() == 0) return {};
  const int64_t width = dtype_bytes(a.table.dtype), row_bytes = a.y.bytes() / count;
  GatherArgs base = {a.table.data, a.table.stride[0] * width, row_bytes, nullptr, 0, nullptr};
  if (!rows_dense(a.table)) {
    TERSOR_TRY(table.open("gather", a.table, ctx.cancel));
    base.table = table.data();
    base.stride = row_bytes;
  }
  const GatherKernel kernel = gather_copy();
  return parallel_for(count, grain_for(row_bytes / 4 + 1), ctx.cancel, [&](int64_t begin, int64_t end) {
    GatherArgs args = base;
    args.index = index.as<int32_t>() + begin;
    args.count = end - begin;
    args.out = a.y.as<char>() + begin * row_bytes;
    kernel(args);
  });
}

Status scatter_add_infer(scatter_add_args& a) {
  TERSOR_TRY(expect_float("scatter_add", "dy", a.dy));
  TERSOR_TRY(expect_dtype("scatter_add", "index", a.index, DType::i32));
  bool fits = a.dy.rank >= a.index.rank && a.dy.rank - a.index.rank + 1 <= kMaxRank;
  for (int i = 0; fits && i < a.index.rank; i++) fits = a.dy.shape[i] == a.index.shape[i];
  if (!fits)
    return fail(Code::shape, "scatter_add: dy must have the shape of index followed by that of a row, got dy %s and index %s", TERSOR_TEXT(a.dy),
                TERSOR_TEXT(a.index));
  if (a.rows < 0 || a.rows > INT32_MAX) return fail(Code::shape, "scatter_add: rows must be in [0, 2^31), got %lld", static_cast<long long>(a.rows));
  if (a.index.size() > INT32_MAX) return fail(Code::limit, "scatter_add: index must have fewer than 2^31 elements, got %s", TERSOR_TEXT(a.index));
  IntList shape;
  shape.n = a.dy.rank - a.index.rank + 1;
  shape.v[0] = a.rows;
  for (int i = 1; i < shape.n; i++) shape.v[i] = a.dy.shape[a.index.rank + i - 1];
  return shape_from_list("scatter_add", "dtable", shape, a.dy.dtype, a.dtable);
}

namespace {

void sum_rows_f64(const GatherArgs& a) {
  const int64_t n = a.row_bytes / 8;
  double* out = static_cast<double*>(a.out);
  for (int64_t j = 0; j < n; j++) out[j] = 0;
  for (int64_t i = 0; i < a.count; i++) {
    const double* row = static_cast<const double*>(a.table) + a.index[i] * n;
    for (int64_t j = 0; j < n; j++) out[j] += row[j];
  }
}

}  // namespace

Status scatter_add_cpu(scatter_add_args& a, Context& ctx) {
  const int64_t count = a.index.size(), rows = a.rows;
  Contiguous index, dy;
  TERSOR_TRY(index.open("scatter_add", a.index, ctx.cancel));
  TERSOR_TRY(check_rows("scatter_add", index.as<int32_t>(), count, rows, ctx.cancel));
  if (a.dtable.size() == 0) return {};
  TERSOR_TRY(dy.open("scatter_add", a.dy, ctx.cancel));
  const int64_t row_bytes = a.dtable.bytes() / rows;
  // first[r] .. first[r + 1] are the places in `order` of the positions whose index is r, ascending.
  Scratch scratch;
  TERSOR_TRY(scratch.reserve("scatter_add", (rows + 2 + count) * 4));
  int32_t* first = scratch.as<int32_t>();
  int32_t* order = first + rows + 2;
  memset(first, 0, static_cast<size_t>(rows + 2) * 4);
  for (int64_t i = 0; i < count; i++) first[index.as<int32_t>()[i] + 2]++;
  for (int64_t r = 2; r <= rows; r++) first[r + 1] += first[r];
  for (int64_t i = 0; i < count; i++) order[first[index.as<int32_t>()[i] + 1]++] = static_cast<int32_t>(i);
  const GatherKernel sum = a.dy.dtype == DType::f32 ? gather_sum_f32() : sum_rows_f64;
  const int64_t cost = (count + rows) / rows * (row_bytes / 4) + 1;
  return parallel_for(rows, grain_for(cost), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const GatherArgs args = {dy.data(), row_bytes, row_bytes, order + first[r], first[r + 1] - first[r], a.dtable.as<char>() + r * row_bytes};
      sum(args);
    }
  });
}

}  // namespace tersor
