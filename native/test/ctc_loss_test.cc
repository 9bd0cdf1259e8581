#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

long double log_add(long double a, long double b) {
  const long double top = a > b ? a : b;
  return top == -INFINITY ? top : top + log1pl(expl((a > b ? b : a) - top));
}

// Graves et al. 2006, eq. 6-8, in logarithms of extended precision.
template <class T> long double reference(const T* x, int64_t frames, int64_t classes, const int32_t* target, int64_t labels, int32_t blank) {
  const size_t states = static_cast<size_t>(2 * labels + 1);
  std::vector<long double> a(states, -INFINITY), b(states);
  const auto label = [&](size_t s) { return s % 2 == 0 ? blank : target[s / 2]; };
  for (int64_t t = 0; t < frames; t++) {
    for (size_t s = 0; s < states; s++) {
      long double sum = t == 0 ? (s < 2 ? 0.0L : -INFINITY) : a[s];
      if (t > 0 && s >= 1) sum = log_add(sum, a[s - 1]);
      if (t > 0 && s >= 2 && s % 2 == 1 && label(s) != label(s - 2)) sum = log_add(sum, a[s - 2]);
      b[s] = sum + static_cast<long double>(x[t * classes + label(s)]);
    }
    a = b;
  }
  return -(states > 1 ? log_add(a[states - 1], a[states - 2]) : a[0]);
}

template <class T> void losses(double tolerance) {
  for (int64_t frames : {1, 2, 7, 65, 200})
    for (double spread : {0.5, 20.0, 3000.0}) {
      const int64_t rows = 5, classes = 6, most = (frames + 1) / 2;
      std::vector<T> x(static_cast<size_t>(rows * frames * classes));
      std::vector<int32_t> targets(static_cast<size_t>(rows * most)), lengths(static_cast<size_t>(rows)), inputs(lengths);
      std::uniform_real_distribution<double> uniform(-spread, 0);
      for (auto& v : x) v = static_cast<T>(uniform(rng()));
      for (auto& v : targets) v = static_cast<int32_t>(random_int(0, classes - 2));
      for (int64_t b = 0; b < rows; b++) {
        const auto at = static_cast<size_t>(b);
        inputs[at] = static_cast<int32_t>(random_int(1, frames));
        lengths[at] = static_cast<int32_t>(random_int(0, inputs[at] / 2));
      }
      OpCall<ctc_loss_args> c;
      c.args.log_probs = view(dtype_of<T>::value, x, {rows, frames, classes});
      c.args.targets = view(DType::i32, targets, {rows, most});
      c.args.input_lengths = view(DType::i32, inputs, {rows});
      c.args.target_lengths = view(DType::i32, lengths, {rows});
      c.args.blank = classes - 1;
      c.args.zero_infinity = false;
      CHECK_OK(RUN_OP(c, ctc_loss));
      std::vector<T> ones(static_cast<size_t>(rows), T(1)), first;
      OpCall<ctc_loss_grad_args> g;
      g.args.log_probs = c.args.log_probs, g.args.targets = c.args.targets;
      g.args.input_lengths = c.args.input_lengths, g.args.target_lengths = c.args.target_lengths;
      g.args.dloss = view(dtype_of<T>::value, ones, {rows});
      g.args.blank = classes - 1, g.args.zero_infinity = false;
      for_thread_counts([&] {
        CHECK_OK(RUN_OP(g, ctc_loss_grad));
        const T* d = g.args.dlog_probs.template as<T>();
        if (first.empty()) first.assign(d, d + x.size());
        CHECK(!memcmp(first.data(), d, x.size() * sizeof(T)));
      });
      for (int64_t b = 0; b < rows; b++) {
        const auto at = static_cast<size_t>(b);
        const T* row = x.data() + b * frames * classes;
        const long double want = reference(row, inputs[at], classes, targets.data() + b * most, lengths[at], static_cast<int32_t>(classes - 1));
        const double got = static_cast<double>(c.args.loss.template as<T>()[b]);
        CHECK_MSG(std::abs(got - static_cast<double>(want)) <= tolerance * (1 + std::abs(static_cast<double>(want))), "%lld frames: %.17g instead of %.17Lg",
                  static_cast<long long>(frames), got, want);
        // Every frame emits one label: the shares of a frame sum to 1, behind the end to 0.
        for (int64_t t = 0; t < frames; t++) {
          double sum = 0;
          for (int64_t k = 0; k < classes; k++) sum -= static_cast<double>(first[static_cast<size_t>((b * frames + t) * classes + k)]);
          CHECK_MSG(std::abs(sum - (t < inputs[at])) < 10 * tolerance * (1 + std::abs(static_cast<double>(want))), "frame %lld: %g", static_cast<long long>(t), sum);
        }
      }
    }
}

TERSOR_TEST(ctc_loss_op) {
  losses<float>(2e-7);
  losses<double>(1e-14);
}

}  // namespace
}  // namespace test
}  // namespace tersor
