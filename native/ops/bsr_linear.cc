// bsr_linear(x f32 [...,K], values, indptr, columns, scale f32 [rows] or [1]?, bias f32 [rows]?, rows, block_rows, block_cols, x_scale, x_zero) ->
// y [...,rows] = x W^T * scale + bias. x_scale = 0: in floats. x_scale > 0 (i8 values only): x is quantized to u8 (round half to even of x / x_scale,
// plus x_zero, clamped; NaN becomes x_zero) and multiplied in integers, exactly: y = sum (q - x_zero) w * (x_scale * scale) + bias.
// Offsets and columns are checked on every call (ERR_MODEL_FORMAT), their order by bsr_to_dense.
#include <cmath>
#include <cstring>

#include "kernels/spmm/block_dot.h"
#include "kernels/spmm/vector.h"
#include "ops/bsr_shape.h"
#include "ops/slots.h"
#include "ops/sparse_shape.h"

namespace tersor {
namespace {

constexpr const char* kOp = "bsr_linear";

Status few_rows(const BsrShape& s, const SpmmMatrix& w, SparseOperands& in, float* y, const Cancel* cancel) {
  const int64_t padded = s.cols * s.block_cols;
  const float* x;
  TERSOR_TRY(in.padded_rows(kOp, padded, &x));
  SpmmTasks tasks;
  TERSOR_TRY(tasks.cut(kOp, w.indptr, s.rows, 4096, 1 << 10, 1));
  return parallel_for(tasks.count, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++)
      for (int64_t i = 0; i < in.m; i++) {
        const int64_t first = tasks.first[t] * s.block_rows, stop = tasks.first[t + 1] * s.block_rows;
        SpmmVector v;
        v.shape = s.kind, v.rows = (stop < w.rows ? stop : w.rows) - first, v.cols = w.cols;
        v.indptr = w.indptr + tasks.first[t], v.index16 = static_cast<const uint16_t*>(w.columns), v.values = w.values, v.quantized = w.quantized;
        v.scale = w.scale ? w.scale + first * w.scale_step : nullptr, v.scale_step = w.scale_step;
        v.bias = w.bias ? w.bias + first : nullptr;
        v.x = x + i * padded, v.y = y + i * w.rows + first;
        spmm_vector_kernels().blocks(v);
      }
  });
}

// The product in integers: panels of quantized x, tasks over block rows as in spmm_many.
struct Quantized {
  const BsrShape& s;
  const SpmmMatrix& w;
  const SpmmTasks& tasks;
  float x_scale;
  int32_t zero;
  int64_t padded;
  const uint8_t* panels;
  float* y;

  bool tall() const { return s.kind == SpmmShape::column16; }
  int64_t most_rows() const { return tasks.most_rows * s.block_rows; }
  int64_t groups() const { return tasks.most_entries / 4 + tasks.most_rows; }  // of four blocks, the last of a row filled up
  int64_t scratch_bytes() const { return most_rows() * (kSpmmDotLanes + 2) * 4 + tasks.most_rows * 8 + (tall() ? groups() * (64 + 8) : 0) + 64; }

  static int lanes_at(int64_t left) { return left > 32 ? 64 : left > 16 ? 32 : 16; }

