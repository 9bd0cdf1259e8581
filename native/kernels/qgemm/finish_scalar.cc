// Finish and quantize, one value at a time: the reference.
#include "simd/vec_scalar.h"

#include "kernels/qgemm/bytes_scalar.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using simd::I32;
constexpr int kLanes = simd::F32::lanes;
TERSOR_VEC_INLINE I32 high_mul(I32 a, I32 b) { return I32(static_cast<int32_t>((int64_t(a.v) * b.v + (int64_t(1) << 30)) >> 31)); }
TERSOR_VEC_INLINE I32 shift_left(I32 a, I32 n) { return I32(static_cast<int32_t>(static_cast<uint32_t>(a.v) << n.v)); }
TERSOR_VEC_INLINE I32 shift_right(I32 a, I32 n) { return I32(a.v >> n.v); }
TERSOR_VEC_INLINE I32 min_int(I32 a, I32 b) { return a.v < b.v ? a : b; }
TERSOR_VEC_INLINE I32 max_int(I32 a, I32 b) { return a.v > b.v ? a : b; }
TERSOR_VEC_INLINE I32 load_ints(const int32_t* p, int64_t) { return I32(*p); }
TERSOR_VEC_INLINE void store_ints(int32_t* p, I32 v, int64_t) { *p = v.v; }

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/qgemm/finish.h"

namespace tersor {
namespace {
float act_of(QgemmAct act, float x) {
  switch (act) {
    case QgemmAct::relu: return ActRelu::of(simd::F32(x)).v;
    case QgemmAct::gelu: return ActGelu::of(simd::F32(x)).v;
    case QgemmAct::tanh: return ActTanh::of(simd::F32(x)).v;
    case QgemmAct::sigmoid: return ActSigmoid::of(simd::F32(x)).v;
    case QgemmAct::gelu_tanh: return ActGeluTanh::of(simd::F32(x)).v;
    default: return x;
  }
}
}  // namespace

void qgemm_finish_wide(const QgemmFinish& f, const int64_t* totals, int64_t i, int64_t m, int64_t n) {
  for (int64_t r = i; r < i + m; r++)
    for (int64_t j = 0; j < n; j++) {
      int64_t v = totals[(r - i) * n + j];
      if (f.column) v -= int64_t(f.x_zero[r * f.x_zero_step]) * f.column[j];
      if (f.w_zero) v -= int64_t(f.row_sum[r]) * f.w_zero[j];
      const int64_t at = r * f.y_row + j;
      if (f.to == QgemmTo::s32) {
        static_cast<int64_t*>(f.y)[at] = v;
        continue;
      }
      const float s = f.x_scale ? f.x_scale[r * f.x_scale_step] * f.scale[j] : f.scale[j];
      float y = static_cast<float>(v) * s;
      y = act_of(f.act, f.bias ? y + f.bias[j] : y);
      if (f.residual) y = y + f.residual[r * f.residual_row + j];
      if (f.to == QgemmTo::f32) {
        static_cast<float*>(f.y)[at] = y;
        continue;
      }
      y = y * f.y_inverse;
      const float lo = static_cast<float>(f.lo - f.y_zero), hi = static_cast<float>(f.hi - f.y_zero), whole = simd::round_even(simd::F32(y)).v;
      const float q = y != y ? 0 : whole < lo ? lo : whole > hi ? hi : whole;
      static_cast<uint8_t*>(f.y)[at] = static_cast<uint8_t>(static_cast<int32_t>(q) + f.y_zero);
    }
}

const QgemmWidth qgemm_width_scalar = {finish_tile, quantize, dynamic};
}  // namespace tersor
