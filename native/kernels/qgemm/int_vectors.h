// Integer pieces that the vector rows of one width share; expanded inside the region and anonymous namespace of each ISA file.
// Sum is the type in which sums are kept: g++ does not keep the 64-bit-lane __m512i / __m256i in one register across a loop of 32-bit instructions.
#if defined(__GNUC__)
#define TERSOR_QGEMM_SUM(bytes, vector) typedef int32_t Sum __attribute__((vector_size(bytes)));
#else
#define TERSOR_QGEMM_SUM(bytes, vector) typedef vector Sum;
#endif

#define TERSOR_QGEMM_INT512                                                                                             \
  TERSOR_QGEMM_SUM(64, __m512i)                                                                                         \
  TERSOR_VEC_INLINE IV izero() { return _mm512_setzero_si512(); }                                                       \
  TERSOR_VEC_INLINE IV iset(int32_t x) { return _mm512_set1_epi32(x); }                                                 \
  TERSOR_VEC_INLINE IV iadd(IV a, IV b) { return _mm512_add_epi32(a, b); }                                              \
  TERSOR_VEC_INLINE IV abroadcast(const char* p) {                                                                      \
    int32_t x;                                                                                                          \
    memcpy(&x, p, 4);                                                                                                   \
    return _mm512_set1_epi32(x);                                                                                        \
  }                                                                                                                     \
  TERSOR_VEC_INLINE IV iload(const int32_t* p) { return _mm512_loadu_si512(p); }                                        \
  TERSOR_VEC_INLINE IV isub(IV a, IV b) { return _mm512_sub_epi32(a, b); }                                              \
  TERSOR_VEC_INLINE IV imul(IV a, IV b) { return _mm512_mullo_epi32(a, b); }                                            \
  TERSOR_VEC_INLINE void istore_part(int32_t* p, IV v, int64_t n) { _mm512_mask_storeu_epi32(p, simd::first_lanes(n), v); }\
  TERSOR_VEC_INLINE simd::I32 as_i32(IV v) { return simd::I32(v); }                                                     \
  TERSOR_VEC_INLINE IV of_i32(simd::I32 v) { return v.v; }

#define TERSOR_QGEMM_INT256                                                                                             \
  TERSOR_QGEMM_SUM(32, __m256i)                                                                                         \
  TERSOR_VEC_INLINE IV izero() { return _mm256_setzero_si256(); }                                                       \
  TERSOR_VEC_INLINE IV iset(int32_t x) { return _mm256_set1_epi32(x); }                                                 \
  TERSOR_VEC_INLINE IV iadd(IV a, IV b) { return _mm256_add_epi32(a, b); }                                              \
  TERSOR_VEC_INLINE IV abroadcast(const char* p) {                                                                      \
    int32_t x;                                                                                                          \
    memcpy(&x, p, 4);                                                                                                   \
    return _mm256_set1_epi32(x);                                                                                        \
  }                                                                                                                     \
  TERSOR_VEC_INLINE IV iload(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }      \
  TERSOR_VEC_INLINE IV isub(IV a, IV b) { return _mm256_sub_epi32(a, b); }                                              \
  TERSOR_VEC_INLINE IV imul(IV a, IV b) { return _mm256_mullo_epi32(a, b); }                                            \
  TERSOR_VEC_INLINE void istore_part(int32_t* p, IV v, int64_t n) { _mm256_maskstore_epi32(p, simd::first_lanes(n), v); }\
  TERSOR_VEC_INLINE simd::I32 as_i32(IV v) { return simd::I32(v); }                                                     \
  TERSOR_VEC_INLINE IV of_i32(simd::I32 v) { return v.v; }
