#include "kernels/topk/topk.h"

#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

namespace tersor {
TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace {

inline __mmask16 first(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xFFFF : (1u << n) - 1); }
inline int64_t ones(unsigned bits) { return __builtin_popcount(bits); }

// Mask bytes of n <= 16 elements.
inline void put(uint8_t* mask, unsigned bits, int64_t n) {
  mask[0] = static_cast<uint8_t>(bits);
  if (n > 8) mask[1] = static_cast<uint8_t>(bits >> 8);
}
inline unsigned get(const uint8_t* mask, int64_t n) { return mask[0] | (n > 8 ? static_cast<unsigned>(mask[1]) << 8 : 0u); }

}  // namespace

namespace {

constexpr int64_t kAhead = 4096;  // bytes: the next page, which the hardware would not foresee

struct Floats {
  using V = __m512;
  using M = __mmask16;
  using element = float;
  static constexpr int lanes = 16;
  static V load(const float* p, M live, __m512i keep) { return _mm512_castsi512_ps(_mm512_and_si512(_mm512_maskz_loadu_epi32(live, p), keep)); }
  static __m512i sign_mask(bool magnitude) { return _mm512_set1_epi32(magnitude ? 0x7FFFFFFF : -1); }
  static V all(double v) { return _mm512_set1_ps(static_cast<float>(v)); }
  static M above(M live, V x, V t) { return _mm512_mask_cmp_ps_mask(live, x, t, _CMP_GT_OQ); }
  static M equal(M live, V x, V t) { return _mm512_mask_cmp_ps_mask(live, x, t, _CMP_EQ_OQ); }
  static M at_least(M live, V x, V t) { return _mm512_mask_cmp_ps_mask(live, x, t, _CMP_GE_OQ); }
  static M without(M a, M b) { return _kandn_mask16(b, a); }
  static void put(float* out, M which, V x) { _mm512_storeu_ps(out, _mm512_maskz_compress_ps(which, x)); }
};
struct Doubles {
  using V = __m512d;
  using M = __mmask8;
  using element = double;
  static constexpr int lanes = 8;
  static V load(const double* p, M live, __m512i keep) { return _mm512_castsi512_pd(_mm512_and_si512(_mm512_maskz_loadu_epi64(live, p), keep)); }
  static __m512i sign_mask(bool magnitude) { return _mm512_set1_epi64(magnitude ? 0x7FFFFFFFFFFFFFFFll : -1ll); }
  static V all(double v) { return _mm512_set1_pd(v); }
  static M above(M live, V x, V t) { return _mm512_mask_cmp_pd_mask(live, x, t, _CMP_GT_OQ); }
  static M equal(M live, V x, V t) { return _mm512_mask_cmp_pd_mask(live, x, t, _CMP_EQ_OQ); }
  static M at_least(M live, V x, V t) { return _mm512_mask_cmp_pd_mask(live, x, t, _CMP_GE_OQ); }
  static M without(M a, M b) { return _kandn_mask8(b, a); }
  static void put(double* out, M which, V x) { _mm512_storeu_pd(out, _mm512_maskz_compress_pd(which, x)); }
};

// 64 elements make 64 bits of each set; the last step may have fewer.
constexpr int kStep = 64;
inline void store_bits(uint8_t* at, uint64_t bits, int64_t n) {
  if (n >= kStep) __builtin_memcpy(at, &bits, 8);
  else
    for (int64_t i = 0; i * 8 < n; i++) at[i] = static_cast<uint8_t>(bits >> (8 * i));
}

template <class P> inline typename P::M live_lanes(int64_t left) {
  return static_cast<typename P::M>(left >= P::lanes ? (1u << P::lanes) - 1 : left <= 0 ? 0 : (1u << left) - 1);
}

template <class P> inline int64_t mark(TopkArgs& a) {
  const typename P::element* x = static_cast<const typename P::element*>(a.x);
  const typename P::V t = P::all(a.hi);
  const __m512i keep = P::sign_mask(a.magnitude);
  int64_t set = 0, ties = 0;
  for (int64_t i = 0; i < a.n; i += kStep) {
    uint64_t above = 0, equal = 0;
#pragma GCC unroll 8
    for (int j = 0; j < kStep; j += P::lanes) {
      const typename P::M live = live_lanes<P>(a.n - i - j);
      __builtin_prefetch(reinterpret_cast<const char*>(x + i + j) + kAhead);
      const typename P::V v = P::load(x + i + j, live, keep);
      above |= static_cast<uint64_t>(P::above(live, v, t)) << j;
      equal |= static_cast<uint64_t>(P::equal(live, v, t)) << j;
    }
    set += __builtin_popcountll(above);
    ties += __builtin_popcountll(equal);
    store_bits(a.mask + i / 8, above, a.n - i);
  }
  a.ties = ties;
  return set;
}

// One step of bracket; WHOLE: all its elements are there.
template <class P, bool WHOLE>
inline void bracket_step(const TopkArgs& a, int64_t i, typename P::V lo, typename P::V hi, __m512i keep, int64_t* set, int64_t* found) {
  const typename P::element* x = static_cast<const typename P::element*>(a.x) + i;
  typename P::element* out = static_cast<typename P::element*>(a.values) + (*found < a.capacity ? *found : a.capacity);
  uint64_t above = 0, inside = 0;
#pragma GCC unroll 8
  for (int j = 0; j < kStep; j += P::lanes) {
    const typename P::M live = WHOLE ? static_cast<typename P::M>(-1) : live_lanes<P>(a.n - i - j);
    __builtin_prefetch(reinterpret_cast<const char*>(x + j) + kAhead);
    const typename P::V v = P::load(x + j, live, keep);
    const typename P::M over = P::above(live, v, hi), within = P::without(P::at_least(live, v, lo), over);
    P::put(out, within, v);
    out += ones(within);
    above |= static_cast<uint64_t>(over) << j;
    inside |= static_cast<uint64_t>(within) << j;
  }
  *set += __builtin_popcountll(above);
  *found += __builtin_popcountll(inside);
  store_bits(a.mask + i / 8, above, a.n - i);
  store_bits(a.inside + i / 8, inside, a.n - i);
}

template <class P> inline int64_t bracket(TopkArgs& a) {
  const typename P::V lo = P::all(a.lo), hi = P::all(a.hi);
  const __m512i keep = P::sign_mask(a.magnitude);
  int64_t set = 0, found = 0, i = 0;
  for (; i + kStep <= a.n; i += kStep) bracket_step<P, true>(a, i, lo, hi, keep, &set, &found);
  if (i < a.n) bracket_step<P, false>(a, i, lo, hi, keep, &set, &found);
  a.ties = found;
  return set;
}

}  // namespace

