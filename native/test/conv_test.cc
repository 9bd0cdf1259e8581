// Convolution and its adjoints against direct sums in long double, for strides, paddings, odd sizes, empty dimensions, and thread counts.
#include "cpu/threads.h"
#include "test/op_tensor.h"

using namespace tersor;
using namespace tersor::test;

namespace {

struct Conv {
  int64_t b, c, h, w, o, kh, kw, sh, sw, ph, pw;
};

// Large enough to cross register tiles, bands and groups somewhere, small enough for the whole list to take a second.
const Conv kCases[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},     {2, 1, 28, 28, 8, 5, 5, 1, 1, 0, 0},  {3, 8, 12, 12, 16, 5, 5, 1, 1, 0, 0}, {2, 3, 7, 9, 5, 3, 3, 1, 1, 1, 1},
    {2, 2, 8, 8, 3, 3, 3, 2, 2, 1, 1},     {1, 4, 11, 13, 17, 3, 2, 2, 3, 2, 1},  {2, 3, 6, 6, 4, 1, 1, 1, 1, 0, 0},    {2, 3, 7, 7, 4, 1, 1, 2, 2, 0, 0},
    {1, 2, 5, 5, 2, 5, 5, 1, 1, 4, 4},     {1, 1, 4, 6, 2, 2, 3, 3, 1, 0, 2},     {1, 2, 3, 3, 2, 3, 3, 1, 1, 0, 0},    {1, 2, 9, 9, 3, 3, 3, 4, 4, 5, 6},
    {1, 3, 64, 70, 6, 3, 3, 1, 1, 1, 1},   {5, 2, 6, 5, 33, 2, 2, 2, 1, 0, 1},    {1, 64, 9, 9, 64, 3, 3, 1, 1, 1, 1},  {1, 2, 120, 300, 3, 5, 3, 2, 1, 2, 1},
    {70, 3, 9, 9, 7, 3, 3, 1, 1, 1, 1},    {0, 2, 5, 5, 3, 3, 3, 1, 1, 0, 0},     {2, 0, 5, 5, 3, 3, 3, 1, 1, 0, 0},    {2, 2, 5, 5, 0, 3, 3, 1, 1, 0, 0},
    {40, 64, 14, 14, 60, 3, 3, 1, 1, 1, 1}, {2, 2, 4, 4, 2, 1, 3, 7, 5, 0, 1},
    // Batches that fill the lanes of a vector, wholly or but for a few: strides, kernels above the stride and below, padding beyond the kernel, bands.
    {16, 1, 28, 28, 6, 5, 5, 1, 1, 2, 2},  {29, 6, 14, 14, 16, 5, 5, 1, 1, 0, 0}, {32, 3, 9, 11, 4, 3, 3, 2, 2, 1, 1},   {31, 2, 8, 8, 3, 2, 2, 3, 3, 0, 1},
    {16, 2, 5, 7, 3, 3, 3, 4, 1, 5, 4},    {16, 1, 2, 3, 2, 2, 3, 5, 4, 1, 2},    {13, 3, 6, 5, 2, 1, 1, 2, 1, 0, 0},    {24, 4, 60, 20, 5, 3, 4, 1, 1, 1, 2},
    {16, 2, 7, 7, 3, 7, 7, 1, 1, 0, 0},    {48, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},    {16, 5, 33, 4, 7, 4, 1, 2, 1, 3, 0}};

template <class T> struct Run {
  Conv k;
  IntList stride{}, padding{};
  Array<T> x, w, bias;
  conv2d_args forward{};
  Result y;
  int64_t oh, ow;

  explicit Run(const Conv& q) : k(q) {
    stride = {{k.sh, k.sw}, 2}, padding = {{k.ph, k.pw}, 2};
    const DType t = float_dtype<T>();
    x = Array<T>(t, {k.b, k.c, k.h, k.w}).uniform(-1, 1);
    w = Array<T>(t, {k.o, k.c, k.kh, k.kw}).uniform(-1, 1);
    bias = Array<T>(t, {k.o}).uniform(-1, 1);
    oh = (k.h + 2 * k.ph - k.kh) / k.sh + 1, ow = (k.w + 2 * k.pw - k.kw) / k.sw + 1;
    forward.x = x.ref, forward.w = w.ref, forward.bias = bias.ref, forward.stride = stride, forward.padding = padding;
  }
  Status run() {
    TERSOR_TRY(conv2d_infer(forward));
    y.attach(forward.y);
    Context ctx;
    return conv2d_cpu(forward, ctx);
  }
};

// fn(y index, x index, w index) for every product of the convolution.
template <class F> void each_product(const Conv& k, int64_t oh, int64_t ow, F fn) {
  for (int64_t b = 0; b < k.b; b++)
    for (int64_t o = 0; o < k.o; o++)
      for (int64_t i = 0; i < oh; i++)
        for (int64_t j = 0; j < ow; j++)
          for (int64_t c = 0; c < k.c; c++)
            for (int64_t p = 0; p < k.kh; p++)
              for (int64_t q = 0; q < k.kw; q++) {
                const int64_t yy = i * k.sh + p - k.ph, xx = j * k.sw + q - k.pw;
                if (yy < 0 || yy >= k.h || xx < 0 || xx >= k.w) continue;
                fn(((b * k.o + o) * oh + i) * ow + j, ((b * k.c + c) * k.h + yy) * k.w + xx, ((o * k.c + c) * k.kh + p) * k.kw + q);
              }
}

