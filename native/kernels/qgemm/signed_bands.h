// The order of work of the Arm rows that multiply signed bytes only. Unsigned bytes of A are turned into signed ones by subtracting 128 (the top
// bit flipped), and 128 times the sum of each column of B is added back: sum (a - 128) b + 128 sum b. The sums of the columns are taken from the
// panel, once for all rows of A. The including file defines before, in its region TERSOR_QGEMM_BEGIN / _END and an anonymous namespace of tersor:
//   int32x4_t column_part(int32x4_t acc, int8x16_t b): acc plus the sums of the 4 k of each of 4 columns, times any factor f,
//   int32x4_t column_total(int32x4_t acc): acc / f * 128
//   void tile<MR, NP>(const QgemmBlock&, i, from, j, start): MR rows times NP panels, sums start at start[NP * 16]
// Not guarded: each ISA file includes it once.

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

// 128 * the sums of 16 columns of one panel.
inline void column_sums(const int8_t* b, int64_t k, int32_t* out) {
  int32x4_t acc[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (; k > 0; k -= 4, b += 64)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) acc[v] = column_part(acc[v], vld1q_s8(b + 16 * v));
#pragma GCC unroll 4
  for (int v = 0; v < 4; v++) vst1q_s32(out + 4 * v, column_total(acc[v]));
}

// Rows [i, end) in tiles of MR rows; NP panels at a time stay in cache while the rows pass by.
template <int MR, int NP> void band(const QgemmBlock& q, int64_t i, int64_t end) {
  const int8_t* b = q.b;
  int32_t start[NP * 16] = {};
  int64_t j = 0;
  for (; j + (NP - 1) * 16 < q.n; j += NP * 16, b += NP * q.panel_bytes) {
    for (int p = 0; p < NP && !q.a_signed; p++) column_sums(b + p * q.panel_bytes, q.k, start + 16 * p);
    for (int64_t r = i; r < end; r += MR) tile<MR, NP>(q, r, b, j, start);
  }
  for (; j < q.n; j += 16, b += q.panel_bytes) {
    if (!q.a_signed) column_sums(b, q.k, start);
    for (int64_t r = i; r < end; r += MR) tile<MR, 1>(q, r, b, j, start);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END
