// 2-D pooling of one H x W plane without padding (windows that do not fit are dropped).
//   max: y[i,j] = max of the window; index[i,j] = flat position r * w + c of it in the plane. The first maximum in row-major order wins;
//        the first NaN wins over everything.
//   avg: y[i,j] = sum of the window in row-major order * (1 / (kh * kw)).
// x is a dense plane (row stride w), y and index are dense [ho, wo]. Nothing is read or written outside; no alignment is assumed;
// x, y and index do not overlap. The vector rows compute max for kernel = stride = 2 x 2; they equal the scalar reference exactly.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

struct PoolArgs {
  const void* x;
  void* y;
  int32_t* index;  // max only
  int64_t h, w, ho, wo;
  int64_t kh, kw, sh, sw;
};

using PoolKernel = void (*)(const PoolArgs&);
struct PoolRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  PoolKernel kernel;
};

// Reference of every type.
template <class T> void pool_max_scalar(const PoolArgs& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  int64_t at = 0;
  for (int64_t i = 0; i < a.ho; i++)
    for (int64_t j = 0; j < a.wo; j++, at++) {
      int64_t best = i * a.sh * a.w + j * a.sw;
      T top = x[best];
      for (int64_t r = 0; r < a.kh; r++)
        for (int64_t c = 0; c < a.kw; c++) {
          const int64_t p = (i * a.sh + r) * a.w + j * a.sw + c;
          const T v = x[p];
          if ((v > top || v != v) && top == top) {
            top = v;
            best = p;
          }
        }
      y[at] = top;
      a.index[at] = static_cast<int32_t>(best);
    }
}

template <class T> void pool_avg_scalar(const PoolArgs& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  const T scale = T(1) / static_cast<T>(a.kh * a.kw);
  for (int64_t i = 0; i < a.ho; i++) {
    T* out = y + i * a.wo;
    for (int64_t j = 0; j < a.wo; j++) out[j] = 0;
    for (int64_t r = 0; r < a.kh; r++)
      for (int64_t c = 0; c < a.kw; c++) {
        const T* row = x + (i * a.sh + r) * a.w + c;
        for (int64_t j = 0; j < a.wo; j++) out[j] += row[j * a.sw];
      }
    for (int64_t j = 0; j < a.wo; j++) out[j] *= scale;
  }
}

#define TERSOR_POOL(variant, needs, function) void function(const PoolArgs& a);
#include "kernels/pool/kernels.inc"
#undef TERSOR_POOL

int pool_rows(RowInfo* out, int capacity);
int pool_table(const PoolRow** rows);  // all rows, for tests
PoolKernel pool_max2x2_f32();          // the row chosen for kernel = stride = 2 x 2

}  // namespace tersor
