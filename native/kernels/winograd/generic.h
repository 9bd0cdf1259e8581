// The bodies, written once over the vector in scope: channels are lanes, so a transform is the same sums for each of them.
#include "kernels/channels_last/finish.h"
#include "kernels/winograd/winograd.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

constexpr float kRootHalf = 0.70710678118654752440f, kRootTwo = 1.41421356237309504880f;

// One dimension of B^T d.
template <int M> TERSOR_VEC_INLINE void winograd_in(const V* x, V* v) {
  if constexpr (M == 2) {
    v[0] = x[0] - x[2], v[1] = x[1] + x[2], v[2] = x[2] - x[1], v[3] = x[3] - x[1];
  } else {
    const V even = simd::fma(V(-2.0f), x[2], x[4]), odd = simd::fma(V(-2.0f), x[1], x[3]);    // z^2 (z^2 - 2), z (z^2 - 2)
    const V even2 = simd::fma(V(-0.5f), x[2], x[4]), odd2 = simd::fma(V(-0.5f), x[1], x[3]);  // z^2 (z^2 - 1/2), z (z^2 - 1/2)
    v[0] = simd::fma(V(-2.5f), x[2], x[0] + x[4]);
    v[1] = simd::fma(V(kRootHalf), odd, even);
    v[2] = simd::fma(V(-kRootHalf), odd, even);
    v[3] = simd::fma(V(kRootTwo), odd2, even2);
    v[4] = simd::fma(V(-kRootTwo), odd2, even2);
    v[5] = simd::fma(V(-2.5f), x[3], x[1] + x[5]);
  }
}

// One dimension of A^T m.
template <int M> TERSOR_VEC_INLINE void winograd_out(const V* m, V* y) {
  if constexpr (M == 2) {
    y[0] = m[0] + m[1] + m[2], y[1] = m[1] - m[2] + m[3];
  } else {
    const V s = m[1] + m[2], d = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    y[0] = m[0] + s + s2;
    y[1] = simd::fma(V(kRootHalf), d, V(kRootTwo) * d2);
    y[2] = simd::fma(V(0.5f), s, s2 + s2);
    y[3] = simd::fma(V(0.5f * kRootHalf), d, simd::fma(V(2 * kRootTwo), d2, m[5]));
  }
}

template <int M, bool WHOLE> TERSOR_VEC_INLINE void winograd_input_at(const float* const* x, int64_t c, int64_t channels, float* v) {
  constexpr int N = M + 2;
  V t[N * N];
#pragma GCC unroll 6
  for (int j = 0; j < N; j++) {
    V column[N], turned[N];
#pragma GCC unroll 6
    for (int i = 0; i < N; i++) column[i] = WHOLE ? simd::load(x[i * N + j] + c) : simd::load_part(x[i * N + j] + c, channels - c);
    winograd_in<M>(column, turned);
#pragma GCC unroll 6
    for (int i = 0; i < N; i++) t[i * N + j] = turned[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < N; i++) {
    V row[N];
    winograd_in<M>(t + i * N, row);
#pragma GCC unroll 6
    for (int j = 0; j < N; j++) {
      float* const to = v + (i * N + j) * channels + c;
      if (WHOLE) simd::store(to, row[j]);
      else simd::store_part(to, row[j], channels - c);
    }
  }
}

template <int M> void winograd_input_tiles(const WinogradInput& a) {
  constexpr int64_t kPositions = (M + 2) * (M + 2);
  for (int64_t i = 0; i < a.tiles; i++) {
    const float* const* const x = a.x + i * kPositions;
    float* const v = a.v + i * kPositions * a.channels;
    int64_t c = 0;
    for (; c + kLanes <= a.channels; c += kLanes) winograd_input_at<M, true>(x, c, a.channels, v);
    if (c < a.channels) winograd_input_at<M, false>(x, c, a.channels, v);
  }
}

template <int M, bool WHOLE> TERSOR_VEC_INLINE void winograd_output_at(const WinogradOutput& a, int64_t c) {
  constexpr int N = M + 2;
  const int64_t live = a.columns - c;
  V t[M * N], y[M * M];
#pragma GCC unroll 6
  for (int j = 0; j < N; j++) {
    V column[N], turned[M];
#pragma GCC unroll 6
    for (int i = 0; i < N; i++) {
      const float* const from = a.m + (i * N + j) * a.width + c;
      column[i] = WHOLE ? simd::load(from) : simd::load_part(from, live);
    }
    winograd_out<M>(column, turned);
#pragma GCC unroll 4
    for (int i = 0; i < M; i++) t[i * N + j] = turned[i];
  }
  V bias(0.0f);
  if (a.bias) bias = WHOLE ? simd::load(a.bias + c) : simd::load_part(a.bias + c, live);
#pragma GCC unroll 4
  for (int i = 0; i < M; i++) {
    winograd_out<M>(t + i * N, y + i * M);
#pragma GCC unroll 4
    for (int j = 0; j < M; j++) y[i * M + j] = y[i * M + j] + bias;
  }
  if (a.residual)
#pragma GCC unroll 4
    for (int i = 0; i < M; i++)
#pragma GCC unroll 4
      for (int j = 0; j < M; j++) {
        if (i >= a.rows || j >= a.across) continue;
        const float* const from = a.residual + i * a.row + j * a.pixel + c;
        y[i * M + j] = y[i * M + j] + (WHOLE ? simd::load(from) : simd::load_part(from, live));
      }
  conv_finish<M * M>(a.finish, y);
  if (conv_is_late(a.finish))
    for (int i = 0; i < M * M; i++) y[i] = conv_late(a.finish, y[i]);
#pragma GCC unroll 4
  for (int i = 0; i < M; i++)
#pragma GCC unroll 4
    for (int j = 0; j < M; j++) {
      if (i >= a.rows || j >= a.across) continue;
      float* const to = a.y + i * a.row + j * a.pixel + c;
      if (WHOLE) simd::store(to, y[i * M + j]);
      else simd::store_part(to, y[i * M + j], live);
    }
}

template <int M> void winograd_output_tile(const WinogradOutput& a) {
  int64_t c = 0;
  for (; c + kLanes <= a.columns; c += kLanes) winograd_output_at<M, true>(a, c);
  if (c < a.columns) winograd_output_at<M, false>(a, c);
}

inline void winograd_input(int64_t m, const WinogradInput& a) {
  if (m == 2) winograd_input_tiles<2>(a);
  else winograd_input_tiles<4>(a);
}
inline void winograd_output(int64_t m, const WinogradOutput& a) {
  if (m == 2) winograd_output_tile<2>(a);
  else winograd_output_tile<4>(a);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
