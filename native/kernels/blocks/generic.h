// The codecs, written once over the vector in scope. Loops without trials are plain: compilers vectorise them with the instructions of the region.
#pragma once
#include "base/float16.h"
#include "kernels/blocks/fit.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

inline float half_at(const uint8_t* p) { return f32_from_f16(static_cast<uint16_t>(p[0] | p[1] << 8)); }
inline uint16_t finite_half(float x) { return f16_from_f32(x > kLargestInBlock ? kLargestInBlock : x < -kLargestInBlock ? -kLargestInBlock : x); }
// Writes a half; gives its value.
inline float put_half(uint8_t* p, float x) {
  const uint16_t h = finite_half(x);
  p[0] = static_cast<uint8_t>(h), p[1] = static_cast<uint8_t>(h >> 8);
  return f32_from_f16(h);
}
inline float as_half(float x) { return f32_from_f16(finite_half(x)); }
inline float inverse_of(float d) { return d == 0 ? 0.0f : 1.0f / d; }
template <class V> void code_run(const float* x, int n, float shift, float inverse, float lo, float hi, int32_t* q) {
  for (int i = 0; i < n; i += V::lanes) {
    const V v = (simd::load(x + i) + V(shift)) * V(inverse);
    simd::store(q + i, to_int(min(max(v, V(lo)), V(hi))));
  }
}

template <class V> void encode_q8_0(const float* x, uint8_t* out) {
  const float d = put_half(out, fit_symmetric<V>(x, 32, kSpans8, -127, 127));
  int32_t q[32];
  code_run<V>(x, 32, 0, inverse_of(d), -127, 127, q);
  for (int i = 0; i < 32; i++) out[2 + i] = static_cast<uint8_t>(q[i]);
}
inline void decode_q8_0(const uint8_t* in, float* out) {
  const float d = half_at(in);
  for (int i = 0; i < 32; i++) out[i] = d * static_cast<float>(static_cast<int8_t>(in[2 + i]));
}

inline void put_nibbles(const int32_t* q, int32_t add, uint8_t* out) {
  for (int i = 0; i < 16; i++) out[i] = static_cast<uint8_t>((q[i] + add) | (q[16 + i] + add) << 4);
}
template <class V> void encode_q4_0(const float* x, uint8_t* out) {
  const float d = put_half(out, fit_symmetric<V>(x, 32, kSpans4, -8, 7));
  int32_t q[32];
  code_run<V>(x, 32, 0, inverse_of(d), -8, 7, q);
  put_nibbles(q, 8, out + 2);
}
inline void decode_q4_0(const uint8_t* in, float* out) {
  const float d = half_at(in);
  for (int i = 0; i < 16; i++) out[i] = d * static_cast<float>((in[2 + i] & 15) - 8);
  for (int i = 0; i < 16; i++) out[16 + i] = d * static_cast<float>((in[2 + i] >> 4) - 8);
}

template <class V> void encode_q4_1(const float* x, uint8_t* out) {
  const Affine f = fit_affine<V>(x, false);
  const float d = put_half(out, f.scale), m = put_half(out + 2, f.offset);
  int32_t q[32];
  code_run<V>(x, 32, -m, inverse_of(d), 0, 15, q);
  put_nibbles(q, 0, out + 4);
}
inline void decode_q4_1(const uint8_t* in, float* out) {
  const float d = half_at(in), m = half_at(in + 2);
  for (int i = 0; i < 16; i++) out[i] = d * static_cast<float>(in[4 + i] & 15) + m;
  for (int i = 0; i < 16; i++) out[16 + i] = d * static_cast<float>(in[4 + i] >> 4) + m;
}

// --- q4_k. Parts 0-3 have their 6 bits in bytes 0-3 (s) and 4-7 (m); parts 4-7 in bytes 8-11 and the high bits of the others. ---

