// Body of the vector rows, over the vector in scope. The including file, in its own (wider) region TERSOR_QGEMM_BEGIN / _END, defines
// before the inclusion, in an anonymous namespace of tersor:
//   IV (int32 vector), kGroup (values of k that `dot` takes: 4 bytes of A per row, of 1 or 2 bytes each), IV izero(), IV abroadcast(const char*) (4 bytes),
//   IV bload(const int8_t*) (kGroup values of each lane's column), IV dot(IV acc, IV a, IV b), IV iload(const int32_t*),
//   IV isub_mul(IV acc, IV x, IV y) (acc - x * y), istore_part(int32_t*, IV, n), simd::I32 as_i32(IV), qstore_part(void*, IV, n) (n elements of A)
//   and TERSOR_QGEMM_MR, TERSOR_QGEMM_NV, TERSOR_QGEMM_HEIGHTS(X).
// Not guarded: each ISA file includes it once.

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

constexpr int kLanes = simd::F32::lanes, kVectors = TERSOR_QGEMM_NV, kWidth = kVectors * kLanes;
constexpr int kABytes = 4 / kGroup;

// Results of rows [i, i + MR) and of the panel that starts at column j. Short tiles keep two sets of sums to hide the latency of dot.
template <int MR> void qtile(const QgemmBlock& q, int64_t i, int64_t j, const int8_t* b) {
  constexpr int kPointers = (MR + 2) / 3, kSets = MR <= 2 ? 2 : 1;
  IV acc[kSets][MR][kVectors];
#pragma GCC unroll 16
  for (int s = 0; s < kSets; s++)
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++) acc[s][r][v] = izero();
  const int64_t row = q.a_row * kABytes;
  const char* p[kPointers];
#pragma GCC unroll 16
  for (int r = 0; r < kPointers; r++) p[r] = static_cast<const char*>(q.a) + (i + 3 * r) * row;
  int64_t groups = (q.k + kGroup - 1) / kGroup;
#define TERSOR_STEP(SET)                                                                                   \
  {                                                                                                        \
    IV x[kVectors];                                                                                        \
    _Pragma("GCC unroll 16") for (int v = 0; v < kVectors; v++) x[v] = bload(b + v * kLanes * kGroup);     \
    _Pragma("GCC unroll 16") for (int r = 0; r < MR; r++) {                                                \
      const IV a = abroadcast(p[r / 3] + (r % 3) * row);                                                   \
      _Pragma("GCC unroll 16") for (int v = 0; v < kVectors; v++) acc[SET][r][v] = dot(acc[SET][r][v], a, x[v]); \
    }                                                                                                      \
    _Pragma("GCC unroll 16") for (int r = 0; r < kPointers; r++) p[r] += 4;                                \
    b += kWidth * kGroup;                                                                                  \
  }
  if (kSets == 2)
    for (; groups >= 2; groups -= 2) {
      TERSOR_STEP(0)
      TERSOR_STEP(kSets - 1)
    }
  for (; groups > 0; groups--) TERSOR_STEP(0)
#undef TERSOR_STEP
  const IV zero = iset(q.x_zero);
  const int64_t n = q.n - j;
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; v++) {
    const int64_t left = n - v * kLanes, live = left < 0 ? 0 : left < kLanes ? left : kLanes;
    const IV sum = iload(q.column_sum + j + v * kLanes);
    if (q.c) {
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) {
        const IV t = kSets == 2 ? iadd(acc[0][r][v], acc[kSets - 1][r][v]) : acc[0][r][v];
        istore_part(q.c + (i + r) * q.c_row + j + v * kLanes, isub_mul(t, zero, sum), live);
      }
      continue;
    }
    const simd::F32 scale = simd::load_part(q.scale + j + v * kLanes, live);
    const simd::F32 bias = q.bias ? simd::load_part(q.bias + j + v * kLanes, live) : simd::F32(0.0f);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const IV t = kSets == 2 ? iadd(acc[0][r][v], acc[kSets - 1][r][v]) : acc[0][r][v];
      simd::F32 y = simd::to_float(as_i32(isub_mul(t, zero, sum))) * scale;
      if (q.bias) y = y + bias;
      simd::store_part(q.f + (i + r) * q.c_row + j + v * kLanes, y, live);
    }
  }
  if (q.f) activate(q.act, q.f + i * q.c_row + j, MR, n < kWidth ? n : kWidth, q.c_row);
}

// Panel by panel: a panel of B stays in L1/L2 while all rows of A pass by.
inline void qblock(const QgemmBlock& q) {
  const int64_t panel = (q.k + kGroup - 1) / kGroup * kGroup * kWidth;
  const int8_t* b = q.b;
  for (int64_t j = 0; j < q.n; j += kWidth, b += panel) {
    int64_t i = 0;
    while (i < q.m) {
      const int64_t left = q.m - i;
#define TERSOR_ROWS(MR)     \
  if (left >= MR) {         \
    qtile<MR>(q, i, j, b);  \
    i += MR;                \
    continue;               \
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
