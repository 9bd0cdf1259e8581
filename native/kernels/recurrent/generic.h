// The bodies, written once over the vector in scope.
#pragma once
#include "kernels/recurrent/recurrent.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// V::lanes units, or the last few of a row.
template <class V> struct Run {
  using T = typename V::element;
  int64_t left;
  TERSOR_VEC_INLINE bool whole() const { return left >= V::lanes; }
  TERSOR_VEC_INLINE V get(const T* p) const { return whole() ? simd::load(p) : simd::load_part(p, left); }
  TERSOR_VEC_INLINE void put(T* p, V v) const {
    if (whole()) simd::store(p, v);
    else simd::store_part(p, v, left);
  }
};

// s (1 - s) d: back through a sigmoid that gave s.
template <class V> TERSOR_VEC_INLINE V through_sigmoid(V s, V d) { return d * (s * (V(1) - s)); }
// (1 - t^2) d: back through a tanh that gave t.
template <class V> TERSOR_VEC_INLINE V through_tanh(V t, V d) { return d * (V(1) - t * t); }

template <class V> void lstm_run(const LstmStep<typename V::element>& a) {
  using T = typename V::element;
  const int64_t w = a.width;
  for (int64_t b = 0; b < a.rows; b++) {
    const bool active = !a.lengths || a.step < a.lengths[b];
    for (int64_t j = 0; j < a.n; j += V::lanes) {
      const Run<V> run{a.n - j};
      const int64_t at = b * w + j;
      T* gates = a.gates + b * 4 * w + j;
      if (!active) {
        run.put(a.c + at, run.get(a.c_prev + at));
        run.put(a.h + at, run.get(a.h_prev + at));
        run.put(a.y + at, V(0));
        continue;
      }
      const V i = simd::sigmoid(run.get(gates)), f = simd::sigmoid(run.get(gates + w)), g = simd::tanh(run.get(gates + 2 * w)),
              o = simd::sigmoid(run.get(gates + 3 * w));
      const V c = fma(f, run.get(a.c_prev + at), i * g), h = o * simd::tanh(c);
      run.put(gates, i);
      run.put(gates + w, f);
      run.put(gates + 2 * w, g);
      run.put(gates + 3 * w, o);
      run.put(a.c + at, c);
      run.put(a.h + at, h);
      run.put(a.y + at, h);
    }
  }
}

template <class V> void lstm_grad_run(const LstmStepGrad<typename V::element>& a) {
  using T = typename V::element;
  const int64_t w = a.width;
  for (int64_t b = 0; b < a.rows; b++) {
    const bool active = !a.lengths || a.step < a.lengths[b];
    for (int64_t j = 0; j < a.n; j += V::lanes) {
      const Run<V> run{a.n - j};
      const int64_t at = b * w + j;
      const T* gates = a.gates + b * 4 * w + j;
      T* out = a.dgates + b * 4 * w + j;
      if (!active) {
        for (int q = 0; q < 4; q++) run.put(out + q * w, V(0));
        continue;
      }
      const V i = run.get(gates), f = run.get(gates + w), g = run.get(gates + 2 * w), o = run.get(gates + 3 * w);
      const V t = simd::tanh(run.get(a.c + at)), d = run.get(a.dh + at) + run.get(a.dy + at);
      const V e = run.get(a.dc + at) + through_tanh(t, d * o);
      run.put(out, through_sigmoid(i, e * g));
      run.put(out + w, through_sigmoid(f, e * run.get(a.c_prev + at)));
      run.put(out + 2 * w, through_tanh(g, e * i));
      run.put(out + 3 * w, through_sigmoid(o, d * t));
      run.put(a.dc + at, e * f);
      run.put(a.dh + at, V(0));
    }
  }
}

template <class V> void gru_run(const GruStep<typename V::element>& a) {
  using T = typename V::element;
  const int64_t w = a.width;
  for (int64_t b = 0; b < a.rows; b++) {
    const bool active = !a.lengths || a.step < a.lengths[b];
    for (int64_t j = 0; j < a.n; j += V::lanes) {
      const Run<V> run{a.n - j};
      const int64_t at = b * w + j;
      T* gates = a.gates + b * 3 * w + j;
      const V before = run.get(a.h_prev + at);
      if (!active) {
        run.put(a.h + at, before);
        run.put(a.y + at, V(0));
        continue;
      }
      const V r = simd::sigmoid(run.get(gates)), z = simd::sigmoid(run.get(gates + w));
      const V n = simd::tanh(fma(r, run.get(a.recurrent + at), run.get(gates + 2 * w)));
      const V h = fma(z, before - n, n);
      run.put(gates, r);
      run.put(gates + w, z);
      run.put(gates + 2 * w, n);
      run.put(a.h + at, h);
      run.put(a.y + at, h);
    }
  }
}

template <class V> void gru_grad_run(const GruStepGrad<typename V::element>& a) {
  using T = typename V::element;
  const int64_t w = a.width;
  for (int64_t b = 0; b < a.rows; b++) {
    const bool active = !a.lengths || a.step < a.lengths[b];
    for (int64_t j = 0; j < a.n; j += V::lanes) {
      const Run<V> run{a.n - j};
      const int64_t at = b * w + j, first = b * 3 * w + j;
      if (!active) {
        for (int q = 0; q < 3; q++) {
          run.put(a.dgates + first + q * w, V(0));
          run.put(a.drecurrent + first + q * w, V(0));
        }
        continue;
      }
      const T* gates = a.gates + first;
      const V r = run.get(gates), z = run.get(gates + w), n = run.get(gates + 2 * w), q = run.get(a.recurrent + at);
      const V d = run.get(a.dh + at) + run.get(a.dy + at);
      const V dn = through_tanh(n, d * (V(1) - z)), dz = through_sigmoid(z, d * (run.get(a.h_prev + at) - n)), dr = through_sigmoid(r, dn * q);
      run.put(a.dgates + first, dr);
      run.put(a.dgates + first + w, dz);
      run.put(a.dgates + first + 2 * w, dn);
      run.put(a.drecurrent + first, dr);
      run.put(a.drecurrent + first + w, dz);
      run.put(a.drecurrent + first + 2 * w, dn * r);
      run.put(a.dh + at, d * z);
    }
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