struct Scales4 {
  int s[8], m[8];
};
inline Scales4 unpack_scales(const uint8_t* p) {
  Scales4 k;
  for (int j = 0; j < 4; j++) {
    k.s[j] = p[j] & 63, k.m[j] = p[4 + j] & 63;
    k.s[4 + j] = (p[8 + j] & 15) | (p[j] >> 6) << 4, k.m[4 + j] = p[8 + j] >> 4 | (p[4 + j] >> 6) << 4;
  }
  return k;
}
inline void pack_scales(const Scales4& k, uint8_t* p) {
  for (int j = 0; j < 4; j++) {
    p[j] = static_cast<uint8_t>(k.s[j] | (k.s[4 + j] >> 4) << 6), p[4 + j] = static_cast<uint8_t>(k.m[j] | (k.m[4 + j] >> 4) << 6);
    p[8 + j] = static_cast<uint8_t>((k.s[4 + j] & 15) | (k.m[4 + j] & 15) << 4);
  }
}
inline void decode_q4_k(const uint8_t* in, float* out) {
  const float d = half_at(in), e = half_at(in + 2);
  const Scales4 k = unpack_scales(in + 4);
  for (int j = 0; j < 8; j += 2) {
    const uint8_t* const from = in + 16 + 16 * j;
    const float low = d * static_cast<float>(k.s[j]), low_m = e * static_cast<float>(k.m[j]);
    const float high = d * static_cast<float>(k.s[j + 1]), high_m = e * static_cast<float>(k.m[j + 1]);
    for (int i = 0; i < 32; i++) out[32 * j + i] = low * static_cast<float>(from[i] & 15) - low_m;
    for (int i = 0; i < 32; i++) out[32 * j + 32 + i] = high * static_cast<float>(from[i] >> 4) - high_m;
  }
}

inline int clamp_int(int v, int lo, int hi) { return v < lo ? lo : v > hi ? hi : v; }
inline int nearest(float v) { return static_cast<int>(v < 0 ? v - 0.5f : v + 0.5f); }

// A block of q4_k in the making: scales in half precision, codes of scales and values.
struct Block4 {
  float d, e;
  Scales4 k;
  int32_t q[256];
};

// Codes of scales around what was fitted: those with the least error with what is stored; then codes of the values. Gives the sum of squared errors.
template <class V> float code_q4_k(const float* x, const Affine* fits, Block4* b) {
  float total = 0;
  for (int j = 0; j < 8; j++) {
    const int s0 = b->d > 0 ? nearest(fits[j].scale / b->d) : 0, m0 = b->e > 0 ? nearest(-fits[j].offset / b->e) : 0;
    float scale[kTrials], shift[kTrials];
    int s[kTrials], m[kTrials];
    for (int t = 0; t < kTrials; t++) {
      s[t] = clamp_int(s0 + t % 3 - 1, 0, 63), m[t] = clamp_int(m0 + (t % 15) / 3 - 2, 0, 63);
      scale[t] = b->d * static_cast<float>(s[t]), shift[t] = b->e * static_cast<float>(m[t]);
    }
    const float* const part = x + 32 * j;
    const int t = least_error<V>(part, 32, scale, shift, 0, 15);
    b->k.s[j] = s[t], b->k.m[j] = m[t];
    code_run<V>(part, 32, shift[t], inverse_of(scale[t]), 0, 15, b->q + 32 * j);
    float squares[32];
    for (int i = 0; i < 32; i++) {
      const float left = part[i] + shift[t] - scale[t] * static_cast<float>(b->q[32 * j + i]);
      squares[i] = left * left;
    }
    total += tree_sum(squares, 32);
  }
  return total;
}