template <class T> void check_close(const char* what, const Conv& k, const T* got, const std::vector<double>& want, const std::vector<double>& size) {
  const double eps = sizeof(T) == 4 ? 6e-8 : 1.2e-16;
  for (size_t i = 0; i < want.size(); i++) {
    const double error = std::fabs(static_cast<double>(got[i]) - want[i]);
    if (!(error <= eps * 16 * (size[i] + 1))) {
      CHECK_MSG(false, "%s %lldx%lldx%lldx%lld k%lldx%lld s%lld p%lld at %zu: got %g, want %g", what, (long long)k.b, (long long)k.c, (long long)k.h,
                (long long)k.w, (long long)k.kh, (long long)k.kw, (long long)k.sh, (long long)k.ph, i, (double)got[i], want[i]);
      return;
    }
  }
  CHECK(true);
}

template <class T> void check_case(const Conv& k) {
  Run<T> r(k);
  const Status status = r.run();
  CHECK_OK(status);
  if (!status.ok()) return;
  const T* y = r.forward.y.template as<T>();
  CHECK(r.y.intact(r.forward.y.bytes()));
  std::vector<double> want(static_cast<size_t>(k.b * k.o * r.oh * r.ow)), size(want.size());
  for (size_t i = 0; i < want.size(); i++) want[i] = static_cast<double>(r.bias[static_cast<int64_t>(i) / (r.oh * r.ow) % k.o]);
  each_product(k, r.oh, r.ow, [&](int64_t yi, int64_t xi, int64_t wi) {
    const double p = static_cast<double>(r.x[xi]) * static_cast<double>(r.w[wi]);
    want[static_cast<size_t>(yi)] += p, size[static_cast<size_t>(yi)] += std::fabs(p);
  });
  check_close("conv2d", k, y, want, size);

  Array<T> dy = Array<T>(float_dtype<T>(), {k.b, k.o, r.oh, r.ow}).uniform(-1, 1);
  Context ctx;
  conv2d_grad_input_args gi{};
  gi.dy = dy.ref, gi.w = r.w.ref, gi.stride = r.stride, gi.padding = r.padding, gi.input_shape = {{k.b, k.c, k.h, k.w}, 4};
  CHECK_OK(conv2d_grad_input_infer(gi));
  Result dx;
  dx.attach(gi.dx);
  CHECK_OK(conv2d_grad_input_cpu(gi, ctx));
  CHECK(dx.intact(gi.dx.bytes()));
  conv2d_grad_weight_args gw{};
  gw.x = r.x.ref, gw.dy = dy.ref, gw.stride = r.stride, gw.padding = r.padding, gw.weight_shape = {{k.o, k.c, k.kh, k.kw}, 4};
  CHECK_OK(conv2d_grad_weight_infer(gw));
  Result dw;
  dw.attach(gw.dw);
  CHECK_OK(conv2d_grad_weight_cpu(gw, ctx));
  CHECK(dw.intact(gw.dw.bytes()));
  std::vector<double> want_x(static_cast<size_t>(k.b * k.c * k.h * k.w)), size_x(want_x.size());
  std::vector<double> want_w(static_cast<size_t>(k.o * k.c * k.kh * k.kw)), size_w(want_w.size());
  each_product(k, r.oh, r.ow, [&](int64_t yi, int64_t xi, int64_t wi) {
    const double px = static_cast<double>(dy[yi]) * static_cast<double>(r.w[wi]), pw = static_cast<double>(dy[yi]) * static_cast<double>(r.x[xi]);
    want_x[static_cast<size_t>(xi)] += px, size_x[static_cast<size_t>(xi)] += std::fabs(px);
    want_w[static_cast<size_t>(wi)] += pw, size_w[static_cast<size_t>(wi)] += std::fabs(pw);
  });
  check_close("conv2d_grad_input", k, gi.dx.template as<T>(), want_x, size_x);
  check_close("conv2d_grad_weight", k, gw.dw.template as<T>(), want_w, size_w);
}

}  // namespace

TERSOR_TEST(conv_matches_direct_sums_f32) {
  for (const Conv& k : kCases) check_case<float>(k);
}

TERSOR_TEST(conv_matches_direct_sums_f64) {
  for (const Conv& k : kCases)
    if (k.b * k.c * k.o < 100000) check_case<double>(k);
}