  void task(int64_t t, int64_t m, char* scratch) const {
    const int64_t r0 = tasks.first[t], rows = tasks.first[t + 1] - r0, base = w.indptr[r0];
    float* tile = reinterpret_cast<float*>(scratch);
    int32_t* correction = reinterpret_cast<int32_t*>(tile + most_rows() * kSpmmDotLanes);
    float* scale = reinterpret_cast<float*>(correction + most_rows());
    int32_t* begin = reinterpret_cast<int32_t*>(scale + most_rows());
    int32_t* end = begin + tasks.most_rows;
    SpmmDot d;
    d.shape = s.kind, d.rows = rows, d.begin = begin, d.end = end, d.correction = correction, d.y = tile;
    d.values = static_cast<const int8_t*>(w.values) + base * 16;
    d.columns = static_cast<const uint16_t*>(w.columns) + base;
    for (int64_t r = 0; r < rows; r++) {
      begin[r] = static_cast<int32_t>(w.indptr[r0 + r] - base);
      end[r] = static_cast<int32_t>(w.indptr[r0 + r + 1] - base);
    }
    if (tall()) weave(d, begin, end, reinterpret_cast<int8_t*>(end + tasks.most_rows));
    const SpmmDotRow& row = spmm_dot_row();
    row.sums(d, zero, correction);
    const int64_t first = r0 * s.block_rows, count = rows * s.block_rows < w.rows - first ? rows * s.block_rows : w.rows - first;
    for (int64_t r = 0; r < count; r++) scale[r] = x_scale * w.scale[(first + r) * w.scale_step];
    for (int64_t i = 0; i < m; i += d.lanes) {
      d.lanes = lanes_at(m - i);
      d.x = panels + i * padded;
      row.dot(d);
      SpmmTranspose out;
      out.in = tile, out.in_row = d.lanes, out.rows = count, out.cols = d.lanes < m - i ? d.lanes : m - i;
      out.out = y + i * w.rows + first, out.out_row = w.rows;
      out.scale = scale, out.scale_step = 1, out.bias = w.bias ? w.bias + first : nullptr;
      spmm_row().transpose(out);
    }
  }

  // 16x1 blocks in groups of four, their bytes interleaved for the dot product of four columns.
  void weave(SpmmDot& d, int32_t* begin, int32_t* end, int8_t* values) const {
    uint16_t* columns = reinterpret_cast<uint16_t*>(values + groups() * 64);
    int32_t g = 0;
    for (int64_t r = 0; r < d.rows; r++) {
      const int32_t from = begin[r], to = end[r];
      begin[r] = g;
      for (int32_t e = from; e < to; e += 4, g++)
        for (int j = 0; j < 4; j++) {
          columns[g * 4 + j] = d.columns[e + j < to ? e + j : e];
          for (int i = 0; i < 16; i++) values[(g * 16 + i) * 4 + j] = e + j < to ? d.values[(e + j) * 16 + i] : int8_t(0);
        }
      end[r] = g;
    }
    d.values = values, d.columns = columns;
  }
};

Status quantized(const BsrShape& s, const SpmmMatrix& w, const float* x, int64_t m, double x_scale, int64_t x_zero, float* y, const Cancel* cancel) {
  SpmmTasks tasks;
  TERSOR_TRY(tasks.cut(kOp, w.indptr, s.rows, 128 / s.block_rows, 1 << 14, 16 / s.block_rows));
  const int64_t padded = (s.cols * s.block_cols + 3) / 4 * 4;
  constexpr int64_t kRows = 1024;  // rows of x that are quantized at a time
  for (int64_t i0 = 0; i0 < m; i0 += kRows) {
    const int64_t rows = m - i0 < kRows ? m - i0 : kRows;
    Scratch panels;
    TERSOR_TRY(panels.reserve(kOp, (rows + kSpmmDotLanes) * padded));
    TERSOR_TRY(parallel_for(rows, kSpmmDotLanes, cancel, [&](int64_t begin, int64_t end) {
      SpmmQuantize q;
      q.x_row = w.cols, q.cols = w.cols, q.padded = padded, q.quads = s.kind != SpmmShape::column16;
      q.scale = static_cast<float>(x_scale), q.zero = static_cast<int32_t>(x_zero);
      for (int64_t i = begin; i < end; i += q.lanes) {
        q.lanes = Quantized::lanes_at(rows - i);
        q.width = static_cast<int>(rows - i < q.lanes ? rows - i : q.lanes);
        q.x = x + (i0 + i) * w.cols, q.out = panels.as<uint8_t>() + i * padded;
        spmm_dot_row().quantize(q);
      }
    }));
    const Quantized run{s, w, tasks, static_cast<float>(x_scale), static_cast<int32_t>(x_zero), padded, panels.as<uint8_t>(), y + i0 * w.rows};
    ScratchSlots slots;
    TERSOR_TRY(slots.reserve(kOp, run.scratch_bytes(), tasks.count));
    TERSOR_TRY(parallel_for(tasks.count, 1, cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      for (int64_t t = begin; t < end; t++) run.task(t, rows, slot.as<char>());
    }));
  }
  return {};
}

}  // namespace

