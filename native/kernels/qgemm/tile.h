// Body of the rows that multiply groups of four k with a dot product of bytes, written once. The including file defines before, in its region
// TERSOR_QGEMM_BEGIN / _END and an anonymous namespace of tersor:
//   Sum (vector of int32; a type of 32-bit lanes: g++ does not keep __m512i in one register across a loop of 32-bit instructions), kVectors (of
//   Sum per panel), Sum broadcast(const void*) (4 bytes of A), Sum load_b(const int8_t*) (4 values of k of each lane's column), Sum dot(Sum acc, Sum a,
//   Sum b), Sum start(int32_t) (all lanes), Sum add(Sum, Sum), void store_sum(int32_t*, Sum), const QgemmWidth& width().
// Not guarded: each ISA file includes it once.

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

// One group of k: moves the pointers of A on; b is at `at` in each panel.
template <int MR, int NP>
TERSOR_VEC_INLINE void step(Sum (&acc)[MR][NP * kVectors], const uint8_t* (&a)[(MR + 2) / 3], int64_t a_row, const int8_t* (&b)[NP], int64_t at) {
  constexpr int kWide = NP * kVectors;
  if (MR == 1) {
    const Sum x = broadcast(a[0]);
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) acc[0][v] = dot(acc[0][v], x, load_b(b[v / kVectors] + at + v % kVectors * (64 / kVectors)));
  } else if (MR >= kWide) {
    Sum y[kWide];
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) y[v] = load_b(b[v / kVectors] + at + v % kVectors * (64 / kVectors));
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const Sum x = broadcast(a[r / 3] + (r % 3) * a_row);
#pragma GCC unroll 16
      for (int v = 0; v < kWide; v++) acc[r][v] = dot(acc[r][v], x, y[v]);
    }
  } else {
    Sum x[MR];
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) x[r] = broadcast(a[r / 3] + (r % 3) * a_row);
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) {
      const Sum y = load_b(b[v / kVectors] + at + v % kVectors * (64 / kVectors));
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) acc[r][v] = dot(acc[r][v], x[r], y);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < (MR + 2) / 3; r++) a[r] += 4;
}

// One row of A is bound by the bytes of B: it asks for each line so many bytes before its turn, near the end of its panels for those of the next ones (the
// prefetcher of the processor stops at every page).
constexpr int64_t kAhead = 1024;

// Rows [i, i + MR) times NP panels from `from` on, which hold the block's columns from j on. Few sums are kept twice, to hide the latency of dot.
template <int MR, int NP> void tile(const QgemmBlock& q, int64_t i, const int8_t* from, int64_t j) {
  constexpr int kPointers = (MR + 2) / 3, kWide = NP * kVectors;
  Sum acc[MR][kWide];
  int32_t none = 0;
#if defined(__GNUC__)
  __asm__("" : "+r"(none));  // an unknown 0: g++ 12 turns known ones into a memset and keeps the sums in memory
#endif
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) acc[r][v] = start(none);
  const uint8_t* a[kPointers];
#pragma GCC unroll 16
  for (int r = 0; r < kPointers; r++) a[r] = static_cast<const uint8_t*>(q.a) + (i + 3 * r) * q.a_row;
  const int8_t* b[NP];
#pragma GCC unroll 16
  for (int v = 0; v < NP; v++) b[v] = from + v * q.panel_bytes;
  int64_t groups = (q.k + 3) / 4;
  if (MR * kWide <= 8) {
    Sum odd[MR][kWide];
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
      for (int v = 0; v < kWide; v++) odd[r][v] = start(none);
    for (; groups >= 4; groups -= 4) {
      if (MR == 1) {
        const int64_t ahead = groups > kAhead / 64 ? kAhead : kAhead + NP * q.panel_bytes - (q.k + 3) / 4 * 64;
#pragma GCC unroll 16
        for (int v = 0; v < NP; v++)
#pragma GCC unroll 4
          for (int g = 0; g < 4; g++) _mm_prefetch(reinterpret_cast<const char*>(b[v] + ahead + 64 * g), _MM_HINT_T0);
      }
      step<MR, NP>(acc, a, q.a_row, b, 0);
      step<MR, NP>(odd, a, q.a_row, b, 64);
      step<MR, NP>(acc, a, q.a_row, b, 128);
      step<MR, NP>(odd, a, q.a_row, b, 192);
#pragma GCC unroll 16
      for (int v = 0; v < NP; v++) b[v] += 256;
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
      for (int v = 0; v < kWide; v++) acc[r][v] = add(acc[r][v], odd[r][v]);
  }
  for (; groups > 0; groups--) {
    step<MR, NP>(acc, a, q.a_row, b, 0);
#pragma GCC unroll 16
    for (int v = 0; v < NP; v++) b[v] += 64;
  }
  alignas(64) int32_t sums[MR * NP * 16];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kWide; v++) store_sum(sums + r * NP * 16 + v * (16 / kVectors), acc[r][v]);
  const int64_t left = q.n - j, live = left < NP * 16 ? left : NP * 16;
  width().finish(*q.out, sums, NP * 16, q.row0 + i, MR, q.col0 + j, live);
}

// Rows [i, end) in tiles of MR rows; NP panels at a time stay in cache while the rows pass by.
template <int MR, int NP> void band(const QgemmBlock& q, int64_t i, int64_t end) {
  const int8_t* b = q.b;
  int64_t j = 0;
  for (; j + (NP - 1) * 16 < q.n; j += NP * 16, b += NP * q.panel_bytes)
    for (int64_t r = i; r < end; r += MR) tile<MR, NP>(q, r, b, j);
  for (; j < q.n; j += 16, b += q.panel_bytes)
    for (int64_t r = i; r < end; r += MR) tile<MR, 1>(q, r, b, j);
}

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END
