// Body of a vector width: what becomes of a tile of sums (QgemmFinish) and quantizing rows, over the vector in scope. The including file defines
// before, in its region and an anonymous namespace of tersor: high_mul(a, b) = (a * b + 2^30) >> 31, shift_left(a, counts), shift_right(a, counts)
// (arithmetic; counts per lane, 0 to 31), min_int, max_int, load_ints(p, n), store_ints(p, v, n): n of kLanes; and includes bytes_<isa>.h.
#include "kernels/qgemm/qgemm.h"
#include "kernels/qgemm/quotient.h"
#include "simd/activation.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// The integer part of the first n lanes of column j on, for one row after the other. What is the same for all rows is taken off once.
struct IntegerPart {
  simd::I32 column, w_zero, add;
  const int32_t* x_zero;   // null: the same for all rows, and part of `add`
  const int32_t* row_sum;  // null without w_zero
  TERSOR_VEC_INLINE IntegerPart(const QgemmFinish& f, int64_t j, int64_t n)
      : column(f.column ? load_ints(f.column + j, n) : simd::I32(0)),
        w_zero(f.w_zero ? load_ints(f.w_zero + j, n) : simd::I32(0)),
        add(f.add ? load_ints(f.add + j, n) : simd::I32(0)),
        x_zero(f.column && f.x_zero_step ? f.x_zero : nullptr),
        row_sum(f.w_zero ? f.row_sum : nullptr) {
    if (f.column && !f.x_zero_step) add = add - simd::mul_low(simd::I32(f.x_zero[0]), column);
  }
  TERSOR_VEC_INLINE simd::I32 of(simd::I32 sum, int64_t row) const {
    simd::I32 v = sum + add;
    if (x_zero) v = v - simd::mul_low(simd::I32(x_zero[row]), column);
    if (row_sum) v = v - simd::mul_low(simd::I32(row_sum[row]), w_zero);
    return v;
  }
};

// Whole vectors of one column of them as f32, without a zero point of the weight: beside an activation's thirty instructions every other one shows.
template <class Act> TERSOR_VEC_INLINE void finish_whole(const QgemmFinish& f, const IntegerPart& part, simd::F32 scale, simd::F32 bias, const int32_t* sums,
                                                         int64_t sums_row, int64_t i, int64_t m, int64_t j) {
  const float one = 1;
  const float* x_scale = f.x_scale ? f.x_scale + i * f.x_scale_step : &one;  // 1 * scale = scale
  const int64_t step = f.x_scale ? f.x_scale_step : 0, y_row = f.y_row, residual_row = f.residual_row;
  const int32_t* const x_zero = part.x_zero ? part.x_zero + i : nullptr;
  const float* residual = f.residual ? f.residual + i * residual_row + j : nullptr;
  float* y = static_cast<float*>(f.y) + i * y_row + j;
  for (int64_t r = 0; r < m; r++, sums += sums_row, y += y_row, x_scale += step) {
    simd::I32 v = simd::load(sums) + part.add;
    if (x_zero) v = v - simd::mul_low(simd::I32(x_zero[r]), part.column);
    simd::F32 t = Act::of(simd::to_float(v) * (simd::F32(*x_scale) * scale) + bias);
    if (residual) t = t + simd::load(residual), residual += residual_row;
    simd::store(y, t);
  }
}

