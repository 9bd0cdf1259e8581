// Softmax, losses, norms and optimizer steps on the device, beside the CPU.
#include <cmath>

#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

const DType kFloats[] = {DType::f32, DType::f64};
Tolerance near(DType t, double ulps) { return within(ulps * (t == DType::f32 ? 6e-8 : 2e-16), ulps * (t == DType::f32 ? 6e-8 : 2e-16)); }

TensorRef labels_of(Arena& arena, int64_t rows, int64_t classes) { return arena.uniform(DType::i32, {rows}, 0, static_cast<double>(classes - 1)); }

template <class Args> void softmax_case(const char* name, const Arena& arena, const TensorRef& x) {
  DeviceOp<Args> op(name);
  op.args.x = x;
  op.check(arena, near(x.dtype, 60));
}

}  // namespace

TERSOR_TEST(cuda_softmax) {
  for (const DType t : kFloats) {
    Arena arena;
    for (const TensorRef& x : {arena.uniform(t, {13, 10}, -4, 4), arena.uniform(t, {3, 1}, -4, 4), arena.uniform(t, {2, 1500}, -30, 30),
                               Arena::transposed(arena.uniform(t, {33, 9}, -80, 80)), arena.make(t, {0, 4}), arena.make(t, {4, 0})}) {
      softmax_case<softmax_args>("softmax", arena, x);
      softmax_case<log_softmax_args>("log_softmax", arena, x);
    }
  }
  Arena arena;
  const float inf = INFINITY, nan = NAN;
  const TensorRef x = arena.values({-inf, -inf, -inf, 1, inf, 2, 1, nan, 2, -inf, 3, -inf, nan, nan, nan, 1e38f, -1e38f, 0, -inf, nan, -inf}, {7, 3});
  softmax_case<softmax_args>("softmax", arena, x);
  softmax_case<log_softmax_args>("log_softmax", arena, x);
}

TERSOR_TEST(cuda_cross_entropy) {
  for (const DType t : kFloats)
    for (const int64_t classes : {10, 1100}) {
      Arena arena;
      const TensorRef x = arena.uniform(t, {9, classes}, -6, 6), labels = labels_of(arena, 9, classes), dy = arena.uniform(t, {9}, -1, 1);
      DEVICE_OP(loss, cross_entropy);
      loss.args.logits = x, loss.args.labels = labels;
      loss.check(arena, near(t, 200));
      DEVICE_OP(grad, cross_entropy_grad);
      grad.args.logits = x, grad.args.labels = labels, grad.args.dy = dy;
      grad.check(arena, near(t, 60));
    }
}

TERSOR_TEST(cuda_labels_beyond_the_classes_are_an_error) {
  Arena arena;
  cross_entropy_args args{};
  args.logits = arena.uniform(DType::f32, {3, 4}, -1, 1), args.labels = arena.integers(DType::i32, {1, 4, 0}, {3});
  Results results;
  const Status status = run_device(arena, "cross_entropy", &args, &results);
  CHECK_MSG(status.code == Code::shape && strstr(status.message, "labels") && strstr(status.message, "position 1"), "got \"%s\"", status.message);
}

TERSOR_TEST(cuda_layer_and_rms_norm) {
  for (const DType t : kFloats)
    for (const int64_t n : {5, 96, 1030}) {
      Arena arena;
      const int64_t rows = n > 1000 ? 3 : 270;
      const TensorRef x = arena.uniform(t, {rows, n}, 99, 101), dy = arena.uniform(t, {rows, n}, -1, 1), gamma = arena.uniform(t, {n}, 0.5, 2), beta = arena.uniform(t, {n}, -1, 1);
      for (const bool scaled : {true, false}) {
        DEVICE_OP(forward, layer_norm);
        forward.args.x = x, forward.args.eps = 1e-5;
        if (scaled) forward.args.gamma = gamma, forward.args.beta = beta;
        forward.check(arena, near(t, 1500));
        DEVICE_OP(grad, layer_norm_grad);
        grad.args.x = x, grad.args.dy = dy, grad.args.mean = arena.uniform(t, {rows}, 99.9, 100.1), grad.args.rstd = arena.uniform(t, {rows}, 1, 2);
        if (scaled) grad.args.gamma = gamma;
        grad.check(arena, near(t, 500));
        DEVICE_OP(rms, rms_norm);
        rms.args.x = dy, rms.args.eps = 1e-6;
        if (scaled) rms.args.gamma = gamma;
        rms.check(arena, near(t, 60));
        DEVICE_OP(rms_grad, rms_norm_grad);
        rms_grad.args.x = dy, rms_grad.args.dy = dy, rms_grad.args.rstd = grad.args.rstd;
        if (scaled) rms_grad.args.gamma = gamma;
        rms_grad.check(arena, near(t, 500));
      }
    }
}

