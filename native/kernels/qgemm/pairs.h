// Body of the rows without a dot product of bytes, written once: 16-bit products, exact for all operands.
//
// vpmaddubsw multiplies bytes but saturates (255 * 127 * 2 > 32767). Groups of four k that packing has found tame (QgemmVisits) go through
// it all the same. The others are widened to 16 bits: of each group the even and the odd values become pairs, those of A once for many panels,
// those of B once for many rows. A stretch of a panel with few tame groups is multiplied by Winograd's identity for inner products,
//   a0 b0 + a1 b1 = (a0 + b1)(a1 + b0) - a0 a1 - b0 b1,
// with 9-bit sums: four instructions for 32 products as with two vpmaddwd, but only one of them is bound to the two ports that multiply. The
// last two terms are sums of a row and of a column. One row of A is bound by the bytes of B: it reads as many panels at once as registers allow.
//
// The including file defines before, in its region TERSOR_QGEMM_BEGIN / _END and an anonymous namespace of tersor: Sum (vector of int32),
// kVectors (of Sum per panel), kStreams (panels that one row of A reads at once), Sum broadcast(const void*) (4 bytes), Sum load_b(const void*),
// Sum even(Sum), Sum odd(Sum) (signed bytes to 16 bits), Sum add16(Sum, Sum), Sum madd(Sum acc, Sum a, Sum b) (acc + vpmaddwd),
// Sum dot_tame(Sum acc, Sum a, Sum b) (acc + vpmaddwd(vpmaddubsw(a, b), 1)), Sum less(Sum, Sum) (difference of int32), Sum start(int32_t) (all
// lanes), Sum load_sum(const int32_t*), void store_sum(void*, Sum), const QgemmWidth& width().
// Not guarded: each ISA file includes it once.

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

// A stretch of k; columns that use the pairs of A before the next rows; rows that use a widened stretch of B; bytes of a group of B.
constexpr int64_t kDepth = kQgemmStretch, kColumns = 128, kRows = 64, kGroup = 64;
constexpr int64_t kStep = kGroup / kVectors, kLanes = 16 / kVectors;  // bytes of B and columns of a vector

// A stretch of a row of A, rounded up to 32 values, as 16-bit pairs: k 0 2, 1 3, 4 6, 5 7.. Returns the sum of a0 a1.
inline int32_t split(const uint8_t* a, int64_t depth, uint8_t* pairs) {
  const __m256i low = _mm256_set1_epi16(255);
  __m256i sum = _mm256_setzero_si256();
  for (int64_t p = 0; p < depth; p += 32, pairs += 64) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + p)), x0 = _mm256_and_si256(x, low), x1 = _mm256_srli_epi16(x, 8);
    const __m256i first = _mm256_unpacklo_epi32(x0, x1), second = _mm256_unpackhi_epi32(x0, x1);
    __m128i* const to = reinterpret_cast<__m128i*>(pairs);
    _mm_store_si128(to, _mm256_castsi256_si128(first));
    _mm_store_si128(to + 1, _mm256_castsi256_si128(second));
    _mm_store_si128(to + 2, _mm256_extracti128_si256(first, 1));
    _mm_store_si128(to + 3, _mm256_extracti128_si256(second, 1));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x0, x1));
  }
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

// The even and the odd values of one group of B. Adds b0 b1 to products.
TERSOR_VEC_INLINE void widen(const int8_t* b, uint8_t* wide, Sum (&products)[kVectors]) {
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; v++) {
    const Sum y = load_b(b + v * kStep), y0 = even(y), y1 = odd(y);
    store_sum(wide + 2 * v * kStep, y0);
    store_sum(wide + (2 * v + 1) * kStep, y1);
    products[v] = madd(products[v], y0, y1);
  }
}

// A stretch of one panel, widened once for the rows of a block.
struct Stretch {
  alignas(64) uint8_t wide[kDepth * 32];
  alignas(64) int32_t products[16];
  const int8_t* b;
  const QgemmVisits* visits;
  int64_t groups;  // of Winograd's way; 0: as the visits say

  void open(const int8_t* from, const QgemmVisits& how, int64_t depth) {
    const int64_t all = (depth + 31) / 32 * 8, wild = how.wild;
    Sum sums[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) sums[v] = start(0);
    b = from, visits = &how, groups = 2 * wild >= all ? all : 0;
    uint8_t* to = wide;
    if (groups)
      for (uint8_t* const end = to + all * 2 * kGroup; to < end; to += 2 * kGroup, from += kGroup) widen(from, to, sums);
    else
      for (int64_t t = 0; t < wild; t++, to += 2 * kGroup) widen(from + how.order[how.tame + t] * kGroup, to, sums);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; v++) store_sum(products + v * kLanes, sums[v]);
  }
};

