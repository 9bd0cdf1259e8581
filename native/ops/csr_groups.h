// Rows of a CSR matrix f32 packed in groups for products with many vectors (kernels/spmm/grouped.h): one block of bytes, made by csr_group.
// Layout: header; column_start and value_start i32 [panels * groups + 1] each; counts u16 [panels * groups][2^R - 1], to a multiple of 4 bytes; values f32 [nnz];
// columns u16. Panel by panel, group after group. It lives in memory only, never in a file.
#pragma once
#include "kernels/spmm/grouped.h"
#include "ops/spmm_run.h"

namespace tersor {

struct CsrGroupsHeader {
  int32_t magic, rows, cols, nnz, column_count, group_rows, lanes, panels;
  static constexpr int32_t kMagic = 0x31677363;

  int64_t groups() const { return (rows + group_rows - 1) / group_rows; }
  int64_t cells() const { return groups() * panels; }
  int64_t lists() const { return (int64_t(1) << group_rows) - 1; }
  int64_t panel_cols() const { return (cols + panels - 1) / panels; }
  int64_t starts_bytes() const { return (cells() + 1) * 4; }
  int64_t counts_bytes() const { return (cells() * lists() * 2 + 3) / 4 * 4; }
  int64_t bytes() const { return static_cast<int64_t>(sizeof *this) + 2 * starts_bytes() + counts_bytes() + static_cast<int64_t>(nnz) * 4 + static_cast<int64_t>(column_count) * 2; }
};

// The parts of such a block.
struct CsrGroups {
  CsrGroupsHeader head{};
  const int32_t* column_start = nullptr;
  const int32_t* value_start = nullptr;
  const uint16_t* counts = nullptr;
  const float* values = nullptr;
  const uint16_t* columns = nullptr;

  void lay_out(const char* block);
  // ERR_OPTION unless the block was packed from a matrix of this size for the kernel that this process uses. Starts are checked, counts and columns are not.
  Status open(const char* op, const TensorRef& packed, const SpmmMatrix& w);
};

// As spmm_many, of all vectors; only where csr_groups_pay(groups, n).
Status spmm_grouped(const char* op, const SpmmMatrix& w, const CsrGroups& groups, SpmmSide side, const float* x, int64_t n, float* y, const Cancel* cancel);
// Whether n vectors fill the kernel's lanes to seven eighths or more.
bool csr_groups_pay(const CsrGroups& groups, int64_t n);

}  // namespace tersor
