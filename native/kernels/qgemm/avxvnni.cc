// u8 x s8 -> s32 with vpdpbusd in its VEX form, 256 bits: up to 12 sums, 2 vectors of B, 1 broadcast of A.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/qgemm/qgemm.h"

#define TERSOR_QGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVXVNNI)
#define TERSOR_QGEMM_END TERSOR_TARGET_END

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

#if defined(__GNUC__)
typedef int32_t Sum __attribute__((vector_size(32)));
#else
using Sum = __m256i;
#endif
constexpr int kVectors = 2;
TERSOR_VEC_INLINE Sum broadcast(const void* p) {
  int32_t x;
  memcpy(&x, p, 4);
  return (Sum)_mm256_set1_epi32(x);
}
TERSOR_VEC_INLINE Sum load_b(const int8_t* p) { return (Sum)_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
TERSOR_VEC_INLINE Sum dot(Sum acc, Sum a, Sum b) { return (Sum)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)a, (__m256i)b); }
TERSOR_VEC_INLINE Sum start(int32_t x) { return (Sum)_mm256_set1_epi32(x); }
TERSOR_VEC_INLINE Sum add(Sum a, Sum b) { return (Sum)_mm256_add_epi32((__m256i)a, (__m256i)b); }
TERSOR_VEC_INLINE void store_sum(int32_t* p, Sum s) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)s); }
TERSOR_VEC_INLINE const QgemmWidth& width() { return qgemm_width_avx2; }

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/tile.h"

TERSOR_QGEMM_BEGIN
namespace tersor {
namespace {

// m rows in tiles of 6, and a shorter one.
void rows(const QgemmBlock& q, int64_t i, int64_t m) {
  const int64_t full = m / 6 * 6, end = i + m;
  if (full > 0) band<6, 1>(q, i, i + full);
  switch (m - full) {
    case 1: return band<1, 4>(q, i + full, end);
    case 2: return band<2, 2>(q, i + full, end);
    case 3: return band<3, 2>(q, i + full, end);
    case 4: return band<4, 1>(q, i + full, end);
    case 5: return band<5, 1>(q, i + full, end);
    default: return;
  }
}

}  // namespace

void qgemm_u8s8s32_1x64_avxvnni(const QgemmBlock& q) { band<1, 4>(q, 0, q.m); }
void qgemm_u8s8s32_6x16_avxvnni(const QgemmBlock& q) { rows(q, 0, q.m); }
}  // namespace tersor
TERSOR_QGEMM_END
#endif
