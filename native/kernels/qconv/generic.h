// The bodies, written once over the vector in scope. The including file includes kernels/qgemm/bytes_<isa>.h before.
#include "kernels/qconv/qconv.h"
#include "kernels/qgemm/quotient.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using V = simd::F32;
constexpr int64_t kLanes = V::lanes;

TERSOR_VEC_INLINE V some(const float* p, int64_t n) { return n >= kLanes ? simd::load(p) : simd::load_part(p, n); }
TERSOR_VEC_INLINE void put(float* p, V v, int64_t n) {
  if (n >= kLanes) simd::store(p, v);
  else simd::store_part(p, v, n);
}

template <ConvAct ACT> TERSOR_VEC_INLINE V activated(V v, V lo, V hi) {
  if (ACT == ConvAct::clip) return simd::min(hi, simd::max(lo, v));
  if (ACT == ConvAct::hard_swish) return v * simd::min(V(1.0f), simd::max(V(0.0f), simd::fma(v, V(1.0f / 6.0f), V(0.5f))));
  const V s = simd::sigmoid(v);
  return ACT == ConvAct::silu ? v * s : s;
}

// One vector of columns, whole, without residual or numbers that need care: 18 instructions a vector of codes, where every test would show.
template <ConvAct ACT, bool CODES, bool AFFINE>
TERSOR_VEC_INLINE void qconv_finish_column(const Quotient& quotient, V scale, V bias, V lo, V hi, V after, V shift, simd::I32 zero, const int32_t* sums, int64_t sums_row, int64_t rows,
                                           void* y, int64_t y_row) {
  for (int64_t i = 0; i < rows; i++, sums += sums_row) {
    V v = activated<ACT>(simd::to_float(simd::load(sums)) * scale + bias, lo, hi);
    if (AFFINE) v = simd::fma(v, after, shift);
    if (CODES) store_bytes(static_cast<uint8_t*>(y) + i * y_row, quotient.of_tame(v) + zero, kLanes);
    else simd::store(static_cast<float*>(y) + i * y_row, v);
  }
}

// Column after column of vectors, so that what belongs to columns stays in registers. `given` is copied: bytes that are stored could change it.
template <ConvAct ACT, bool CODES> void qconv_finish_of(const QconvFinish& given) {
  const QconvFinish f = given;
  const bool affine = f.act.scale != 1 || f.act.shift != 0, tame = f.tame && (!CODES || !Quotient::divides(f.y_scale));
  const Quotient quotient(CODES ? f.y_scale : 1.0f, CODES ? f.y_zero : 0);
  const V lo(f.act.lo), hi(f.act.hi), after(f.act.scale), shift(f.act.shift);
  const simd::I32 zero(f.y_zero);
  for (int64_t c = 0; c < f.columns; c += kLanes) {
    const int64_t live = f.columns - c < kLanes ? f.columns - c : kLanes;
    const V scale = some(f.scale + c, live), bias = f.bias ? some(f.bias + c, live) : V(-0.0f);  // x + -0 = x for every x
    const int32_t* sums = f.sums + c;
    if (tame && live == kLanes) {
      void* const y = CODES ? static_cast<void*>(static_cast<uint8_t*>(f.y) + c) : static_cast<void*>(static_cast<float*>(f.y) + c);
      if (affine) qconv_finish_column<ACT, CODES, true>(quotient, scale, bias, lo, hi, after, shift, zero, sums, f.sums_row, f.rows, y, f.y_row);
      else qconv_finish_column<ACT, CODES, false>(quotient, scale, bias, lo, hi, after, shift, zero, sums, f.sums_row, f.rows, y, f.y_row);
      continue;
    }
    for (int64_t i = 0; i < f.rows; i++, sums += f.sums_row) {
      V v = simd::to_float(simd::load(sums)) * scale + bias;
      if (f.residual) v = v + some(f.residual + i * f.residual_row + c, live);
      v = activated<ACT>(v, lo, hi);
      if (affine) v = simd::fma(v, after, shift);
      const int64_t at = i * f.y_row + c;
      if (CODES) store_bytes(static_cast<uint8_t*>(f.y) + at, quotient.of(v) + zero, live);
      else put(static_cast<float*>(f.y) + at, v, live);
    }
  }
}

template <ConvAct ACT> void qconv_finish_as(const QconvFinish& f) {
  if (f.codes) qconv_finish_of<ACT, true>(f);
  else qconv_finish_of<ACT, false>(f);
}
inline void qconv_finish(const QconvFinish& f) {
  switch (f.act.act) {
    case ConvAct::clip: return qconv_finish_as<ConvAct::clip>(f);
    case ConvAct::hard_swish: return qconv_finish_as<ConvAct::hard_swish>(f);
    case ConvAct::silu: return qconv_finish_as<ConvAct::silu>(f);
    case ConvAct::sigmoid: return qconv_finish_as<ConvAct::sigmoid>(f);
  }
}

