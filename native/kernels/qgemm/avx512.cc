// u8 x s8 -> s32 through 16-bit pairs (vpmaddwd cannot saturate on them), 512 bits: for AVX-512 without VNNI.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/qgemm/qgemm.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
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
// Even and odd values of k as 16-bit lanes.
TERSOR_VEC_INLINE __m512i even_u(__m512i a) { return _mm512_and_si512(a, _mm512_set1_epi16(255)); }
TERSOR_VEC_INLINE __m512i odd_u(__m512i a) { return _mm512_srli_epi16(a, 8); }
TERSOR_VEC_INLINE __m512i even_s(__m512i b) { return _mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8); }
TERSOR_VEC_INLINE __m512i odd_s(__m512i b) { return _mm512_srai_epi16(b, 8); }
TERSOR_VEC_INLINE Sum dot(Sum acc, Sum a, Sum b) {
  const __m512i x = (__m512i)a, y = (__m512i)b;
  const __m512i even = _mm512_add_epi32((__m512i)acc, _mm512_madd_epi16(even_u(x), even_s(y)));
  return (Sum)_mm512_add_epi32(even, _mm512_madd_epi16(odd_u(x), odd_s(y)));
}
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

// Shorter tiles for what 12 rows leave.
void rows(const QgemmBlock& q, int64_t i, int64_t m) {
  const int64_t full = m / 12 * 12;
  band<12, 2>(q, i, i + full);
  i += full, m -= full;
  if (m >= 6) band<6, 4>(q, i, i + 6), i += 6, m -= 6;
  if (m >= 3) band<3, 4>(q, i, i + 3), i += 3, m -= 3;
  if (m == 2) band<2, 4>(q, i, i + 2);
  if (m == 1) band<1, 8>(q, i, i + 1);
}

}  // namespace

void qgemm_u8s8s32_12x32_avx512(const QgemmBlock& q) { rows(q, 0, q.m); }
}  // namespace tersor
TERSOR_QGEMM_END
#endif
