// Body of the rows that multiply 16-bit pairs (vpmaddwd: exact, it cannot saturate on codes of 8 bits), written once. vpmaddubsw takes bytes but
// saturates (255 * 127 * 2 > 32767). Of each group of four k the even and the odd values become pairs: those of A once for many panels, in a
// buffer on the stack; those of B in registers. The including file defines before, in its region TERSOR_QGEMM_BEGIN / _END and an anonymous
// namespace of tersor: Sum (vector of int32), kVectors (of Sum per panel), Sum broadcast(const void*) (4 bytes), Sum load_b(const int8_t*),
// Sum even(Sum), Sum odd(Sum) (signed bytes to 16 bits), Sum madd(Sum acc, Sum a, Sum b) (acc + vpmaddwd), Sum load_sum(const int32_t*), void store_sum(int32_t*,
// Sum), void split(const uint8_t* a, uint8_t* out) (16 bytes of A to even, odd, even, odd.. pairs, 32 bytes), const QgemmWidth& width().
// Not guarded: each ISA file includes it once.

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

constexpr int64_t kDepth = 512, kColumns = 256;  // a stretch of A, and the columns that use it before the next one

// sums[MR][kColumns] += the rows of `a` (kDepth * 2 bytes apart) times NP panels.
template <int MR, int NP> void multiply(const uint8_t* a, int64_t groups, const int8_t* from, int64_t panel_bytes, int32_t* sums) {
  constexpr int kWide = NP * kVectors, kStep = 64 / kVectors;
  Sum acc[MR][kWide];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) acc[r][v] = load_sum(sums + r * kColumns + v * (16 / kVectors));
  const int8_t* b[NP];
#pragma GCC unroll 16
  for (int p = 0; p < NP; p++) b[p] = from + p * panel_bytes;
  for (; groups > 0; groups--, a += 8) {
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) {
      const Sum y = load_b(b[v / kVectors] + v % kVectors * kStep), y0 = even(y), y1 = odd(y);
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) {
        acc[r][v] = madd(acc[r][v], broadcast(a + r * kDepth * 2), y0);
        acc[r][v] = madd(acc[r][v], broadcast(a + r * kDepth * 2 + 4), y1);
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < NP; p++) b[p] += 64;
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) store_sum(sums + r * kColumns + v * (16 / kVectors), acc[r][v]);
}

// Rows [i, i + MR) times all columns.
template <int MR, int NP> void rows_times_all(const QgemmBlock& q, int64_t i) {
  alignas(64) uint8_t pairs[MR * kDepth * 2];
  alignas(64) int32_t sums[MR * kColumns];
  for (int64_t j = 0; j < q.n; j += kColumns) {
    const int64_t n = q.n - j < kColumns ? q.n - j : kColumns, panels = (n + 15) / 16;
    const int8_t* b = q.b + j / 16 * q.panel_bytes;
    memset(sums, 0, sizeof sums);
    for (int64_t k = 0; k < q.k; k += kDepth, b += kDepth * 16) {
      const int64_t depth = q.k - k < kDepth ? q.k - k : kDepth;
      for (int64_t r = 0; r < MR; r++) {
        const uint8_t* a = static_cast<const uint8_t*>(q.a) + (i + r) * q.a_row + k;
        for (int64_t p = 0; p < depth; p += 16) split(a + p, pairs + (r * kDepth + p) * 2);
      }
      int64_t p = 0;
      for (; p + NP <= panels; p += NP) multiply<MR, NP>(pairs, (depth + 3) / 4, b + p * q.panel_bytes, q.panel_bytes, sums + p * 16);
      for (; p < panels; p++) multiply<MR, 1>(pairs, (depth + 3) / 4, b + p * q.panel_bytes, q.panel_bytes, sums + p * 16);
    }
    width().finish(*q.out, sums, kColumns, q.row0 + i, MR, q.col0 + j, n);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END