Status bsr_linear_infer(bsr_linear_args& a) {
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  BsrShape s;
  TERSOR_TRY(bsr_shape(kOp, a.rows, a.x.dim(-1), a.block_rows, a.block_cols, &s));
  TERSOR_TRY(bsr_check_types(kOp, s, a.values, a.indptr, a.columns));
  if (!std::isfinite(a.x_scale) || a.x_scale < 0) return fail(Code::option, "%s: x_scale must be finite and >= 0, got %g", kOp, a.x_scale);
  if (a.x_zero < 0 || a.x_zero > 255) return fail(Code::option, "%s: x_zero must be in [0, 255], got %lld", kOp, static_cast<long long>(a.x_zero));
  if (a.x_scale > 0 && a.values.dtype != DType::i8) return fail(Code::option, "%s: x_scale > 0 needs i8 values, got %s", kOp, TERSOR_TEXT(a.values));
  if (a.x_scale > 0 && !(static_cast<float>(a.x_scale) > 0 && std::isfinite(static_cast<float>(a.x_scale))))
    return fail(Code::option, "%s: x_scale must be a float > 0 or 0, got %g", kOp, a.x_scale);
  if (a.x_scale > 0 && a.x.dim(-1) > kSpmmDotMaxDepth)
    return fail(Code::limit, "%s: integer sums are exact to %lld columns, got %s", kOp, static_cast<long long>(kSpmmDotMaxDepth), TERSOR_TEXT(a.x));
  return sparse_check_linear(kOp, a.x, a.values, a.scale, a.bias, a.rows, &a.y);
}

Status bsr_linear_cpu(bsr_linear_args& a, Context& ctx) {
  BsrShape s;
  TERSOR_TRY(bsr_shape(kOp, a.rows, a.x.dim(-1), a.block_rows, a.block_cols, &s));
  Contiguous indptr, columns;
  SparseOperands in;
  TERSOR_TRY(indptr.open(kOp, a.indptr, ctx.cancel));
  const int64_t blocks = a.columns.shape[0];
  TERSOR_TRY(csr_check_indptr(kOp, indptr.as<int32_t>(), s.rows, blocks));
  if (a.y.size() == 0) return {};
  TERSOR_TRY(columns.open(kOp, a.columns, ctx.cancel));
  const int64_t most = spmm_row().max_column(columns.data(), false, blocks);
  if (blocks > 0 && most >= s.cols)
    return fail(Code::model_format, "%s: block column %lld is outside [0, %lld)", kOp, static_cast<long long>(most), static_cast<long long>(s.cols));
  TERSOR_TRY(in.open(kOp, a.x, a.values, a.scale, a.bias, a.rows, ctx.cancel));
  SpmmMatrix w;
  w.shape = s.kind, w.rows = a.rows, w.cols = in.k, w.indptr = indptr.as<int32_t>(), w.columns = columns.data(), w.values = in.values.data();
  w.quantized = a.values.dtype == DType::i8, w.scale = in.scale_data, w.scale_step = in.scale_step, w.bias = in.bias_data;
  float* const y = a.y.as<float>();
  if (a.x_scale > 0) return quantized(s, w, in.x.as<float>(), in.m, a.x_scale, a.x_zero, y, ctx.cancel);
  return in.m <= kSpmmFewRows ? few_rows(s, w, in, y, ctx.cancel) : spmm_many(kOp, w, SpmmSide::rows, in.x.as<float>(), in.m, y, ctx.cancel);
}

}  // namespace tersor
