// Integer pieces that the rows of one width share; expanded inside the region and anonymous namespace of each ISA file.
// Sum is the type in which sums are kept: g++ does not keep __m512i / __m256i (64-bit lanes) in one register across a loop of 32-bit instructions.
#if defined(__GNUC__)
#define TERSOR_WGEMM_SUM(bytes, vector) typedef int32_t Sum __attribute__((vector_size(bytes)));
#else
#define TERSOR_WGEMM_SUM(bytes, vector) typedef vector Sum;
#endif

#define TERSOR_WGEMM_COMMON(vector)                                          \
  constexpr bool kSignedCodes = false;                                       \
  TERSOR_VEC_INLINE simd::I32 of_sum(Sum s) { return simd::I32((vector)s); } \
  TERSOR_VEC_INLINE Sum to_sum(simd::I32 v) { return (Sum)v.v; }             \
  TERSOR_VEC_INLINE simd::I32 quad_of(const char* p) {                       \
    int32_t x;                                                               \
    memcpy(&x, p, 4);                                                        \
    return simd::I32(x);                                                     \
  }                                                                          \
  TERSOR_VEC_INLINE void fetch(const char* p) { _mm_prefetch(p, _MM_HINT_T0); }

#define TERSOR_WGEMM_INT512                                                                                                                       \
  TERSOR_WGEMM_SUM(64, __m512i)                                                                                                                   \
  TERSOR_WGEMM_COMMON(__m512i)                                                                                                                    \
  TERSOR_VEC_INLINE simd::I32 digits_of(simd::I32 v) {                                                                                            \
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, -1, -1, -1, -1));                          \
    return simd::I32(_mm512_shuffle_epi8(v.v, order));                                                                                            \
  }

#define TERSOR_WGEMM_INT256                                                                                                                       \
  TERSOR_WGEMM_SUM(32, __m256i)                                                                                                                   \
  TERSOR_WGEMM_COMMON(__m256i)                                                                                                                    \
  TERSOR_VEC_INLINE simd::I32 digits_of(simd::I32 v) {                                                                                            \
    const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, -1, -1, -1, -1));                     \
    return simd::I32(_mm256_shuffle_epi8(v.v, order));                                                                                            \
  }
