#include "kernels/topk/topk.h"

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
namespace {

// Lane numbers of the ones of a byte, ascending: what AVX2 has instead of a compressing store.
struct CompressTable {
  uint8_t lane[256][8];
  constexpr CompressTable() : lane() {
    for (int b = 0; b < 256; b++)
      for (int i = 0, at = 0; i < 8; i++)
        if (b >> i & 1) lane[b][at++] = static_cast<uint8_t>(i);
  }
};
constexpr CompressTable kCompress;

}  // namespace

TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace {

// Lanes below n, as a vector of all-ones lanes. n >= 8: all.
inline __m256i first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 8 ? n : 8)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline unsigned bits(__m256 lanes) { return static_cast<unsigned>(_mm256_movemask_ps(lanes)); }
inline int64_t ones(unsigned bits) { return __builtin_popcount(bits); }
// Byte of a mask -> lanes.
inline __m256i spread(uint8_t byte) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(byte), bit), bit);
}

}  // namespace

namespace {

constexpr int64_t kAhead = 4096;  // bytes: the next page, which the hardware would not foresee

// Vectors of eight scores; a __m256 in the hand of a comparison is an all-ones lane mask.
struct Floats {
  using element = float;
  static constexpr int lanes = 8;
  struct V {
    __m256 v;
  };
  static V load(const float* p, int64_t n, bool magnitude) {
    const __m256 x = n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first(n));
    return {magnitude ? _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x) : x};
  }
  static V all(double v) { return {_mm256_set1_ps(static_cast<float>(v))}; }
  static unsigned above(V x, V t) { return bits(_mm256_cmp_ps(x.v, t.v, _CMP_GT_OQ)); }
  static unsigned equal(V x, V t) { return bits(_mm256_cmp_ps(x.v, t.v, _CMP_EQ_OQ)); }
  static unsigned at_least(V x, V t) { return bits(_mm256_cmp_ps(x.v, t.v, _CMP_GE_OQ)); }
  static void put(void* out, int64_t at, unsigned which, V x) {
    const __m256i order = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(kCompress.lane[which])));
    _mm256_storeu_ps(static_cast<float*>(out) + at, _mm256_permutevar8x32_ps(x.v, order));
  }
};
struct Doubles {
  using element = double;
  static constexpr int lanes = 8;
  struct V {
    __m256d v[2];
  };
  static unsigned both(__m256d low, __m256d high) {
    return static_cast<unsigned>(_mm256_movemask_pd(low)) | static_cast<unsigned>(_mm256_movemask_pd(high)) << 4;
  }
  static V load(const double* p, int64_t n, bool magnitude) {
    V x;
    for (int h = 0; h < 2; h++) {
      const int64_t left = n - 4 * h;
      const __m256i live = _mm256_cmpgt_epi64(_mm256_set1_epi64x(left), _mm256_setr_epi64x(0, 1, 2, 3));
      x.v[h] = left >= 4 ? _mm256_loadu_pd(p + 4 * h) : _mm256_maskload_pd(left > 0 ? p + 4 * h : p, live);
      if (magnitude) x.v[h] = _mm256_andnot_pd(_mm256_set1_pd(-0.0), x.v[h]);
    }
    return x;
  }
  static V all(double v) { return {{_mm256_set1_pd(v), _mm256_set1_pd(v)}}; }
  static unsigned above(V x, V t) { return both(_mm256_cmp_pd(x.v[0], t.v[0], _CMP_GT_OQ), _mm256_cmp_pd(x.v[1], t.v[1], _CMP_GT_OQ)); }
  static unsigned equal(V x, V t) { return both(_mm256_cmp_pd(x.v[0], t.v[0], _CMP_EQ_OQ), _mm256_cmp_pd(x.v[1], t.v[1], _CMP_EQ_OQ)); }
  static unsigned at_least(V x, V t) { return both(_mm256_cmp_pd(x.v[0], t.v[0], _CMP_GE_OQ), _mm256_cmp_pd(x.v[1], t.v[1], _CMP_GE_OQ)); }
  static void put(void* out, int64_t at, unsigned which, V x) {
    const int64_t low = ones(which & 15);
    half(static_cast<double*>(out) + at, which & 15, x.v[0]);
    half(static_cast<double*>(out) + at + low, which >> 4, x.v[1]);
  }
  static void half(double* out, unsigned which, __m256d x) {
    const __m128i lane = _mm_cvtsi32_si128(*reinterpret_cast<const int*>(kCompress.lane[which]));  // a double is two 32-bit lanes
    const __m256i wide = _mm256_cvtepu8_epi64(lane), twice = _mm256_add_epi64(wide, wide);
    const __m256i order = _mm256_or_si256(twice, _mm256_slli_epi64(_mm256_add_epi64(twice, _mm256_set1_epi64x(1)), 32));
    _mm256_storeu_pd(out, _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(x), order)));
  }
};

template <class P> inline int64_t mark(TopkArgs& a) {
  const typename P::element* x = static_cast<const typename P::element*>(a.x);
  const typename P::V t = P::all(a.hi);
  int64_t set = 0, ties = 0;
  for (int64_t i = 0; i < a.n; i += 8) {
    const unsigned live = a.n - i >= 8 ? 255u : (1u << (a.n - i)) - 1;
    __builtin_prefetch(reinterpret_cast<const char*>(x + i) + kAhead);
    const typename P::V v = P::load(x + i, a.n - i, a.magnitude);
    const unsigned above = P::above(v, t) & live;
    set += ones(above);
    ties += ones(P::equal(v, t) & live);
    a.mask[i / 8] = static_cast<uint8_t>(above);
  }
  a.ties = ties;
  return set;
}

