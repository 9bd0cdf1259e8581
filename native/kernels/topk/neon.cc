// Bit sets and selection with 128-bit vectors. 64 scores make one 64-bit word: comparisons are narrowed to bytes of 0 and 255, which keep only the bit of
// their place and are added pairwise. The last step works on a padded copy, so nothing outside is touched.
#include "kernels/topk/topk.h"

#include <cstring>
#include <limits>

#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

namespace tersor {
namespace {

constexpr int kStep = 64;

// For each set of 4 lanes the bytes of the chosen floats, ascending, and how many there are.
struct CompressTable {
  uint8_t byte[16][16], ones[16];
  constexpr CompressTable() : byte(), ones() {
    for (int b = 0; b < 16; b++) {
      int at = 0;
      for (int i = 0; i < 4; i++)
        if (b >> i & 1) {
          for (int q = 0; q < 4; q++) byte[b][4 * at + q] = static_cast<uint8_t>(4 * i + q);
          at++;
        }
      ones[b] = static_cast<uint8_t>(at);
    }
  }
};
constexpr CompressTable kCompress;

// For each byte: which one of its ones a place holds, 255 where it holds none; and how many there are.
struct RankTable {
  uint8_t place[256][8], ones[256];
  constexpr RankTable() : place(), ones() {
    for (int b = 0; b < 256; b++) {
      int at = 0;
      for (int i = 0; i < 8; i++) place[b][i] = b >> i & 1 ? static_cast<uint8_t>(at++) : uint8_t(255);
      ones[b] = static_cast<uint8_t>(at);
    }
  }
};
constexpr RankTable kRank;

constexpr uint8_t kWeights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
constexpr uint32_t kLow[4] = {1, 2, 4, 8}, kHigh[4] = {16, 32, 64, 128};

// Lanes of 64 elements: all-ones bytes where chosen.
struct Chosen {
  uint8x16_t v[4];
};
TERSOR_VEC_INLINE uint8x16_t narrow(uint32x4_t a, uint32x4_t b, uint32x4_t c, uint32x4_t d) {
  const uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b)), high = vuzp1q_u16(vreinterpretq_u16_u32(c), vreinterpretq_u16_u32(d));
  return vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
}
TERSOR_VEC_INLINE uint64_t bits_of(const Chosen& c) {
  const uint8x16_t w = vld1q_u8(kWeights);
  const uint8x16_t low = vpaddq_u8(vandq_u8(c.v[0], w), vandq_u8(c.v[1], w)), high = vpaddq_u8(vandq_u8(c.v[2], w), vandq_u8(c.v[3], w));
  const uint8x16_t sum = vpaddq_u8(low, high);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sum, sum)), 0);
}
TERSOR_VEC_INLINE int64_t ones_of(const Chosen& c) {
  return -vaddvq_s8(vreinterpretq_s8_u8(vaddq_u8(vaddq_u8(c.v[0], c.v[1]), vaddq_u8(c.v[2], c.v[3]))));  // at most 64: fits
}
TERSOR_VEC_INLINE void store_bits(uint8_t* at, uint64_t bits, int64_t n) {
  if (n >= kStep) memcpy(at, &bits, 8);
  else
    for (int64_t i = 0; i * 8 < n; i++) at[i] = static_cast<uint8_t>(bits >> (8 * i));
}

