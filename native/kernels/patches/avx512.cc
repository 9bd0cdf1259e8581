// A filter of up to five runs of two vectors, or its sum, stays in registers while the patches of an image pass by.
#include "kernels/patches/patches.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

inline __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1u); }

template <int R, int N> inline __m512 dot_one(const __m512 (&w)[R * N], const float* p, int64_t pitch) {
  __m512 sum[2] = {_mm512_mul_ps(_mm512_loadu_ps(p), w[0]), _mm512_setzero_ps()};
#pragma GCC unroll 16
  for (int e = 1; e < R * N; e++) sum[e & 1] = _mm512_fmadd_ps(_mm512_loadu_ps(p + e / N * pitch + e % N * 16), w[e], sum[e & 1]);
  return _mm512_add_ps(sum[0], sum[1]);
}

// The sums of four vectors inside the quarters: lane 4 q + i is that of quarter q of a[i].
inline __m512 fold4(const __m512 (&a)[4]) {
  const __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
  const __m512 c = _mm512_add_ps(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
  return _mm512_add_ps(_mm512_shuffle_ps(b, c, 0x44), _mm512_shuffle_ps(b, c, 0xee));
}

template <int R, int N> inline void dot(const PatchDot& a) {
  __m512 w[R * N];
#pragma GCC unroll 16
  for (int e = 0; e < R * N; e++) w[e] = _mm512_loadu_ps(a.w + e * 16);
  for (int64_t i = 0; i < a.n; i += 16) {
    const int64_t count = a.n - i < 16 ? a.n - i : 16;
    __m512 c[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      if (4 * q >= count) break;
      __m512 s[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) s[j] = dot_one<R, N>(w, a.plane + a.at[i + (4 * q + j < count ? 4 * q + j : count - 1)], a.pitch);
      c[q] = fold4(s);
    }
    const __m512 d = _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x44), _mm512_shuffle_f32x4(c[0], c[1], 0xee));
    const __m512 e = _mm512_add_ps(_mm512_shuffle_f32x4(c[2], c[3], 0x44), _mm512_shuffle_f32x4(c[2], c[3], 0xee));
    _mm512_mask_storeu_ps(a.out + i, first_lanes(count), _mm512_add_ps(_mm512_shuffle_f32x4(d, e, 0x88), _mm512_shuffle_f32x4(d, e, 0xdd)));
  }
}

template <int R, int N> inline void sum(const PatchSum& a) {
  __m512 t[R * N];
#pragma GCC unroll 16
  for (int e = 0; e < R * N; e++) t[e] = _mm512_loadu_ps(a.total + e * 16);
  for (int64_t i = 0; i < a.n; i++) {
    const float* const p = a.plane + a.at[i];
    const __m512 v = _mm512_set1_ps(a.values[i]);
#pragma GCC unroll 16
    for (int e = 0; e < R * N; e++) t[e] = _mm512_fmadd_ps(_mm512_loadu_ps(p + e / N * a.pitch + e % N * 16), v, t[e]);
  }
#pragma GCC unroll 16
  for (int e = 0; e < R * N; e++) _mm512_storeu_ps(a.total + e * 16, t[e]);
}

template <int N> inline void spread(const PatchSpread& a) {
  const int shift = a.step == 1 ? 0 : a.step == 2 ? 1 : a.step == 4 ? 2 : a.step == 8 ? 3 : 4;
  for (int64_t i = 0; i < a.n; i++) {
    const int32_t at = a.at[i];
    float* p = a.plane + (at & ~15);
    const float* w = a.w + ((at & 15) >> shift) * a.copy;
    const __m512 v = _mm512_set1_ps(a.values[i]);
    for (int r = 0; r < a.rows; r++, p += a.pitch, w += N * 16)
#pragma GCC unroll 3
      for (int e = 0; e < N; e++) _mm512_store_ps(p + e * 16, _mm512_fmadd_ps(_mm512_load_ps(w + e * 16), v, _mm512_load_ps(p + e * 16)));
  }
}

inline __m256 both(const float* low, const float* high) { return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1); }

