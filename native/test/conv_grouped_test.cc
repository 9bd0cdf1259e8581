// The general convolution and its adjoints against direct sums in double: groups, depthwise, dilation, padding of each side, thread counts.
// The rows of kernels/depthwise against the scalar one, between guard pages.
#include "kernels/depthwise/depthwise.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

struct Conv {
  int64_t b, c, h, w, o, kh, kw, groups, sh, sw, top, bottom, left, right, dh, dw;
};

const Conv kCases[] = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},     {2, 4, 9, 11, 4, 3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1},
                       {2, 3, 17, 40, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},   {2, 4, 10, 9, 8, 3, 3, 4, 2, 2, 1, 0, 0, 1, 1, 1},
                       {1, 6, 12, 12, 4, 3, 3, 2, 1, 1, 2, 2, 2, 2, 2, 2},   {2, 4, 9, 14, 6, 3, 2, 1, 2, 3, 0, 3, 4, 0, 3, 2},
                       {1, 2, 1, 50, 2, 1, 7, 2, 1, 1, 0, 0, 6, 0, 1, 1},    {3, 6, 7, 7, 9, 2, 4, 3, 3, 1, 1, 2, 3, 0, 2, 1},
                       {1, 5, 8, 8, 5, 5, 5, 5, 4, 4, 2, 2, 2, 2, 1, 1},     {2, 32, 6, 6, 32, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1},
                       {1, 2, 200, 130, 4, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 2, 5, 5, 2, 3, 3, 2, 1, 1, 0, 0, 0, 0, 1, 1},
                       {2, 0, 5, 5, 4, 3, 3, 2, 1, 1, 0, 0, 0, 0, 1, 1},     {2, 4, 5, 5, 0, 3, 3, 2, 1, 1, 0, 0, 0, 0, 1, 1},
                       {1, 2, 3, 3, 2, 2, 2, 1, 5, 5, 1, 1, 1, 1, 1, 3},     {37, 3, 8, 8, 6, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}};

template <class T> std::vector<T> random_values(int64_t n) {
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = static_cast<T>(random_float(-1, 1));
  return v;
}

// fn(y index, x index, w index) for every product.
template <class F> void each_product(const Conv& k, int64_t oh, int64_t ow, F fn) {
  const int64_t in = k.c / k.groups, out = k.o / k.groups;
  for (int64_t b = 0; b < k.b; b++)
    for (int64_t o = 0; o < k.o; o++)
      for (int64_t i = 0; i < oh; i++)
        for (int64_t j = 0; j < ow; j++)
          for (int64_t c = 0; c < in; c++)
            for (int64_t p = 0; p < k.kh; p++)
              for (int64_t q = 0; q < k.kw; q++) {
                const int64_t y = i * k.sh + p * k.dh - k.top, x = j * k.sw + q * k.dw - k.left;
                if (y < 0 || y >= k.h || x < 0 || x >= k.w) continue;
                fn(((b * k.o + o) * oh + i) * ow + j, ((b * k.c + o / out * in + c) * k.h + y) * k.w + x, ((o * in + c) * k.kh + p) * k.kw + q);
              }
}

struct Want {
  std::vector<double> value, size;
  explicit Want(int64_t n) : value(static_cast<size_t>(n)), size(static_cast<size_t>(n)) {}
  template <class T> void add(int64_t i, T a, T b) {
    const double p = static_cast<double>(a) * static_cast<double>(b);
    value[static_cast<size_t>(i)] += p, size[static_cast<size_t>(i)] += std::abs(p);
  }
  template <class T> void check(const char* what, size_t at, const TensorRef& got) const {
    const double unit = sizeof(T) == 4 ? 6e-8 : 1.2e-16;
    CHECK(got.size() == static_cast<int64_t>(value.size()));
    for (size_t i = 0; i < value.size(); i++) {
      const double v = static_cast<double>(got.as<T>()[i]);
      CHECK_MSG(std::abs(v - value[i]) <= 16 * unit * (size[i] + 1), "%s case %zu element %zu: %g, want %g", what, at, i, v, value[i]);
    }
  }
};