inline void qconv_grid(const QconvGrid& g) {
  const simd::I32 zero(g.zero);
  const Quotient quotient(g.codes ? 1.0f : g.scale, g.zero);
  for (int64_t r = 0; r < g.runs; r++) {
    float* const out = g.out + r * g.out_run;
    int64_t i = 0;
    if (g.codes) {
      const uint8_t* const x = static_cast<const uint8_t*>(g.x) + r * g.x_run;
      for (; i + kLanes <= g.n; i += kLanes) simd::store(out + i, simd::to_float(load_bytes(x + i, kLanes) - zero));
      if (i < g.n) simd::store_part(out + i, simd::to_float(load_bytes(x + i, g.n - i) - zero), g.n - i);
    } else {
      const float* const x = static_cast<const float*>(g.x) + r * g.x_run;
      for (; i < g.n; i += kLanes) put(out + i, simd::to_float(quotient.of(some(x + i, g.n - i))), g.n - i);
    }
  }
}

// Sums of P pixels, one vector of channels.
template <int P> TERSOR_VEC_INLINE void qconv_deep_tile(const QconvDeep& d, int64_t i0, int64_t c, float* sums) {
  V acc[P];
#pragma GCC unroll 8
  for (int i = 0; i < P; i++) acc[i] = V(0.0f);
  const float* w = d.w + c;
  for (int64_t ky = 0; ky < d.kh; ky++) {
    const float* x = d.rows[ky] + i0 * d.step + c;
    for (int64_t kx = 0; kx < d.kw; kx++, x += d.gap, w += d.w_row) {
      const V b = simd::load(w);
#pragma GCC unroll 8
      for (int i = 0; i < P; i++) acc[i] = simd::fma(simd::load(x + i * d.step), b, acc[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < P; i++) simd::store(sums + i * kLanes, acc[i]);
}

constexpr int64_t kDeepPixels = 24;  // sums that are finished together: they stay in L1, and the products are not compiled once per activation

// Sums of `n` <= kDeepPixels pixels from i0 on.
void qconv_deep_sums(const QconvDeep& d, int64_t i0, int64_t n, int64_t c, float* sums) {
  int64_t i = 0;
  for (; i + 6 <= n; i += 6) qconv_deep_tile<6>(d, i0 + i, c, sums + i * kLanes);
  for (; i + 2 <= n; i += 2) qconv_deep_tile<2>(d, i0 + i, c, sums + i * kLanes);
  for (; i < n; i++) qconv_deep_tile<1>(d, i0 + i, c, sums + i * kLanes);
}

template <ConvAct ACT, bool CODES> void qconv_deep_of(const QconvDeep& given) {
  const QconvDeep d = given;  // bytes that are stored could change what was given
  const QconvFinish& f = d.finish;
  const bool affine = f.act.scale != 1 || f.act.shift != 0, tame = f.tame && CODES && !Quotient::divides(f.y_scale);
  const Quotient quotient(CODES ? f.y_scale : 1.0f, CODES ? f.y_zero : 0);
  const V lo(f.act.lo), hi(f.act.hi), after(f.act.scale), shift(f.act.shift);
  const simd::I32 zero(f.y_zero);
  float sums[kDeepPixels * kLanes];
  for (int64_t c = 0; c < d.channels; c += kLanes) {
    const int64_t live = d.channels - c < kLanes ? d.channels - c : kLanes;
    const V scale = some(f.scale + c, live), bias = f.bias ? some(f.bias + c, live) : V(-0.0f);
    for (int64_t i0 = 0; i0 < d.pixels; i0 += kDeepPixels) {
      const int64_t n = d.pixels - i0 < kDeepPixels ? d.pixels - i0 : kDeepPixels;
      qconv_deep_sums(d, i0, n, c, sums);
      for (int64_t i = 0; i < n; i++) {
        V v = simd::load(sums + i * kLanes) * scale + bias;
        if (f.residual) v = v + some(f.residual + (i0 + i) * f.residual_row + c, live);
        v = activated<ACT>(v, lo, hi);
        if (affine) v = simd::fma(v, after, shift);
        const int64_t at = (i0 + i) * f.y_row + c;
        if (CODES) store_bytes(static_cast<uint8_t*>(f.y) + at, (tame ? quotient.of_tame(v) : quotient.of(v)) + zero, live);
        else put(static_cast<float*>(f.y) + at, v, live);
      }
    }
  }
}
template <ConvAct ACT> void qconv_deep_as(const QconvDeep& d) {
  if (d.finish.codes) qconv_deep_of<ACT, true>(d);
  else qconv_deep_of<ACT, false>(d);
}
inline void qconv_deep(const QconvDeep& d) {
  switch (d.finish.act.act) {
    case ConvAct::clip: return qconv_deep_as<ConvAct::clip>(d);
    case ConvAct::hard_swish: return qconv_deep_as<ConvAct::hard_swish>(d);
    case ConvAct::silu: return qconv_deep_as<ConvAct::silu>(d);
    case ConvAct::sigmoid: return qconv_deep_as<ConvAct::sigmoid>(d);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
