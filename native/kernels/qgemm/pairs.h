// Body of the rows without a dot product of bytes, written once. vpmaddubsw multiplies bytes but saturates (255 * 127 * 2 > 32767); vpmaddwd on 16-bit
// pairs cannot, at half the speed. Groups of four k that packing has found tame (QgemmVisits) go the first way, the wild ones the second: of each
// group the even and the odd values become pairs, those of A once for many panels, in a buffer on the stack; those of B in registers.
// The including file defines before, in its region TERSOR_QGEMM_BEGIN / _END and an anonymous
// namespace of tersor: Sum (vector of int32), kVectors (of Sum per panel), Sum broadcast(const void*) (4 bytes), Sum load_b(const int8_t*),
// Sum even(Sum), Sum odd(Sum) (signed bytes to 16 bits), Sum madd(Sum acc, Sum a, Sum b) (acc + vpmaddwd), Sum dot_tame(Sum acc, Sum a, Sum b) (acc +
// vpmaddwd(vpmaddubsw(a, b), 1)), Sum load_sum(const int32_t*), void store_sum(int32_t*, Sum), void split(const uint8_t* a, uint8_t* bytes, uint8_t* pairs)
// (16 bytes of A: copied, and as even, odd, even, odd.. pairs, 32 bytes), const QgemmWidth& width().
// Not guarded: each ISA file includes it once.

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

constexpr int64_t kDepth = kQgemmStretch, kColumns = 256;  // a stretch of A, and the columns that use it before the next one

// sums[MR][kColumns] += a stretch of A (bytes: kDepth apart; pairs: 2 * kDepth) times a panel.
template <int MR> void multiply(const uint8_t* bytes, const uint8_t* pairs, const QgemmVisits& visits, const int8_t* b, int32_t* sums) {
  constexpr int kStep = 64 / kVectors;
  Sum acc[MR][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) acc[r][v] = load_sum(sums + r * kColumns + v * (16 / kVectors));
  const uint8_t* order = visits.order;
  for (const uint8_t* const end = order + visits.tame; order < end; order++) {
    const int64_t g = *order;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) {
      const Sum y = load_b(b + g * 64 + v * kStep);
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) acc[r][v] = dot_tame(acc[r][v], broadcast(bytes + g * 4 + r * kDepth), y);
    }
  }
  for (const uint8_t* const end = order + visits.wild; order < end; order++) {
    const int64_t g = *order;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) {
      const Sum y = load_b(b + g * 64 + v * kStep), y0 = even(y), y1 = odd(y);
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) {
        acc[r][v] = madd(acc[r][v], broadcast(pairs + g * 8 + r * kDepth * 2), y0);
        acc[r][v] = madd(acc[r][v], broadcast(pairs + g * 8 + r * kDepth * 2 + 4), y1);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) store_sum(sums + r * kColumns + v * (16 / kVectors), acc[r][v]);
}

// Rows [i, i + MR) times all columns.
template <int MR> void rows_times_all(const QgemmBlock& q, int64_t i) {
  alignas(64) uint8_t bytes[MR * kDepth], pairs[MR * kDepth * 2];
  alignas(64) int32_t sums[MR * kColumns];
  for (int64_t j = 0; j < q.n; j += kColumns) {
    const int64_t n = q.n - j < kColumns ? q.n - j : kColumns, panels = (n + 15) / 16;
    const int8_t* b = q.b + j / 16 * q.panel_bytes;
    const QgemmVisits* visits = q.visits + j / 16 * q.panel_visits;
    memset(sums, 0, sizeof sums);
    for (int64_t k = 0; k < q.k; k += kDepth, b += kDepth * 16, visits++) {
      const int64_t depth = q.k - k < kDepth ? q.k - k : kDepth;
      for (int64_t r = 0; r < MR; r++) {
        const uint8_t* a = static_cast<const uint8_t*>(q.a) + (i + r) * q.a_row + k;
        for (int64_t p = 0; p < depth; p += 16) split(a + p, bytes + r * kDepth + p, pairs + (r * kDepth + p) * 2);
      }
      for (int64_t p = 0; p < panels; p++) multiply<MR>(bytes, pairs, visits[p * q.panel_visits], b + p * q.panel_bytes, sums + p * 16);
    }
    width().finish(*q.out, sums, kColumns, q.row0 + i, MR, q.col0 + j, n);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END