// The scales of the block that suit its codes best: least squares of x = d (s q) - e m. False where they are not determined.
inline bool refit_q4_k(const float* x, Block4* b) {
  double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
  for (int j = 0; j < 8; j++) {
    float q1[32], q2[32], xq[32], x1[32];
    for (int i = 0; i < 32; i++) {
      const float v = x[32 * j + i], q = static_cast<float>(b->q[32 * j + i]);
      q1[i] = q, q2[i] = q * q, xq[i] = v * q, x1[i] = v;
    }
    const double s = b->k.s[j], m = -b->k.m[j];
    const double sum = tree_sum(q1, 32);
    aa += s * s * tree_sum(q2, 32), ab += s * m * sum, bb += 32 * m * m, xa += s * tree_sum(xq, 32), xb += m * tree_sum(x1, 32);
  }
  double d = b->d, e = 0;
  if (bb == 0) {
    if (aa == 0) return false;
    d = xa / aa;
  } else {
    const double determinant = aa * bb - ab * ab;
    if (!(determinant > 1e-7 * aa * bb)) return false;
    d = (xa * bb - xb * ab) / determinant, e = (xb * aa - xa * ab) / determinant;
  }
  if (!(d >= 0 && e >= 0)) return false;
  b->d = as_half(static_cast<float>(d)), b->e = as_half(static_cast<float>(e));
  return true;
}

template <class V> void encode_q4_k(const float* x, uint8_t* out) {
  Affine fits[8];
  float widest = 0, lowest = 0;
  for (int j = 0; j < 8; j++) {
    fits[j] = fit_affine<V>(x + 32 * j, true);
    widest = fits[j].scale > widest ? fits[j].scale : widest;
    lowest = -fits[j].offset > lowest ? -fits[j].offset : lowest;
  }
  Block4 blocks[2];
  Block4 *best = &blocks[0], *next = &blocks[1];
  best->d = as_half(widest / 63), best->e = as_half(lowest / 63);
  float error = code_q4_k<V>(x, fits, best);
  for (int round = 0; round < 2; round++) {
    *next = *best;
    if (!refit_q4_k(x, next)) break;
    const float found = code_q4_k<V>(x, fits, next);
    if (!(found < error)) break;
    error = found;
    Block4* const old = best;
    best = next, next = old;
  }
  put_half(out, best->d), put_half(out + 2, best->e);
  pack_scales(best->k, out + 4);
  for (int j = 0; j < 8; j += 2)
    for (int i = 0; i < 32; i++) out[16 + 16 * j + i] = static_cast<uint8_t>(best->q[32 * j + i] | best->q[32 * j + 32 + i] << 4);
}

// --- q6_k. Eight parts share 64 bytes of low bits and 32 of high ones. ---

inline void decode_q6_k(const uint8_t* in, float* out) {
  const float d = half_at(in + 208);
  for (int h = 0; h < 2; h++) {
    const uint8_t *low = in + 64 * h, *high = in + 128 + 32 * h;
    for (int k = 0; k < 4; k++)
      for (int half = 0; half < 2; half++) {
        const float s = d * static_cast<float>(static_cast<int8_t>(in[192 + 8 * h + 2 * k + half]));
        const uint8_t *a = low + 32 * (k & 1) + 16 * half, *b = high + 16 * half;
        float* const to = out + 128 * h + 32 * k + 16 * half;
        const int shift = k < 2 ? 0 : 4, top = 2 * k;
        for (int i = 0; i < 16; i++) to[i] = s * static_cast<float>((((a[i] >> shift) & 15) | ((b[i] >> top) & 3) << 4) - 32);
      }
  }
}

struct Block6 {
  float d;
  int s[16];
  int32_t q[256];
};
template <class V> float code_q6_k(const float* x, const float* fits, Block6* b) {
  float total = 0;
  const float zero[kTrials] = {};
  for (int j = 0; j < 16; j++) {
    const int s0 = b->d == 0 ? 0 : nearest(fits[j] / b->d);
    float scale[kTrials], squares[16];
    int s[kTrials];
    for (int t = 0; t < kTrials; t++) s[t] = clamp_int(s0 + t - 7, -128, 127), scale[t] = b->d * static_cast<float>(s[t]);
    const float* const part = x + 16 * j;
    const int t = least_error<V>(part, 16, scale, zero, -32, 31);
    b->s[j] = s[t];
    code_run<V>(part, 16, 0, inverse_of(scale[t]), -32, 31, b->q + 16 * j);
    for (int i = 0; i < 16; i++) {
      const float left = part[i] - scale[t] * static_cast<float>(b->q[16 * j + i]);
      squares[i] = left * left;
    }
    total += tree_sum(squares, 16);
  }
  return total;
}
inline bool refit_q6_k(const float* x, Block6* b) {
  double aa = 0, xa = 0;
  for (int j = 0; j < 16; j++) {
    float q2[16], xq[16];
    for (int i = 0; i < 16; i++) {
      const float q = static_cast<float>(b->q[16 * j + i]);
      q2[i] = q * q, xq[i] = x[16 * j + i] * q;
    }
    const double s = b->s[j];
    aa += s * s * tree_sum(q2, 16), xa += s * tree_sum(xq, 16);
  }
  if (aa == 0) return false;
  b->d = as_half(static_cast<float>(xa / aa));
  return true;
}

