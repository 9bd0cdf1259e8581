// The driver of half_run.h: blocks fitted to the caches, packing that widens, results rounded while they are in cache.
#include "ops/half_run.h"

#include <cstring>

#include "kernels/elementwise/elementwise.h"

namespace tersor {
namespace {

constexpr int64_t kPackedBytes = int64_t(1) << 20;  // of B that are packed at a time: half of L2
constexpr int64_t kChunk = 1024;                    // of k that are packed at a time where the result has 16 bits: its sums are not taken up again
constexpr int64_t kDepth = 512;                     // of k in a window of A, and packed at a time where the result is f32
constexpr int64_t kPad = 16;                        // rows of a window do not fall into few sets of the L1 cache

ConvertOp widening(DType t) { return t == DType::f16 ? ConvertOp::f16_f32 : ConvertOp::bf16_f32; }
ConvertOp narrowing(DType t) { return t == DType::f16 ? ConvertOp::f32_f16 : ConvertOp::f32_bf16; }

struct Plan {
  const GemmRow<float>& row;
  int64_t chunk, part, window_rows, window_elements, packed_elements;
};

Plan plan_of(const GemmRow<float>& row, const HalfMatrix& g) {
  const int64_t most = g.h ? kChunk : kDepth, depth = g.k < most ? (g.k > 0 ? g.k : 1) : most, unit = 2 * row.nr;
  int64_t part = kPackedBytes / (depth * 4) / unit * unit;
  if (part < 128) part = 128;
  if (part > 512) part = 512;
  const int64_t rows = kGemmPackStrips * row.mr, window = rows * (kDepth + kPad), panel = row.nr * kDepth;
  return {row, most, part, rows, window > panel ? window : panel, part * depth};
}

// Panels of columns [n0, n0 + n), rows [k0, k0 + depth) of B. `room`: nr * kDepth elements.
void pack_b(const Plan& p, const HalfMatrix& g, int64_t n0, int64_t n, int64_t k0, int64_t depth, float* room, float* packed) {
  const ConvertOp op = widening(g.dtype);
  const int nr = p.row.nr;
  for (int64_t j = 0; j < n; j += nr, packed += depth * nr) {
    const int live = n - j < nr ? static_cast<int>(n - j) : nr;
    const uint16_t* b = g.b + (n0 + j) * g.b_col + k0 * g.b_row;
    if (g.b_col == 1) {
      if (live < nr) memset(packed, 0, static_cast<size_t>(depth * nr) * 4);
      for (int64_t k = 0; k < depth; k++) elementwise_convert(ConvertArgs{op, b + k * g.b_row, packed + k * nr, live});
      continue;
    }
    for (int64_t d = 0; d < depth; d += kDepth) {
      const int64_t run = depth - d < kDepth ? depth - d : kDepth;
      for (int c = 0; c < live; c++) elementwise_convert(ConvertArgs{op, b + c * g.b_col + d, room + c * run, run});
      p.row.pack_transposed(room, run, run, live, packed + d * nr);
    }
  }
}

// Rows [m0, m0 + m), columns [k0, k0 + k) of A: row-major where A lies so, else strips of mr rows (element (i, p) of a strip at p * mr + i).
void widen_a(const Plan& p, const HalfMatrix& g, int64_t m0, int64_t m, int64_t k0, int64_t k, float* window) {
  const ConvertOp op = widening(g.dtype);
  const uint16_t* a = g.a + m0 * g.a_row + k0 * g.a_col;
  if (g.a_col == 1) {
    for (int64_t i = 0; i < m; i++) elementwise_convert(ConvertArgs{op, a + i * g.a_row, window + i * (kDepth + kPad), k});
    return;
  }
  const int64_t mr = p.row.mr, bytes = mr * 4;
  float line[kGemmPackStrips * 16];
  for (int64_t d = 0; d < k; d++) {
    elementwise_convert(ConvertArgs{op, a + d * g.a_col, line, m});
    float* to = window + d * mr;
    int64_t i = 0;
    for (; i + mr <= m; i += mr, to += k * mr) memcpy(to, line + i, static_cast<size_t>(bytes));
    if (i < m) memcpy(to, line + i, static_cast<size_t>(m - i) * 4);
  }
}

// Adds (or stores) A's window times the packed part, of which it takes rows [d, d + k).
void multiply(const Plan& p, const HalfMatrix& g, const float* window, int64_t m, int64_t k, const float* packed, int64_t depth, int64_t d, GemmStrip<float> s) {
  const int64_t mr = p.row.mr;
  s.k = k;
  s.b = packed + d * p.row.nr, s.b_row = p.row.nr, s.b_panel = depth * p.row.nr;
  if (g.a_col == 1) {
    s.m = static_cast<int>(m);
    s.a = window, s.a_row = kDepth + kPad;
    return p.row.strip(s);
  }
  float* const c = s.c;
  for (int64_t i = 0; i < m; i += mr) {
    s.m = static_cast<int>(m - i < mr ? m - i : mr);
    s.a = window + i * k, s.a_row = 1, s.a_col = mr;
    s.c = c + i * s.c_row;
    p.row.strip(s);
  }
}

// C[m0..m1, n0..n1] for k in [k0, k0 + depth). `slot`: packed part, window, sums.
void chunk(const Plan& p, const HalfMatrix& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1, int64_t k0, int64_t depth, float* slot) {
  float* const packed = slot;
  float* const window = packed + p.packed_elements;
  float* const sums = window + p.window_elements;
  for (int64_t n = n0; n < n1; n += p.part) {
    const int64_t columns = n1 - n < p.part ? n1 - n : p.part;
    pack_b(p, g, n, columns, k0, depth, window, packed);
    for (int64_t m = m0; m < m1; m += p.window_rows) {
      const int64_t rows = m1 - m < p.window_rows ? m1 - m : p.window_rows;
      GemmStrip<float> s;
      s.n = columns;
      s.c = g.h ? sums : g.c + m * g.c_row + n, s.c_row = g.h ? p.part : g.c_row;
      s.bias_n = g.bias && k0 == 0 ? g.bias + n : nullptr;
      for (int64_t d = 0; d == 0 || d < depth; d += kDepth) {
        const int64_t k = depth - d < kDepth ? depth - d : kDepth;
        s.accumulate = k0 + d > 0;
        widen_a(p, g, m, rows, k0 + d, k, window);
        multiply(p, g, window, rows, k, packed, depth, d, s);
      }
      if (g.h)
        for (int64_t i = 0; i < rows; i++) elementwise_convert(ConvertArgs{narrowing(g.dtype), sums + i * p.part, g.h + (m + i) * g.c_row + n, columns});
    }
  }
}

}  // namespace

void half_widen(DType dtype, const uint16_t* x, float* y, int64_t n) { elementwise_convert(ConvertArgs{widening(dtype), x, y, n}); }
void half_narrow(DType dtype, const float* x, uint16_t* y, int64_t n) { elementwise_convert(ConvertArgs{narrowing(dtype), x, y, n}); }

Status half_parallel(const char* op, const HalfMatrix& g, const HalfBatch& batch, const Cancel* cancel) {
  if (g.m == 0 || g.n == 0 || batch.count == 0) return {};
  const int64_t size = g.m * g.n;
  if (g.h && g.k > kChunk) {  // sums that are taken up again stay in f32 until the last one
    Scratch sums;
    TERSOR_TRY(sums.reserve(op, batch.count * size * 4));
    HalfMatrix wide = g;
    wide.c = sums.as<float>(), wide.c_row = g.n, wide.h = nullptr;
    TERSOR_TRY(half_parallel(op, wide, batch, cancel));
    const ConvertOp narrow = narrowing(g.dtype);
    return parallel_for(batch.count * g.m, grain_for(g.n), cancel, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) elementwise_convert(ConvertArgs{narrow, wide.c + i * g.n, g.h + i * g.c_row, g.n});
    });
  }
  const GemmRow<float>& row = gemm_row<float>();
  const Plan p = plan_of(row, g);
  GemmMatrix<float> shape;
  shape.m = g.m, shape.n = g.n, shape.k = g.k;
  const GemmBlocks blocks = gemm_blocks(row, shape, GemmPath::packed, false);
  const int64_t tasks = blocks.row_blocks * blocks.column_blocks, work = size * (g.k > 0 ? g.k : 1);
  const int64_t grain = tasks > 1 ? 1 : (int64_t(1) << 19) / work + 1;
  ScratchSlots slots;
  // A task may take tens of milliseconds, and whoever cancels does not wait that long.
  std::atomic<bool> is_cut{false};
  TERSOR_TRY(slots.reserve(op, (p.packed_elements + p.window_elements + (g.h ? p.window_rows * p.part : 0)) * 4, (batch.count * tasks + grain - 1) / grain));
  TERSOR_TRY(parallel_for(batch.count * tasks, grain, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t t = begin; t < end; t++) {
      const int64_t i = t / tasks, block = t % tasks;
      HalfMatrix h = g;
      if (batch.offsets) {
        int64_t a, b;
        batch.offsets(batch.state, i, &a, &b);
        h.a += a, h.b += b;
      }
      if (h.h) h.h += i * size;
      else h.c += i * size;
      const int64_t m0 = block / blocks.column_blocks * blocks.rows, n0 = block % blocks.column_blocks * blocks.columns;
      const int64_t m1 = g.m - m0 < blocks.rows ? g.m : m0 + blocks.rows, n1 = g.n - n0 < blocks.columns ? g.n : n0 + blocks.columns;
      for (int64_t k0 = 0; k0 == 0 || k0 < g.k; k0 += p.chunk) {
        if (cancel && cancel->load(std::memory_order_relaxed)) return is_cut.store(true, std::memory_order_relaxed);
        chunk(p, h, m0, m1, n0, n1, k0, g.k - k0 < p.chunk ? g.k - k0 : p.chunk, slot.as<float>());
      }
    }
  }));
  return is_cut.load() ? fail(Code::aborted, "cancelled") : Status{};
}

}  // namespace tersor