template <class T> void check_case(size_t at) {
  const Conv& k = kCases[at];
  const DType t = dtype_of<T>::value;
  const int64_t oh = (k.h + k.top + k.bottom - (k.kh - 1) * k.dh - 1) / k.sh + 1, ow = (k.w + k.left + k.right - (k.kw - 1) * k.dw - 1) / k.sw + 1;
  const auto x = random_values<T>(k.b * k.c * k.h * k.w), w = random_values<T>(k.o * (k.c / k.groups) * k.kh * k.kw), bias = random_values<T>(k.o);
  const auto dy = random_values<T>(k.b * k.o * oh * ow);
  Want y(static_cast<int64_t>(dy.size())), dx(static_cast<int64_t>(x.size())), dw(static_cast<int64_t>(w.size()));
  for (size_t i = 0; i < dy.size(); i++) y.add(static_cast<int64_t>(i), bias[i / static_cast<size_t>(oh * ow) % static_cast<size_t>(k.o)], T(1));
  each_product(k, oh, ow, [&](int64_t yi, int64_t xi, int64_t wi) {
    const T vx = x[static_cast<size_t>(xi)], vw = w[static_cast<size_t>(wi)], vy = dy[static_cast<size_t>(yi)];
    y.add(yi, vx, vw), dx.add(xi, vy, vw), dw.add(wi, vy, vx);
  });
  const IntList stride = list({k.sh, k.sw}), padding = list({k.top, k.bottom, k.left, k.right}), dilation = list({k.dh, k.dw});
  OpCall<conv2d_grouped_args> f;
  f.args = {view(t, x, {k.b, k.c, k.h, k.w}), view(t, w, {k.o, k.c / k.groups, k.kh, k.kw}), view(t, bias, {k.o}), stride, padding, dilation, k.groups, {}};
  OpCall<conv2d_grouped_grad_input_args> gi;
  gi.args = {view(t, dy, {k.b, k.o, oh, ow}), f.args.w, list({k.b, k.c, k.h, k.w}), stride, padding, dilation, k.groups, {}};
  OpCall<conv2d_grouped_grad_weight_args> gw;
  gw.args = {f.args.x, gi.args.dy, list({k.o, k.c / k.groups, k.kh, k.kw}), stride, padding, dilation, k.groups, {}};
  std::vector<char> first;
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(f, conv2d_grouped));
    CHECK_OK(RUN_OP(gi, conv2d_grouped_grad_input));
    CHECK_OK(RUN_OP(gw, conv2d_grouped_grad_weight));
    CHECK(f.args.y.shape[2] == oh && f.args.y.shape[3] == ow);
    y.check<T>("y", at, f.args.y), dx.check<T>("dx", at, gi.args.dx), dw.check<T>("dw", at, gw.args.dw);
    std::vector<char> bytes(static_cast<char*>(gw.args.dw.data), static_cast<char*>(gw.args.dw.data) + gw.args.dw.bytes());
    if (first.empty()) first = bytes;
    CHECK_MSG(first == bytes, "dw of case %zu depends on the thread count", at);
  });
}

TERSOR_TEST(conv_grouped_matches_direct_sums) {
  for (size_t i = 0; i < sizeof kCases / sizeof *kCases; i++) check_case<float>(i), check_case<double>(i);
}

