// Body of the vector rows, over the vector in scope. The including file, in its own (wider) region TERSOR_WGEMM_BEGIN / _END, defines before the inclusion,
// in an anonymous namespace of tersor:
//   Sum (int32 vector as g++ keeps in registers), constexpr bool kFolds, the products of four u8 with four s8 per lane:
//     kFolds false: Sum dot(Sum acc, I32 u, I32 x), added to 32-bit sums
//     kFolds true:  Sum dot(...), added to 16-bit sums of pairs (exact for 8 calls and u <= 15), and Sum fold(Sum acc, Sum pairs, int factor), acc + factor * pairs
//   I32 of_sum(Sum), Sum to_sum(I32), I32 quad_of(const char*) (4 bytes in all lanes), I32 digits_of(I32) (in each run of four lanes the low bytes, the middle
//   bytes, the high bytes as the lanes 0, 1, 2), void fetch(const char*) (prefetch)
//   constexpr bool kSignedCodes: dot takes signed bytes, so codes of 8 bits are given as they are (others, never above 15, are both),
//   and TERSOR_WGEMM_TILES(X): X(rows, panels), tallest and widest first.
//   TERSOR_WGEMM_BY_ELEMENT, if defined: instead of dot, template <int P> Sum dot_plane(Sum acc, I32 u, I32 x) multiplies with 32-bit lane P of each run of x.
// Not guarded: each ISA file includes it once.

TERSOR_WGEMM_BEGIN
namespace tersor {
namespace {

using simd::I32;
using V = simd::F32;
constexpr int kLanes = V::lanes, kLine = kLanes * 4, kStepBytes = kWgemmStep / 4 * kWgemmQuadBytes;
constexpr int kAhead = 2048;  // bytes that are asked for in advance, per panel

TERSOR_VEC_INLINE I32 line_at(const char* p) { return simd::load(reinterpret_cast<const int32_t*>(p)); }

template <int MR, int NV> TERSOR_VEC_INLINE void quad(Sum (&acc)[MR][NV][kWgemmPlanes], const I32 (&u)[NV], const char* x, int64_t x_row) {
#if defined(TERSOR_WGEMM_BY_ELEMENT)
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++) {
    TERSOR_LOAD_HERE;
    const I32 d = line_at(x + r * x_row);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      acc[r][v][0] = dot_plane<0>(acc[r][v][0], u[v], d);
      acc[r][v][1] = dot_plane<1>(acc[r][v][1], u[v], d);
      acc[r][v][2] = dot_plane<2>(acc[r][v][2], u[v], d);
    }
  }
#else
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 3
    for (int p = 0; p < kWgemmPlanes; p++) {
      const I32 d = quad_of(x + r * x_row + 4 * p);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) acc[r][v][p] = dot(acc[r][v][p], u[v], d);
    }
#endif
}

// Codes of 4 bits at one row, where registers allow: the upper halves of bytes stay where they are, 16 times their value, and have sums of
// their own, which saves a shift in nine operations. What is `ahead` is asked for line by line: sixteen requests at once would fill all buffers
// that a core has for them.
template <int BITS, int MR> constexpr bool kApart = BITS == 4 && MR == 1 && !kFolds && !kSignedCodes && kLanes == 16;

template <int MR, int NV>
TERSOR_VEC_INLINE void step_apart(Sum (&acc)[MR][NV][kWgemmPlanes], Sum (&upper)[MR][NV][kWgemmPlanes], const char* const (&p)[NV], const char* x,
                                  int64_t ahead) {
  const I32 low(0x0f0f0f0f), high(INT32_C(-0x0f0f0f10));
#pragma GCC unroll 4
  for (int l = 0; l < 4; l++, x += 2 * kWgemmQuadBytes) {
    I32 u[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      fetch(p[v] + ahead + l * kLine);
      u[v] = line_at(p[v] + l * kLine) & low;
    }
    quad<MR, NV>(acc, u, x, 0);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) u[v] = line_at(p[v] + l * kLine) & high;
    quad<MR, NV>(upper, u, x + kWgemmQuadBytes, 0);
  }
}