// 16 scores. keep: all ones, or all but the sign.
struct Floats {
  using element = float;
  using T = float32x4_t;
  struct V {
    float32x4_t v[4];
  };
  static TERSOR_VEC_INLINE float32x4_t load4(const float* p, bool magnitude) {
    const uint32x4_t keep = vdupq_n_u32(magnitude ? 0x7FFFFFFFu : ~0u);
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(vld1q_f32(p)), keep));
  }
  static TERSOR_VEC_INLINE V load(const float* p, bool magnitude) {
    return {{load4(p, magnitude), load4(p + 4, magnitude), load4(p + 8, magnitude), load4(p + 12, magnitude)}};
  }
  static TERSOR_VEC_INLINE T all(double v) { return vdupq_n_f32(static_cast<float>(v)); }
  static TERSOR_VEC_INLINE uint8x16_t above(const V& x, T t) { return narrow(vcgtq_f32(x.v[0], t), vcgtq_f32(x.v[1], t), vcgtq_f32(x.v[2], t), vcgtq_f32(x.v[3], t)); }
  static TERSOR_VEC_INLINE uint8x16_t equal(const V& x, T t) { return narrow(vceqq_f32(x.v[0], t), vceqq_f32(x.v[1], t), vceqq_f32(x.v[2], t), vceqq_f32(x.v[3], t)); }
  static TERSOR_VEC_INLINE uint8x16_t at_least(const V& x, T t) {
    return narrow(vcgeq_f32(x.v[0], t), vcgeq_f32(x.v[1], t), vcgeq_f32(x.v[2], t), vcgeq_f32(x.v[3], t));
  }
  static TERSOR_VEC_INLINE void put(float* out, uint64_t which, const float* x, bool magnitude) {
    for (; which; which >>= 4, x += 4) {
      const uint8x16_t order = vld1q_u8(kCompress.byte[which & 15]);
      vst1q_u8(reinterpret_cast<uint8_t*>(out), vqtbl1q_u8(vreinterpretq_u8_f32(load4(x, magnitude)), order));
      out += kCompress.ones[which & 15];
    }
  }
};
struct Doubles {
  using element = double;
  using T = float64x2_t;
  struct V {
    float64x2_t v[8];
  };
  static TERSOR_VEC_INLINE V load(const double* p, bool magnitude) {
    const uint64x2_t keep = vdupq_n_u64(magnitude ? 0x7FFFFFFFFFFFFFFFull : ~0ull);
    V x;
    for (int j = 0; j < 8; j++) x.v[j] = vreinterpretq_f64_u64(vandq_u64(vreinterpretq_u64_f64(vld1q_f64(p + 2 * j)), keep));
    return x;
  }
  static TERSOR_VEC_INLINE T all(double v) { return vdupq_n_f64(v); }
  static TERSOR_VEC_INLINE uint32x4_t both(uint64x2_t a, uint64x2_t b) { return vuzp1q_u32(vreinterpretq_u32_u64(a), vreinterpretq_u32_u64(b)); }
  static TERSOR_VEC_INLINE uint8x16_t above(const V& x, T t) {
    return narrow(both(vcgtq_f64(x.v[0], t), vcgtq_f64(x.v[1], t)), both(vcgtq_f64(x.v[2], t), vcgtq_f64(x.v[3], t)),
                  both(vcgtq_f64(x.v[4], t), vcgtq_f64(x.v[5], t)), both(vcgtq_f64(x.v[6], t), vcgtq_f64(x.v[7], t)));
  }
  static TERSOR_VEC_INLINE uint8x16_t equal(const V& x, T t) {
    return narrow(both(vceqq_f64(x.v[0], t), vceqq_f64(x.v[1], t)), both(vceqq_f64(x.v[2], t), vceqq_f64(x.v[3], t)),
                  both(vceqq_f64(x.v[4], t), vceqq_f64(x.v[5], t)), both(vceqq_f64(x.v[6], t), vceqq_f64(x.v[7], t)));
  }
  static TERSOR_VEC_INLINE uint8x16_t at_least(const V& x, T t) {
    return narrow(both(vcgeq_f64(x.v[0], t), vcgeq_f64(x.v[1], t)), both(vcgeq_f64(x.v[2], t), vcgeq_f64(x.v[3], t)),
                  both(vcgeq_f64(x.v[4], t), vcgeq_f64(x.v[5], t)), both(vcgeq_f64(x.v[6], t), vcgeq_f64(x.v[7], t)));
  }
  // A shuffle of two lanes would only save one of two stores: every value is stored, and the place moves on behind a chosen one.
  static TERSOR_VEC_INLINE void put(double* out, uint64_t which, const double* x, bool magnitude) {
    for (; which; which >>= 1, x++) {
      *out = magnitude ? std::fabs(*x) : *x;
      out += which & 1;
    }
  }
};

// NaN behind the end of a step: no comparison holds.
template <class T> TERSOR_VEC_INLINE const T* padded(const T* x, int64_t n, T* room, T filler) {
  if (n >= kStep) return x;
  for (int j = 0; j < kStep; j++) room[j] = filler;
  memcpy(room, x, static_cast<size_t>(n) * sizeof(T));
  return room;
}

template <class P> int64_t mark(TopkArgs& a) {
  using T = typename P::element;
  const typename P::T t = P::all(a.hi);
  T room[kStep];
  int64_t set = 0, ties = 0;
  for (int64_t i = 0; i < a.n; i += kStep) {
    const T* x = padded(static_cast<const T*>(a.x) + i, a.n - i, room, std::numeric_limits<T>::quiet_NaN());
    Chosen above, equal;
    for (int j = 0; j < 4; j++) {
      const typename P::V v = P::load(x + 16 * j, a.magnitude);
      above.v[j] = P::above(v, t);
      equal.v[j] = P::equal(v, t);
    }
    set += ones_of(above);
    ties += ones_of(equal);
    store_bits(a.mask + i / 8, bits_of(above), a.n - i);
  }
  a.ties = ties;
  return set;
}