TERSOR_TEST(cuda_batch_norm) {
  for (const DType t : kFloats)
    for (const auto& shape : {std::vector<int64_t>{3, 4, 5, 5}, {130, 3}, {1, 2, 9000}}) {
      Arena arena;
      const int64_t c = shape[1];
      const TensorRef x = arena.uniform(t, shape, 9, 11), dy = arena.uniform(t, shape, -1, 1), more = arena.uniform(t, shape, -1, 1);
      for (const bool full : {true, false}) {
        DEVICE_OP(forward, batch_norm);
        forward.args.x = x, forward.args.eps = 1e-5, forward.args.relu = full;
        if (full) forward.args.gamma = arena.uniform(t, {c}, 0.5, 2), forward.args.beta = arena.uniform(t, {c}, -1, 1), forward.args.residual = more;
        forward.check(arena, near(t, 300));
        DEVICE_OP(grad, batch_norm_grad);
        grad.args.x = x, grad.args.dy = dy, grad.args.eps = 1e-5, grad.args.residual = full;
        grad.args.mean = arena.uniform(t, {c}, 9.9, 10.1), grad.args.variance = arena.uniform(t, {c}, 0.2, 0.5);
        if (full) grad.args.gamma = forward.args.gamma, grad.args.y = more;
        grad.check(arena, near(t, 2000));
      }
    }
}

namespace {

// What the steps share; `n` is ragged for packs of 16 bytes and for the mask's last byte.
template <class Args> void set_common(Arena& arena, Args& a, DType t, int64_t n, bool masked) {
  a.p = arena.uniform(t, {n}, -1, 1), a.g = arena.uniform(t, {n}, -1, 1);
  if (masked) a.mask = arena.uniform(DType::u8, {(n + 7) / 8}, 0, 255);
  a.lr = 0.01, a.weight_decay = 0.1;
}
template <class Args> void set_moments(Arena& arena, Args& a, DType t, int64_t n) {
  a.m = arena.uniform(t, {n}, -1, 1), a.v = arena.uniform(t, {n}, 0, 1);
  a.beta1 = 0.9, a.beta2 = 0.999, a.eps = 1e-8, a.step = 3;
}

}  // namespace

TERSOR_TEST(cuda_optimizer_steps) {
  for (const DType t : kFloats)
    for (const int64_t n : {1, 1023, 9001})
      for (const bool masked : {false, true}) {
        Arena arena;
        DEVICE_OP(sgd, sgd_step);
        set_common(arena, sgd.args, t, n, masked);
        sgd.args.velocity = arena.uniform(t, {n}, -1, 1), sgd.args.momentum = 0.9, sgd.args.nesterov = masked;
        sgd.check(arena, exact());
        DEVICE_OP(adam, adam_step);
        set_common(arena, adam.args, t, n, masked);
        set_moments(arena, adam.args, t, n);
        adam.check(arena, exact());
        DEVICE_OP(adamw, adamw_step);
        set_common(arena, adamw.args, t, n, masked);
        set_moments(arena, adamw.args, t, n);
        adamw.check(arena, exact());
        DEVICE_OP(rmsprop, rmsprop_step);
        set_common(arena, rmsprop.args, t, n, masked);
        rmsprop.args.square = arena.uniform(t, {n}, 1, 2), rmsprop.args.alpha = 0.99, rmsprop.args.eps = 1e-8, rmsprop.args.centered = masked;
        rmsprop.args.momentum = masked ? 0.9 : 0, rmsprop.args.mean = arena.uniform(t, {masked ? n : 0}, -1, 1);
        rmsprop.args.velocity = arena.uniform(t, {masked ? n : 0}, -1, 1);
        rmsprop.check(arena, exact());
        DEVICE_OP(lamb, lamb_step);
        set_common(arena, lamb.args, t, n, masked);
        set_moments(arena, lamb.args, t, n);
        lamb.args.phi_min = 0, lamb.args.phi_max = 10;
        lamb.check(arena, near(t, 8));
      }
}
