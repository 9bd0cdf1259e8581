// Rows by index with 128-bit vectors.
#include "kernels/gather/gather.h"
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

namespace tersor {
namespace {

inline uint8x16_t load16(const char* p) { return vld1q_u8(reinterpret_cast<const uint8_t*>(p)); }
inline void store16(char* p, uint8x16_t v) { vst1q_u8(reinterpret_cast<uint8_t*>(p), v); }

// Copies n >= 16 bytes; the last block overlaps the one before it, so nothing outside is touched.
inline void copy_row(char* out, const char* in, int64_t n) {
  int64_t j = 0;
  for (; j + 64 <= n; j += 64) {
    const uint8x16_t a = load16(in + j), b = load16(in + j + 16), c = load16(in + j + 32), d = load16(in + j + 48);
    store16(out + j, a);
    store16(out + j + 16, b);
    store16(out + j + 32, c);
    store16(out + j + 48, d);
  }
  for (; j + 16 <= n; j += 16) store16(out + j, load16(in + j));
  if (j < n) store16(out + n - 16, load16(in + n - 16));
}

template <int BYTES> void copy_short(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  for (int64_t i = 0; i < a.count; i++) memcpy(out + BYTES * i, table + a.index[i] * a.stride, BYTES);
}

// NV vectors of columns from j on, sums in registers; the last vector has `live` lanes.
template <int NV> TERSOR_VEC_INLINE void sum_columns(const GatherArgs& a, int64_t j, int64_t live) {
  simd::F32 sum[NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++) sum[v] = simd::F32(0.0f);
  const char* table = static_cast<const char*>(a.table) + 4 * j;
  for (int64_t i = 0; i < a.count; i++) {
    const float* row = reinterpret_cast<const float*>(table + a.index[i] * a.stride);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) sum[v] = sum[v] + (NV == 1 ? simd::load_part(row, live) : simd::load(row + 4 * v));
  }
  float* y = static_cast<float*>(a.out) + j;
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++) NV == 1 ? simd::store_part(y, sum[v], live) : simd::store(y + 4 * v, sum[v]);
}

}  // namespace

void gather_copy_neon(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  if (a.row_bytes == 4) return copy_short<4>(a);
  if (a.row_bytes == 8) return copy_short<8>(a);
  for (int64_t i = 0; i < a.count; i++) {
    if (i + 4 < a.count) {
#if defined(__GNUC__)
      const char* next = table + a.index[i + 4] * a.stride;
      __builtin_prefetch(next);
      if (a.row_bytes > 64) __builtin_prefetch(next + 64);
#endif
    }
    if (a.row_bytes >= 16) copy_row(out + i * a.row_bytes, table + a.index[i] * a.stride, a.row_bytes);
    else memcpy(out + i * a.row_bytes, table + a.index[i] * a.stride, static_cast<size_t>(a.row_bytes));
  }
}

void gather_sum_f32_neon(const GatherArgs& a) {
  const int64_t n = a.row_bytes / 4;
  int64_t j = 0;
  for (; j + 32 <= n; j += 32) sum_columns<8>(a, j, 4);
  for (; j + 8 <= n; j += 8) sum_columns<2>(a, j, 4);
  for (; j < n; j += 4) sum_columns<1>(a, j, n - j);
}

}  // namespace tersor
#endif
