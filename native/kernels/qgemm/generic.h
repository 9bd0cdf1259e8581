// Body of the vector rows, over the vector in scope. The including file, in its own (wider) region TERSOR_QGEMM_BEGIN / _END, defines
// before the inclusion, in an anonymous namespace of tersor:
//   IV (int32 vector), kGroup (values of k that `dot` takes: 4 bytes of A per row, of 1 or 2 bytes each), IV izero(), IV abroadcast(const char*) (4 bytes),
//   IV bload(const int8_t*) (kGroup values of each lane's column), IV dot(IV acc, IV a, IV b), IV iload(const int32_t*),
//   iset, iadd, isub, imul, istore_part(int32_t*, IV, n), simd::I32 as_i32(IV), qstore_part(void*, IV, n) (n elements of A)
//   and TERSOR_QGEMM_MR, TERSOR_QGEMM_NV, TERSOR_QGEMM_HEIGHTS(X).
// Not guarded: each ISA file includes it once.

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

constexpr int kLanes = simd::F32::lanes, kVectors = TERSOR_QGEMM_NV, kWidth = kVectors * kLanes;
constexpr int kABytes = 4 / kGroup;

// One group of k for a tile; moves the pointers on.
template <int MR, int NV> TERSOR_VEC_INLINE void qstep(Sum (&acc)[MR][NV], const char* (&p)[(MR + 2) / 3], int64_t row, const int8_t*& b) {
  IV x[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; v++) x[v] = bload(b + v * kLanes * kGroup);
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++) {
    const IV a = abroadcast(p[r / 3] + (r % 3) * row);
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) acc[r][v] = (Sum)dot((IV)acc[r][v], a, x[v]);
  }
#pragma GCC unroll 16
  for (int r = 0; r < (MR + 2) / 3; r++) p[r] += 4;
  b += kWidth * kGroup;
}

// Results of rows [i, i + MR) and of the first NV vectors of the panel that starts at column j. Short tiles keep two sets of sums to hide the latency of dot.
template <int MR, int NV> void qtile(const QgemmBlock& q, int64_t i, int64_t j, const int8_t* b) {
  constexpr int kPointers = (MR + 2) / 3;
  const int64_t n = q.n - j;
  // Sums start at -x_zero * column_sum (modulo 2^32, the end is in range) instead of 0; g++ 12 would also turn zeroing into a memset
  // and keep the sums in memory.
  Sum acc[MR][NV];
  int64_t live[NV];
  const IV zero = iset(-q.x_zero);
#pragma GCC unroll 16
  for (int v = 0; v < NV; v++) {
    const int64_t left = n - v * kLanes;
    live[v] = left < 0 ? 0 : left < kLanes ? left : kLanes;
    const Sum start = (Sum)imul(zero, iload(q.column_sum + j + v * kLanes));
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) acc[r][v] = start;
  }
  const int64_t row = q.a_row * kABytes;
  const char* p[kPointers];
#pragma GCC unroll 16
  for (int r = 0; r < kPointers; r++) p[r] = static_cast<const char*>(q.a) + (i + 3 * r) * row;
  int64_t groups = (q.k + kGroup - 1) / kGroup;
  if (MR <= 2) {
    Sum odd[MR][NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++)
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) odd[r][v] = (Sum)izero();
    for (; groups >= 2; groups -= 2) {
      qstep<MR, NV>(acc, p, row, b);
      qstep<MR, NV>(odd, p, row, b);
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) acc[r][v] = (Sum)iadd((IV)acc[r][v], (IV)odd[r][v]);
  }
  for (; groups > 0; groups--) qstep<MR, NV>(acc, p, row, b);
  if (q.c) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) istore_part(q.c + (i + r) * q.c_row + j + v * kLanes, (IV)acc[r][v], live[v]);
    return;
  }
  simd::F32 scale[NV], bias[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; v++) {
    scale[v] = simd::load_part(q.scale + j + v * kLanes, live[v]);
    bias[v] = q.bias ? simd::load_part(q.bias + j + v * kLanes, live[v]) : simd::F32(-0.0f);  // x + -0 = x for every x
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++)
      simd::store_part(q.f + (i + r) * q.c_row + j + v * kLanes, simd::to_float(as_i32((IV)acc[r][v])) * scale[v] + bias[v], live[v]);
  activate(q.act, q.f + i * q.c_row + j, MR, n < NV * kLanes ? n : NV * kLanes, q.c_row);
}

// Panel by panel: a panel of B stays in L1/L2 while all rows of A pass by.
inline void qblock(const QgemmBlock& q) {
  const int64_t panel = (q.k + kGroup - 1) / kGroup * kGroup * kWidth;
  const int8_t* b = q.b;
  for (int64_t j = 0; j < q.n; j += kWidth, b += panel) {
    const bool narrow = q.n - j <= kLanes;
    int64_t i = 0;
    while (i < q.m) {
      const int64_t left = q.m - i;
#define TERSOR_ROWS(MR)     \
  if (left >= MR) {                                                        \
    narrow ? qtile<MR, 1>(q, i, j, b) : qtile<MR, kVectors>(q, i, j, b);   \
    i += MR;                                                               \
    continue;                                                              \
  }
      TERSOR_QGEMM_HEIGHTS(TERSOR_ROWS)
#undef TERSOR_ROWS
    }
  }
}

inline void qquantize(const QgemmQuantize& q) {
  const simd::F32 scale(q.scale), lo(static_cast<float>(-q.zero)), hi(static_cast<float>(255 - q.zero)), none(0.0f);
  const IV zero = iset(q.zero);
  char* out = static_cast<char*>(q.out);
  for (int64_t i = 0; i < q.n; i += kLanes, out += kLanes * kABytes) {
    const int64_t left = q.n - i, live = left < kLanes ? left : kLanes;
    simd::F32 v = (live == kLanes ? simd::load(q.x + i) : simd::load_part(q.x + i, live)) / scale;
    v = simd::select(simd::is_nan(v), none, v);
    v = simd::round_even(simd::max(lo, simd::min(hi, v)));
    qstore_part(out, iadd(of_i32(simd::to_int(v)), zero), live);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END