template <class P> inline int64_t bracket(TopkArgs& a) {
  const typename P::element* x = static_cast<const typename P::element*>(a.x);
  const typename P::V lo = P::all(a.lo), hi = P::all(a.hi);
  int64_t set = 0, found = 0;
  for (int64_t i = 0; i < a.n; i += 8) {
    const unsigned live = a.n - i >= 8 ? 255u : (1u << (a.n - i)) - 1;
    __builtin_prefetch(reinterpret_cast<const char*>(x + i) + kAhead);
    const typename P::V v = P::load(x + i, a.n - i, a.magnitude);
    const unsigned above = P::above(v, hi) & live, inside = P::at_least(v, lo) & live & ~above;
    P::put(a.values, found < a.capacity ? found : a.capacity, inside, v);
    set += ones(above);
    found += ones(inside);
    a.mask[i / 8] = static_cast<uint8_t>(above);
    a.inside[i / 8] = static_cast<uint8_t>(inside);
  }
  a.ties = found;
  return set;
}

}  // namespace

int64_t topk_mark_f32_avx2(TopkArgs& a) { return mark<Floats>(a); }
int64_t topk_mark_f64_avx2(TopkArgs& a) { return mark<Doubles>(a); }
int64_t topk_bracket_f32_avx2(TopkArgs& a) { return bracket<Floats>(a); }
int64_t topk_bracket_f64_avx2(TopkArgs& a) { return bracket<Doubles>(a); }

// Every value against the m - 1 others of its group, reached by rotation, as integers in the order of the scores.
int64_t topk_nm_f32_avx2(TopkArgs& a) {
  const float* x = static_cast<const float*>(a.x);
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), low = _mm256_set1_epi32(a.m - 1);
  const __m256i place = _mm256_and_si256(lane, low), group = _mm256_andnot_si256(low, lane), keep = _mm256_set1_epi32(a.keep);
  for (int64_t i = 0; i < a.n; i += 8) {
    const unsigned live = a.n - i >= 8 ? 255u : (1u << (a.n - i)) - 1;
    const __m256 v = _mm256_add_ps(Floats::load(x + i, a.n - i, a.magnitude).v, _mm256_setzero_ps());  // -0 -> +0
    const __m256i b = _mm256_castps_si256(v);
    __m256i key = _mm256_xor_si256(b, _mm256_srli_epi32(_mm256_srai_epi32(b, 31), 1));
    key = _mm256_blendv_epi8(key, _mm256_set1_epi32(INT32_MIN), _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    __m256i better = _mm256_setzero_si256();
    for (int r = 1; r < a.m; r++) {
      const __m256i other = _mm256_and_si256(_mm256_add_epi32(place, _mm256_set1_epi32(r)), low);
      const __m256i w = _mm256_permutevar8x32_epi32(key, _mm256_or_si256(group, other));
      const __m256i ties = _mm256_and_si256(_mm256_cmpgt_epi32(place, other), _mm256_cmpeq_epi32(w, key));
      better = _mm256_sub_epi32(better, _mm256_or_si256(ties, _mm256_cmpgt_epi32(w, key)));
    }
    a.mask[i / 8] = static_cast<uint8_t>(bits(_mm256_castsi256_ps(_mm256_cmpgt_epi32(keep, better))) & live);
  }
  return 0;
}

int64_t topk_pack_f32_avx2(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 8) {
    const __m256 x = _mm256_maskload_ps(static_cast<const float*>(a.x) + i, first(a.n - i));
    a.mask[i / 8] = static_cast<uint8_t>(bits(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
  }
  return 0;
}

int64_t topk_unpack_f32_avx2(TopkArgs& a) {
  const __m256 one = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < a.n; i += 8)
    _mm256_maskstore_ps(a.out + i, first(a.n - i), _mm256_and_ps(_mm256_castsi256_ps(spread(a.mask[i / 8])), one));
  return 0;
}

int64_t topk_apply_f32_avx2(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 8) {
    const __m256i m = first(a.n - i);
    _mm256_maskstore_ps(a.out + i, m, _mm256_maskload_ps(static_cast<const float*>(a.x) + i, _mm256_and_si256(m, spread(a.mask[i / 8]))));
  }
  return 0;
}

TERSOR_TARGET_END
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2 ",bmi2")

int64_t topk_deposit_avx2(TopkArgs& a) {
  const uint8_t* take = static_cast<const uint8_t*>(a.values);
  const int64_t bytes = (a.n + 7) / 8;
  int64_t at = 0;
  for (int64_t i = 0; i < bytes; i += 4) {
    const size_t part = static_cast<size_t>(bytes - i < 4 ? bytes - i : 4);
    uint32_t inside = 0, mask = 0;
    uint64_t next;
    if (part == 4) {
      __builtin_memcpy(&inside, a.inside + i, 4), __builtin_memcpy(&mask, a.mask + i, 4);
    } else {
      for (size_t b = 0; b < part; b++) inside |= static_cast<uint32_t>(a.inside[i + static_cast<int64_t>(b)]) << (8 * b), mask |= static_cast<uint32_t>(a.mask[i + static_cast<int64_t>(b)]) << (8 * b);
    }
    __builtin_memcpy(&next, take + at / 8, 8);
    mask |= _pdep_u32(static_cast<uint32_t>(next >> (at % 8)), inside);
    at += __builtin_popcount(inside);
    if (part == 4) __builtin_memcpy(a.mask + i, &mask, 4);
    else
      for (size_t b = 0; b < part; b++) a.mask[i + static_cast<int64_t>(b)] = static_cast<uint8_t>(mask >> (8 * b));
  }
  return 0;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