template <class P> int64_t bracket(TopkArgs& a) {
  using T = typename P::element;
  const typename P::T lo = P::all(a.lo), hi = P::all(a.hi);
  T room[kStep];
  int64_t set = 0, found = 0;
  for (int64_t i = 0; i < a.n; i += kStep) {
    const T* x = padded(static_cast<const T*>(a.x) + i, a.n - i, room, std::numeric_limits<T>::quiet_NaN());
    Chosen above, inside;
    for (int j = 0; j < 4; j++) {
      const typename P::V v = P::load(x + 16 * j, a.magnitude);
      above.v[j] = P::above(v, hi);
      inside.v[j] = vbicq_u8(P::at_least(v, lo), above.v[j]);
    }
    const uint64_t within = bits_of(inside);
    P::put(static_cast<T*>(a.values) + (found < a.capacity ? found : a.capacity), within, x, a.magnitude);
    set += ones_of(above);
    found += ones_of(inside);
    store_bits(a.mask + i / 8, bits_of(above), a.n - i);
    store_bits(a.inside + i / 8, within, a.n - i);
  }
  a.ties = found;
  return set;
}

// Scores as integers in the same order; NaN lowest, one above the least integer, so that one less is still an integer.
TERSOR_VEC_INLINE int32x4_t key_of(const float* x, bool magnitude) {
  const float32x4_t v = vaddq_f32(Floats::load4(x, magnitude), vdupq_n_f32(0));  // -0 -> +0
  const int32x4_t b = vreinterpretq_s32_f32(v);
  const int32x4_t key = veorq_s32(b, vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(vshrq_n_s32(b, 31)), 1)));
  return vbslq_s32(vceqq_f32(v, v), key, vdupq_n_s32(INT32_MIN + 1));
}

// better -= (the value R places on in the group of M is ahead); a, b: the halves of a group of 8 as this half sees them. Ties go to the lower place: the one
// reached by wrapping around, against which the key counts one less.
template <int M, int R> TERSOR_VEC_INLINE int32x4_t ahead(int32x4_t better, int32x4_t a, int32x4_t b, int32x4_t place) {
  const int32x4_t w = M == 2 ? vrev64q_s32(a) : M == 4 ? vextq_s32(a, a, R & 3) : R < 4 ? vextq_s32(a, b, R & 3) : vextq_s32(b, a, R & 3);
  const int32x4_t wraps = vreinterpretq_s32_u32(vcgeq_s32(place, vdupq_n_s32(M - R)));
  return vaddq_s32(better, vreinterpretq_s32_u32(vcgtq_s32(w, vaddq_s32(a, wraps))));
}
template <int M> TERSOR_VEC_INLINE uint32x4_t best(int32x4_t a, int32x4_t b, int32x4_t place, int32x4_t none) {
  int32x4_t better = ahead<M, 1>(vdupq_n_s32(0), a, b, place);
  if (M >= 4) better = ahead<M, 3>(ahead<M, 2>(better, a, b, place), a, b, place);
  if (M == 8) better = ahead<M, 7>(ahead<M, 6>(ahead<M, 5>(ahead<M, 4>(better, a, b, place), a, b, place), a, b, place), a, b, place);
  return vcgtq_s32(better, none);
}

template <int M> int64_t nm(TopkArgs& a) {
  const int32x4_t lane = simd::lane_index().v, place = vandq_s32(lane, vdupq_n_s32(M - 1)), second = M == 8 ? vaddq_s32(lane, vdupq_n_s32(4)) : place;
  const int32x4_t none = vdupq_n_s32(-a.keep);
  float room[kStep];
  for (int64_t i = 0; i < a.n; i += kStep) {
    const float* x = padded(static_cast<const float*>(a.x) + i, a.n - i, room, 0.0f);
    Chosen kept;
    for (int j = 0; j < 4; j++) {
      uint32x4_t k[4];
      for (int h = 0; h < 4; h += 2) {
        const int32x4_t first = key_of(x + 16 * j + 4 * h, a.magnitude), next = key_of(x + 16 * j + 4 * h + 4, a.magnitude);
        k[h] = best<M>(first, next, place, none);
        k[h + 1] = best<M>(next, first, second, none);
      }
      kept.v[j] = narrow(k[0], k[1], k[2], k[3]);
    }
    const uint64_t live = a.n - i >= kStep ? ~uint64_t(0) : (uint64_t(1) << (a.n - i)) - 1;
    store_bits(a.mask + i / 8, bits_of(kept) & live, a.n - i);
  }
  return 0;
}

// Eight mask bits as lanes of two vectors.
TERSOR_VEC_INLINE uint32x4_t spread(uint8_t byte, const uint32_t* weights) { return vtstq_u32(vdupq_n_u32(byte), vld1q_u32(weights)); }
TERSOR_VEC_INLINE simd::F32 chosen_of(simd::F32 x, uint32x4_t m) { return simd::F32(vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x.v), m))); }