inline void transpose4(__m256 (&r)[4]) {  // inside the halves
  const __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
  const __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
  r[0] = _mm256_shuffle_ps(a, c, 0x44), r[1] = _mm256_shuffle_ps(a, c, 0xee);
  r[2] = _mm256_shuffle_ps(b, d, 0x44), r[3] = _mm256_shuffle_ps(b, d, 0xee);
}

alignas(16) const float kNothing[4] = {0, 0, 0, 0};

}  // namespace

int64_t patches_avx512_list(const PatchList& a) {
  int64_t n = 0;
  uint32_t missed = 0;
  for (int64_t i = 0; i < a.windows; i += 16) {
    const __mmask16 live = first_lanes(a.windows - i);
    const __m512i chosen = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(live, a.index + i), _mm512_maskz_loadu_epi32(live, a.first + i));
    const __m512i base = _mm512_maskz_loadu_epi32(live, a.base + i);
    __m512i at = base;
    uint32_t found = 0;
    for (int64_t r = 0; r < a.ph; r++)
      for (int64_t c = 0; c < a.pw; c++) {
        const __mmask16 here = _mm512_cmpeq_epi32_mask(chosen, _mm512_set1_epi32(static_cast<int32_t>(r * a.row + c)));
        at = _mm512_mask_add_epi32(at, here, base, _mm512_set1_epi32(static_cast<int32_t>(r * a.down + c * a.right)));
        found |= here;
      }
    missed |= live & ~found;
    __mmask16 keep = live;
    if (a.value) {
      const __m512 value = _mm512_maskz_loadu_ps(live, a.value + i);
      keep = _mm512_mask_cmp_ps_mask(live, value, _mm512_setzero_ps(), _CMP_NEQ_UQ);
      _mm512_storeu_ps(a.values + n, _mm512_maskz_compress_ps(keep, value));
    }
    _mm512_storeu_si512(a.at + n, _mm512_maskz_compress_epi32(keep, at));
    n += _mm_popcnt_u32(keep);
  }
  return missed ? -1 : n;
}

void patches_avx512_dot(const PatchDot& a) {
  if (a.rows == 5) return a.vectors == 2 ? dot<5, 2>(a) : dot<5, 1>(a);
  return a.vectors == 2 ? dot<3, 2>(a) : dot<3, 1>(a);
}

void patches_avx512_sum(const PatchSum& a) {
  if (a.rows == 5) return a.vectors == 2 ? sum<5, 2>(a) : sum<5, 1>(a);
  return a.vectors == 2 ? sum<3, 2>(a) : sum<3, 1>(a);
}

void patches_avx512_spread(const PatchSpread& a) { return a.vectors == 3 ? spread<3>(a) : spread<2>(a); }

void patches_avx512_pixels(const PatchPixels& a) {
  if (a.n < 4) return patches_scalar_pixels(a);
  for (int64_t at = 0; at < a.n; at += 4) {
    const int64_t p = at + 4 <= a.n ? at : a.n - 4;  // some pixels twice
    const float* from[8];
#pragma GCC unroll 8
    for (int c = 0; c < 8; c++) from[c] = c < a.count ? a.channels + c * a.plane + p : kNothing;
    __m256 r[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) r[q] = both(from[q], from[q + 4]);
    transpose4(r);
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) _mm256_storeu_ps(a.image + (p + q) * a.step, r[q]);
  }
}

void patches_avx512_images(const PatchImages& a) {
  if (a.n < 4) return patches_scalar_images(a);
  for (int64_t at = 0; at < a.n; at += 4) {
    const int64_t p = at + 4 <= a.n ? at : a.n - 4;
    __m256 r[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) r[q] = _mm256_loadu_ps(a.image + (p + q) * a.step);
    transpose4(r);
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      if (q < a.count) _mm_storeu_ps(a.channels + q * a.plane + p, _mm256_castps256_ps128(r[q]));
      if (q + 4 < a.count) _mm_storeu_ps(a.channels + (q + 4) * a.plane + p, _mm256_extractf128_ps(r[q], 1));
    }
  }
}

bool patches_avx512_finite(const float* x, int64_t n) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; i += 16) {
    const __m512 v = _mm512_maskz_loadu_ps(first_lanes(n - i), x + i);
    bad |= _mm512_cmp_ps_mask(_mm512_sub_ps(v, v), _mm512_setzero_ps(), _CMP_NEQ_UQ);
  }
  return bad == 0;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
