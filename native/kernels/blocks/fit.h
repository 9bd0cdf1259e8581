// Search for the scales of a part, written once over the vector in scope. The lanes are trials: each codes the whole part with a scale of its own, for
// these codes q the best scale and its error are known in closed form (least squares), and the trial whose codes leave the least error wins. Clipping the
// largest value often helps all others, hence trials beside the scale that just holds it. Sums run over the values one after the other, so every width
// of vectors gives the same bits. The functions are not forced inline: the trials are the time, and their code need not stand at every use.
#pragma once
#include "kernels/blocks/blocks.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int kTrials = 16;
constexpr float kTiny = 9.3e-10f;  // 2^-30: halves cannot hold a scale for so small values

// Code of the value with the largest magnitude, for q in [-128, 127], [-32, 31] and [-8, 7].
constexpr float kSpans8[kTrials] = {127.5f, 127, 126.5f, 126, 125.5f, 125, 124.5f, 124, 123.5f, 123, 122.5f, 122, 121.5f, 121, 120.5f, 120};
constexpr float kSpans6[kTrials] = {-32, -31, -30.4f, -32.8f, -33.6f, -34.4f, -35.2f, -36.8f, -38.4f, -40, 31, 31.8f, 32.8f, 34, 36, 38};
constexpr float kSpans4[kTrials] = {-8, -7.6f, -7.2f, -8.4f, -8.8f, -9.3f, -9.8f, -10.4f, 7, 6.6f, 7.4f, 7.8f, 8.3f, 8.8f, 9.4f, 10};

// Of 32 affine trials: the codes that the whole range gets, and by how many codes its lower end lies below 0.
constexpr float kAffineSpans[32] = {15, 14.65f, 15.35f, 14.3f, 15.7f, 16.1f, 16.5f, 17, 15, 14.65f, 15.35f, 14.3f, 15.7f, 16.1f, 16.5f, 17,
                                    15, 14.65f, 15.35f, 14.3f, 15.7f, 16.1f, 16.5f, 17, 15.5f, 16, 16.5f, 17, 17.6f, 18.3f, 19, 20};
constexpr float kAffineShifts[32] = {0,     0,     0,     0,     0,     0,     0,     0,     0.4f, 0.4f, 0.4f, 0.4f, 0.4f, 0.4f, 0.4f, 0.4f,
                                     -0.4f, -0.4f, -0.4f, -0.4f, -0.4f, -0.4f, -0.4f, -0.4f, 0.8f, 0.8f, 0.8f, 0.8f, 1.2f, 1.6f, 2,    2.5f};

inline float tree_sum(float* s, int n) {  // a power of two; s is used up
  for (; n > 1; n /= 2)
    for (int i = 0; i < n / 2; i++) s[i] += s[i + n / 2];
  return s[0];
}

// The value of the largest magnitude; of equal ones a positive one.
template <class V> float extreme_of(const float* x, int n) {
  V most(0.0f);
  for (int i = 0; i < n; i += V::lanes) most = max(abs(simd::load(x + i)), most);
  const float magnitude = max_lanes(most);
  bool positive = false;
  for (int i = 0; i < n; i += V::lanes) positive |= any(simd::load(x + i) == V(magnitude));
  return positive ? magnitude : -magnitude;
}

// d for x = d q, q in [lo, hi]; 0 where all is (nearly) zero.
template <class V> float fit_symmetric(const float* x, int n, const float* spans, float lo, float hi) {
  const float extreme = extreme_of<V>(x, n);
  if (!(std::fabs(extreme) >= kTiny)) return 0;
  constexpr int P = kTrials / V::lanes;
  constexpr int step = P < 2 ? P : 2;
  float explained[kTrials], scale[kTrials];  // the sum of squares less the error
  for (int t = 0; t < P; t += step) {
    V inverse[step], xq[step], qq[step];
    for (int p = 0; p < step; p++) inverse[p] = simd::load(spans + (t + p) * V::lanes) * V(1.0f / extreme), xq[p] = qq[p] = V(0.0f);
    for (int i = 0; i < n; i++) {
      const V v(x[i]);
      for (int p = 0; p < step; p++) {
        const V q = round_even(min(max(v * inverse[p], V(lo)), V(hi)));
        xq[p] = fma(v, q, xq[p]);
        qq[p] = fma(q, q, qq[p]);
      }
    }
    for (int p = 0; p < step; p++) {
      const V d = xq[p] / max(qq[p], V(1.0f));
      simd::store(scale + (t + p) * V::lanes, d);
      simd::store(explained + (t + p) * V::lanes, d * xq[p]);
    }
  }
  int best = 0;
  for (int t = 1; t < kTrials; t++)
    if (explained[t] > explained[best]) best = t;
  return scale[best];
}

