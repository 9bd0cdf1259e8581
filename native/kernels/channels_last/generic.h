// The bodies, written once over the vector in scope. The including file defines TERSOR_CONV_VECTORS, the vectors of a panel of filters.
//
// A tile is up to six pixels by up to four vectors of columns: 24 chains of multiply-adds where there are 32 registers. A step of k is a load of each vector
// of w (it streams from L2, asked for ahead) and one broadcast of each pixel.
#include "kernels/channels_last/finish.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr int64_t kConvAhead = 16;  // steps of k by which w is asked for: the latency of L2 and more

// What is not worth a place in every tile, on rows that were just stored.
void conv_finish_rows(const ConvFinish& f, float* y, int64_t rows, int64_t n, int64_t row) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < n; j += kLanes) {
      float* at = y + i * row + j;
      const int64_t live = n - j;
      V v = live >= kLanes ? simd::load(at) : simd::load_part(at, live);
      v = conv_late(f, v);
      if (live >= kLanes) simd::store(at, v);
      else simd::store_part(at, v, live);
    }
}

template <int MR, int NV> TERSOR_VEC_INLINE void conv_step(V* acc, const float* const* p, int64_t k, const float* w) {
  V b[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; v++) {
    b[v] = simd::load(w + v * kLanes);
    if (v * kLanes % 16 == 0) __builtin_prefetch(w + kConvAhead * NV * kLanes + v * kLanes, 0, 3);
  }
#pragma GCC unroll 6
  for (int i = 0; i < MR; i++) {
    const V a(p[i][k]);
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) acc[i * NV + v] = simd::fma(a, b[v], acc[i * NV + v]);
  }
}

template <int MR, int NV> void conv_tile(const ConvProduct& a, int64_t i0) {
  V acc[MR * NV];
  float* const y = a.y + i0 * a.y_row;
  const int64_t rest = a.columns - (NV - 1) * kLanes;  // live lanes of the last vector
  const bool whole = rest >= kLanes;
  if (!a.first) {
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) {
        const float* from = y + i * a.y_row + v * kLanes;
        acc[i * NV + v] = v + 1 < NV || whole ? simd::load(from) : simd::load_part(from, rest);
      }
  } else {
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) {
      V init(0.0f);
      if (a.bias) init = v + 1 < NV || whole ? simd::load(a.bias + v * kLanes) : simd::load_part(a.bias + v * kLanes, rest);
#pragma GCC unroll 6
      for (int i = 0; i < MR; i++) acc[i * NV + v] = init;
    }
  }
  const float* w = a.w;
  const float* const* x = a.x + i0 * a.taps + a.first_tap;
  // The filters behind these come from L3 while these are used: every tile of the first ones brings an equal share, a line in two steps of k.
  constexpr int64_t kShares = NV * kLanes / 8 > 0 ? NV * kLanes / 8 : 1;
  const int64_t share = a.tap_count * a.depth * 8, tile = i0 / kConvPixels;
  const float* next = tile < kShares ? a.w + a.tap_count * a.depth * NV * kLanes + tile * share : a.w;
  const int64_t next_step = tile < kShares ? 16 : 0;
  for (int64_t t = 0; t < a.tap_count; t++, x++) {
    const float* p[MR];
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) p[i] = x[i * a.taps] + a.from;
    int64_t k = 0;
    if (MR * NV >= 8)
      for (; k + 2 <= a.depth; k += 2) {
        conv_step<MR, NV>(acc, p, k, w);
        conv_step<MR, NV>(acc, p, k + 1, w + NV * kLanes);
        __builtin_prefetch(next, 0, 2);
        w += 2 * NV * kLanes, next += next_step;
      }
    for (; k < a.depth; k++, w += NV * kLanes) conv_step<MR, NV>(acc, p, k, w);
  }
  if (a.last) {
    if (a.residual) {
      const float* from = a.residual + i0 * a.residual_row;
#pragma GCC unroll 6
      for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
          const float* at = from + i * a.residual_row + v * kLanes;
          acc[i * NV + v] = acc[i * NV + v] + (v + 1 < NV || whole ? simd::load(at) : simd::load_part(at, rest));
        }
    }
    conv_finish<MR * NV>(a.finish, acc);
  }
#pragma GCC unroll 6
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) {
      float* to = y + i * a.y_row + v * kLanes;
      if (v + 1 < NV || whole) simd::store(to, acc[i * NV + v]);
      else simd::store_part(to, acc[i * NV + v], rest);
    }
  if (a.last && conv_is_late(a.finish)) conv_finish_rows(a.finish, y, MR, a.columns, a.y_row);
}

