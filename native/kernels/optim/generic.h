// The bodies, written once over the vector in scope.
#pragma once
#include "kernels/optim/optim.h"
#include "simd/vec_common.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// Mask of the elements from i on (i is a multiple of the lanes; 16 lanes take two bytes, the second only when an element needs it).
template <class V> TERSOR_VEC_INLINE simd::M32 mask_at(const uint8_t* mask, int64_t i, int64_t rest) {
  uint32_t bits = static_cast<uint32_t>(mask[i >> 3]) >> (i & 7);
  if (V::lanes > 8 && rest > 8) bits |= static_cast<uint32_t>(mask[(i >> 3) + 1]) << 8;
  return simd::mask_from_bits(bits);
}

template <class V> TERSOR_VEC_INLINE V load_some(const typename V::element* p, int64_t rest) {
  return rest >= V::lanes ? simd::load(p) : simd::load_part(p, rest);
}
template <class V> TERSOR_VEC_INLINE void store_some(typename V::element* p, V v, int64_t rest) {
  if (rest >= V::lanes) simd::store(p, v);
  else simd::store_part(p, v, rest);
}

template <class V> void sgd_run(const SgdArgs<typename V::element>& a) {
  const V lr(a.lr), momentum(a.momentum), decay(a.weight_decay);
  for (int64_t i = 0; i < a.n; i += V::lanes) {
    const int64_t rest = a.n - i;
    V p = load_some<V>(a.p + i, rest);
    const V g = fma(decay, p, load_some<V>(a.g + i, rest));
    V v = fma(momentum, load_some<V>(a.velocity + i, rest), g);
    p = fma(-lr, a.nesterov ? fma(momentum, v, g) : v, p);
    if (a.mask) {
      const simd::M32 keep = mask_at<V>(a.mask, i, rest);
      p = select(keep, p, V(0));
      v = select(keep, v, V(0));
    }
    store_some(a.p + i, p, rest);
    store_some(a.velocity + i, v, rest);
  }
}

template <class V> void adamw_run(const AdamwArgs<typename V::element>& a) {
  const V decay(a.decay), step(a.step_size), root(a.root), b1(a.beta1), c1(a.one_minus_beta1), b2(a.beta2), c2(a.one_minus_beta2), eps(a.eps), l2(a.l2);
  for (int64_t i = 0; i < a.n; i += V::lanes) {
    const int64_t rest = a.n - i;
    V p = load_some<V>(a.p + i, rest);
    V g = load_some<V>(a.g + i, rest);
    if (a.l2 != 0) g = fma(l2, p, g);
    V m = fma(b1, load_some<V>(a.m + i, rest), c1 * g);
    V v = fma(b2, load_some<V>(a.v + i, rest), c2 * g * g);
    p = fma(-step, m / (sqrt(v) / root + eps), p * decay);
    if (a.mask) {
      const simd::M32 keep = mask_at<V>(a.mask, i, rest);
      p = select(keep, p, V(0));
      m = select(keep, m, V(0));
      v = select(keep, v, V(0));
    }
    store_some(a.p + i, p, rest);
    store_some(a.m + i, m, rest);
    store_some(a.v + i, v, rest);
  }
}

template <class V> void rmsprop_run(const RmspropArgs<typename V::element>& a) {
  const V lr(a.lr), alpha(a.alpha), rest_alpha(a.one_minus_alpha), eps(a.eps), momentum(a.momentum), decay(a.weight_decay), zero(0);
  for (int64_t i = 0; i < a.n; i += V::lanes) {
    const int64_t rest = a.n - i;
    const simd::M32 keep = a.mask ? mask_at<V>(a.mask, i, rest) : simd::M32();
    const auto kept = [&](V v) { return a.mask ? select(keep, v, zero) : v; };
    V p = load_some<V>(a.p + i, rest);
    const V g = fma(decay, p, load_some<V>(a.g + i, rest));
    const V square = fma(alpha, load_some<V>(a.square + i, rest), rest_alpha * g * g);
    V second = square;
    if (a.mean) {
      const V mean = fma(alpha, load_some<V>(a.mean + i, rest), rest_alpha * g);
      second = max(fma(-mean, mean, square), zero);
      store_some(a.mean + i, kept(mean), rest);
    }
    V u = g / (sqrt(second) + eps);
    if (a.velocity) {
      u = fma(momentum, load_some<V>(a.velocity + i, rest), u);
      store_some(a.velocity + i, kept(u), rest);
    }
    p = fma(-lr, u, p);
    store_some(a.p + i, kept(p), rest);
    store_some(a.square + i, kept(square), rest);
  }
}

template <class V> void lamb_run(const LambArgs<typename V::element>& a) {
  const V step(a.step_size), root(a.root), b1(a.beta1), c1(a.one_minus_beta1), b2(a.beta2), c2(a.one_minus_beta2), eps(a.eps), decay(a.weight_decay);
  for (int64_t i = 0; i < a.n; i += V::lanes) {
    const int64_t rest = a.n - i;
    V p = load_some<V>(a.p + i, rest);
    const V g = load_some<V>(a.g + i, rest);
    V m = fma(b1, load_some<V>(a.m + i, rest), c1 * g);
    V v = fma(b2, load_some<V>(a.v + i, rest), c2 * g * g);
    V u = fma(decay, p, step * m / (sqrt(v) / root + eps));
    if (a.mask) {
      const simd::M32 keep = mask_at<V>(a.mask, i, rest);
      p = select(keep, p, V(0));
      m = select(keep, m, V(0));
      v = select(keep, v, V(0));
      u = select(keep, u, V(0));
      store_some(a.p + i, p, rest);
    }
    store_some(a.m + i, m, rest);
    store_some(a.v + i, v, rest);
    store_some(a.u + i, u, rest);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
