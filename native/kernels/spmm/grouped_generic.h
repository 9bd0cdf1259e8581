// Body of the groups of rows over the vector in scope (simd::F32). The including file defines, inside TERSOR_VEC_BEGIN / _END in an anonymous namespace,
// void loaded(simd::F32&): the vector is in a register from here on. Not guarded: each ISA file includes it once.
#include "kernels/spmm/grouped.h"
#include "simd/prefetch.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// All columns of list P. The sums of the R rows stay in registers through all lists.
template <int R, int NV, int P> TERSOR_VEC_INLINE void take_list(simd::F32 (&acc)[R][NV], const uint16_t*& columns, const float*& values, int count, const SpmmGroups& s) {
  constexpr int kValues = spmm_rows_in(P);
  const uint16_t* column = columns;
  const float* value = values;
  const uint16_t* end = column + count;
  const float* all = s.x;
  const int64_t pitch = s.x_pitch;
#pragma GCC unroll 1
  for (; column < end; column++, value += kValues) {
    const float* x = all + *column * pitch;
#if defined(__GNUC__)
    __asm__("" : "+r"(x));  // one address for all loads: with base and index each of them costs an operation of its own
#endif
    simd::F32 w[kValues];
#pragma GCC unroll 4
    for (int t = 0; t < kValues; t++) w[t] = simd::F32(value[t]);
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) {
      simd::F32 in = simd::load(x + v * simd::F32::lanes);
      if (kValues > 1) loaded(in);  // g++ would load it again for each multiply-add
      int t = 0;
#pragma GCC unroll 4
      for (int r = 0; r < R; r++)
        if (P >> r & 1) acc[r][v] = simd::fma(w[t++], in, acc[r][v]);
    }
  }
  columns = column, values = value;
}

template <int R, int NV, int P> struct Lists {
  static TERSOR_VEC_INLINE void take(simd::F32 (&acc)[R][NV], const uint16_t*& columns, const float*& values, const uint16_t* counts, const SpmmGroups& s) {
    Lists<R, NV, P - 1>::take(acc, columns, values, counts, s);
    take_list<R, NV, P>(acc, columns, values, counts[P - 1], s);
  }
};
template <int R, int NV> struct Lists<R, NV, 0> {
  static TERSOR_VEC_INLINE void take(simd::F32 (&)[R][NV], const uint16_t*&, const float*&, const uint16_t*, const SpmmGroups&) {}
};

template <int R, int NV> void groups(const SpmmGroups& s) {
  constexpr int kLists = (1 << R) - 1;
  const uint16_t* columns = s.columns;
  const float* values = s.values;
  for (int64_t g = 0; g < s.groups; g++) {
    const int64_t left = s.rows - g * R;
    float* y = s.y + g * R * s.y_pitch;
    simd::F32 acc[R][NV];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      for (int64_t b = 0; b < s.ahead_bytes && r < left; b += 64) TERSOR_PREFETCH_L2(s.ahead + (g * R + r) * s.ahead_pitch + b / 4);
      const bool stored = s.accumulate && r < left;
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) acc[r][v] = stored ? simd::load(y + r * s.y_pitch + v * simd::F32::lanes) : simd::F32(0.0f);
    }
    Lists<R, NV, kLists>::take(acc, columns, values, s.counts + g * kLists, s);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      if (r >= left) break;
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) simd::store(y + r * s.y_pitch + v * simd::F32::lanes, acc[r][v]);
    }
  }
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
