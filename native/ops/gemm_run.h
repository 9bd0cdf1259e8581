// One matrix product of any strides, in parallel: how matmul and linear use kernels/gemm.
#pragma once
#include "base/alloc.h"
#include "cpu/threads.h"
#include "kernels/gemm/gemm.h"
#include "ops/slots.h"

namespace tersor {

// C[m0.., n0..] of one task. On the packed path an element is one chain of sums over k, whatever the blocks are, so they may be fitted to
// the threads; the blocks of the other paths are a pure function of the shape, so results do not depend on the threads either.
struct GemmBlocks {
  int64_t rows, columns, row_blocks, column_blocks;
};
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
template <class T> GemmBlocks gemm_blocks(const GemmRow<T>& row, const GemmMatrix<T>& g, GemmPath path, bool prepacked) {
  const int64_t depth = g.k > 0 ? g.k : 1, nr = row.nr, threads = thread_count(), wanted = threads > 1 ? 2 * threads : 1;
  GemmBlocks b;
  if (prepacked) {
    // As many rows as stay in cache meet all columns; columns are cut where that gives too few tasks. The task that is waited for at the end should be a
    // small part of the whole, for processors are not equally fast while others use them, but have 2^22 multiply-adds, some fifty microseconds.
    b.rows = gemm_rows_in_cache(row, g.m, gemm_cut(g.k, kGemmDepth, 4));
    const int64_t rows = ceil_div(g.m, b.rows), least = (int64_t(1) << 22) / (depth * b.rows), fine = threads > 1 ? 8 * threads : 1;
    const int64_t most = ceil_div(g.n, least > 2 * nr ? least : 2 * nr);
    const int64_t columns = rows >= fine ? 1 : ceil_div(fine, rows) < most ? ceil_div(fine, rows) : most;
    // Not more than 2^29 multiply-adds, a few milliseconds: between tasks a call can be cancelled.
    const int64_t share = ceil_div(g.n, columns), limit = (int64_t(1) << 29) / (depth * b.rows), fair = share < limit ? share : limit;
    b.columns = ceil_div(fair > 0 ? fair : 1, 2 * nr) * 2 * nr;
  } else if (path == GemmPath::packed) {
    // A task packs its part of B, kGemmPackColumns at a time, and takes its rows of A past it. Packing B once per block of rows and reading A once
    // per block of columns is what more tasks cost: few, large ones, evenly cut, two per thread.
    int64_t columns = ceil_div(g.n, 512), rows = 1;
    if (columns < wanted) rows = ceil_div(wanted, columns) < ceil_div(g.m, 256) ? ceil_div(wanted, columns) : ceil_div(g.m, 256);
    if (columns * rows < wanted) columns = ceil_div(wanted, rows) < ceil_div(g.n, 128) ? ceil_div(wanted, rows) : ceil_div(g.n, 128);
    b.rows = ceil_div(ceil_div(g.m, rows), row.mr) * row.mr;
    b.columns = ceil_div(ceil_div(g.n, columns), nr) * nr;
  } else if (path == GemmPath::dot && g.n > 1) {
    b.rows = g.m;
    b.columns = (int64_t(1) << 18) / (depth * g.m) / 8 * 8;
    if (b.columns < 8) b.columns = 8;
  } else {
    // B is read where it lies: about 2^21 multiply-adds, wide blocks first.
    b.columns = g.n < 512 ? g.n : 512 / nr * nr;
    if (b.columns < nr) b.columns = nr;
    b.rows = (int64_t(1) << 21) / (depth * b.columns) / row.mr * row.mr;
    if (b.rows < 4 * row.mr) b.rows = 4 * row.mr;
  }
  b.row_blocks = ceil_div(g.m, b.rows);
  b.column_blocks = ceil_div(g.n, b.columns);
  return b;
}

// What a product may have besides its operands.
template <class T> struct GemmExtra {
  const T* packed = nullptr;  // all panels of B (gemm_packed_elements): B itself is then never read
  GemmFinish finish;
};

constexpr int64_t kGemmPackColumns = 128;  // of B that are packed at a time: with kGemmDepth 512 KiB, a quarter of L2
// Where A lies transposed, its rows are packed too, once for each part of B: so a part is all columns of a task (512 at most), and less deep, for
// both copies to stay in L2.
constexpr int64_t kGemmPackColumnsWide = 512, kGemmDepthWide = 640;

template <class T> Status gemm_parallel(const char* op, const GemmMatrix<T>& g, const Cancel* cancel, const GemmExtra<T>& extra = {}) {
  if (g.m == 0 || g.n == 0) return {};
  const GemmRow<T>& row = gemm_row<T>();
  const GemmPath path = extra.packed ? GemmPath::packed : gemm_path(row, g);
  const GemmBlocks blocks = gemm_blocks(row, g, path, extra.packed != nullptr);
  const int64_t tasks = blocks.row_blocks * blocks.column_blocks;
  const bool packs = path == GemmPath::packed && !extra.packed, packs_a = packs && g.a_row == 1 && gemm_scattered(g);
  const int64_t depth = gemm_cut(g.k, packs_a ? kGemmDepthWide : kGemmDepth, 4);
  const int64_t part = packs_a ? kGemmPackColumnsWide : kGemmPackColumns, strips = packs_a ? kGemmPackStrips * row.mr : 0;
  ScratchSlots slots;
  if (packs) TERSOR_TRY(slots.reserve(op, (part + strips) * depth * static_cast<int64_t>(sizeof(T)), tasks));
  // A task that packs may take tens of milliseconds, and whoever cancels does not wait that long.
  std::atomic<bool> is_cut{false};
  const auto is_cancelled = [&] {
    if (!cancel || !cancel->load(std::memory_order_relaxed)) return false;
    is_cut.store(true, std::memory_order_relaxed);
    return true;
  };
  TERSOR_TRY(parallel_for(tasks, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t m0 = t / blocks.column_blocks * blocks.rows, n0 = t % blocks.column_blocks * blocks.columns;
      const int64_t m1 = g.m - m0 < blocks.rows ? g.m : m0 + blocks.rows, n1 = g.n - n0 < blocks.columns ? g.n : n0 + blocks.columns;
      if (!packs) {
        gemm_block(row, g, path, extra.packed, m0, m1, n0, n1, extra.finish);
        continue;
      }
      const ScratchSlots::Lease slot(slots);
      for (int64_t n = n0; n < n1; n += part) {
        GemmMatrix<T> h = g;
        h.m = m1 - m0, h.n = n1 - n < part ? n1 - n : part;
        h.a += m0 * g.a_row, h.b += n * g.b_col, h.c += m0 * g.c_row + n;
        if (h.bias) h.bias += n;
        for (int64_t k0 = 0; k0 == 0 || k0 < g.k; k0 += depth) {
          if (is_cancelled()) return;
          h.k = g.k - k0 < depth ? g.k - k0 : depth;
          h.accumulate = g.accumulate || k0 > 0;
          T* const packed = slot.template as<T>();
          gemm_pack_b(row, h, 0, gemm_panels(row, h.n), packed);
          if (packs_a) gemm_columns(row, h, packed, packed + part * depth);
          else gemm_block(row, h, GemmPath::packed, packed, 0, h.m, 0, h.n);
          h.a += depth * g.a_col, h.b += depth * g.b_row;
        }
        if (extra.finish.run) extra.finish.run(extra.finish.state, m0, h.m, n, h.n);
      }
    }
  }));
  return is_cut.load() ? fail(Code::aborted, "cancelled") : Status{};
}

}  // namespace tersor