template <int NV> void conv_panel(const ConvProduct& a) {
  int64_t i = 0;
  for (; i + 6 <= a.pixels; i += 6) conv_tile<6, NV>(a, i);
  if (i + 4 <= a.pixels) conv_tile<4, NV>(a, i), i += 4;
  if (i + 2 <= a.pixels) conv_tile<2, NV>(a, i), i += 2;
  if (i < a.pixels) conv_tile<1, NV>(a, i);
}

inline void conv_product(const ConvProduct& a) {
  switch (a.vectors) {
    case 1: return conv_panel<1>(a);
#if TERSOR_CONV_VECTORS > 1
    case 2: return conv_panel<2>(a);
#endif
#if TERSOR_CONV_VECTORS > 2
    case 3: return conv_panel<3>(a);
    case 4: return conv_panel<4>(a);
#endif
    default: return;
  }
}

// P pixels, N vectors of channels from c on; live: lanes of the last one.
template <ConvTapsKind KIND, int P, int N> TERSOR_VEC_INLINE void conv_taps_tile(const ConvTaps& a, int64_t i0, int64_t c, int64_t live) {
  V acc[P * N];
  const bool whole = live >= kLanes;
#pragma GCC unroll 2
  for (int v = 0; v < N; v++) {
    V init(KIND == ConvTapsKind::largest ? -INFINITY : 0.0f);
    if (a.bias) init = whole ? simd::load(a.bias + c + v * kLanes) : simd::load_part(a.bias + c + v * kLanes, live);
#pragma GCC unroll 4
    for (int i = 0; i < P; i++) acc[i * N + v] = init;
  }
  const float* const* x = a.x + i0 * a.taps;
  for (int64_t t = 0; t < a.taps; t++) {
    V w[N];
#pragma GCC unroll 2
    for (int v = 0; v < N; v++) w[v] = KIND == ConvTapsKind::multiply ? simd::load(a.w + t * a.w_row + c + v * kLanes) : V(1.0f);
#pragma GCC unroll 4
    for (int i = 0; i < P; i++) {
      const float* from = x[i * a.taps + t] + c;
#pragma GCC unroll 2
      for (int v = 0; v < N; v++) {
        const V value = whole ? simd::load(from + v * kLanes) : simd::load_part(from + v * kLanes, live);
        V& s = acc[i * N + v];
        // A NaN wins: max gives its second argument when either is one.
        s = KIND == ConvTapsKind::multiply ? simd::fma(value, w[v], s)
            : KIND == ConvTapsKind::sum    ? s + value
                                           : simd::select(simd::is_nan(s), s, simd::max(s, value));
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < P; i++)
#pragma GCC unroll 2
    for (int v = 0; v < N; v++) {
      if (KIND == ConvTapsKind::sum) acc[i * N + v] = acc[i * N + v] * V(a.scale[i0 + i]);
      if (KIND != ConvTapsKind::multiply || !a.residual) continue;
      const float* from = a.residual + (i0 + i) * a.residual_row + c + v * kLanes;
      acc[i * N + v] = acc[i * N + v] + (whole ? simd::load(from) : simd::load_part(from, live));
    }
  if (KIND == ConvTapsKind::multiply) conv_finish<P * N>(a.finish, acc);
#pragma GCC unroll 4
  for (int i = 0; i < P; i++)
#pragma GCC unroll 2
    for (int v = 0; v < N; v++) {
      float* to = a.y + (i0 + i) * a.y_row + c + v * kLanes;
      if (whole) simd::store(to, acc[i * N + v]);
      else simd::store_part(to, acc[i * N + v], live);
    }
}

template <ConvTapsKind KIND, int P> void conv_taps_pixels(const ConvTaps& a, int64_t i) {
  int64_t c = 0;
  for (; c + 2 * kLanes <= a.channels; c += 2 * kLanes) conv_taps_tile<KIND, P, 2>(a, i, c, kLanes);
  for (; c < a.channels; c += kLanes) conv_taps_tile<KIND, P, 1>(a, i, c, a.channels - c);
  if (KIND == ConvTapsKind::multiply && conv_is_late(a.finish)) conv_finish_rows(a.finish, a.y + i * a.y_row, P, a.channels, a.y_row);
}
template <ConvTapsKind KIND> void conv_taps_of(const ConvTaps& a) {
  int64_t i = 0;
  for (; i + 4 <= a.pixels; i += 4) conv_taps_pixels<KIND, 4>(a, i);
  for (; i < a.pixels; i++) conv_taps_pixels<KIND, 1>(a, i);
}

inline void conv_taps(const ConvTaps& a) {
  if (a.kind == ConvTapsKind::multiply) conv_taps_of<ConvTapsKind::multiply>(a);
  else if (a.kind == ConvTapsKind::largest) conv_taps_of<ConvTapsKind::largest>(a);
  else conv_taps_of<ConvTapsKind::sum>(a);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