// The codes of one step meet the bytes of x. HIGH: of 8-bit codes the upper half only, else (when sums are of pairs) the lower half.
template <int BITS, bool HIGH, int MR, int NV>
TERSOR_VEC_INLINE void step(Sum (&acc)[MR][NV][kWgemmPlanes], const char* const (&p)[NV], const char* x, int64_t x_row) {
  I32 u[NV];
  if (BITS == 3) {
    const I32 low(0x03030303), high(0x04040404);
#pragma GCC unroll 8
    for (int q = 0; q < 8; q++) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) {
        const I32 top = line_at(p[v] + 2 * kLine);
        u[v] = (shift_right_logical(line_at(p[v] + q / 4 * kLine), q % 4 * 2) & low) | ((q < 2 ? top << (2 - q) : shift_right_logical(top, q - 2)) & high);
      }
      quad<MR, NV>(acc, u, x + q * kWgemmQuadBytes, x_row);
    }
    return;
  }
  constexpr int kFields = 8 / BITS;
  const I32 mask(BITS == 8 ? 0x0f0f0f0f : ((1 << BITS) - 1) * 0x01010101);
  for (int l = 0; l < BITS; l++) {
    I32 w[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) w[v] = line_at(p[v] + l * kLine);
#pragma GCC unroll 8
    for (int f = 0; f < kFields; f++) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) {
        if (BITS == 8) u[v] = kSignedCodes ? w[v] ^ I32(INT32_C(-0x7f7f7f80)) : !kFolds ? w[v] : HIGH ? shift_right_logical(w[v], 4) & mask : w[v] & mask;
        else u[v] = (f == 0 ? w[v] : shift_right_logical(w[v], f * BITS)) & mask;
      }
      quad<MR, NV>(acc, u, x, x_row);
      x += kWgemmQuadBytes;
    }
  }
}

// One step onto 32-bit sums.
template <int BITS, int MR, int NV>
TERSOR_VEC_INLINE void step_sum(Sum (&acc)[MR][NV][kWgemmPlanes], const char* const (&p)[NV], const char* x, int64_t x_row) {
  if (!kFolds) {
    step<BITS, false, MR, NV>(acc, p, x, x_row);
    return;
  }
#pragma GCC unroll 2
  for (int half = 0; half < (BITS == 8 ? 2 : 1); half++) {
    Sum pairs[MR][NV][kWgemmPlanes];
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++)
#pragma GCC unroll 3
        for (int d = 0; d < kWgemmPlanes; d++) pairs[r][v][d] = to_sum(I32(0));
    if (half == 0) step<BITS, false, MR, NV>(pairs, p, x, x_row);
    else step<BITS, true, MR, NV>(pairs, p, x, x_row);
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++)
#pragma GCC unroll 3
        for (int d = 0; d < kWgemmPlanes; d++) acc[r][v][d] = fold(acc[r][v][d], pairs[r][v][d], half == 0 ? 1 : 16);
  }
}

// Rows [i, i + MR) with NV panels; `live` outputs of the last panel.
template <int BITS, int MR, int NV> void tile(const WgemmDot& d, int64_t i, int64_t j, int64_t live) {
  const WgemmShape& s = *d.shape;
  const int64_t steps = s.group_steps(), codes = steps * BITS * kLine, head = kLine * (s.affine ? 2 : 1), panel = (head + codes) * s.groups;
  const char* p[NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++) p[v] = d.panels + (j / kLanes + v) * panel;
  const char* x = d.x + i * d.x_row;
  const char* info = x + wgemm_blocks_at(s);
  V total[MR][NV];
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) total[r][v] = V(0.0f);
  for (int64_t g = 0; g < s.groups; g++) {
    // What lies behind the end of a panel is walked at the same time, by the next of the NV: there the tile after this one is asked for.
    const int64_t ahead = kAhead + ((s.groups - g) * (head + codes) > kAhead ? 0 : (NV - 1) * panel);
    const char* factor[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      factor[v] = p[v];
      if (MR == 1) fetch(p[v] + ahead);
      p[v] += head;
    }
    for (int64_t left = steps; left > 0; left -= kWgemmBlockSteps, info += sizeof(WgemmBlock)) {
      Sum acc[MR][NV][kWgemmPlanes], upper[MR][NV][kWgemmPlanes];
#pragma GCC unroll 8
      for (int r = 0; r < MR; r++)
#pragma GCC unroll 3
        for (int q = 0; q < kWgemmPlanes; q++) {
          const Sum start = to_sum(quad_of(info + r * d.x_row + 8 + 4 * q));
#pragma GCC unroll 8
          for (int v = 0; v < NV; v++) acc[r][v][q] = start, upper[r][v][q] = to_sum(I32(0));
        }
      for (int64_t n = left < kWgemmBlockSteps ? left : kWgemmBlockSteps; n > 0; n--) {
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++)
#pragma GCC unroll 8
          for (int l = 0; l < BITS; l++)
            if (MR == 1 && !kApart<BITS, MR> && (l * kLine) % 64 == 0) fetch(p[v] + ahead + l * kLine);
        if constexpr (kApart<BITS, MR>) step_apart<MR, NV>(acc, upper, p, x, ahead);
        else step_sum<BITS, MR, NV>(acc, p, x, d.x_row);
        x += kStepBytes;
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) p[v] += BITS * kLine;
      }
