// What int_vectors.h is on x86: integer pieces of the NEON rows, expanded inside the region and anonymous namespace of each ISA file.
#define TERSOR_WGEMM_NEON                                                                                        \
  using Sum = int32x4_t;                                                                                         \
  TERSOR_VEC_INLINE simd::I32 of_sum(Sum s) { return simd::I32(s); }                                             \
  TERSOR_VEC_INLINE Sum to_sum(simd::I32 v) { return v.v; }                                                      \
  TERSOR_VEC_INLINE simd::I32 quad_of(const char* p) {                                                           \
    int32_t x;                                                                                                   \
    memcpy(&x, p, 4);                                                                                            \
    return simd::I32(x);                                                                                         \
  }                                                                                                              \
  TERSOR_VEC_INLINE simd::I32 digits_of(simd::I32 v) {                                                           \
    const uint8_t order[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 255, 255, 255, 255};                      \
    return simd::I32(vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(v.v), vld1q_u8(order))));              \
  }                                                                                                              \
  TERSOR_VEC_INLINE void fetch(const char* p) { TERSOR_WGEMM_FETCH(p); }
#if defined(__GNUC__)
#define TERSOR_WGEMM_FETCH(p) __builtin_prefetch(p)
#else
#define TERSOR_WGEMM_FETCH(p) static_cast<void>(p)
#endif
