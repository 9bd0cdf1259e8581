// One matrix product of any strides, in parallel: how matmul and linear use kernels/gemm.
#pragma once
#include "base/alloc.h"
#include "cpu/threads.h"
#include "kernels/gemm/gemm.h"

namespace tersor {

// Rows and columns of C that one task computes: about 2^22 multiply-adds, a pure function of the shape.
struct GemmBlocks {
  int64_t rows, columns, row_blocks, column_blocks;
};
template <class T> GemmBlocks gemm_blocks(const GemmRow<T>& row, const GemmMatrix<T>& g, GemmPath path) {
  const int64_t target = int64_t(1) << (path == GemmPath::dot ? 18 : 22);
  const int64_t depth = g.k > 0 ? g.k : 1;
  GemmBlocks b;
  const int64_t widest = path == GemmPath::dot ? target : 512;
  b.columns = g.n < widest ? g.n : widest / row.nr * row.nr;
  if (path == GemmPath::dot || g.m <= row.mr) {
    const int64_t fit = target / (depth * (g.m > 0 ? g.m : 1)) / row.nr * row.nr;
    if (fit < b.columns) b.columns = fit > row.nr ? fit : row.nr;
  }
  b.rows = target / (depth * b.columns) / row.mr * row.mr;
  if (b.rows < row.mr) b.rows = row.mr;
  if (path == GemmPath::dot && g.n > 1) b.rows = g.m;
  b.row_blocks = (g.m + b.rows - 1) / b.rows;
  b.column_blocks = (g.n + b.columns - 1) / b.columns;
  return b;
}

template <class T> Status gemm_parallel(const char* op, const GemmMatrix<T>& g, const Cancel* cancel) {
  if (g.m == 0 || g.n == 0) return {};
  const GemmRow<T>& row = gemm_row<T>();
  const GemmPath path = gemm_path(row, g);
  Scratch packed;
  if (path == GemmPath::packed) {
    TERSOR_TRY(packed.reserve(op, gemm_packed_elements(row, g.k, g.n) * static_cast<int64_t>(sizeof(T))));
    TERSOR_TRY(parallel_for(gemm_panels(row, g.n), grain_for(g.k * row.nr), cancel,
                            [&](int64_t begin, int64_t end) { gemm_pack_b(row, g, begin, end, packed.as<T>()); }));
  }
  const GemmBlocks blocks = gemm_blocks(row, g, path);
  return parallel_for(blocks.row_blocks * blocks.column_blocks, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t m0 = t / blocks.column_blocks * blocks.rows, n0 = t % blocks.column_blocks * blocks.columns;
      const int64_t m1 = m0 + blocks.rows < g.m ? m0 + blocks.rows : g.m, n1 = n0 + blocks.columns < g.n ? n0 + blocks.columns : g.n;
      gemm_block(row, g, path, packed.as<T>(), m0, m1, n0, n1);
    }
  });
}

}  // namespace tersor