int64_t topk_mark_f32_avx512(TopkArgs& a) { return mark<Floats>(a); }
int64_t topk_mark_f64_avx512(TopkArgs& a) { return mark<Doubles>(a); }
int64_t topk_bracket_f32_avx512(TopkArgs& a) { return bracket<Floats>(a); }
int64_t topk_bracket_f64_avx512(TopkArgs& a) { return bracket<Doubles>(a); }

// Every value against the m - 1 others of its group, reached by rotation, as integers in the order of the scores.
int64_t topk_nm_f32_avx512(TopkArgs& a) {
  const float* x = static_cast<const float*>(a.x);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), low = _mm512_set1_epi32(a.m - 1);
  const __m512i place = _mm512_and_si512(lane, low), group = _mm512_andnot_si512(low, lane);
  const __m512i sign = Floats::sign_mask(a.magnitude), one = _mm512_set1_epi32(1), keep = _mm512_set1_epi32(a.keep);
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 live = live_lanes<Floats>(a.n - i);
    const __m512 v = _mm512_add_ps(Floats::load(x + i, live, sign), _mm512_setzero_ps());  // -0 -> +0
    const __m512i b = _mm512_castps_si512(v);
    __m512i key = _mm512_xor_si512(b, _mm512_srli_epi32(_mm512_srai_epi32(b, 31), 1));
    key = _mm512_mask_mov_epi32(key, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_set1_epi32(INT32_MIN));
    __m512i better = _mm512_setzero_si512();
    for (int r = 1; r < a.m; r++) {
      const __m512i other = _mm512_and_si512(_mm512_add_epi32(place, _mm512_set1_epi32(r)), low);
      const __m512i w = _mm512_permutexvar_epi32(_mm512_or_si512(group, other), key);
      const __mmask16 ties = _mm512_mask_cmpeq_epi32_mask(_mm512_cmplt_epi32_mask(other, place), w, key);
      better = _mm512_mask_add_epi32(better, static_cast<__mmask16>(ties | _mm512_cmpgt_epi32_mask(w, key)), better, one);
    }
    put(a.mask + i / 8, _mm512_cmplt_epi32_mask(better, keep) & live, a.n - i);
  }
  return 0;
}

int64_t topk_pack_f32_avx512(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 m = first(a.n - i);
    put(a.mask + i / 8, _mm512_mask_cmp_ps_mask(m, _mm512_maskz_loadu_ps(m, static_cast<const float*>(a.x) + i), _mm512_setzero_ps(), _CMP_NEQ_UQ), a.n - i);
  }
  return 0;
}

int64_t topk_unpack_f32_avx512(TopkArgs& a) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 keep = static_cast<__mmask16>(get(a.mask + i / 8, a.n - i));
    _mm512_mask_storeu_ps(a.out + i, first(a.n - i), _mm512_maskz_mov_ps(keep, one));
  }
  return 0;
}

int64_t topk_apply_f32_avx512(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 16) {
    const __mmask16 m = first(a.n - i);
    const __mmask16 keep = static_cast<__mmask16>(get(a.mask + i / 8, a.n - i) & m);
    _mm512_mask_storeu_ps(a.out + i, m, _mm512_maskz_loadu_ps(keep, static_cast<const float*>(a.x) + i));
  }
  return 0;
}

TERSOR_TARGET_END
}  // namespace tersor
#endif