TERSOR_TEST(conv_result_does_not_depend_on_threads) {
  const int before = thread_count();
  for (const Conv& k : {Conv{37, 3, 12, 12, 7, 5, 5, 1, 1, 1, 1}, Conv{90, 6, 14, 14, 16, 5, 5, 1, 1, 0, 0}, Conv{32, 8, 40, 9, 5, 3, 3, 2, 2, 1, 1}, Conv{3, 64, 40, 40, 64, 3, 3, 1, 1, 1, 1}}) {
    Run<float> r(k);
    Array<float> dy = Array<float>(DType::f32, {k.b, k.o, r.oh, r.ow}).uniform(-1, 1);
    std::vector<unsigned char> first[3];
    for (int threads : {1, 2, 3, 7}) {
      CHECK_OK(set_thread_count(threads));
      CHECK_OK(r.run());
      Context ctx;
      conv2d_grad_input_args gi{};
      gi.dy = dy.ref, gi.w = r.w.ref, gi.stride = r.stride, gi.padding = r.padding, gi.input_shape = {{k.b, k.c, k.h, k.w}, 4};
      CHECK_OK(conv2d_grad_input_infer(gi));
      Result dx, dw;
      dx.attach(gi.dx);
      CHECK_OK(conv2d_grad_input_cpu(gi, ctx));
      conv2d_grad_weight_args gw{};
      gw.x = r.x.ref, gw.dy = dy.ref, gw.stride = r.stride, gw.padding = r.padding, gw.weight_shape = {{k.o, k.c, k.kh, k.kw}, 4};
      CHECK_OK(conv2d_grad_weight_infer(gw));
      dw.attach(gw.dw);
      CHECK_OK(conv2d_grad_weight_cpu(gw, ctx));
      if (threads == 1) first[0] = r.y.bytes, first[1] = dx.bytes, first[2] = dw.bytes;
      CHECK(first[0] == r.y.bytes && first[1] == dx.bytes && first[2] == dw.bytes);
    }
  }
  CHECK_OK(set_thread_count(before));
}

TERSOR_TEST(conv_rejects_what_does_not_fit) {
  const Conv good{2, 3, 7, 9, 5, 3, 3, 1, 1, 1, 1};
  const auto code = [&](auto change) {
    Run<float> r(good);
    change(r);
    return conv2d_infer(r.forward).code;
  };
  CHECK(code([](Run<float>&) {}) == Code::ok);
  CHECK(code([](Run<float>& r) { r.forward.x.rank = 3; }) == Code::shape);
  CHECK(code([](Run<float>& r) { r.forward.x.shape[1] = 4; }) == Code::shape);
  CHECK(code([](Run<float>& r) { r.forward.x.dtype = DType::i32; }) == Code::dtype);
  CHECK(code([](Run<float>& r) { r.forward.w.dtype = DType::f64; }) == Code::dtype);
  CHECK(code([](Run<float>& r) { r.forward.bias.shape[0] = 4; }) == Code::shape);
  CHECK(code([](Run<float>& r) { r.forward.stride.v[1] = 0; }) == Code::option);
  CHECK(code([](Run<float>& r) { r.forward.stride.n = 1; }) == Code::option);
  CHECK(code([](Run<float>& r) { r.forward.padding.v[0] = -1; }) == Code::option);
  CHECK(code([](Run<float>& r) { r.forward.w.shape[2] = 10; }) == Code::shape);
  CHECK(code([](Run<float>& r) { r.forward.w.shape[3] = 0; }) == Code::shape);
  Run<float> r(good);
  conv2d_grad_weight_args gw{};
  gw.x = r.x.ref, gw.dy = r.x.ref, gw.stride = r.stride, gw.padding = r.padding, gw.weight_shape = {{5, 3, 3, 3}, 4};
  CHECK(conv2d_grad_weight_infer(gw).code == Code::shape);
  gw.weight_shape.n = 3;
  CHECK(conv2d_grad_weight_infer(gw).code == Code::shape);
  conv2d_grad_input_args gi{};
  gi.dy = r.x.ref, gi.w = r.w.ref, gi.stride = r.stride, gi.padding = r.padding, gi.input_shape = {{2, 3, 7, -9}, 4};
  CHECK(conv2d_grad_input_infer(gi).code == Code::shape);
}

TERSOR_TEST(conv_takes_strided_views) {
  Run<float> r({2, 3, 8, 8, 4, 3, 3, 1, 1, 1, 1});
  CHECK_OK(r.run());
  // x and w as views of buffers whose last two dimensions are swapped.
  Array<float> xt(DType::f32, {2, 3, 8, 8}), wt(DType::f32, {4, 3, 3, 3});
  for (int64_t i = 0; i < 6; i++)
    for (int64_t y = 0; y < 8; y++)
      for (int64_t x = 0; x < 8; x++) xt[(i * 8 + x) * 8 + y] = r.x[(i * 8 + y) * 8 + x];
  for (int64_t i = 0; i < 12; i++)
    for (int64_t y = 0; y < 3; y++)
      for (int64_t x = 0; x < 3; x++) wt[(i * 3 + x) * 3 + y] = r.w[(i * 3 + y) * 3 + x];
  conv2d_args a = r.forward;
  a.x = xt.ref, a.w = wt.ref;
  std::swap(a.x.stride[2], a.x.stride[3]);
  std::swap(a.w.stride[2], a.w.stride[3]);
  CHECK_OK(conv2d_infer(a));
  Result y;
  y.attach(a.y);
  Context ctx;
  CHECK_OK(conv2d_cpu(a, ctx));
  CHECK(y.bytes == r.y.bytes);
}
