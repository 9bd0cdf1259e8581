// Rows that the processor claims to run but that may not work all the same: tile instructions depend on what hypervisor and kernel let
// through. They are tried once on a small product before any row is chosen.
#pragma once
#include "kernels/gemm_bf16/gemm_bf16.h"
#include "kernels/qgemm/qgemm.h"

namespace tersor {

// True when both give the same results on a product with ragged edges in all three sizes (bf16: of values whose sums are exact).
bool rows_agree(const QgemmRow& row, const QgemmRow& reference);
bool rows_agree(const GemmBf16Row& row, const GemmBf16Row& reference);

// If AMX is allowed and a row that needs it disagrees with the scalar one, takes AMX back (isa::withdraw), visibly. Called once at start,
// by the addon; the native tests do without, so that there a wrong row fails loudly.
void check_tile_rows();

}  // namespace tersor