template <int MR> TERSOR_VEC_INLINE void load_sums(Sum (&acc)[MR][kVectors], const int32_t* sums) {
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) acc[r][v] = load_sum(sums + r * kColumns + v * kLanes);
}
template <int MR> TERSOR_VEC_INLINE void store_sums(const Sum (&acc)[MR][kVectors], int32_t* sums) {
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) store_sum(sums + r * kColumns + v * kLanes, acc[r][v]);
}

// sums[MR][kColumns] += MR rows of A (pairs: 2 * kDepth apart; products: sums of a0 a1) times a stretch of a panel.
template <int MR> void multiply_winograd(const uint8_t* pairs, const int32_t* products, const Stretch& s, int32_t* sums) {
  Sum acc[MR][kVectors];
  load_sums<MR>(acc, sums);
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) acc[r][v] = less(less(acc[r][v], load_sum(s.products + v * kLanes)), broadcast(products + r));
  const uint8_t* b = s.wide;
  for (const uint8_t* const end = b + s.groups * 2 * kGroup; b < end; b += 2 * kGroup, pairs += 8) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const Sum x0 = broadcast(pairs + r * kDepth * 2), x1 = broadcast(pairs + r * kDepth * 2 + 4);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++)
        acc[r][v] = madd(acc[r][v], add16(x0, load_b(b + (2 * v + 1) * kStep)), add16(x1, load_b(b + 2 * v * kStep)));
    }
  }
  store_sums<MR>(acc, sums);
}

// The same with tame groups; a: the bytes of A.
template <int MR> void multiply_visits(const uint8_t* a, int64_t a_row, const uint8_t* pairs, const Stretch& s, int32_t* sums) {
  Sum acc[MR][kVectors];
  load_sums<MR>(acc, sums);
  const uint8_t* order = s.visits->order;
  for (const uint8_t* const end = order + s.visits->tame; order < end; order++) {
    const int64_t g = *order;
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const Sum x = broadcast(a + g * 4 + r * a_row);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++) acc[r][v] = dot_tame(acc[r][v], x, load_b(s.b + g * kGroup + v * kStep));
    }
  }
  const uint8_t* b = s.wide;
  for (const uint8_t* const end = order + s.visits->wild; order < end; order++, b += 2 * kGroup) {
    const int64_t g = *order;
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const Sum x0 = broadcast(pairs + g * 8 + r * kDepth * 2), x1 = broadcast(pairs + g * 8 + r * kDepth * 2 + 4);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++) acc[r][v] = madd(madd(acc[r][v], x0, load_b(b + 2 * v * kStep)), x1, load_b(b + (2 * v + 1) * kStep));
    }
  }
  store_sums<MR>(acc, sums);
}

template <int MR> void multiply(const QgemmBlock& q, int64_t i, int64_t k, const uint8_t* pairs, const int32_t* products, const Stretch& s, int32_t* sums) {
  if (s.groups) multiply_winograd<MR>(pairs, products, s, sums);
  else multiply_visits<MR>(static_cast<const uint8_t*>(q.a) + i * q.a_row + k, q.a_row, pairs, s, sums);
}

// Rows [i, i + m), m <= kRows, times all columns.
void many_rows(const QgemmBlock& q, int64_t i, int64_t m) {
  alignas(64) uint8_t pairs[kRows * kDepth * 2];
  alignas(64) int32_t sums[kRows * kColumns], products[kRows];
  Stretch stretch;
  for (int64_t j = 0; j < q.n; j += kColumns) {
    const int64_t n = q.n - j < kColumns ? q.n - j : kColumns, panels = (n + 15) / 16;
    const int8_t* b = q.b + j / 16 * q.panel_bytes;
    const QgemmVisits* visits = q.visits + j / 16 * q.panel_visits;
    memset(sums, 0, static_cast<size_t>(m * kColumns * 4));
    for (int64_t k = 0; k < q.k; k += kDepth, b += kDepth * 16, visits++) {
      const int64_t depth = q.k - k < kDepth ? q.k - k : kDepth;
      for (int64_t r = 0; r < m; r++)
        products[r] = split(static_cast<const uint8_t*>(q.a) + (i + r) * q.a_row + k, depth, pairs + r * kDepth * 2);
      for (int64_t p = 0; p < panels; p++) {
        stretch.open(b + p * q.panel_bytes, visits[p * q.panel_visits], depth);
        int64_t r = 0;
        for (; r + 4 <= m; r += 4) multiply<4>(q, i + r, k, pairs + r * kDepth * 2, products + r, stretch, sums + r * kColumns + p * 16);
        for (; r < m; r++) multiply<1>(q, i + r, k, pairs + r * kDepth * 2, products + r, stretch, sums + r * kColumns + p * 16);
      }
    }
    width().finish(*q.out, sums, kColumns, q.row0 + i, m, q.col0 + j, n);
  }
}