// Column by column of vectors, so that what belongs to the columns stays in registers.
template <class Act> void finish_float(const QgemmFinish& f, const int32_t* sums, int64_t sums_row, int64_t i, int64_t m, int64_t j, int64_t n) {
  const bool narrow = f.to != QgemmTo::f32;
  const simd::F32 lo(static_cast<float>(f.lo - f.y_zero)), hi(static_cast<float>(f.hi - f.y_zero)), inverse(f.y_inverse);
  for (int64_t c = 0; c < n; c += kLanes) {
    const int64_t live = n - c < kLanes ? n - c : kLanes;
    const IntegerPart part(f, j + c, live);
    const simd::F32 scale = simd::load_part(f.scale + j + c, live);
    const simd::F32 bias = f.bias ? simd::load_part(f.bias + j + c, live) : simd::F32(-0.0f);  // x + -0 = x for every x
    if (live == kLanes && !narrow && !part.row_sum) {
      finish_whole<Act>(f, part, scale, bias, sums + c, sums_row, i, m, j + c);
      continue;
    }
    for (int64_t r = 0; r < m; r++) {
      const int64_t row = i + r;
      const simd::I32 v = part.of(simd::load(sums + r * sums_row + c), row);
      const simd::F32 s = f.x_scale ? simd::F32(f.x_scale[row * f.x_scale_step]) * scale : scale;
      simd::F32 y = Act::of(simd::to_float(v) * s + bias);
      if (f.residual) y = y + simd::load_part(f.residual + row * f.residual_row + j + c, live);
      const int64_t at = row * f.y_row + j + c;
      if (!narrow) {
        simd::store_part(static_cast<float*>(f.y) + at, y, live);
        continue;
      }
      y = y * inverse;
      y = simd::select(simd::is_nan(y), simd::F32(0.0f), y);
      y = simd::round_even(simd::max(lo, simd::min(hi, y)));
      store_bytes(static_cast<uint8_t*>(f.y) + at, simd::to_int(y) + simd::I32(f.y_zero), live);
    }
  }
}

// The cases that are all of the work of a plain product, whole vectors of one column: 32-bit sums, and f32 without a zero point by row, residual or
// activation. Beside K / 4 dot products a sum, every instruction here shows.
TERSOR_VEC_INLINE void finish_sums(simd::I32 add, const int32_t* sums, int64_t sums_row, int64_t m, int32_t* y, int64_t y_row) {
  for (int64_t r = 0; r < m; r++, sums += sums_row, y += y_row) simd::store(y, simd::load(sums) + add);
}
TERSOR_VEC_INLINE void finish_scaled(simd::I32 add, simd::F32 scale, simd::F32 bias, const int32_t* sums, int64_t sums_row, int64_t m, float* y, int64_t y_row) {
  for (int64_t r = 0; r < m; r++, sums += sums_row, y += y_row) simd::store(y, simd::to_float(simd::load(sums) + add) * scale + bias);
}
TERSOR_VEC_INLINE void finish_scaled_rows(simd::I32 add, simd::F32 scale, simd::F32 bias, const float* x_scale, const int32_t* sums, int64_t sums_row, int64_t m,
                                          float* y, int64_t y_row) {
  for (int64_t r = 0; r < m; r++, sums += sums_row, y += y_row) simd::store(y, simd::to_float(simd::load(sums) + add) * (simd::F32(x_scale[r]) * scale) + bias);
}

void finish_plain(const QgemmFinish& given, const int32_t* sums, int64_t sums_row, int64_t i, int64_t m, int64_t j, int64_t n) {
  const QgemmFinish f = given;
  for (int64_t c = 0; c < n; c += kLanes) {
    const simd::I32 add = IntegerPart(f, j + c, kLanes).add;
    float* const y = static_cast<float*>(f.y) + i * f.y_row + j + c;
    const simd::F32 scale = simd::load(f.scale + j + c), bias = f.bias ? simd::load(f.bias + j + c) : simd::F32(-0.0f);
    if (!f.x_scale_step) finish_scaled(add, f.x_scale ? simd::F32(f.x_scale[0]) * scale : scale, bias, sums + c, sums_row, m, y, f.y_row);
    else finish_scaled_rows(add, scale, bias, f.x_scale + i, sums + c, sums_row, m, y, f.y_row);
  }
}