// out = bit ? x : +0; without x: 1.
template <bool X> TERSOR_VEC_INLINE int64_t unfold(const TopkArgs& a) {
  const float* x = static_cast<const float*>(a.x);
  const simd::F32 one(1.0f);
  int64_t i = 0;
  for (; i + 8 <= a.n; i += 8) {
    const simd::F32 low = X ? simd::load(x + i) : one, high = X ? simd::load(x + i + 4) : one;
    simd::store(a.out + i, chosen_of(low, spread(a.mask[i / 8], kLow)));
    simd::store(a.out + i + 4, chosen_of(high, spread(a.mask[i / 8], kHigh)));
  }
  for (; i < a.n; i += 4) {
    const int64_t left = a.n - i;
    simd::store_part(a.out + i, chosen_of(X ? simd::load_part(x + i, left) : one, spread(a.mask[i / 8], i % 8 ? kHigh : kLow)), left);
  }
  return 0;
}

// The mask bits of a byte of `inside` take the next bits of `take`, as bytes of 0 and 255.
TERSOR_VEC_INLINE uint8x8_t deposit_byte(uint8_t inside, uint64_t take) {
  const uint8x8_t bits = vtst_u8(vdup_n_u8(static_cast<uint8_t>(take)), vld1_u8(kWeights));
  return vtbl1_u8(bits, vld1_u8(kRank.place[inside]));
}

}  // namespace

int64_t topk_mark_f32_neon(TopkArgs& a) { return mark<Floats>(a); }
int64_t topk_mark_f64_neon(TopkArgs& a) { return mark<Doubles>(a); }
int64_t topk_bracket_f32_neon(TopkArgs& a) { return bracket<Floats>(a); }
int64_t topk_bracket_f64_neon(TopkArgs& a) { return bracket<Doubles>(a); }
int64_t topk_nm_f32_neon(TopkArgs& a) { return a.m == 2 ? nm<2>(a) : a.m == 4 ? nm<4>(a) : nm<8>(a); }
int64_t topk_unpack_f32_neon(TopkArgs& a) { return unfold<false>(a); }
int64_t topk_apply_f32_neon(TopkArgs& a) { return unfold<true>(a); }

int64_t topk_pack_f32_neon(TopkArgs& a) {
  const uint32x4_t magnitude = vdupq_n_u32(0x7FFFFFFFu);
  float room[kStep];
  for (int64_t i = 0; i < a.n; i += kStep) {
    const float* x = padded(static_cast<const float*>(a.x) + i, a.n - i, room, 0.0f);
    Chosen nonzero;
    for (int j = 0; j < 4; j++) {
      uint32x4_t m[4];
      for (int h = 0; h < 4; h++) m[h] = vtstq_u32(vreinterpretq_u32_f32(vld1q_f32(x + 16 * j + 4 * h)), magnitude);
      nonzero.v[j] = narrow(m[0], m[1], m[2], m[3]);
    }
    store_bits(a.mask + i / 8, bits_of(nonzero), a.n - i);
  }
  return 0;
}

int64_t topk_deposit_neon(TopkArgs& a) {
  const uint8_t* take = static_cast<const uint8_t*>(a.values);
  const int64_t bytes = (a.n + 7) / 8;
  const uint8x16_t w = vld1q_u8(kWeights);
  int64_t at = 0;
  for (int64_t i = 0; i < bytes; i += 4) {
    const int64_t part = bytes - i < 4 ? bytes - i : 4;
    uint8_t inside[4] = {0, 0, 0, 0}, mask[4] = {0, 0, 0, 0};
    for (int64_t b = 0; b < part; b++) inside[b] = a.inside[i + b], mask[b] = a.mask[i + b];
    if (!(inside[0] | inside[1] | inside[2] | inside[3])) continue;
    uint64_t next;
    memcpy(&next, take + at / 8, 8);
    next >>= at % 8;  // 57 bits or more; 32 are used
    uint8x8_t byte[4];
    for (int b = 0; b < 4; b++) {
      byte[b] = deposit_byte(inside[b], next);
      next >>= kRank.ones[inside[b]];
      at += kRank.ones[inside[b]];
    }
    const uint8x16_t pairs = vpaddq_u8(vandq_u8(vcombine_u8(byte[0], byte[1]), w), vandq_u8(vcombine_u8(byte[2], byte[3]), w));
    const uint8x16_t fours = vpaddq_u8(pairs, pairs);
    const uint32_t set = vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(fours, fours)), 0);
    for (int64_t b = 0; b < part; b++) a.mask[i + b] = static_cast<uint8_t>(mask[b] | set >> (8 * b));
  }
  return 0;
}

}  // namespace tersor
#endif