TERSOR_TEST(conv_grouped_refuses_what_does_not_fit) {
  const std::vector<float> x(400), w(36);
  const auto code = [&](auto change) {
    OpCall<conv2d_grouped_args> f;
    f.args = {view(DType::f32, x, {1, 4, 10, 10}), view(DType::f32, w, {4, 1, 3, 3}), {}, list({1, 1}), list({0, 0, 0, 0}), list({1, 1}), 4, {}};
    change(f.args);
    return RUN_OP(f, conv2d_grouped).code;
  };
  using A = conv2d_grouped_args;
  CHECK(code([](A&) {}) == Code::ok);
  CHECK(code([](A& a) { a.groups = 2; }) == Code::shape);
  CHECK(code([](A& a) { a.groups = 0; }) == Code::option);
  CHECK(code([](A& a) { a.groups = INT64_MAX; }) == Code::option);
  CHECK(code([](A& a) { a.dilation.v[1] = 5; }) == Code::shape);
  CHECK(code([](A& a) { a.dilation.v[0] = 0; }) == Code::option);
  CHECK(code([](A& a) { a.padding.n = 2; }) == Code::option);
  CHECK(code([](A& a) { a.padding.v[3] = -1; }) == Code::option);
  CHECK(code([](A& a) { a.stride.v[0] = int64_t(1) << 40; }) == Code::option);
  CHECK(code([](A& a) { a.x.dtype = DType::i32; }) == Code::dtype);
}

TERSOR_TEST(depthwise_rows_match_scalar) {
  const DepthwiseRow<DepthwiseArgs<float>>* rows;
  const DepthwiseRow<DepthwiseDotArgs<float>>* dots;
  const int count = depthwise_table(&rows), dot_count = depthwise_dot_table(&dots);
  CHECK(count == dot_count);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {0, 1, 3, 7, 8, 9, 16, 17, 31, 33, 50})
      for (int64_t height : {0, 1, 3, 4, 6})
        for (int64_t taps : {0, 1, 5, 9, 16, 25}) {
          const int64_t pitch = n + 3, span = (height - 1) * pitch + n;
          const int64_t size = height == 0 || n == 0 ? 0 : span + taps;
          GuardedBuffer gx(static_cast<size_t>(size) * 4), gw(static_cast<size_t>(taps) * 4), gy(static_cast<size_t>(n * height) * 4, GuardedBuffer::Side::begin),
              go(static_cast<size_t>(taps) * 8, GuardedBuffer::Side::begin);
          for (int64_t i = 0; i < size; i++) gx.as<float>()[i] = random_float(-1, 1);
          for (int64_t i = 0; i < taps; i++) gw.as<float>()[i] = random_float(-1, 1), go.as<int64_t>()[i] = (i * 7) % taps;
          std::vector<float> want(static_cast<size_t>(n * height)), d(want.size());
          for (float& v : d) v = random_float(-1, 1);
          rows[r].kernel({gx.as<float>(), go.as<int64_t>(), gw.as<float>(), taps, height, n, pitch, gy.as<float>(), n, 0.5f});
          rows[count - 1].kernel({gx.as<float>(), go.as<int64_t>(), gw.as<float>(), taps, height, n, pitch, want.data(), n, 0.5f});
          CHECK_MSG(want.empty() || memcmp(gy.as<float>(), want.data(), want.size() * 4) == 0, "%s: n %lld, rows %lld, taps %lld", rows[r].function, (long long)n,
                    (long long)height, (long long)taps);
          GuardedBuffer gd(want.size() * 4);
          for (size_t i = 0; i < d.size(); i++) gd.as<float>()[i] = d[i];
          std::vector<double> sum(static_cast<size_t>(taps), 1.0), sum2 = sum;
          dots[r].kernel({gx.as<float>(), go.as<int64_t>(), taps, height, n, pitch, gd.as<float>(), n, sum.data()});
          dots[count - 1].kernel({gx.as<float>(), go.as<int64_t>(), taps, height, n, pitch, d.data(), n, sum2.data()});
          for (size_t t = 0; t < sum.size(); t++)
            CHECK_MSG(std::abs(sum[t] - sum2[t]) <= 6e-8 * static_cast<double>(64 + n * height), "%s: n %lld, tap %zu: %g, want %g", dots[r].function, (long long)n, t, sum[t], sum2[t]);
        }
  }
}

}  // namespace
}  // namespace test
}  // namespace tersor
