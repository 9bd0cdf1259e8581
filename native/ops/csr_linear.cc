// csr_linear(x f32 [...,K], values f32 or i8 [nnz], indptr, columns, scale f32 [rows] or [1]?, bias f32 [rows]?) -> y [...,rows] = x W^T * scale + bias.
// scale belongs to i8 values (and is required for them). The structure is checked as far as memory safety needs: indptr always; column
// indices are clamped by the kernel for up to 3 rows of x, and checked (ERR_MODEL_FORMAT) for more, where that costs little. Order and
// uniqueness of columns is csr_to_dense's business: load paths call it (or check alike) once.
#include "kernels/spmm/spmm.h"
#include "ops/csr_shape.h"
#include "ops/slots.h"

namespace tersor {
namespace {

constexpr const char* kOp = "csr_linear";
constexpr int64_t kGatherRows = 3;
constexpr int64_t kTileRows = 32;  // rows of W whose results are transposed together

// panel[c * 64 + i] = x[i * k + c] for c in [c0, c1), i < width; the lanes up to a multiple of 16 are zero.
void transpose_in(const float* x, int64_t k, int64_t c0, int64_t c1, int width, float* panel) {
  const int lanes = (width + 15) / 16 * 16;
  for (int64_t c = c0; c < c1; c += 16) {  // 16 columns at a time: each line of x is read once
    const int64_t stop = c + 16 < c1 ? c + 16 : c1;
    for (int i = 0; i < width; i++)
      for (int64_t j = c; j < stop; j++) panel[j * kSpmmLanes + i] = x[i * k + j];
    for (int i = width; i < lanes; i++)
      for (int64_t j = c; j < stop; j++) panel[j * kSpmmLanes + i] = 0.0f;
  }
}

SpmmArgs from_row(const SpmmArgs& all, int64_t first, int64_t rows) {
  SpmmArgs s = all;
  s.rows = rows;
  s.indptr += first;
  if (s.scale) s.scale += first * s.scale_step;
  if (s.bias) s.bias += first;
  return s;
}

// Rows [r0, r1) of W for the `width` rows of x in the panel; y points at y[first row of x][0], n = row length of y.
void panel_rows(const SpmmRow& row, const SpmmArgs& all, const float* panel, int width, int64_t r0, int64_t r1, float* y, int64_t n) {
  float tile[kTileRows * kSpmmLanes];
  for (int64_t r = r0; r < r1; r += kTileRows) {
    const int64_t rows = r1 - r < kTileRows ? r1 - r : kTileRows;
    SpmmArgs s = from_row(all, r, rows);
    s.x = panel, s.y = tile, s.width = width;
    row.panel(s);
    for (int i = 0; i < width; i++)
      for (int64_t j = 0; j < rows; j++) y[i * n + r + j] = tile[j * kSpmmLanes + i];
  }
}

}  // namespace

Status csr_linear_infer(csr_linear_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(csr_check_types(kOp, a.values, a.indptr, a.columns));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  const int64_t rows = a.indptr.shape[0] - 1;
  if (a.x.dim(-1) > (a.columns.dtype == DType::u16 ? 65536 : INT32_MAX))
    return fail(Code::shape, "%s: x has more columns than %s indices reach: %s", kOp, dtype_name(a.columns.dtype), TERSOR_TEXT(a.x));
  if (a.scale.present()) {
    TERSOR_TRY(expect_dtype(kOp, "scale", a.scale, DType::f32));
    TERSOR_TRY(expect_rank(kOp, "scale", a.scale, 1));
    if (a.scale.shape[0] != 1 && a.scale.shape[0] != rows)
      return fail(Code::shape, "%s: scale must have 1 or %lld entries, got %s", kOp, static_cast<long long>(rows), TERSOR_TEXT(a.scale));
  } else if (a.values.dtype == DType::i8) {
    return fail(Code::option, "%s: i8 values need a scale", kOp);
  }
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(kOp, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(kOp, "bias", a.bias, &rows, 1));
  }
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i];
  shape[a.x.rank - 1] = rows;
  set_shape(a.y, DType::f32, shape, a.x.rank);
  return {};
}

