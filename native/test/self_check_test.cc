// The trial of the tile rows: a right row passes, a slightly wrong one does not, and what is withdrawn is seen.
#include "kernels/self_check.h"

#include "test/qgemm_tiles.h"
#include "test/test.h"

using namespace tersor;
using namespace tersor::test;

namespace {

const QgemmRow& bytes_reference() {
  const QgemmRow* rows;
  const int n = qgemm_all_rows(&rows);
  return rows[n - 1];
}
const GemmBf16Row& halves_reference() {
  const GemmBf16Row* rows;
  const int n = gemm_bf16_all_rows(&rows);
  return rows[n - 1];
}

// The reference but for the last column of the last row, or but for s8.
void wrong_corner(const QgemmBlock& q) {
  bytes_reference().block(q);
  static_cast<int32_t*>(q.out->y)[q.m * q.out->y_row - 1]++;
}
void unsigned_only(const QgemmBlock& q) {
  QgemmBlock u = q;
  u.a_signed = false;
  bytes_reference().block(u);
}
void wrong_halves(const Bf16Block& q) {
  halves_reference().block(q);
  q.c[(q.m - 1) * q.y_row + q.n - 1] += 1;
}

}  // namespace

TERSOR_TEST(self_check_tells_right_rows_from_wrong_ones) {
  const QgemmRow* bytes;
  const int n = qgemm_all_rows(&bytes);
  CHECK(rows_agree(qgemm_tiles_row(), bytes_reference()));
  for (int i = 0; i < n; i++)
    if (bytes[i].takes_s8 && (bytes[i].needs & ~isa::allowed()) == 0) CHECK(rows_agree(bytes[i], bytes_reference()));
  QgemmRow wrong = bytes_reference();
  wrong.block = wrong_corner;
  CHECK(!rows_agree(wrong, bytes_reference()));
  wrong.block = unsigned_only;
  CHECK(!rows_agree(wrong, bytes_reference()));

  const GemmBf16Row* halves;
  const int h = gemm_bf16_all_rows(&halves);
  for (int i = 0; i < h; i++)
    if ((halves[i].needs & ~isa::allowed()) == 0) CHECK_MSG(rows_agree(halves[i], halves_reference()), "%s", halves[i].function);
  GemmBf16Row wrong_row = halves_reference();
  wrong_row.block = wrong_halves;
  CHECK(!rows_agree(wrong_row, halves_reference()));
}

TERSOR_TEST(self_check_shows_what_is_withdrawn) {
  const uint32_t before = isa::allowed(), unused = 1u << 30;
  isa::withdraw(unused, "a_row_amx");
  CHECK(!strcmp(isa::withdrawn(), "a_row_amx gave wrong results when it was tried"));
  CHECK(isa::allowed() == before);
  CHECK(isa::cap_status().ok());
}