void finish_s32(const QgemmFinish& given, const int32_t* sums, int64_t sums_row, int64_t i, int64_t m, int64_t j, int64_t n) {
  const QgemmFinish f = given;
  for (int64_t c = 0; c < n; c += kLanes) {
    const int64_t live = n - c < kLanes ? n - c : kLanes;
    const IntegerPart part(f, j + c, live);
    int32_t* const y = static_cast<int32_t*>(f.y) + i * f.y_row + j + c;
    if (live == kLanes && !part.x_zero && !part.row_sum) {
      finish_sums(part.add, sums + c, sums_row, m, y, f.y_row);
      continue;
    }
    for (int64_t r = 0; r < m; r++) {
      const simd::I32 v = part.of(simd::load(sums + r * sums_row + c), i + r);
      if (live == kLanes) simd::store(y + r * f.y_row, v);
      else store_ints(y + r * f.y_row, v, live);
    }
  }
}

void finish_fixed(const QgemmFinish& f, const int32_t* sums, int64_t sums_row, int64_t i, int64_t m, int64_t j, int64_t n) {
  using simd::I32;
  const I32 zero(0), one(1), lo(f.lo - f.y_zero), hi(f.hi - f.y_zero), offset(f.y_zero);
  for (int64_t c = 0; c < n; c += kLanes) {
    const int64_t live = n - c < kLanes ? n - c : kLanes;
    const IntegerPart part(f, j + c, live);
    const I32 multiplier = load_ints(f.multiplier + j + c, live), e = load_ints(f.exponent + j + c, live);
    const I32 right = max_int(zero - e, zero), left = max_int(e, zero);
    const I32 mask = shift_left(one, right) - one, half = simd::shift_right_logical(mask, 1);
    for (int64_t r = 0; r < m; r++) {
      I32 v = part.of(simd::load(sums + r * sums_row + c), i + r);
      const I32 shifted = shift_left(v, left);
      v = simd::select(shift_right(shifted, left) == v, shifted, (v >> 31) ^ I32(INT32_MAX));
      v = high_mul(v, multiplier);
      const I32 up = simd::shift_right_logical(half - (v >> 31) - (v & mask), 31);  // 1 where the remainder exceeds half + (v < 0)
      v = max_int(lo, min_int(hi, shift_right(v, right) + up)) + offset;
      store_bytes(static_cast<uint8_t*>(f.y) + (i + r) * f.y_row + j + c, v, live);
    }
  }
}

void finish_tile(const QgemmFinish& f, const int32_t* sums, int64_t sums_row, int64_t i, int64_t m, int64_t j, int64_t n) {
  if (f.to == QgemmTo::s32) return finish_s32(f, sums, sums_row, i, m, j, n);
  if (f.to == QgemmTo::fixed_s8 || f.to == QgemmTo::fixed_u8) return finish_fixed(f, sums, sums_row, i, m, j, n);
  if (f.to == QgemmTo::f32 && f.act == QgemmAct::none && n % kLanes == 0 && !f.residual && !f.w_zero && !(f.column && f.x_zero_step))
    return finish_plain(f, sums, sums_row, i, m, j, n);
  switch (f.act) {
    case QgemmAct::relu: return finish_float<ActRelu>(f, sums, sums_row, i, m, j, n);
    case QgemmAct::gelu: return finish_float<ActGelu>(f, sums, sums_row, i, m, j, n);
    case QgemmAct::tanh: return finish_float<ActTanh>(f, sums, sums_row, i, m, j, n);
    case QgemmAct::sigmoid: return finish_float<ActSigmoid>(f, sums, sums_row, i, m, j, n);
    case QgemmAct::gelu_tanh: return finish_float<ActGeluTanh>(f, sums, sums_row, i, m, j, n);
    default: return finish_float<ActNone>(f, sums, sums_row, i, m, j, n);
  }
}

TERSOR_VEC_INLINE simd::F32 some(const float* p, int64_t n) { return n == kLanes ? simd::load(p) : simd::load_part(p, n); }