// One row of A and NP panels, read side by side: sums[NP * 16] += a[depth] (pairs: its pairs) times the panels from b on. Every line of B is asked for
// kAhead bytes before its turn, near the end those of the next NP panels: the prefetcher of the processor stops at every page.
constexpr int64_t kOneDepth = 4096, kAhead = 1024;
template <int NP>
void one_row_part(const QgemmBlock& q, const uint8_t* a, const uint8_t* pairs, int64_t depth, const int8_t* b, const QgemmVisits* visits, int32_t* sums) {
  Sum acc[NP][kVectors];
#pragma GCC unroll 16
  for (int p = 0; p < NP; p++)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) acc[p][v] = load_sum(sums + p * 16 + v * kLanes);
  const int64_t groups = (depth + 3) / 4, turn = groups - kAhead / kGroup, jump = NP * q.panel_bytes - groups * kGroup;
  for (int64_t g = 0; g < groups; visits++) {
    const int64_t end = groups - g < kDepth / 4 ? groups : g + kDepth / 4;
    bool tame = true;
    for (int p = 0; p < NP; p++) tame = tame && visits[p * q.panel_visits].wild == 0;
    if (tame) {
      for (; g < end; g++, b += kGroup) {
        const int64_t ahead = g < turn ? kAhead : kAhead + jump;
        const Sum x = broadcast(a + g * 4);
#pragma GCC unroll 16
        for (int p = 0; p < NP; p++) {
          _mm_prefetch(reinterpret_cast<const char*>(b + p * q.panel_bytes + ahead), _MM_HINT_T0);
#pragma GCC unroll 16
          for (int v = 0; v < kVectors; v++) acc[p][v] = dot_tame(acc[p][v], x, load_b(b + p * q.panel_bytes + v * kStep));
        }
      }
    } else {
      for (; g < end; g++, b += kGroup) {
        const int64_t ahead = g < turn ? kAhead : kAhead + jump;
        const Sum x0 = broadcast(pairs + g * 8), x1 = broadcast(pairs + g * 8 + 4);
#pragma GCC unroll 16
        for (int p = 0; p < NP; p++) {
          _mm_prefetch(reinterpret_cast<const char*>(b + p * q.panel_bytes + ahead), _MM_HINT_T0);
#pragma GCC unroll 16
          for (int v = 0; v < kVectors; v++) {
            const Sum y = load_b(b + p * q.panel_bytes + v * kStep);
            acc[p][v] = madd(madd(acc[p][v], x0, even(y)), x1, odd(y));
          }
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < NP; p++)
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) store_sum(sums + p * 16 + v * kLanes, acc[p][v]);
}

void one_row(const QgemmBlock& q, int64_t i) {
  alignas(64) uint8_t pairs[kOneDepth * 2];
  alignas(64) int32_t sums[kColumns];
  const uint8_t* const row = static_cast<const uint8_t*>(q.a) + i * q.a_row;
  for (int64_t j = 0; j < q.n; j += kColumns) {
    const int64_t n = q.n - j < kColumns ? q.n - j : kColumns, panels = (n + 15) / 16;
    const int8_t* b = q.b + j / 16 * q.panel_bytes;
    const QgemmVisits* visits = q.visits + j / 16 * q.panel_visits;
    memset(sums, 0, sizeof sums);
    for (int64_t k = 0; k < q.k; k += kOneDepth, b += kOneDepth * 16, visits += kOneDepth / kDepth) {
      const int64_t depth = q.k - k < kOneDepth ? q.k - k : kOneDepth;
      split(row + k, depth, pairs);
      int64_t p = 0;
      for (; p + kStreams <= panels; p += kStreams)
        one_row_part<kStreams>(q, row + k, pairs, depth, b + p * q.panel_bytes, visits + p * q.panel_visits, sums + p * 16);
      for (; p < panels; p++) one_row_part<1>(q, row + k, pairs, depth, b + p * q.panel_bytes, visits + p * q.panel_visits, sums + p * 16);
    }
    width().finish(*q.out, sums, kColumns, q.row0 + i, 1, q.col0 + j, n);
  }
}

void rows(const QgemmBlock& q) {
  if (q.m == 1) return one_row(q, 0);
  for (int64_t i = 0; i < q.m; i += kRows) many_rows(q, i, q.m - i < kRows ? q.m - i : kRows);
}

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END
