#include "kernels/gather/gather.h"

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

inline __mmask64 first_bytes(int64_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }
inline __mmask16 first_floats(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }

}  // namespace

void gather_copy_avx512(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  if (a.row_bytes == 4 && a.stride == 4) {
    for (int64_t i = 0; i < a.count; i += 16) {
      const __mmask16 m = first_floats(a.count - i);
      const __m512i at = _mm512_maskz_loadu_epi32(m, a.index + i);
      _mm512_mask_storeu_epi32(out + 4 * i, m, _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), m, at, table, 4));
    }
    return;
  }
  if (a.row_bytes == 8 && a.stride == 8) {
    for (int64_t i = 0; i < a.count; i += 8) {
      const __mmask8 m = static_cast<__mmask8>(first_floats(a.count - i));
      const __m256i at = _mm256_maskz_loadu_epi32(m, a.index + i);
      _mm512_mask_storeu_epi64(out + 8 * i, m, _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), m, at, table, 8));
    }
    return;
  }
  const int64_t whole = a.row_bytes / 64 * 64;
  const __mmask64 rest = first_bytes(a.row_bytes - whole);
  for (int64_t i = 0; i < a.count; i++) {
    if (i + 4 < a.count) {
      const char* next = table + a.index[i + 4] * a.stride;
      _mm_prefetch(next, _MM_HINT_T0);
      if (a.row_bytes > 64) _mm_prefetch(next + 64, _MM_HINT_T0);
    }
    const char* in = table + a.index[i] * a.stride;
    char* to = out + i * a.row_bytes;
    for (int64_t j = 0; j < whole; j += 64) _mm512_storeu_si512(to + j, _mm512_loadu_si512(in + j));
    if (rest) _mm512_mask_storeu_epi8(to + whole, rest, _mm512_maskz_loadu_epi8(rest, in + whole));
  }
}

void gather_sum_f32_avx512(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  const int64_t n = a.row_bytes / 4;
  int64_t j = 0;
  for (; j + 64 <= n; j += 64) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t i = 0; i < a.count; i++) {
      const float* row = reinterpret_cast<const float*>(table + a.index[i] * a.stride) + j;
      s0 = _mm512_add_ps(s0, _mm512_loadu_ps(row));
      s1 = _mm512_add_ps(s1, _mm512_loadu_ps(row + 16));
      s2 = _mm512_add_ps(s2, _mm512_loadu_ps(row + 32));
      s3 = _mm512_add_ps(s3, _mm512_loadu_ps(row + 48));
    }
    float* y = reinterpret_cast<float*>(out) + j;
    _mm512_storeu_ps(y, s0);
    _mm512_storeu_ps(y + 16, s1);
    _mm512_storeu_ps(y + 32, s2);
    _mm512_storeu_ps(y + 48, s3);
  }
  for (; j < n; j += 16) {
    const __mmask16 m = first_floats(n - j);
    __m512 s = _mm512_setzero_ps();
    for (int64_t i = 0; i < a.count; i++)
      s = _mm512_add_ps(s, _mm512_maskz_loadu_ps(m, reinterpret_cast<const float*>(table + a.index[i] * a.stride) + j));
    _mm512_mask_storeu_ps(reinterpret_cast<float*>(out) + j, m, s);
  }
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