Status csr_linear_cpu(csr_linear_args& a, Context& ctx) {
  Contiguous x, values, indptr, columns, scale, bias;
  TERSOR_TRY(indptr.open(kOp, a.indptr, ctx.cancel));
  const int64_t n = a.indptr.shape[0] - 1, k = a.x.dim(-1), nnz = a.values.shape[0];
  TERSOR_TRY(csr_check_indptr(kOp, indptr.as<int32_t>(), n, nnz));
  if (k == 0 && nnz > 0) return fail(Code::model_format, "%s: %lld values in a matrix without columns", kOp, static_cast<long long>(nnz));
  if (a.y.size() == 0) return {};
  const int64_t m = a.y.size() / n;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(values.open(kOp, a.values, ctx.cancel));
  TERSOR_TRY(columns.open(kOp, a.columns, ctx.cancel));
  if (a.scale.present()) TERSOR_TRY(scale.open(kOp, a.scale, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));

  const SpmmRow& row = spmm_row();
  SpmmArgs s;
  s.cols = k;
  s.indptr = indptr.as<int32_t>(), s.columns = columns.data(), s.values = values.data();
  s.wide = a.columns.dtype == DType::i32, s.quantized = a.values.dtype == DType::i8;
  s.scale = a.scale.present() ? scale.as<float>() : nullptr;
  s.scale_step = a.scale.present() && a.scale.shape[0] != 1 ? 1 : 0;
  s.bias = a.bias.present() ? bias.as<float>() : nullptr;
  const int64_t per_row = nnz / n + 4;
  float* const y = a.y.as<float>();

  if (m <= kGatherRows) {
    return parallel_for(n, grain_for(per_row * m), ctx.cancel, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < m; i++) {
        SpmmArgs part = from_row(s, begin, end - begin);
        part.x = x.as<float>() + i * k;
        part.y = y + i * n + begin;
        row.gather(part);
      }
    });
  }
  const uint32_t most = row.max_column(s.columns, s.wide, nnz);
  if (nnz > 0 && most >= static_cast<uint64_t>(k))
    return fail(Code::model_format, "%s: column index %lld is outside [0, %lld)", kOp, static_cast<long long>(static_cast<int32_t>(most)), static_cast<long long>(k));

  const int64_t blocks = (m + kSpmmLanes - 1) / kSpmmLanes;
  const auto width_of = [&](int64_t block) { return static_cast<int>(m - block * kSpmmLanes < kSpmmLanes ? m - block * kSpmmLanes : kSpmmLanes); };
  const int64_t panel_bytes = k * kSpmmLanes * 4;
  if (blocks >= 4) {  // each task takes a block of x through the whole of W
    ScratchSlots slots;
    TERSOR_TRY(slots.reserve(kOp, panel_bytes, blocks));
    return parallel_for(blocks, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      for (int64_t b = begin; b < end; b++) {
        transpose_in(x.as<float>() + b * kSpmmLanes * k, k, 0, k, width_of(b), slot.as<float>());
        panel_rows(row, s, slot.as<float>(), width_of(b), 0, n, y + b * kSpmmLanes * n, n);
      }
    });
  }
  Scratch panel;
  TERSOR_TRY(panel.reserve(kOp, panel_bytes));
  for (int64_t b = 0; b < blocks; b++) {
    TERSOR_TRY(parallel_for(k, grain_for(kSpmmLanes), ctx.cancel, [&](int64_t begin, int64_t end) {
      transpose_in(x.as<float>() + b * kSpmmLanes * k, k, begin, end, width_of(b), panel.as<float>());
    }));
    const int64_t rows = (grain_for(per_row * 4) + kTileRows - 1) / kTileRows * kTileRows;
    TERSOR_TRY(parallel_for(n, rows, ctx.cancel, [&](int64_t begin, int64_t end) {
      panel_rows(row, s, panel.as<float>(), width_of(b), begin, end, y + b * kSpmmLanes * n, n);
    }));
  }
  return {};
}

}  // namespace tersor
