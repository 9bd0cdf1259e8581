// u8 x s8 and s8 x s8 on emulated tiles: sums against 64-bit ones with unreadable pages around A and B, edges of all three sizes, sums that
// wrap; and how many tile loads a product costs. qgemm_test.cc runs the finishes over this row as over the others.
#include "test/qgemm_tiles.h"

#include "test/test.h"
#include "test/tile_emulated.h"

#define TERSOR_QGEMM_TILE_WIDTH qgemm_width_scalar
#include "kernels/qgemm/tile_body.h"

namespace tersor {
namespace test {

const QgemmRow& qgemm_tiles_row() {
  static const QgemmRow row = {isa::scalar, "large", "qgemm_u8s8s32_32x32 on emulated tiles", 32, 2, 1, true, true, {16, 4, 64, false}, &qgemm_width_scalar,
                               qgemm_tile_block};
  return row;
}

void check_qgemm_tiles() {
  CHECK_MSG(tiles.faults == 0, "%lld tile instructions would have faulted", (long long)tiles.faults);
  CHECK_MSG(!tiles.configured, "tiles were left configured");
}

}  // namespace test
}  // namespace tersor

using namespace tersor;
using namespace tersor::test;

namespace {

int64_t random_in(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng()); }

// Runs a row on random operands (or the extreme ones) and compares every sum modulo 2^32.
void check_row(const QgemmRow& row, int64_t m, int64_t n, int64_t k, bool a_signed, bool extreme, GuardedBuffer::Side side) {
  const int64_t depth = row.layout.depth(k), a_row = depth + random_in(0, 70), bytes = qgemm_blob_bytes(row.layout, n, k);
  const int64_t a_bytes = m > 0 ? (m - 1) * a_row + depth : 0;
  GuardedBuffer a(static_cast<size_t>(a_bytes), side), blob(static_cast<size_t>(bytes), side), y(static_cast<size_t>(m * n) * 4, side);
  std::vector<int8_t> w(static_cast<size_t>(n * k));
  for (auto& v : w) v = static_cast<int8_t>(extreme ? -128 : random_in(-128, 127));
  for (int64_t i = 0; i < a_bytes; i++) a.as<uint8_t>()[i] = static_cast<uint8_t>(extreme ? (a_signed ? 128 : 255) : random_in(0, 255));
  qgemm_blob_header(row.layout, n, k, blob.as<void>());
  qgemm_pack_blob(row.layout, w.data(), k, n, k, 0, row.layout.panels(n), blob.as<void>());
  QgemmFinish f;
  f.y = y.as<void>(), f.y_row = n;
  QgemmBlock q;
  q.m = m, q.n = n, q.k = k;
  q.a = a.as<void>(), q.a_row = a_row, q.a_signed = a_signed;
  q.b = qgemm_blob_panels(blob.as<void>()), q.panel_bytes = row.layout.panel_bytes(k);
  q.out = &f;
  memset(y.as<char>(), 0x5A, static_cast<size_t>(m * n) * 4);
  row.block(q);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      int64_t sum = 0;
      for (int64_t p = 0; p < k; p++) {
        const uint8_t code = a.as<uint8_t>()[i * a_row + p];
        sum += (a_signed ? static_cast<int8_t>(code) : static_cast<int64_t>(code)) * w[static_cast<size_t>(j * k + p)];
      }
      const uint32_t got = y.as<uint32_t>()[i * n + j];
      CHECK_MSG(got == static_cast<uint32_t>(sum), "%s %lldx%lldx%lld at %lld,%lld: got %d, want %lld", row.function, (long long)m, (long long)n, (long long)k,
                (long long)i, (long long)j, static_cast<int32_t>(got), (long long)sum);
    }
}

// The row on emulated tiles, and on real ones where the processor has them.
template <class F> void each_tile_row(F fn) {
  fn(qgemm_tiles_row());
  const QgemmRow* rows;
  const int n = qgemm_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if (rows[i].takes_s8 && rows[i].takes_u8 && (rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
}

}  // namespace

TERSOR_TEST(qgemm_tiles_are_exact_for_both_kinds_of_bytes) {
  each_tile_row([](const QgemmRow& row) {
    int turn = 0;
    const auto check = [&](int64_t m, int64_t n, int64_t k) {
      turn++;
      check_row(row, m, n, k, turn % 2, turn % 11 == 0, turn % 3 ? GuardedBuffer::Side::end : GuardedBuffer::Side::begin);
    };
    for (int64_t m = 0; m <= 67; m++) check(m, random_in(1, 70), random_in(1, 140));
    for (int64_t n = 0; n <= 70; n++) check(random_in(0, 50), n, random_in(0, 140));
    for (int64_t k = 0; k <= 130; k++) check(random_in(1, 40), 37, k);
    // Several stretches of k, more rows than sums can wait, and both.
    check(32, 32, 768), check(33, 33, 769), check(50, 40, 1300), check(290, 35, 64), check(300, 33, 900), check(7, 70, 2100);
    check_row(row, 2, 3, 131071, false, true, GuardedBuffer::Side::end);  // 255 * 128 * 131071 wraps
    check_row(row, 18, 3, 131072, true, true, GuardedBuffer::Side::end);  // 128 * 128 * 131072 = 2^31 wraps
  });
  check_qgemm_tiles();
}

TERSOR_TEST(qgemm_tiles_are_fed_by_one_load_per_product) {
  int64_t loads = tiles.loads, products = tiles.products, configurations = tiles.configurations;
  check_row(qgemm_tiles_row(), 128, 64, 512, false, false, GuardedBuffer::Side::end);
  CHECK(tiles.products - products == 8 * 4 * 8 && tiles.loads - loads == tiles.products - products && tiles.configurations - configurations == 1);
  // 2048 deep: 32 steps in four stretches of 8, so three times four tiles of sums are taken up again per 32 x 32.
  loads = tiles.loads, products = tiles.products;
  check_row(qgemm_tiles_row(), 64, 32, 2048, false, false, GuardedBuffer::Side::end);
  CHECK(tiles.products - products == 4 * 2 * 32 && tiles.loads - loads == tiles.products - products + 2 * 3 * 4);
  // At most 16 rows: five loads per four products.
  loads = tiles.loads, products = tiles.products;
  check_row(qgemm_tiles_row(), 8, 64, 512, false, false, GuardedBuffer::Side::end);
  CHECK(tiles.products - products == 4 * 8 && tiles.loads - loads == 5 * 8);
}
