#include "ops/qgemm_product.h"

#include <cmath>
#include <cstring>

namespace tersor {
namespace {

bool present(const TensorRef* t) { return t && t->present(); }

// Bias of the codes of x over what the rows of the table take: i8 codes become u8 ones by adding 128, unless every row takes them as they are.
int64_t shift_of(DType dtype, bool as_signed) { return dtype == DType::i8 && !as_signed ? 128 : dtype == DType::u8 && as_signed ? -128 : 0; }

template <class T> void gather(const TensorRef& t, T* out) {
  const T* from = t.as<T>();
  for (int64_t i = 0; i < t.shape[0]; i++) out[i] = from[i * t.stride[0]];
}

// Every entry of an i32 tensor within [lo, hi].
Status gather_zeros(const char* op, const char* name, const TensorRef& t, int32_t lo, int32_t hi, int32_t* out) {
  gather(t, out);
  for (int64_t i = 0; i < t.shape[0]; i++)
    if (out[i] < lo || out[i] > hi)
      return fail(Code::option, "%s: %s must be in [%d, %d], got %d at [%lld]", op, name, lo, hi, out[i], static_cast<long long>(i));
  return {};
}

}  // namespace

Status qgemm_check(const QgemmInput& in) {
  const TensorRef& x = *in.x;
  if (in.form != QgemmForm::codes) TERSOR_TRY(expect_dtype(in.op, "x", x, DType::f32));
  else if (x.dtype != DType::u8 && x.dtype != DType::i8) return fail(Code::dtype, "%s: x must be u8 or i8, got %s", in.op, TERSOR_TEXT(x));
  if (x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", in.op, TERSOR_TEXT(x));
  const int64_t n = in.n, k = in.k(), m = in.rows();
  if (n < 0 || n > (int64_t(1) << 40)) return fail(Code::option, "%s: out must be in [0, 2^40], got %lld", in.op, static_cast<long long>(n));
  TERSOR_TRY(qgemm_check_depth(in.op, k));
  TERSOR_TRY(expect_dtype(in.op, "packed", *in.packed, DType::u8));
  TERSOR_TRY(expect_rank(in.op, "packed", *in.packed, 1));
  const int64_t bytes = qgemm_blob_bytes(qgemm_layout(), n, k);
  if (in.packed->shape[0] != bytes)
    return fail(Code::shape, "%s: packed must come from qgemm_pack of a [%lld,%lld] weight in this process (%lld bytes), got %s", in.op,
                static_cast<long long>(n), static_cast<long long>(k), static_cast<long long>(bytes), TERSOR_TEXT(*in.packed));
  const bool is_signed = x.dtype == DType::i8;
  const long long lo = is_signed ? -128 : 0, hi = is_signed ? 127 : 255;
  if (in.x_zero < lo || in.x_zero > hi)
    return fail(Code::option, "%s: x_zero must be in [%lld, %lld], got %lld", in.op, lo, hi, static_cast<long long>(in.x_zero));
  if (present(in.x_scales)) {
    TERSOR_TRY(expect_dtype(in.op, "x_scales", *in.x_scales, DType::f32));
    TERSOR_TRY(expect_shape(in.op, "x_scales", *in.x_scales, &m, 1));
  }
  if (present(in.x_zeros)) {
    TERSOR_TRY(expect_dtype(in.op, "x_zeros", *in.x_zeros, DType::i32));
    TERSOR_TRY(expect_shape(in.op, "x_zeros", *in.x_zeros, &m, 1));
  }
  if (present(in.w_zeros)) {
    TERSOR_TRY(expect_dtype(in.op, "w_zeros", *in.w_zeros, DType::i32));
    TERSOR_TRY(expect_shape(in.op, "w_zeros", *in.w_zeros, &n, 1));
  }
  return {};
}

bool qgemm_needs_64(const QgemmInput& in) {
  const int64_t z = in.x_zero + (in.x->dtype == DType::i8 ? 128 : 0);
  int64_t x = z > 255 - z ? z : 255 - z;
  if (present(in.x_zeros) || in.form == QgemmForm::token_affine) x = 255;
  if (in.form == QgemmForm::token_symmetric) x = 127;
  return in.k() > INT32_MAX / (x * (present(in.w_zeros) ? 255 : 128));
}

void qgemm_result(const QgemmInput& in, DType dtype, TensorRef& y) {
  int64_t shape[kMaxRank];
  for (int i = 0; i < in.x->rank; i++) shape[i] = in.x->shape[i];
  shape[in.x->rank - 1] = in.n;
  set_shape(y, dtype, shape, in.x->rank);
}

namespace {

// Bytes with the top bit flipped: i8 codes as u8 ones and back. Plain pointers, which the compiler knows not to overlap: as the body of a lambda whose
// captures a store of bytes may change, this loop takes five cycles a byte.
void flip_row(const uint8_t* __restrict from, int64_t n, uint8_t* __restrict to) {
  for (int64_t i = 0; i < n; i++) to[i] = static_cast<uint8_t>(from[i] ^ 0x80);
}

// Sums of rows of codes, modulo 2^32.
template <class T> void sum_rows(const T* codes, int64_t k, int64_t row, int64_t begin, int64_t end, int32_t* out) {
  for (int64_t i = begin; i < end; i++) {
    uint32_t s = 0;
    for (int64_t j = 0; j < k; j++) s += static_cast<uint32_t>(static_cast<int32_t>(codes[i * row + j]));
    memcpy(out + i, &s, 4);
  }
}

// What rows of x need before they can be multiplied: codes of the type that the kernel rows take, with their scales and zeros where the form finds them, and
// the sums of codes that zero points of the weight meet.
struct Preparation {
  const QgemmInput& in;
  const void* x;
  QgemmCodes codes;          // of all rows: x itself, or the memory at `to`
  uint8_t* to = nullptr;     // null: x is multiplied as it is
  float* scales = nullptr;   // of the dynamic forms
  int32_t* zeros = nullptr;
  int32_t* sums = nullptr;   // null: none are needed

  bool empty() const { return !to && !sums; }
  int64_t grain() const {  // a few microseconds: one vector a cycle where bytes are flipped, one value where f32 is quantized
    const int64_t k = in.k() > 0 ? in.k() : 1, work = in.form == QgemmForm::codes && !sums ? int64_t(1) << 16 : int64_t(1) << 13;
    return work / k > 0 ? work / k : 1;
  }
  static void run(void* state, int64_t begin, int64_t end) { static_cast<const Preparation*>(state)->rows(begin, end); }

  void rows(int64_t begin, int64_t end) const {
    const int64_t k = in.k(), depth = codes.a_row;
    if (to && in.form == QgemmForm::codes && depth == k) flip_row(static_cast<const uint8_t*>(x) + begin * k, (end - begin) * k, to + begin * k);
    else if (to)
      for (int64_t i = begin; i < end; i++) {
        if (in.form == QgemmForm::codes) flip_row(static_cast<const uint8_t*>(x) + i * k, k, to + i * depth);
        else quantize(i);
        memset(to + i * depth + k, 0, static_cast<size_t>(depth - k));
      }
    if (!sums) return;
    if (codes.a_signed) sum_rows(static_cast<const int8_t*>(codes.a), k, depth, begin, end, sums);
    else sum_rows(static_cast<const uint8_t*>(codes.a), k, depth, begin, end, sums);
  }

 private:
  void quantize(int64_t i) const {
    const int64_t k = in.k();
    const QgemmWidth& width = *qgemm_row(in.rows()).width;
    const float* const from = static_cast<const float*>(x) + i * k;
    uint8_t* const out = to + i * codes.a_row;
    if (in.form == QgemmForm::scale) {
      width.quantize({from, k, in.x_scale, static_cast<int32_t>(in.x_zero), out});
    } else {
      QgemmDynamic d{from, k, in.form == QgemmForm::token_symmetric, out, 0, 0};
      width.dynamic(d);
      scales[i] = d.scale;
      if (in.form == QgemmForm::token_affine) zeros[i] = d.zero - (codes.a_signed ? 128 : 0);
    }
    if (codes.a_signed)
      for (int64_t j = 0; j < k; j++) out[j] ^= 0x80;
  }
};

// Totals in 64 bits: chunks of k whose sums fit, for a few rows at a time.
Status product_64(const QgemmInput& in, const QgemmCodes& codes, const QgemmFinish& f, const Cancel* cancel) {
  constexpr int64_t kRows = 16, kChunk = 65536;  // 255 * 128 * 65536 < 2^31
  const int64_t m = in.rows(), n = in.n, k = in.k();
  Scratch partial, total;
  TERSOR_TRY(partial.reserve(in.op, kRows * n * 4));
  TERSOR_TRY(total.reserve(in.op, kRows * n * 8));
  for (int64_t i = 0; i < m; i += kRows) {
    const int64_t rows = m - i < kRows ? m - i : kRows;
    memset(total.as<void>(), 0, static_cast<size_t>(rows * n * 8));
    for (int64_t k0 = 0; k0 < k; k0 += kChunk) {
      QgemmFinish sums;
      sums.y = partial.as<void>(), sums.y_row = n;
      const QgemmCodes part{static_cast<const char*>(codes.a) + i * codes.a_row, codes.a_row, codes.a_signed};
      TERSOR_TRY(qgemm_parallel(in.op, part, rows, in.packed->data, n, k, {k0, k - k0 < kChunk ? k - k0 : kChunk}, sums, cancel));
      const int32_t* const p = partial.as<int32_t>();
      int64_t* const t = total.as<int64_t>();
      for (int64_t j = 0; j < rows * n; j++) t[j] += p[j];
    }
    qgemm_finish_wide(f, total.as<int64_t>(), i, rows, n);
  }
  return {};
}

}  // namespace

Status qgemm_product(const QgemmInput& in, QgemmFinish f, const Cancel* cancel) {
  const int64_t m = in.rows(), n = in.n, k = in.k();
  TERSOR_TRY(qgemm_check_blob(in.op, *in.packed, n, k));
  if (m == 0 || n == 0) return {};
  Contiguous x;
  TERSOR_TRY(x.open(in.op, *in.x, cancel));
  const QgemmLayout& layout = qgemm_layout();
  const bool as_signed = in.form == QgemmForm::codes && qgemm_takes(in.x->dtype == DType::i8) ? in.x->dtype == DType::i8 : !qgemm_takes(false);
  const bool direct = in.form == QgemmForm::codes && as_signed == (in.x->dtype == DType::i8);
  const int64_t shift = in.form == QgemmForm::codes ? shift_of(in.x->dtype, as_signed) : as_signed ? -128 : 0;
  const int32_t lo = in.x->dtype == DType::i8 ? -128 : 0;

  Scratch memory, code_memory, scale_memory, row_sums, columns, w_zeros;
  TERSOR_TRY(memory.reserve(in.op, m * 4 + 4));
  int32_t* const zeros = memory.as<int32_t>();
  f.x_zero = zeros, f.x_zero_step = 0;
  zeros[0] = static_cast<int32_t>(in.x_zero + shift);
  if (present(in.x_zeros)) {
    TERSOR_TRY(gather_zeros(in.op, "x_zeros", *in.x_zeros, lo, lo + 255, zeros));
    for (int64_t i = 0; i < m; i++) zeros[i] += static_cast<int32_t>(shift);
    f.x_zero_step = 1;
  }
  if (present(in.x_scales)) {
    TERSOR_TRY(scale_memory.reserve(in.op, m * 4));
    float* const scales = scale_memory.as<float>();
    gather(*in.x_scales, scales);
    for (int64_t i = 0; i < m; i++)
      if (!(scales[i] > 0 && scales[i] <= 3.40282346e38f))
        return fail(Code::option, "%s: x_scales must be positive and finite, got %g at [%lld]", in.op, static_cast<double>(scales[i]), static_cast<long long>(i));
    f.x_scale = scales, f.x_scale_step = 1;
  }

  Preparation p{in, x.data(), {x.data(), k, as_signed}};  // behind every tensor there is slack for the padding of k
  if (!direct) {
    const int64_t depth = layout.depth(k);
    TERSOR_TRY(code_memory.reserve(in.op, m * depth));
    p.to = code_memory.as<uint8_t>();
    p.codes.a = p.to, p.codes.a_row = depth;
    if (in.form == QgemmForm::token_symmetric || in.form == QgemmForm::token_affine) {
      TERSOR_TRY(scale_memory.reserve(in.op, m * 4));
      f.x_scale = p.scales = scale_memory.as<float>(), f.x_scale_step = 1;
      f.x_zero_step = in.form == QgemmForm::token_affine ? 1 : 0;
      p.zeros = zeros;
      if (f.x_zero_step == 0) zeros[0] = as_signed ? 0 : 128;  // symmetric: the same for all rows
    }
  }

  f.column = qgemm_blob_sums(in.packed->data);
  if (present(in.w_zeros)) {
    TERSOR_TRY(w_zeros.reserve(in.op, n * 4));
    TERSOR_TRY(columns.reserve(in.op, n * 4));
    TERSOR_TRY(row_sums.reserve(in.op, m * 4));
    int32_t* const wz = w_zeros.as<int32_t>();
    TERSOR_TRY(gather_zeros(in.op, "w_zeros", *in.w_zeros, -128, 127, wz));
    for (int64_t j = 0; j < n; j++) columns.as<int32_t>()[j] = f.column[j] - static_cast<int32_t>(k) * wz[j];
    f.column = columns.as<int32_t>(), f.w_zero = wz, f.row_sum = p.sums = row_sums.as<int32_t>();
  }
  if (qgemm_needs_64(in)) {
    if (!p.empty()) TERSOR_TRY(parallel_for(m, p.grain(), cancel, [&](int64_t begin, int64_t end) { p.rows(begin, end); }));
    return product_64(in, p.codes, f, cancel);
  }
  QgemmPrepare prepare;
  if (!p.empty()) prepare = {Preparation::run, &p, p.grain()};
  return qgemm_parallel(in.op, p.codes, m, in.packed->data, n, k, {0, k}, f, cancel, prepare);
}

}  // namespace tersor
