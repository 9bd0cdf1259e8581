// f32 convolutions as implicit matrix products C[M,N] = A[M,K] B[K,N]: nothing is laid out in memory, a block finds its elements of B in the image.
//                 M             N                    K                A(m, k)        B(k, n)
//   forward       channel out   image, position      channel in, tap  weight         x under the tap, 0 outside
//   grad_input    channel in    image, position      channel out, tap weight         dy that the tap brought there, 0 where none did
//   grad_weight   channel out   channel in, tap      image, position  dy             x under the tap, 0 outside
// B(k, n) lies at the sum of an offset of k and one of n, at row y_k + y_n and column x_k + x_n: a table per tile holds them. A block computes BM x 128 results,
// a thread TM x 4, K in steps of 16: the next tile travels while this one is multiplied. Each result is one chain of fused additions over K, whatever
// the tile; grad_weight cuts K in runs that depend on the shape only, whose sums are added in order in f64.
#include "cuda/conv.h"

namespace tersor {
namespace cuda {
namespace {

enum class ConvKind { forward, grad_input, grad_weight };
constexpr int kConvDepth = 16, kWide = 128, kTN = 4;

// Offsets are 32-bit (conv_is_tiled): half the registers, and an entry is one load.
struct alignas(16) Tap {
  int32_t a, b;  // a: in A (of k), or in C (of n)
  int32_t y, x;
};

struct TiledConv {
  ConvGeometry g;
  const float *a, *b, *bias;
  float* c;
  int64_t m, n, k, run;  // run: of K, for one block
};

template <ConvKind KIND> __device__ Tap tap_of(const ConvGeometry& g, uint32_t k) {  // channel and tap
  const uint32_t taps = static_cast<uint32_t>(g.taps()), c = k / taps, t = k % taps, kw = static_cast<uint32_t>(g.kw);
  const int32_t y = static_cast<int32_t>(t / kw * static_cast<uint32_t>(g.dh)), x = static_cast<int32_t>(t % kw * static_cast<uint32_t>(g.dw));
  const int32_t channel = static_cast<int32_t>(c);
  if (KIND == ConvKind::grad_input) return {channel * static_cast<int32_t>(g.depth()) + static_cast<int32_t>(t), channel * static_cast<int32_t>(g.out_plane()), -y, -x};
  return {static_cast<int32_t>(k), channel * static_cast<int32_t>(g.plane()), y, x};
}
// Image and position of the output; of the input for grad_input.
template <ConvKind KIND> __device__ Tap place_of(const ConvGeometry& g, uint32_t i) {
  const bool in = KIND == ConvKind::grad_input;
  const uint32_t columns = static_cast<uint32_t>(in ? g.w : g.ow), plane = static_cast<uint32_t>(in ? g.plane() : g.out_plane());
  const uint32_t b = i / plane, p = i % plane;
  const int32_t y = static_cast<int32_t>(p / columns), x = static_cast<int32_t>(p % columns), at_in = static_cast<int32_t>(b * static_cast<uint32_t>(g.in * g.plane()));
  const int32_t at_out = static_cast<int32_t>(b * static_cast<uint32_t>(g.out * g.out_plane()));
  if (in) return {at_in + static_cast<int32_t>(p), at_out, y + static_cast<int32_t>(g.top), x + static_cast<int32_t>(g.left)};
  return {at_out + static_cast<int32_t>(p), at_in, y * static_cast<int32_t>(g.sh) - static_cast<int32_t>(g.top), x * static_cast<int32_t>(g.sw) - static_cast<int32_t>(g.left)};
}

template <ConvKind KIND> __device__ float image_at(const ConvGeometry& g, const float* image, const Tap& k, const Tap& n) {
  int32_t y = k.y + n.y, x = k.x + n.x;
  const int32_t height = static_cast<int32_t>(KIND == ConvKind::grad_input ? g.oh : g.h), width = static_cast<int32_t>(KIND == ConvKind::grad_input ? g.ow : g.w);
  if (KIND == ConvKind::grad_input) {
    const int32_t sh = static_cast<int32_t>(g.sh), sw = static_cast<int32_t>(g.sw);
    if (y < 0 || x < 0 || (sh > 1 && y % sh != 0) || (sw > 1 && x % sw != 0)) return 0;
    if (sh > 1) y /= sh;
    if (sw > 1) x /= sw;
  }
  if (static_cast<uint32_t>(y) >= static_cast<uint32_t>(height) || static_cast<uint32_t>(x) >= static_cast<uint32_t>(width)) return 0;
  return image[k.b + n.b + y * width + x];
}

// grid: x columns of C, y rows of C, z group (and run, for grad_weight: run * groups + group).
template <ConvKind KIND, int BM, int TM> __global__ void __launch_bounds__(BM / TM * (kWide / kTN), BM / TM * (kWide / kTN) == 256 ? 2 : 4) conv_tiles(TiledConv p) {
  constexpr int kT = BM / TM * (kWide / kTN);  // threads
  static_assert(kT % kWide == 0, "a thread's column, or its place in the depth, is fixed");
  constexpr int kA = (BM * kConvDepth + kT - 1) / kT, kB = kWide * kConvDepth / kT, kPitch = BM + 4;
  constexpr bool kAlongK = KIND == ConvKind::grad_weight;  // neighbouring threads load neighbouring k of B, which are neighbours in the image
  TERSOR_SHARED(float, at, 2 * kConvDepth * kPitch);
  TERSOR_SHARED(float, bt, 2 * kConvDepth * kWide);
  TERSOR_SHARED(Tap, ks, 2 * kConvDepth);
  TERSOR_SHARED(Tap, ns, kWide);
  const ConvGeometry& g = p.g;
  const int t = static_cast<int>(threadIdx.x);
  const int64_t group = blockIdx.z % g.groups, run = blockIdx.z / g.groups, m0 = static_cast<int64_t>(blockIdx.y) * BM, n0 = static_cast<int64_t>(blockIdx.x) * kWide;
  const int64_t k_from = run * p.run, k_to = p.k - k_from < p.run ? p.k : k_from + p.run;
  const float* a = p.a;
  const float* b = p.b;
  int32_t a_row;
  if (KIND == ConvKind::forward) a += (group * g.group_out + m0) * p.k, a_row = static_cast<int32_t>(p.k), b += group * g.group_in * g.plane();
  else if (KIND == ConvKind::grad_input) a += group * g.group_out * g.depth() + m0 * g.taps(), a_row = static_cast<int32_t>(g.taps()), b += group * g.group_out * g.out_plane();
  else a += (group * g.group_out + m0) * g.out_plane(), a_row = static_cast<int32_t>(g.out_plane()), b += group * g.group_in * g.plane();

  const auto column = [&](int64_t n) { return kAlongK ? tap_of<KIND>(g, static_cast<uint32_t>(n)) : place_of<KIND>(g, static_cast<uint32_t>(n)); };
  const auto depth = [&](int64_t k) { return kAlongK ? place_of<KIND>(g, static_cast<uint32_t>(k)) : tap_of<KIND>(g, static_cast<uint32_t>(k)); };
  for (int i = t; i < kWide; i += kT) ns[i] = n0 + i < p.n ? column(n0 + i) : Tap{0, 0, 0, 0};
  const int steps = static_cast<int>((k_to - k_from + kConvDepth - 1) / kConvDepth), length = static_cast<int>(k_to - k_from);
  const int live_m = p.m - m0 < BM ? static_cast<int>(p.m - m0) : BM, live_n = p.n - n0 < kWide ? static_cast<int>(p.n - n0) : kWide;
  for (int i = t; i < 2 * kConvDepth; i += kT)
    if (k_from + i < k_to) ks[i] = depth(k_from + i);
  __syncthreads();

  float ra[kA], rb[kB];
  const auto load = [&](int step) {
    const Tap* table = ks + step % 2 * kConvDepth;
    const int left = length - step * kConvDepth;
    const Tap own = kAlongK ? table[t % kConvDepth] : ns[t % kWide];  // the same for all loads of a thread
    TERSOR_UNROLL
    for (int i = 0; i < kA; i++) {
      const int e = t + i * kT, k = e % kConvDepth, m = e / kConvDepth;
      ra[i] = k < left && m < live_m ? a[m * a_row + table[k].a] : 0.0f;
    }
    TERSOR_UNROLL
    for (int i = 0; i < kB; i++) {
      const int e = t + i * kT, k = kAlongK ? e % kConvDepth : e / kWide, n = kAlongK ? e / kConvDepth : e % kWide;
      rb[i] = k < left && n < live_n ? image_at<KIND>(g, b, kAlongK ? own : table[k], kAlongK ? ns[n] : own) : 0.0f;
    }
  };
  const auto keep = [&](int step) {
    float* to_a = at + step % 2 * (kConvDepth * kPitch);
    float* to_b = bt + step % 2 * (kConvDepth * kWide);
    TERSOR_UNROLL
    for (int i = 0; i < kA; i++) {
      const int e = t + i * kT, k = e % kConvDepth, m = e / kConvDepth;
      if (m < BM) to_a[k * kPitch + m] = ra[i];
    }
    TERSOR_UNROLL
    for (int i = 0; i < kB; i++) {
      const int e = t + i * kT, k = kAlongK ? e % kConvDepth : e / kWide, n = kAlongK ? e / kConvDepth : e % kWide;
      to_b[k * kWide + n] = rb[i];
    }
  };

  const int tx = t % (kWide / kTN), ty = t / (kWide / kTN);
  float sum[TM][kTN] = {};
  load(0);
  keep(0);
  __syncthreads();
  for (int step = 0; step < steps; step++) {
    const bool more = step + 1 < steps;
    if (more) load(step + 1);
    // The table of this step was read a step ago: it takes the one after the next.
    for (int i = t; i < kConvDepth; i += kT) {
      const int64_t k = k_from + (step + 2) * kConvDepth + i;
      if (k < k_to) ks[step % 2 * kConvDepth + i] = depth(k);
    }
    const float* from_a = at + step % 2 * (kConvDepth * kPitch) + ty * TM;
    const float* from_b = bt + step % 2 * (kConvDepth * kWide) + tx * kTN;
    TERSOR_UNROLL
    for (int k = 0; k < kConvDepth; k++) {
      float x[TM], y[kTN];
      TERSOR_UNROLL
      for (int i = 0; i < TM; i += 4) {
        const float4 v = *reinterpret_cast<const float4*>(from_a + k * kPitch + i);
        x[i] = v.x, x[i + 1] = v.y, x[i + 2] = v.z, x[i + 3] = v.w;
      }
      const float4 v = *reinterpret_cast<const float4*>(from_b + k * kWide);
      y[0] = v.x, y[1] = v.y, y[2] = v.z, y[3] = v.w;
      TERSOR_UNROLL
      for (int i = 0; i < TM; i++)
        TERSOR_UNROLL
        for (int j = 0; j < kTN; j++) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
    if (more) keep(step + 1);
    __syncthreads();
  }

  TERSOR_UNROLL
  for (int i = 0; i < TM; i++) {
    const int64_t m = m0 + ty * TM + i;
    if (m >= p.m) break;
    float* c;
    float add = 0;
    if (KIND == ConvKind::forward) c = p.c + (group * g.group_out + m) * g.out_plane(), add = p.bias ? p.bias[group * g.group_out + m] : 0.0f;
    else if (KIND == ConvKind::grad_input) c = p.c + (group * g.group_in + m) * g.plane();
    else c = p.c + ((run * g.groups + group) * g.group_out + m) * p.n;
    TERSOR_UNROLL
    for (int j = 0; j < kTN; j++) {
      const int64_t n = n0 + tx * kTN + j;
      if (n < p.n) c[KIND == ConvKind::grad_weight ? n : ns[tx * kTN + j].a] = sum[i][j] + add;
    }
  }
}

__global__ void add_runs(const float* parts, int64_t runs, int64_t n, float* out) {
  const int64_t i = thread_index();
  if (i >= n) return;
  double total = 0;
  for (int64_t r = 0; r < runs; r++) total += static_cast<double>(parts[r * n + i]);
  out[i] = static_cast<float>(total);
}

// Rows of a tile: as tall as M, less where that gives few blocks. The results do not depend on it.
template <ConvKind KIND> Status run_tiles(Stream& stream, const TiledConv& p, int64_t runs) {
  const int64_t columns = (p.n + kWide - 1) / kWide, planes = p.g.groups * runs;
  if (planes > 65535) return fail(Code::unsupported, "conv2d: more groups or positions than a grid has on this device");
  const auto blocks = [&](int64_t rows) { return columns * ((p.m + rows - 1) / rows) * planes; };
  if (p.m > 32 && blocks(64) >= 256) return launch<conv_tiles<KIND, 64, 8>>(stream, Grid{columns, (p.m + 63) / 64, planes}, 256, 0, p);
  if (p.m > 16 && blocks(32) >= 128) return launch<conv_tiles<KIND, 32, 8>>(stream, Grid{columns, (p.m + 31) / 32, planes}, 128, 0, p);
  return launch<conv_tiles<KIND, 16, 4>>(stream, Grid{columns, (p.m + 15) / 16, planes}, 128, 0, p);
}

}  // namespace

bool conv_is_tiled(const ConvGeometry& g) {
  constexpr int64_t kMost = INT32_MAX;
  const bool fits = g.batch * g.in * g.plane() < kMost && g.batch * g.out * g.out_plane() < kMost && g.out * g.depth() < kMost &&
                    g.h + 2 * g.top + g.dh * g.kh < kMost / 4 && g.w + 2 * g.left + g.dw * g.kw < kMost / 4 && g.sh < kMost / 4 && g.sw < kMost / 4;
  return fits && g.group_out >= 8 && g.group_in >= 1 && g.group_in * g.taps() >= 8;
}

Status conv_tiled_forward(Stream& stream, const ConvGeometry& g, const float* x, const float* w, const float* bias, float* y) {
  return run_tiles<ConvKind::forward>(stream, {g, w, x, bias, y, g.group_out, g.batch * g.out_plane(), g.depth(), g.depth()}, 1);
}

Status conv_tiled_grad_input(Stream& stream, const ConvGeometry& g, const float* dy, const float* w, float* dx) {
  const int64_t k = g.group_out * g.taps();
  return run_tiles<ConvKind::grad_input>(stream, {g, w, dy, nullptr, dx, g.group_in, g.batch * g.plane(), k, k}, 1);
}

Status conv_tiled_grad_weight(Stream& stream, const ConvGeometry& g, const float* x, const float* dy, float* dw) {
  constexpr int64_t kWanted = 528, kLeast = 256;  // blocks; shortest run
  const int64_t k = g.batch * g.out_plane(), n = g.depth(), rows = g.group_out > 32 ? 64 : g.group_out > 16 ? 32 : 16;
  const int64_t tiles = (n + kWide - 1) / kWide * ((g.group_out + rows - 1) / rows) * g.groups;
  int64_t runs = kWanted / tiles;
  runs = runs > k / kLeast ? k / kLeast : runs;
  runs = runs < 1 ? 1 : runs;
  const int64_t run = ((k + runs - 1) / runs + kConvDepth - 1) / kConvDepth * kConvDepth;
  runs = (k + run - 1) / run;
  const int64_t size = g.out * n;
  float* parts = dw;
  if (runs > 1) TERSOR_TRY(stream.scratch(runs * size, &parts));
  TERSOR_TRY(run_tiles<ConvKind::grad_weight>(stream, {g, dy, x, nullptr, parts, g.group_out, n, k, run}, runs));
  return runs > 1 ? launch<add_runs>(stream, Grid{blocks_for(size)}, kThreads, 0, parts, runs, size, dw) : Status{};
}

}  // namespace cuda
}  // namespace tersor
