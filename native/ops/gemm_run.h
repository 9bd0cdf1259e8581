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
template <class T> GemmBlocks gemm_blocks(const GemmRow<T>& row, const GemmMatrix<T>& g, GemmPath path) {
  const int64_t depth = g.k > 0 ? g.k : 1, nr = row.nr;
  GemmBlocks b;
  if (path == GemmPath::packed) {
    // A task packs a block of B, kGemmDepth x 512 at most (it stays in L2), and takes its rows of A past it. Packing B once per block of
    // rows and reading A once per block of columns is what more tasks cost: few, large ones, evenly cut, two per thread.
    const int64_t threads = thread_count(), wanted = threads > 1 ? 2 * threads : 1;
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
    if (b.rows < row.mr) b.rows = row.mr;
  }
  b.row_blocks = ceil_div(g.m, b.rows);
  b.column_blocks = ceil_div(g.n, b.columns);
  return b;
}

// What a product may have besides its operands.
template <class T> struct GemmExtra {
  const T* packed = nullptr;  // all panels of B (gemm_packed_elements): B itself is then never read
  void (*finish)(const void* state, int64_t m0, int64_t m, int64_t n0, int64_t n) = nullptr;  // of a block of C that is complete and still in cache
  const void* state = nullptr;
};

template <class T> Status gemm_parallel(const char* op, const GemmMatrix<T>& g, const Cancel* cancel, const GemmExtra<T>& extra = {}) {
  if (g.m == 0 || g.n == 0) return {};
  const GemmRow<T>& row = gemm_row<T>();
  const GemmPath path = extra.packed ? GemmPath::packed : gemm_path(row, g);
  const GemmBlocks blocks = gemm_blocks(row, g, path);
  const int64_t tasks = blocks.row_blocks * blocks.column_blocks;
  ScratchSlots slots;
  if (path == GemmPath::packed && !extra.packed) TERSOR_TRY(slots.reserve(op, blocks.columns * (g.k < kGemmDepth ? g.k : kGemmDepth) * static_cast<int64_t>(sizeof(T)), tasks));
  return parallel_for(tasks, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t m0 = t / blocks.column_blocks * blocks.rows, n0 = t % blocks.column_blocks * blocks.columns;
      GemmMatrix<T> h = g;
      h.m = g.m - m0 < blocks.rows ? g.m - m0 : blocks.rows;
      h.n = g.n - n0 < blocks.columns ? g.n - n0 : blocks.columns;
      h.a += m0 * g.a_row, h.b += n0 * g.b_col, h.c += m0 * g.c_row + n0;
      if (h.bias) h.bias += n0;
      if (path != GemmPath::packed || extra.packed) {
        GemmNext<T> next;
        const int64_t n1 = n0 + h.n, left = g.n - n1;
        if (extra.packed && left > 0 && h.m > 2 * row.mr)  // the first block of the next task's panels
          next = {extra.packed + n1 * g.k, g.k * row.nr, gemm_panels(row, left < blocks.columns ? left : blocks.columns),
                  (g.k < kGemmDepth ? g.k : kGemmDepth) * row.nr};
        gemm_block(row, h, path, extra.packed ? extra.packed + n0 * g.k : nullptr, 0, h.m, 0, h.n, next);
        if (extra.finish) extra.finish(extra.state, m0, h.m, n0, h.n);
        continue;
      }
      const ScratchSlots::Lease slot(slots);
      for (int64_t k0 = 0; k0 == 0 || k0 < g.k; k0 += kGemmDepth) {
        h.k = g.k - k0 < kGemmDepth ? g.k - k0 : kGemmDepth;
        h.accumulate = k0 > 0;
        gemm_pack_b(row, h, 0, gemm_panels(row, h.n), slot.template as<T>());
        GemmNext<T> next;
        if (k0 + kGemmDepth < g.k) {
          const int64_t depth = g.k - k0 - kGemmDepth < kGemmDepth ? g.k - k0 - kGemmDepth : kGemmDepth;
          if (g.b_col == 1) next = {h.b + kGemmDepth * g.b_row, g.b_row, depth, h.n};
          else if (g.b_row == 1) next = {h.b + kGemmDepth, g.b_col, h.n, depth};
        }
        gemm_block(row, h, GemmPath::packed, slot.template as<T>(), 0, h.m, 0, h.n, next);
        h.a += kGemmDepth * g.a_col, h.b += kGemmDepth * g.b_row;
      }
      if (extra.finish) extra.finish(extra.state, m0, h.m, n0, h.n);
    }
  });
}

}  // namespace tersor
