// cross_entropy(logits [N, C], labels i32 [N]) -> loss [N]:  loss[i] = log(sum_c exp(x[i,c] - m)) + m - x[i, labels[i]],  m = max_c x[i,c].
// exp is a Taylor polynomial on |r| <= ln2 / 2 (relative error below 2 ulp of the type), log an atanh series in double; both are plain
// arithmetic, so results are the same on every machine. Sums: eight lanes over 256 terms, then double, in a fixed order.
#include "ops/index_check.h"
#include "ops/scalar_math.h"
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
