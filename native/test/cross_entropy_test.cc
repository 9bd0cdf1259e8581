#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

template <class T> void losses(double tolerance) {
  for (int64_t classes : {1, 2, 7, 10, 255, 256, 257, 1000})
    for (double spread : {0.1, 5.0, 300.0}) {
      const int64_t rows = 23;
      std::vector<T> x(static_cast<size_t>(rows * classes));
      std::vector<int32_t> labels(static_cast<size_t>(rows));
      std::normal_distribution<double> normal(0, spread);
      for (auto& v : x) v = static_cast<T>(normal(rng()));
      for (auto& v : labels) v = static_cast<int32_t>(random_int(0, classes - 1));
      std::vector<T> first;
      for_thread_counts([&] {
        OpCall<cross_entropy_args> c;
        c.args.logits = view(dtype_of<T>::value, x, {rows, classes});
        c.args.labels = view(DType::i32, labels, {rows});
        CHECK_OK(RUN_OP(c, cross_entropy));
        const T* loss = c.args.loss.template as<T>();
        if (first.empty()) first.assign(loss, loss + rows);
        CHECK(!memcmp(first.data(), loss, static_cast<size_t>(rows) * sizeof(T)));
      });
      for (int64_t i = 0; i < rows; i++) {
        const T* row = x.data() + i * classes;
        long double top = row[0], sum = 0;
        for (int64_t j = 0; j < classes; j++) top = row[j] > top ? row[j] : top;
        for (int64_t j = 0; j < classes; j++) sum += std::exp(static_cast<long double>(row[j]) - top);
        const long double want = std::log(sum) + (top - row[labels[static_cast<size_t>(i)]]);
        const double error = static_cast<double>(std::abs(static_cast<long double>(first[static_cast<size_t>(i)]) - want));
        CHECK_MSG(error <= tolerance * (1 + static_cast<double>(want)), "%lld classes: %g instead of %Lg", static_cast<long long>(classes),
                  static_cast<double>(first[static_cast<size_t>(i)]), want);
      }
    }
}

TERSOR_TEST(cross_entropy_op) {
  losses<float>(3e-7);
  losses<double>(2e-15);
  std::vector<float> x = {0, NAN, 1, 1e38f, -INFINITY, 0};
  std::vector<int32_t> labels = {0, 2};
  OpCall<cross_entropy_args> c;
  c.args.logits = view(DType::f32, x, {2, 3});
  c.args.labels = view(DType::i32, labels, {2});
  CHECK_OK(RUN_OP(c, cross_entropy));
  CHECK(std::isnan(c.args.loss.as<float>()[0]) && c.args.loss.as<float>()[1] == 1e38f);
  labels[1] = 1;
  CHECK_OK(RUN_OP(c, cross_entropy));
  CHECK(c.args.loss.as<float>()[1] == INFINITY);
  std::vector<float> none = {-INFINITY, -INFINITY};  // a row without any chance, in both types
  std::vector<double> none64 = {-INFINITY, -INFINITY};
  std::vector<int32_t> zero = {0};
  OpCall<cross_entropy_args> d;
  d.args.labels = view(DType::i32, zero, {1});
  d.args.logits = view(DType::f32, none, {1, 2});
  CHECK_OK(RUN_OP(d, cross_entropy));
  CHECK(d.args.loss.as<float>()[0] == INFINITY);
  d.args.logits = view(DType::f64, none64, {1, 2});
  CHECK_OK(RUN_OP(d, cross_entropy));
  CHECK(d.args.loss.as<double>()[0] == INFINITY);
  for (int32_t bad : {3, -1}) {
    labels[1] = bad;
    const Status s = RUN_OP(c, cross_entropy);
    CHECK_CODE(s, Code::shape);
    CHECK(strstr(s.message, "row 1"));
  }
  c.args.labels = view(DType::i32, labels, {1});
  CHECK_CODE(RUN_OP(c, cross_entropy), Code::shape);
  c.args.labels = view(DType::f32, x, {2});
  CHECK_CODE(RUN_OP(c, cross_entropy), Code::dtype);
  c.args.logits = view(DType::f32, x, {0, 3});
  c.args.labels = view(DType::i32, labels, {0});
  CHECK_OK(RUN_OP(c, cross_entropy));
  c.args.logits = view(DType::f32, x, {2, 0});
  c.args.labels = view(DType::i32, labels, {2});
  CHECK_CODE(RUN_OP(c, cross_entropy), Code::shape);
}

}  // namespace
}  // namespace test
}  // namespace tersor
