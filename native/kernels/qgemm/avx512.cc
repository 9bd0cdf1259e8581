// u8 x s8 -> s32 without a dot product of bytes, 512 bits: for AVX-512 without VNNI.
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
constexpr int kVectors = 1, kStreams = 8;
TERSOR_VEC_INLINE Sum broadcast(const void* p) {
  int32_t x;
  memcpy(&x, p, 4);
  return (Sum)_mm512_set1_epi32(x);
}
TERSOR_VEC_INLINE Sum load_b(const void* p) { return (Sum)_mm512_loadu_si512(p); }
TERSOR_VEC_INLINE Sum even(Sum b) { return (Sum)_mm512_maddubs_epi16(_mm512_set1_epi16(1), (__m512i)b); }
TERSOR_VEC_INLINE Sum odd(Sum b) { return (Sum)_mm512_srai_epi16((__m512i)b, 8); }
TERSOR_VEC_INLINE Sum add16(Sum a, Sum b) { return (Sum)_mm512_add_epi16((__m512i)a, (__m512i)b); }
TERSOR_VEC_INLINE Sum less(Sum a, Sum b) { return (Sum)_mm512_sub_epi32((__m512i)a, (__m512i)b); }
TERSOR_VEC_INLINE Sum start(int32_t x) { return (Sum)_mm512_set1_epi32(x); }
TERSOR_VEC_INLINE Sum madd(Sum acc, Sum a, Sum b) { return (Sum)_mm512_add_epi32((__m512i)acc, _mm512_madd_epi16((__m512i)a, (__m512i)b)); }
TERSOR_VEC_INLINE Sum dot_tame(Sum acc, Sum a, Sum b) {
  return madd(acc, (Sum)_mm512_maddubs_epi16((__m512i)a, (__m512i)b), (Sum)_mm512_set1_epi16(1));
}
TERSOR_VEC_INLINE Sum load_sum(const int32_t* p) { return (Sum)_mm512_loadu_si512(p); }
TERSOR_VEC_INLINE void store_sum(void* p, Sum s) { _mm512_storeu_si512(p, (__m512i)s); }
TERSOR_VEC_INLINE const QgemmWidth& width() { return qgemm_width_avx512; }

}  // namespace
}  // namespace tersor
TERSOR_QGEMM_END

#include "kernels/qgemm/pairs.h"

TERSOR_QGEMM_BEGIN
namespace tersor {
void qgemm_u8s8s32_4x16_avx512(const QgemmBlock& q) { rows(q); }
}  // namespace tersor
TERSOR_QGEMM_END
#endif