#pragma GCC unroll 8
      for (int r = 0; r < MR; r++) {
        const WgemmBlock& b = *reinterpret_cast<const WgemmBlock*>(info + r * d.x_row);
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) {
          if (kApart<BITS, MR>)
#pragma GCC unroll 3
            for (int q = 0; q < kWgemmPlanes; q++) acc[r][v][q] = to_sum(of_sum(acc[r][v][q]) + (of_sum(upper[r][v][q]) >> 4));
          V f = simd::fma(to_float((of_sum(acc[r][v][2]) << 8) + of_sum(acc[r][v][1])), V(256.0f), to_float(of_sum(acc[r][v][0])));
          if (s.affine) f = simd::fma(V(-b.sum), simd::load(reinterpret_cast<const float*>(factor[v] + kLine)), f);
          total[r][v] = simd::fma(f, simd::load(reinterpret_cast<const float*>(factor[v])) * V(b.scale), total[r][v]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      float* at = d.y + (i + r) * d.y_row + j + v * kLanes;
      if (v == NV - 1 && live < kLanes) simd::store_part(at, total[r][v], live);
      else simd::store(at, total[r][v]);
    }
}

template <int BITS, int MR, int NV> void tiles(const WgemmDot& d, int64_t i, int64_t* j) {
  for (; d.n - *j > (NV - 1) * kLanes; *j += NV * kLanes) {
    const int64_t live = d.n - *j - (NV - 1) * kLanes;
    tile<BITS, MR, NV>(d, i, *j, live < kLanes ? live : kLanes);
  }
}

template <int BITS> void dot_bits(const WgemmDot& d) {
  int64_t i = 0;
  while (i < d.m) {
    const int64_t left = d.m - i;
    int64_t j = 0, rows = 0;
#define TERSOR_TILE(MR, NV)                        \
  if (left >= MR && (rows == 0 || rows == MR)) {   \
    tiles<BITS, MR, NV>(d, i, &j);                 \
    rows = MR;                                     \
  }
    TERSOR_WGEMM_TILES(TERSOR_TILE)
#undef TERSOR_TILE
    i += rows;
  }
}

inline void dot_all(const WgemmDot& d) {
  switch (d.shape->bits) {
    case 2: return dot_bits<2>(d);
    case 3: return dot_bits<3>(d);
    case 4: return dot_bits<4>(d);
    default: return dot_bits<8>(d);
  }
}

// n <= 128 values to `steps` steps of bytes.
inline void prepare_block(const float* x, int64_t n, int64_t steps, int offset, float top, char* out, WgemmBlock* info) {
  // top in [2^e, 2^(e+1)): t = 22 - e gives |X| <= 2^23; where that is more than three signed bytes hold, one less. Blocks far below the row's
  // largest value get the finest grid that is safe to scale back with.
  uint32_t exponent;
  memcpy(&exponent, &top, 4);
  exponent >>= 23;
  int t = 22 + 127 - static_cast<int>(exponent);
  if (t > 82) t = 82;
  uint32_t bits = static_cast<uint32_t>(127 + t) << 23;
  float up;
  memcpy(&up, &bits, 4);
  if (top * up > 8355711.0f) t--;
  bits = static_cast<uint32_t>(127 + t) << 23;
  memcpy(&up, &bits, 4);
  bits = static_cast<uint32_t>(127 - t) << 23;
  memcpy(&info->scale, &bits, 4);
  const I32 half(0x00808080);
  I32 sum[kWgemmPlanes] = {I32(0), I32(0), I32(0)};
  for (int64_t k = 0; k < steps * kWgemmStep; k += kLanes, out += kLanes * 4) {
    const int64_t left = n - k;
    const V v = left >= kLanes ? simd::load(x + k) : left > 0 ? simd::load_part(x + k, left) : V(0.0f);
    const I32 d = (to_int(v * V(up)) + half) ^ half;  // bytes 0, 1, 2: signed digits of X
#pragma GCC unroll 3
    for (int p = 0; p < kWgemmPlanes; p++) sum[p] = sum[p] + ((d << (24 - 8 * p)) >> 24);
    simd::store(reinterpret_cast<int32_t*>(out), digits_of(d));
  }
  int32_t total[kWgemmPlanes];
  for (int p = 0; p < kWgemmPlanes; p++) {
    total[p] = static_cast<int32_t>(simd::sum_lanes(to_float(sum[p])));  // at most 2^14, exact
    info->start[p] = -offset * total[p];
  }
  info->sum = static_cast<float>(int64_t(total[2]) * 65536 + int64_t(total[1]) * 256 + total[0]);
  for (int p = 0; p < 3; p++) info->unused[p] = 0;
}

