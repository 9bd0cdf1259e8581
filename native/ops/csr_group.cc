// csr_group(values f32 [nnz], indptr, columns u16, cols) -> packed u8: rows in groups that share loads of x (kernels/spmm/grouped.h), for csr_linear and csr_multiply
// with many vectors. u8[0] where that does not pay: no kernel for it under this cap, few values, or less than 8 % of them. A few passes over the values;
// the structure is checked as csr_to_dense does (ERR_MODEL_FORMAT).
#include <cstring>

#include "ops/csr_groups.h"
#include "ops/csr_shape.h"

namespace tersor {
namespace {

constexpr int64_t kPanelFloats = 1 << 18; // x of a panel of columns: half of a second cache level of 2 MiB
constexpr int64_t kFewValues = 4096;
constexpr double kSparse = 0.08, kDense = 0.25;

// How W would be packed; lanes 0: not at all.
CsrGroupsHeader plan(int64_t rows, int64_t cols, int64_t nnz) {
  CsrGroupsHeader h{};
  const double density = static_cast<double>(nnz) / (static_cast<double>(rows) * static_cast<double>(cols));
  const SpmmGroupedRow& row = spmm_grouped_row();
  const SpmmGroupForm form = density >= kDense ? row.dense : row.sparse;
  if (nnz < kFewValues || density < kSparse || form.lanes == 0) return h;
  const int64_t panel = kPanelFloats / form.lanes;
  h.magic = CsrGroupsHeader::kMagic, h.rows = static_cast<int32_t>(rows), h.cols = static_cast<int32_t>(cols), h.nnz = static_cast<int32_t>(nnz);
  h.group_rows = form.rows, h.lanes = form.lanes, h.panels = static_cast<int32_t>((cols + panel - 1) / panel);
  return h;
}

// Which rows of a group hold each column, then where their values go.
struct Cell {
  const CsrGroupsHeader& h;
  const int32_t* indptr;
  const uint16_t* columns;
  uint8_t* rows_of;    // [cols]
  int32_t* place;      // [cols]: of the column's first value

