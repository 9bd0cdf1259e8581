#include "kernels/gather/gather.h"
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace {

inline __m256i load32(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void store32(char* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline __m128i load16(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline void store16(char* p, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v); }

// Copies n bytes; the last block overlaps the one before it, so nothing outside is touched.
inline void copy_row(char* out, const char* in, int64_t n) {
  if (n >= 32) {
    int64_t j = 0;
    for (; j + 32 <= n; j += 32) store32(out + j, load32(in + j));
    if (j < n) store32(out + n - 32, load32(in + n - 32));
  } else if (n >= 16) {
    const __m128i first = load16(in), last = load16(in + n - 16);
    store16(out, first);
    store16(out + n - 16, last);
  } else {
    __builtin_memcpy(out, in, static_cast<size_t>(n));
  }
}

}  // namespace

void gather_copy_avx2(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  int64_t i = 0;
  if (a.row_bytes == 4) {
    if (a.stride == 4) {
      for (; i + 8 <= a.count; i += 8) {
        const __m256i at = load32(reinterpret_cast<const char*>(a.index + i));
        store32(out + 4 * i, _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), at, 4));
      }
    }
    for (; i < a.count; i++) __builtin_memcpy(out + 4 * i, table + a.index[i] * a.stride, 4);
    return;
  }
  if (a.row_bytes == 8) {
    for (; i < a.count; i++) __builtin_memcpy(out + 8 * i, table + a.index[i] * a.stride, 8);
    return;
  }
  for (; i < a.count; i++) {
    if (i + 4 < a.count) {
      const char* next = table + a.index[i + 4] * a.stride;
      _mm_prefetch(next, _MM_HINT_T0);
      if (a.row_bytes > 64) _mm_prefetch(next + 64, _MM_HINT_T0);
    }
    copy_row(out + i * a.row_bytes, table + a.index[i] * a.stride, a.row_bytes);
  }
}

void gather_sum_f32_avx2(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  const int64_t n = a.row_bytes / 4;
  int64_t j = 0;
  for (; j + 32 <= n; j += 32) {
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t i = 0; i < a.count; i++) {
      const float* row = reinterpret_cast<const float*>(table + a.index[i] * a.stride) + j;
      s0 = _mm256_add_ps(s0, _mm256_loadu_ps(row));
      s1 = _mm256_add_ps(s1, _mm256_loadu_ps(row + 8));
      s2 = _mm256_add_ps(s2, _mm256_loadu_ps(row + 16));
      s3 = _mm256_add_ps(s3, _mm256_loadu_ps(row + 24));
    }
    float* y = reinterpret_cast<float*>(out) + j;
    _mm256_storeu_ps(y, s0);
    _mm256_storeu_ps(y + 8, s1);
    _mm256_storeu_ps(y + 16, s2);
    _mm256_storeu_ps(y + 24, s3);
  }
  for (; j < n; j += 8) {
    const int left = static_cast<int>(n - j);
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256 s = _mm256_setzero_ps();
    for (int64_t i = 0; i < a.count; i++)
      s = _mm256_add_ps(s, _mm256_maskload_ps(reinterpret_cast<const float*>(table + a.index[i] * a.stride) + j, mask));
    _mm256_maskstore_ps(reinterpret_cast<float*>(out) + j, mask, s);
  }
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