template <class V> void encode_q6_k(const float* x, uint8_t* out) {
  float fits[16], extreme = 0;
  for (int j = 0; j < 16; j++) {
    fits[j] = fit_symmetric<V>(x + 16 * j, 16, kSpans6, -32, 31);
    extreme = std::fabs(fits[j]) > std::fabs(extreme) ? fits[j] : extreme;
  }
  Block6 blocks[2];
  Block6 *best = &blocks[0], *next = &blocks[1];
  best->d = as_half(extreme / -127);
  float error = code_q6_k<V>(x, fits, best);
  *next = *best;
  if (refit_q6_k(x, next) && code_q6_k<V>(x, fits, next) < error) best = next;
  const int32_t* const q = best->q;
  for (int h = 0; h < 2; h++)
    for (int i = 0; i < 32; i++) {
      const int a = q[128 * h + i] + 32, b = q[128 * h + 32 + i] + 32, c = q[128 * h + 64 + i] + 32, d = q[128 * h + 96 + i] + 32;
      out[64 * h + i] = static_cast<uint8_t>((a & 15) | (c & 15) << 4);
      out[64 * h + 32 + i] = static_cast<uint8_t>((b & 15) | (d & 15) << 4);
      out[128 + 32 * h + i] = static_cast<uint8_t>(a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (d >> 4) << 6);
    }
  for (int j = 0; j < 16; j++) out[192 + j] = static_cast<uint8_t>(best->s[j]);
  put_half(out + 208, best->d);
}

// --- runs of blocks ---

inline int64_t first_bad(const float* x, int64_t n) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; i++) bad |= (f32_bits(x[i]) & 0x7fffffffu) > f32_bits(kLargestInBlock) ? 1u : 0u;
  if (!bad) return -1;
  for (int64_t i = 0;; i++)
    if ((f32_bits(x[i]) & 0x7fffffffu) > f32_bits(kLargestInBlock)) return i;
}

template <class V> int64_t encode_run(const BlocksArgs& a) {
  const BlockSize size = kBlockSizes[static_cast<int>(a.format)];
  const float* x = static_cast<const float*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  const int64_t bad = first_bad(x, a.blocks * size.values);
  if (bad >= 0) return bad;
  for (int64_t b = 0; b < a.blocks; b++, x += size.values, out += size.bytes) switch (a.format) {
      case BlockFormat::q8_0: encode_q8_0<V>(x, out); break;
      case BlockFormat::q4_0: encode_q4_0<V>(x, out); break;
      case BlockFormat::q4_1: encode_q4_1<V>(x, out); break;
      case BlockFormat::q4_k: encode_q4_k<V>(x, out); break;
      case BlockFormat::q6_k: encode_q6_k<V>(x, out); break;
    }
  return -1;
}

inline int64_t decode_run(const BlocksArgs& a) {
  const BlockSize size = kBlockSizes[static_cast<int>(a.format)];
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  float* out = static_cast<float*>(a.out);
  for (int64_t b = 0; b < a.blocks; b++, in += size.bytes, out += size.values) switch (a.format) {
      case BlockFormat::q8_0: decode_q8_0(in, out); break;
      case BlockFormat::q4_0: decode_q4_0(in, out); break;
      case BlockFormat::q4_1: decode_q4_1(in, out); break;
      case BlockFormat::q4_k: decode_q4_k(in, out); break;
      case BlockFormat::q6_k: decode_q6_k(in, out); break;
    }
  return -1;
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