struct Affine {
  float scale, offset;
};

// x = scale q + offset, q in [0, 15], 32 values; with `negative` the offset is at most 0. Computed on r = (x - lowest) / range.
template <class V> Affine fit_affine(const float* x, bool negative) {
  V low = simd::load(x), high = low;
  for (int i = V::lanes; i < 32; i += V::lanes) low = min(simd::load(x + i), low), high = max(simd::load(x + i), high);
  const float lo = negative && min_lanes(low) > 0 ? 0.0f : min_lanes(low), range = max_lanes(high) - lo;
  if (!(range >= kTiny)) return {0, lo};
  float r[32], partial[32];
  for (int i = 0; i < 32; i += V::lanes) {
    const V v = (simd::load(x + i) - V(lo)) * V(1.0f / range);
    simd::store(r + i, v);
    simd::store(partial + i, v);
  }
  const float sum = tree_sum(partial, 32), cap = negative ? -lo / range : 4.0f;
  const float flat = sum / 32 < cap ? sum / 32 : cap;
  float best = flat * (2 * sum - 32 * flat);
  Affine found = {0, flat};
  constexpr int step = 2;
  for (int t = 0; t < 32; t += step * V::lanes) {
    V span[step], shift[step], q1[step], q2[step], rq[step];
    for (int p = 0; p < step; p++) {
      span[p] = simd::load(kAffineSpans + t + p * V::lanes);
      shift[p] = simd::load(kAffineShifts + t + p * V::lanes);
      q1[p] = q2[p] = rq[p] = V(0.0f);
    }
    for (int i = 0; i < 32; i++) {
      const V v(r[i]);
      for (int p = 0; p < step; p++) {
        const V q = round_even(min(max(fma(v, span[p], -shift[p]), V(0.0f)), V(15.0f)));
        q1[p] = q1[p] + q;
        q2[p] = fma(q, q, q2[p]);
        rq[p] = fma(v, q, rq[p]);
      }
    }
    for (int p = 0; p < step; p++) {
      const V n(32.0f), s(sum), determinant = n * q2[p] - q1[p] * q1[p];
      V scale = (n * rq[p] - s * q1[p]) / max(determinant, V(1.0f)), offset = (s - scale * q1[p]) / n;
      const auto over = offset > V(cap);
      offset = select(over, V(cap), offset);
      scale = select(over, (rq[p] - V(cap) * q1[p]) / max(q2[p], V(1.0f)), scale);
      const V two(2.0f), explained = scale * (two * rq[p] - scale * q2[p] - two * offset * q1[p]) + offset * (two * s - n * offset);
      float e[V::lanes], a[V::lanes], b[V::lanes];
      simd::store(e, select(scale > V(0.0f), explained, V(-1.0f)));
      simd::store(a, scale);
      simd::store(b, offset);
      for (int l = 0; l < V::lanes; l++)
        if (e[l] > best) best = e[l], found = {a[l], b[l]};
    }
  }
  const float offset = lo + range * found.offset;
  return {range * found.scale, negative && offset > 0 ? 0.0f : offset};
}

// The trial with the least error of x + shift = scale q, q in [lo, hi]: scale and shift of each lane as given.
template <class V> int least_error(const float* x, int n, const float* scale, const float* shift, float lo, float hi) {
  constexpr int P = kTrials / V::lanes;
  constexpr int step = P < 2 ? P : 2;
  float error[kTrials];
  for (int t = 0; t < P; t += step) {
    V d[step], m[step], inverse[step], sum[step];
    for (int p = 0; p < step; p++) {
      d[p] = simd::load(scale + (t + p) * V::lanes);
      m[p] = simd::load(shift + (t + p) * V::lanes);
      inverse[p] = select(d[p] == V(0.0f), V(0.0f), V(1.0f) / d[p]);
      sum[p] = V(0.0f);
    }
    for (int i = 0; i < n; i++)
      for (int p = 0; p < step; p++) {
        const V v = V(x[i]) + m[p];
        const V q = round_even(min(max(v * inverse[p], V(lo)), V(hi)));
        const V left = v - d[p] * q;
        sum[p] = fma(left, left, sum[p]);
      }
    for (int p = 0; p < step; p++) simd::store(error + (t + p) * V::lanes, sum[p]);
  }
  int best = 0;
  for (int t = 1; t < kTrials; t++)
    if (error[t] < error[best]) best = t;
  return best;
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
