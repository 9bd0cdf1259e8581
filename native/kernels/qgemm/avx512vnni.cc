// u8 x s8 -> s32 with vpdpbusd, 512 bits. Up to 24 sums in registers: few rows take many panels (as many streams of weights: one stream does not
// fill the memory bus), many rows take two.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/qgemm/qgemm.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512VNNI)
#define TERSOR_QGEMM_END TERSOR_TARGET_END

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

#if defined(__GNUC__)
typedef int32_t Sum __attribute__((vector_size(64)));
#else
using Sum = __m512i;
#endif
constexpr int kVectors = 1;
TERSOR_VEC_INLINE Sum broadcast(const void* p) {
  int32_t x;
  memcpy(&x, p, 4);
  return (Sum)_mm512_set1_epi32(x);
}
TERSOR_VEC_INLINE Sum load_b(const int8_t* p) { return (Sum)_mm512_loadu_si512(p); }
TERSOR_VEC_INLINE Sum dot(Sum acc, Sum a, Sum b) { return (Sum)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)a, (__m512i)b); }
TERSOR_VEC_INLINE Sum start(int32_t x) { return (Sum)_mm512_set1_epi32(x); }
TERSOR_VEC_INLINE Sum add(Sum a, Sum b) { return (Sum)_mm512_add_epi32((__m512i)a, (__m512i)b); }
TERSOR_VEC_INLINE void store_sum(int32_t* p, Sum s) { _mm512_storeu_si512(p, (__m512i)s); }
TERSOR_VEC_INLINE const QgemmWidth& width() { return qgemm_width_avx512; }

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/tile.h"

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

// At most 11 rows: few rows take many panels, which is as many streams of weights.
void few(const QgemmBlock& q, int64_t i, int64_t m) {
  switch (m) {
    case 0: return;
    case 1: return band<1, 8>(q, i, i + 1);
    case 2: return band<2, 8>(q, i, i + 2);
    case 3: return band<3, 8>(q, i, i + 3);
    case 4: return band<4, 4>(q, i, i + 4);
    case 5: return band<5, 4>(q, i, i + 5);
    case 6: return band<6, 4>(q, i, i + 6);
    case 7: return band<7, 2>(q, i, i + 7);
    case 8: return band<8, 2>(q, i, i + 8);
    case 10: return band<5, 4>(q, i, i + 10);
    default: few(q, i, 5); return few(q, i + 5, m - 5);
  }
}

}  // namespace

void qgemm_u8s8s32_1x128_avx512vnni(const QgemmBlock& q) { band<1, 8>(q, 0, q.m); }
void qgemm_u8s8s32_6x64_avx512vnni(const QgemmBlock& q) {
  const int64_t full = q.m < 12 ? 0 : (q.m - 6) / 6 * 6;
  band<6, 4>(q, 0, full);
  few(q, full, q.m - full);
}
void qgemm_u8s8s32_12x32_avx512vnni(const QgemmBlock& q) {
  const int64_t full = q.m / 12 * 12;
  band<12, 2>(q, 0, full);
  few(q, full, q.m - full);
}
}  // namespace tersor
TERSOR_QGEMM_END
#endif
