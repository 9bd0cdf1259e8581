// cross_entropy(logits [N, C], labels i32 [N]) -> loss [N]:  loss[i] = log(sum_c exp(x[i,c] - m)) + m - x[i, labels[i]],  m = max_c x[i,c].
// cross_entropy_grad(logits, labels, dy [N]) -> dlogits [N, C]:  (softmax(x)[i,c] - [c = labels[i]]) dy[i], in one pass over memory.
// f32: kernels/softmax. f64: exp is a Taylor polynomial on |r| <= ln2 / 2 (relative error below 2 ulp), log an atanh series; both are plain
// arithmetic, so results are the same on every machine. Sums: eight lanes over 256 terms, in a fixed order.
#include "kernels/softmax/softmax.h"
#include "ops/index_check.h"
#include "ops/scalar_math.h"
#include "ops/slots.h"
#include "ops/util.h"

#include <cmath>

namespace tersor {

namespace {

template <class A> Status operands_infer(const char* op, const A& a) {
  TERSOR_TRY(expect_float(op, "logits", a.logits));
  TERSOR_TRY(expect_rank(op, "logits", a.logits, 2));
  TERSOR_TRY(expect_dtype(op, "labels", a.labels, DType::i32));
  return expect_shape(op, "labels", a.labels, a.logits.shape, 1);
}

// Opens logits and labels; every label names a class.
template <class A> Status open_operands(const char* op, const A& a, const Cancel* cancel, Contiguous* logits, Contiguous* labels) {
  const int64_t rows = a.logits.shape[0], classes = a.logits.shape[1];
  TERSOR_TRY(labels->open(op, a.labels, cancel));
  int64_t bad;
  TERSOR_TRY(find_bad_index(labels->template as<int32_t>(), rows, classes, cancel, &bad));
  if (bad < rows)
    return fail(Code::shape, "%s: labels must be in [0, %lld), got %d in row %lld", op, static_cast<long long>(classes),
                labels->template as<int32_t>()[bad], static_cast<long long>(bad));
  return logits->open(op, a.logits, cancel);
}

double row_loss(const double* x, int64_t n, int64_t label) {
  double top[8], m = x[0];
  for (double& t : top) t = m;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int q = 0; q < 8; q++) top[q] = x[i + q] > top[q] ? x[i + q] : top[q];
  for (; i < n; i++) m = x[i] > m ? x[i] : m;
  for (double t : top) m = t > m ? t : m;
  if (m == -INFINITY) return INFINITY;  // as kernels/softmax has it
  double total = 0;
  for (int64_t c = 0; c < n; c += 256) {
    const int64_t end = c + 256 < n ? c + 256 : n;
    double e[256], lanes[8] = {};  // two simple loops: compilers vectorize the first one
    for (int64_t j = 0; j < end - c; j++) e[j] = exp_negative(x[c + j] - m);
    for (int64_t j = end - c; j % 8 != 0; j++) e[j] = 0;
    for (int64_t j = 0; j < end - c; j += 8)
      for (int q = 0; q < 8; q++) lanes[q] += e[j + q];
    total += ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
  }
  return log_positive(total) + (m - x[label]);
}

template <class T> Status gradient(const cross_entropy_grad_args& a, const T* x, const int32_t* labels, const T* dy, const Cancel* cancel) {
  const int64_t classes = a.logits.shape[1];
  return parallel_for(a.logits.shape[0], grain_for(8 * classes), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      T* const row = a.dlogits.template as<T>() + i * classes;
      softmax(SoftmaxArgs<T>{x + i * classes, row, 1, classes, false});
      row[labels[i]] -= T(1);
      for (int64_t j = 0; j < classes; j++) row[j] *= dy[i];
    }
  });
}

}  // namespace

Status cross_entropy_infer(cross_entropy_args& a) {
  TERSOR_TRY(operands_infer("cross_entropy", a));
  set_shape(a.loss, a.logits.dtype, a.logits.shape, 1);
  return {};
}

Status cross_entropy_cpu(cross_entropy_args& a, Context& ctx) {
  const int64_t rows = a.logits.shape[0], classes = a.logits.shape[1];
  Contiguous logits, labels;
  TERSOR_TRY(open_operands("cross_entropy", a, ctx.cancel, &logits, &labels));
  const int32_t* const label = labels.as<int32_t>();
  if (a.logits.dtype == DType::f64)
    return parallel_for(rows, grain_for(8 * classes), ctx.cancel, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) a.loss.as<double>()[i] = row_loss(logits.as<double>() + i * classes, classes, label[i]);
    });
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve("cross_entropy", classes * static_cast<int64_t>(sizeof(float)), rows));
  return parallel_for(rows, grain_for(8 * classes), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    float* const y = slot.as<float>();
    for (int64_t i = begin; i < end; i++) {
      softmax(SoftmaxArgs<float>{logits.as<float>() + i * classes, y, 1, classes, true});
      a.loss.as<float>()[i] = 0 - y[label[i]];  // +0 for a certain label, as of the other type
    }
  });
}

Status cross_entropy_grad_infer(cross_entropy_grad_args& a) {
  TERSOR_TRY(operands_infer("cross_entropy_grad", a));
  TERSOR_TRY(expect_dtype("cross_entropy_grad", "dy", a.dy, a.logits.dtype));
  TERSOR_TRY(expect_shape("cross_entropy_grad", "dy", a.dy, a.logits.shape, 1));
  set_shape(a.dlogits, a.logits.dtype, a.logits.shape, 2);
  return {};
}

Status cross_entropy_grad_cpu(cross_entropy_grad_args& a, Context& ctx) {
  Contiguous logits, labels, dy;
  TERSOR_TRY(open_operands("cross_entropy_grad", a, ctx.cancel, &logits, &labels));
  TERSOR_TRY(dy.open("cross_entropy_grad", a.dy, ctx.cancel));
  if (a.logits.dtype == DType::f64) return gradient(a, logits.as<double>(), labels.as<int32_t>(), dy.as<double>(), ctx.cancel);
  return gradient(a, logits.as<float>(), labels.as<int32_t>(), dy.as<float>(), ctx.cancel);
}

}  // namespace tersor