void quantize(const QgemmQuantize& q) {
  const Quotient quotient(q.scale, q.zero);
  const simd::I32 zero(q.zero);
  for (int64_t i = 0; i < q.n; i += kLanes) {
    const int64_t live = q.n - i < kLanes ? q.n - i : kLanes;
    store_bytes(q.out + i, quotient.of(some(q.x + i, live)) + zero, live);
  }
}

TERSOR_VEC_INLINE void widen(simd::F32& lo, simd::F32& hi, simd::F32 x) {
  lo = simd::min(lo, x);
  hi = simd::max(hi, x);
}

// False when a value is not finite.
bool largest_magnitude(const float* x, int64_t n, float* out) {
  using simd::I32;
  const I32 magnitude(INT32_MAX);
  I32 m0(0), m1(0);  // bits of numbers without sign: in the order of the numbers, and NaN above all
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    m0 = max_int(m0, simd::bits(simd::load(x + i)) & magnitude);
    m1 = max_int(m1, simd::bits(simd::load(x + i + kLanes)) & magnitude);
  }
  for (; i < n; i += kLanes) m0 = max_int(m0, simd::bits(some(x + i, n - i < kLanes ? n - i : kLanes)) & magnitude);
  const simd::F32 m = simd::as_float(max_int(m0, m1));
  *out = simd::max_lanes(m);
  return simd::sum_lanes(m - m) == 0;
}

bool range_with_zero(const float* x, int64_t n, float* lo, float* hi) {
  using simd::F32;
  F32 lo0(0.0f), hi0(0.0f), lo1(0.0f), hi1(0.0f), bad(0.0f);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const F32 a = simd::load(x + i), b = simd::load(x + i + kLanes);
    widen(lo0, hi0, a);
    widen(lo1, hi1, b);
    bad = bad + (a - a) + (b - b);  // NaN from the first value on that is not finite
  }
  for (; i < n; i += kLanes) {
    const F32 a = some(x + i, n - i < kLanes ? n - i : kLanes);
    widen(lo0, hi0, a);
    bad = bad + (a - a);
  }
  *lo = simd::min_lanes(simd::min(lo0, lo1)), *hi = simd::max_lanes(simd::max(hi0, hi1));
  return simd::sum_lanes(bad) == 0;
}

// Codes of a row by its own range, so that x * inverse lies within 256 of 0 and fits an integer.
template <bool kClamp> void codes_in_range(const QgemmDynamic& d, float scale, int32_t zero) {
  const simd::F32 inverse(1.0f / scale);
  const simd::I32 offset(zero), least(0), most(255);
  const float* const x = d.x;
  uint8_t* const out = d.out;
  for (int64_t i = 0; i < d.n; i += kLanes) {
    const int64_t live = d.n - i < kLanes ? d.n - i : kLanes;
    simd::I32 q = simd::to_int(some(x + i, live) * inverse) + offset;
    if (kClamp) q = max_int(least, min_int(most, q));
    store_bytes(out + i, q, live);
  }
}

void dynamic(QgemmDynamic& d) {
  constexpr float smallest = 1.17549435e-38f;
  float lo = 0, hi = 0;
  const bool finite = d.symmetric ? largest_magnitude(d.x, d.n, &hi) : range_with_zero(d.x, d.n, &lo, &hi);
  d.zero = 128;
  if (!finite) {
    d.scale = NAN;  // every result of the row is NaN, whatever the codes
    memset(d.out, 128, static_cast<size_t>(d.n));
    return;
  }
  const float scale = d.symmetric ? hi / 127.0f : hi / 255.0f - lo / 255.0f;
  d.scale = scale >= smallest ? scale : smallest;
  if (d.symmetric) return codes_in_range<false>(d, d.scale, d.zero);
  const float z = -lo / d.scale;
  d.zero = static_cast<int32_t>(((z < 255.0f ? z : 255.0f) + 12582912.0f) - 12582912.0f);  // rounds half to even
  codes_in_range<true>(d, d.scale, d.zero);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