TERSOR_VEC_INLINE float largest(const float* x, int64_t n, simd::M32* nan) {
  V top(0.0f);
  for (int64_t k = 0; k < n; k += kLanes) {
    const V v = simd::abs(n - k >= kLanes ? simd::load(x + k) : simd::load_part(x + k, n - k));
    *nan = *nan | is_nan(v);
    top = simd::max(v, top);
  }
  return simd::max_lanes(top);
}

inline bool prepare_row(const WgemmShape& s, const float* x, char* out) {
  simd::M32 nan = is_nan(V(0.0f));
  const float top = largest(x, s.k, &nan);
  const bool fits = !any(nan) && (top == 0 || (top >= 9.094947017729282e-13f && top < 1.152921504606847e18f));
  WgemmBlock* info = reinterpret_cast<WgemmBlock*>(out + wgemm_blocks_at(s));
  const int64_t block = kWgemmStep * kWgemmBlockSteps;
  for (int64_t g = 0; g < s.groups; g++) {
    int64_t steps = s.group_steps();
    for (int64_t k = 0; k < s.group(); k += block, info++) {
      const int64_t n = s.group() - k < block ? s.group() - k : block, now = steps < kWgemmBlockSteps ? steps : kWgemmBlockSteps;
      const float* from = x + g * s.group() + k;
      prepare_block(from, fits ? n : 0, now, kSignedCodes && s.bits == 8 ? 0 : 1 << (s.bits - 1), fits ? largest(from, n, &nan) : 0.0f, out, info);
      out += now * kStepBytes;
      steps -= now;
    }
  }
  return fits;
}

TERSOR_VEC_INLINE I32 code_at(const char* p, int bits, int k) {
  const int q = k / 4, b = k % 4 * 8;
  if (bits == 8) return shift_right_logical(line_at(p + q * kLine), b) & I32(255);
  if (bits == 4) return shift_right_logical(line_at(p + q / 2 * kLine), b + q % 2 * 4) & I32(15);
  const I32 low = shift_right_logical(line_at(p + q / 4 * kLine), b + q % 4 * 2) & I32(3);
  if (bits == 2) return low;
  return low | ((shift_right_logical(line_at(p + 2 * kLine), b + q) & I32(1)) << 2);
}

inline void unpack_panel(const WgemmUnpack& u) {
  const WgemmShape& s = *u.shape;
  const int64_t head = kLine * (s.affine ? 2 : 1), step_bytes = s.bits * kLine, group = head + s.group_steps() * step_bytes;
  const I32 offset(1 << (s.bits - 1));
  const char* at = u.panel + u.group * group;
  float* out = u.out;
  int64_t first = u.step * kWgemmStep;
  for (int64_t left = u.count; left > 0; at += group, first = 0) {
    const V scale = simd::load(reinterpret_cast<const float*>(at)), zero = s.affine ? simd::load(reinterpret_cast<const float*>(at + kLine)) : V(0.0f);
    int64_t n = s.group() - first;
    if (n > left) n = left;
    left -= n;
    for (const char* p = at + head + first / kWgemmStep * step_bytes; n > 0; n -= kWgemmStep, p += step_bytes)
      for (int k = 0; k < kWgemmStep && k < n; k++, out += u.out_row) simd::store(out, (to_float(code_at(p, s.bits, k) - offset) - zero) * scale);
  }
}

}  // namespace
}  // namespace tersor
TERSOR_WGEMM_END