  // False: columns do not ascend within [0, cols).
  bool mark(int64_t g) const {
    memset(rows_of, 0, static_cast<size_t>(h.cols));
    for (int i = 0; i < h.group_rows && g * h.group_rows + i < h.rows; i++) {
      int32_t before = -1;
      for (int32_t e = indptr[g * h.group_rows + i]; e < indptr[g * h.group_rows + i + 1]; e++) {
        if (columns[e] <= before || columns[e] >= h.cols) return false;
        before = columns[e], rows_of[before] = static_cast<uint8_t>(rows_of[before] | 1 << i);
      }
    }
    return true;
  }
  void count(int64_t panel, uint16_t* counts, int32_t* column_count, int32_t* value_count) const {
    int32_t by_rows[1 << kSpmmGroupRows] = {0};
    const int64_t begin = panel * h.panel_cols(), end = begin + h.panel_cols() < h.cols ? begin + h.panel_cols() : h.cols;
    for (int64_t c = begin; c < end; c++) by_rows[rows_of[c]]++;
    *column_count = *value_count = 0;
    for (int p = 1; p <= h.lists(); p++) {
      counts[p - 1] = static_cast<uint16_t>(by_rows[p]);
      *column_count += by_rows[p], *value_count += by_rows[p] * spmm_rows_in(p);
    }
  }
  void fill(int64_t panel, const uint16_t* counts, uint16_t* out, int32_t value) const {
    int32_t next_column[1 << kSpmmGroupRows], next_value[1 << kSpmmGroupRows], column = 0;
    for (int p = 1; p <= h.lists(); p++) {
      next_column[p] = column, next_value[p] = value;
      column += counts[p - 1], value += counts[p - 1] * spmm_rows_in(p);
    }
    const int64_t begin = panel * h.panel_cols(), end = begin + h.panel_cols() < h.cols ? begin + h.panel_cols() : h.cols;
    for (int64_t c = begin; c < end; c++) {
      const int p = rows_of[c];
      if (!p) continue;
      out[next_column[p]++] = static_cast<uint16_t>(c);
      place[c] = next_value[p], next_value[p] += spmm_rows_in(p);
    }
  }
  void move_values(int64_t g, const float* values, float* out) const {
    for (int i = 0; i < h.group_rows && g * h.group_rows + i < h.rows; i++)
      for (int32_t e = indptr[g * h.group_rows + i]; e < indptr[g * h.group_rows + i + 1]; e++) out[place[columns[e]]++] = values[e];
  }
};

}  // namespace

Status csr_group_infer(csr_group_args& a) {
  constexpr const char* op = "csr_group";
  TERSOR_TRY(csr_check_types(op, a.values, a.indptr, a.columns));
  TERSOR_TRY(expect_dtype(op, "values", a.values, DType::f32));
  TERSOR_TRY(expect_dtype(op, "columns", a.columns, DType::u16));
  if (a.cols < 0 || a.cols > 65536) return fail(Code::option, "%s: cols must be in [0, 65536], got %lld", op, static_cast<long long>(a.cols));
  const int64_t rows = a.indptr.shape[0] - 1, nnz = a.values.shape[0];
  if (rows > INT32_MAX || nnz > INT32_MAX) return fail(Code::limit, "%s: row offsets are 32-bit: got %lld rows, %lld values", op, static_cast<long long>(rows), static_cast<long long>(nnz));
  CsrGroupsHeader h = plan(rows, a.cols, nnz);
  h.column_count = static_cast<int32_t>(nnz);  // at most
  const int64_t bytes = h.lanes ? h.bytes() : 0;
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status csr_group_cpu(csr_group_args& a, Context& ctx) {
  constexpr const char* op = "csr_group";
  const int64_t rows = a.indptr.shape[0] - 1;
  CsrGroupsHeader h = plan(rows, a.cols, a.values.shape[0]);
  Contiguous values, indptr, columns;
  TERSOR_TRY(indptr.open(op, a.indptr, ctx.cancel));
  TERSOR_TRY(csr_check_indptr(op, indptr.as<int32_t>(), rows, a.values.shape[0]));
  if (!h.lanes) return {};
  TERSOR_TRY(values.open(op, a.values, ctx.cancel));
  TERSOR_TRY(columns.open(op, a.columns, ctx.cancel));
  const int64_t groups = h.groups(), lists = h.lists();
  Scratch work;
  TERSOR_TRY(work.reserve(op, static_cast<int64_t>(h.cols) * 5 + 4));
  int32_t* place = work.as<int32_t>();
  const Cell cell{h, indptr.as<int32_t>(), columns.as<uint16_t>(), reinterpret_cast<uint8_t*>(place + h.cols), place};

  char* block = static_cast<char*>(a.packed.data);
  CsrGroups view;
  h.column_count = 0;
  memcpy(block, &h, sizeof h);
  view.lay_out(block);
  int32_t* column_start = const_cast<int32_t*>(view.column_start);
  int32_t* value_start = const_cast<int32_t*>(view.value_start);
  uint16_t* counts = const_cast<uint16_t*>(view.counts);
  const auto is_cancelled = [&](int64_t g) { return g % 256 == 0 && ctx.cancel && ctx.cancel->load(std::memory_order_relaxed); };
  for (int64_t g = 0; g < groups; g++) {
    if (is_cancelled(g)) return fail(Code::aborted, "cancelled");
    if (!cell.mark(g)) return fail(Code::model_format, "%s: columns of rows %lld to %lld must ascend within [0, %d)", op, static_cast<long long>(g * h.group_rows),
                                   static_cast<long long>(g * h.group_rows + h.group_rows - 1), h.cols);
    for (int64_t p = 0, at = g; p < h.panels; p++, at += groups) cell.count(p, counts + at * lists, column_start + at, value_start + at);
  }
  int32_t column_count = 0, value_count = 0;
  for (int64_t at = 0; at <= h.cells(); at++) {
    const int32_t c = at < h.cells() ? column_start[at] : 0, v = at < h.cells() ? value_start[at] : 0;
    column_start[at] = column_count, value_start[at] = value_count;
    column_count += c, value_count += v;
  }
  h.column_count = column_count;
  memcpy(block, &h, sizeof h);
  for (int64_t g = 0; g < groups; g++) {
    if (is_cancelled(g)) return fail(Code::aborted, "cancelled");
    cell.mark(g);
    for (int64_t p = 0, at = g; p < h.panels; p++, at += groups)
      cell.fill(p, counts + at * lists, const_cast<uint16_t*>(view.columns) + column_start[at], value_start[at]);
    cell.move_values(g, values.as<float>(), const_cast<float*>(view.values));
  }
  a.packed.shape[0] = h.bytes();
  return {};
}

}  // namespace tersor
