// cross_entropy(logits [N, C], labels i32 [N]) -> loss [N]:  loss[i] = log(sum_c exp(x[i,c] - m)) + m - x[i, labels[i]],  m = max_c x[i,c].
// exp is a Taylor polynomial on |r| <= ln2 / 2 (relative error below 2 ulp of the type), log an atanh series in double; both are plain
// arithmetic, so results are the same on every machine. Sums: eight lanes over 256 terms, then double, in a fixed order.
#include <cstring>

#include "ops/index_check.h"
#include "ops/util.h"

namespace tersor {

Status cross_entropy_infer(cross_entropy_args& a) {
  TERSOR_TRY(expect_float("cross_entropy", "logits", a.logits));
  TERSOR_TRY(expect_rank("cross_entropy", "logits", a.logits, 2));
  TERSOR_TRY(expect_dtype("cross_entropy", "labels", a.labels, DType::i32));
  TERSOR_TRY(expect_shape("cross_entropy", "labels", a.labels, a.logits.shape, 1));
  set_shape(a.loss, a.logits.dtype, a.logits.shape, 1);
  return {};
}

namespace {

// exp(x) for x <= 0; below the smallest normal number's logarithm it stays at that number (a sum that starts at 1 does not see it).
// Adding 1.5 * 2^(mantissa bits) rounds to the nearest integer and leaves it in the low bits: no float -> int cast, so NaN is harmless.
inline float exp_negative(float x) {
  const float bounded = x < -87.0f ? -87.0f : x;
  const float shifted = bounded * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, 4);
  bits = (bits + 127) << 23;
  float power;
  memcpy(&power, &bits, 4);
  return p * power;
}

inline double exp_negative(double x) {
  const double bounded = x < -708.0 ? -708.0 : x;
  const double shifted = bounded * 1.4426950408889634 + 6755399441055744.0;
  const double n = shifted - 6755399441055744.0;
  const double r = (bounded - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 87178291200.0;
  const double c[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0,
                      1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0};
  for (double k : c) p = p * r + k;
  uint64_t bits;
  memcpy(&bits, &shifted, 8);
  bits = (bits + 1023) << 52;
  double power;
  memcpy(&power, &bits, 8);
  return p * power;
}

// log(s) for normal s > 0; NaN and infinity come back as they are.
double log_positive(double s) {
  if (!(s <= 1.7976931348623157e308)) return s;
  uint64_t bits;
  memcpy(&bits, &s, 8);
  int64_t e = static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFFull) | (uint64_t(1023) << 52);
  double f;
  memcpy(&f, &bits, 8);
  if (f > 1.4142135623730951) {
    f *= 0.5;
    e++;
  }
  const double r = (f - 1) / (f + 1), z = r * r;
  double p = 0;
  for (int k = 23; k >= 1; k -= 2) p = p * z + 1.0 / k;
  const double n = static_cast<double>(e);
  return n * 6.93147180369123816490e-01 + (n * 1.90821492927058770002e-10 + 2 * r * p);
}

template <class T> T row_loss(const T* x, int64_t n, int64_t label) {
  T top[8], m = x[0];
  for (T& t : top) t = m;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int q = 0; q < 8; q++) top[q] = x[i + q] > top[q] ? x[i + q] : top[q];
  for (; i < n; i++) m = x[i] > m ? x[i] : m;
  for (T t : top) m = t > m ? t : m;
  double total = 0;
  for (int64_t c = 0; c < n; c += 256) {
    const int64_t end = c + 256 < n ? c + 256 : n;
    T e[256], lanes[8] = {};  // two simple loops: compilers vectorize the first one
    for (int64_t j = 0; j < end - c; j++) e[j] = exp_negative(x[c + j] - m);
    for (int64_t j = end - c; j % 8 != 0; j++) e[j] = 0;
    for (int64_t j = 0; j < end - c; j += 8)
      for (int q = 0; q < 8; q++) lanes[q] += e[j + q];
    total += static_cast<double>(((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7])));
  }
  return static_cast<T>(log_positive(total) + (static_cast<double>(m) - static_cast<double>(x[label])));
}

}  // namespace

Status cross_entropy_cpu(cross_entropy_args& a, Context& ctx) {
  const int64_t rows = a.logits.shape[0], classes = a.logits.shape[1];
  Contiguous logits, labels;
  TERSOR_TRY(labels.open("cross_entropy", a.labels, ctx.cancel));
  int64_t bad;
  TERSOR_TRY(find_bad_index(labels.as<int32_t>(), rows, classes, ctx.cancel, &bad));
  if (bad < rows)
    return fail(Code::shape, "cross_entropy: labels must be in [0, %lld), got %d in row %lld", static_cast<long long>(classes),
                labels.as<int32_t>()[bad], static_cast<long long>(bad));
  TERSOR_TRY(logits.open("cross_entropy", a.logits, ctx.cancel));
  return parallel_for(rows, grain_for(8 * classes), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t label = labels.as<int32_t>()[i];
      if (a.logits.dtype == DType::f32) a.loss.as<float>()[i] = row_loss(logits.as<float>() + i * classes, classes, label);
      else a.loss.as<double>()[i] = row_loss(logits.as<double>() + i * classes, classes, label);
    }
  });
}

}  // namespace tersor
