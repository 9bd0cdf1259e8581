// conv2d_last against direct sums in double: strides, dilation, padding of each side, groups, depthwise, few channels, thread counts; pools against
// max_pool2d and avg_pool2d. The rows of kernels/channels_last against the scalar one, bit for bit, between guard pages.
#include <algorithm>

#include "kernels/channels_last/channels_last.h"
#include "test/conv_case.h"

namespace tersor {
namespace test {
namespace {

struct Conv {
  int64_t b, c, h, w, o, kh, kw, groups, sh, sw, top, bottom, left, right, dh, dw;
};
const Conv kCases[] = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},      {2, 3, 11, 9, 7, 3, 3, 1, 2, 2, 1, 1, 1, 1, 1, 1},
                       {1, 40, 9, 10, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   {2, 33, 5, 7, 100, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
                       {1, 8, 6, 30, 17, 1, 5, 1, 1, 2, 0, 0, 4, 1, 1, 1},    {1, 36, 9, 8, 33, 3, 2, 1, 2, 3, 0, 3, 4, 0, 3, 2},
                       {2, 20, 10, 9, 20, 3, 3, 20, 2, 1, 1, 0, 0, 1, 1, 1},  {1, 35, 7, 7, 35, 5, 5, 35, 1, 1, 2, 2, 2, 2, 1, 1},
                       {1, 12, 8, 8, 18, 3, 3, 3, 1, 1, 1, 1, 1, 1, 2, 2},    {1, 4, 5, 5, 8, 3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1},
                       {0, 4, 5, 5, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},      {1, 0, 3, 3, 5, 2, 2, 1, 1, 1, 0, 0, 0, 0, 1, 1},
                       {1, 600, 3, 3, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   {1, 2, 3, 3, 2, 2, 2, 1, 5, 5, 1, 1, 1, 1, 1, 3},
                       {1, 1, 3, 14, 1, 2, 7, 1, 1, 1, 0, 1, 2, 0, 1, 1}};


void check_case(size_t at, conv_activation act, bool residual) {
  const Conv& k = kCases[at];
  const int64_t oh = (k.h + k.top + k.bottom - (k.kh - 1) * k.dh - 1) / k.sh + 1, ow = (k.w + k.left + k.right - (k.kw - 1) * k.dw - 1) / k.sw + 1;
  const int64_t in = k.c / k.groups, out = k.o / k.groups;
  const auto x = random_values(k.b * k.h * k.w * k.c), w = random_values(k.o * in * k.kh * k.kw), bias = random_values(k.o), scale = random_values(k.o);
  const auto r = random_values(k.b * oh * ow * k.o);
  OpCall<conv2d_last_pack_args> pack;
  pack.args = {view(DType::f32, w, {k.o, in, k.kh, k.kw}), view(DType::f32, scale, {k.o}), k.groups, {}};
  CHECK_OK(RUN_OP(pack, conv2d_last_pack));
  OpCall<conv2d_last_args> f;
  f.args = {view(DType::f32, x, {k.b, k.h, k.w, k.c}), pack.args.packed, view(DType::f32, bias, {k.o}), {}, list({k.o, in, k.kh, k.kw}), list({k.sh, k.sw}),
            list({k.top, k.bottom, k.left, k.right}), list({k.dh, k.dw}), k.groups, act, -0.5, 0.75, 2, 0.25, {}};
  if (residual) f.args.residual = view(DType::f32, r, {k.b, oh, ow, k.o});
  std::vector<float> planes;
  OpCall<conv2d_last_args> other;
  other.args = f.args;
  other.args.x = turned(f.args.x, &planes);
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(f, conv2d_last));
    CHECK_OK(RUN_OP(other, conv2d_last));
    CHECK(f.args.y.shape[1] == oh && f.args.y.shape[2] == ow && f.args.y.shape[3] == k.o);
    CHECK_MSG(f.args.y.size() == 0 || memcmp(f.args.y.data, other.args.y.data, index(f.args.y.bytes())) == 0, "case %zu depends on the order of x", at);
    const float* got = f.args.y.as<float>();
    for (int64_t b = 0; b < k.b; b++)
      for (int64_t i = 0; i < oh; i++)
        for (int64_t j = 0; j < ow; j++)
          for (int64_t o = 0; o < k.o; o++, got++) {
            double sum = static_cast<double>(bias[index(o)]), size = 1;
            for (int64_t p = 0; p < k.kh; p++)
              for (int64_t q = 0; q < k.kw; q++) {
                const int64_t y = i * k.sh + p * k.dh - k.top, u = j * k.sw + q * k.dw - k.left;
                if (y < 0 || y >= k.h || u < 0 || u >= k.w) continue;
                for (int64_t c = 0; c < in; c++) {
                  const double product = static_cast<double>(x[index(((b * k.h + y) * k.w + u) * k.c + o / out * in + c)]) *
                                         static_cast<double>(w[index(((o * in + c) * k.kh + p) * k.kw + q)] * scale[index(o)]);
                  sum += product, size += std::abs(product);
                }
              }
            if (residual) sum += static_cast<double>(r[index(((b * oh + i) * ow + j) * k.o + o)]);
            const double want = activated(act, sum, -0.5, 0.75) * 2 + 0.25;
            CHECK_MSG(std::abs(static_cast<double>(*got) - want) <= 1e-6 * (size + 4), "case %zu [%lld,%lld,%lld]: %g, want %g", at, (long long)i, (long long)j, (long long)o,
                      static_cast<double>(*got), want);
          }
  });
}

TERSOR_TEST(channels_last_convolution_matches_direct_sums) {
  for (size_t i = 0; i < sizeof kCases / sizeof *kCases; i++) check_case(i, static_cast<conv_activation>(i % 4), i % 3 == 0);
  for (int act = 0; act < 4; act++) check_case(3, static_cast<conv_activation>(act), true), check_case(7, static_cast<conv_activation>(act), act % 2 == 1);
}

TERSOR_TEST(channels_last_convolution_refuses_what_does_not_fit) {
  const std::vector<float> x(400), w(36);
  OpCall<conv2d_last_pack_args> pack;
  pack.args = {view(DType::f32, w, {4, 1, 3, 3}), {}, 4, {}};
  CHECK_OK(RUN_OP(pack, conv2d_last_pack));
  const auto code = [&](auto change) {
    OpCall<conv2d_last_args> f;
    f.args = {view(DType::f32, x, {1, 10, 10, 4}), pack.args.packed, {}, {}, list({4, 1, 3, 3}), list({1, 1}), list({0, 0, 0, 0}), list({1, 1}), 4, conv_activation::clip, 0, 1, 1, 0, {}};
    change(f.args);
    return RUN_OP(f, conv2d_last).code;
  };
  using A = conv2d_last_args;
  CHECK(code([](A&) {}) == Code::ok);
  CHECK(code([](A& a) { a.groups = 0; }) == Code::option);
  CHECK(code([](A& a) { a.groups = 3; }) == Code::shape);
  CHECK(code([](A& a) { a.groups = 1; }) == Code::shape);
  CHECK(code([](A& a) { a.weight_shape.n = 3; }) == Code::shape);
  CHECK(code([](A& a) { a.weight_shape.v[0] = INT64_MAX; }) == Code::limit);
  CHECK(code([](A& a) { a.weight_shape.v[2] = 2; }) == Code::shape);
  CHECK(code([](A& a) { a.stride.v[0] = 0; }) == Code::option);
  CHECK(code([](A& a) { a.lo = NAN; }) == Code::option);
  CHECK(code([](A& a) { a.x.dtype = DType::f64; }) == Code::dtype);
  std::vector<unsigned char> blank(index(pack.args.packed.bytes()), 0);
  CHECK(code([&](A& a) { a.packed.data = blank.data(); }) == Code::option);
}

TERSOR_TEST(channels_last_pools_match_planes) {
  const int64_t shapes[][9] = {{2, 5, 9, 11, 3, 3, 2, 2, 1}, {1, 33, 6, 7, 2, 2, 2, 2, 0}, {1, 7, 5, 5, 3, 2, 3, 2, 0}, {1, 3, 4, 4, 3, 3, 1, 1, 1}};
  for (const auto& s : shapes)
    for (int mode = 0; mode < 6; mode++) {
      const bool ceil = mode % 2 == 1, count = mode >= 4, average = mode >= 2;
      const auto x = random_values(s[0] * s[1] * s[2] * s[3]);
      OpCall<pool2d_last_args> p;
      p.args = {view(DType::f32, x, {s[0], s[2], s[3], s[1]}), list({s[4], s[5]}), list({s[6], s[7]}), list({s[8], s[8]}), ceil, average, count, {}};
      CHECK_OK(RUN_OP(p, pool2d_last));
      TensorRef planes = p.args.x;  // the same tensor as [B,C,H,W]
      const int from[4] = {0, 3, 1, 2};
      for (int i = 0; i < 4; i++) planes.shape[i] = p.args.x.shape[from[i]], planes.stride[i] = p.args.x.stride[from[i]];
      OpCall<max_pool2d_args> most;
      OpCall<avg_pool2d_args> mean;
      most.args = {planes, p.args.kernel, p.args.stride, p.args.padding, ceil, {}, {}};
      mean.args = {planes, p.args.kernel, p.args.stride, p.args.padding, ceil, count, {}};
      CHECK_OK(RUN_OP(most, max_pool2d));
      CHECK_OK(RUN_OP(mean, avg_pool2d));
      const TensorRef& want = average ? mean.args.y : most.args.y;
      const int64_t plane = want.shape[2] * want.shape[3];
      CHECK(p.args.y.shape[1] == want.shape[2] && p.args.y.shape[2] == want.shape[3] && p.args.y.shape[3] == want.shape[1]);
      for (int64_t i = 0; i < want.size(); i++) {
        const float a = want.as<float>()[i], b = p.args.y.as<float>()[(i / (plane * s[1]) * plane + i % plane) * s[1] + i / plane % s[1]];
        CHECK_MSG(std::abs(a - b) <= (average ? 1e-6f : 0), "pool %lld mode %d: %g, want %g", (long long)s[1], mode, static_cast<double>(b), static_cast<double>(a));
      }
    }
}

// Guarded copies of n floats.
struct Guarded {
  GuardedBuffer memory;
  explicit Guarded(int64_t n) : memory(index(n) * 4) {
    for (int64_t i = 0; i < n; i++) data()[i] = random_float(-2, 2);
  }
  float* data() const { return memory.as<float>(); }
};

TERSOR_TEST(channels_last_rows_match_scalar) {
  const ConvRow* rows;
  const int count = conv_all_rows(&rows);
  for (int r = 0; r < count; r++) {
    const ConvRow& row = rows[r];
    if (row.needs & ~isa::allowed()) continue;
    for (int vectors = 1; vectors <= row.most_vectors; vectors++)
      for (int64_t pixels : {0, 1, 2, 5, 6, 13})
        for (int64_t depth : {0, 1, 2, 7}) {
          const int64_t width = vectors * row.lanes, columns = width - (row.lanes > 1 ? random_int(0, row.lanes - 1) : 0), taps = 3, pitch = columns + random_int(0, 3);
          Guarded w(taps * depth * width), bias(columns), residual(pixels ? (pixels - 1) * pitch + columns : 0), y(pixels ? (pixels - 1) * pitch + columns : 0);
          std::vector<std::unique_ptr<Guarded>> images;
          std::vector<const float*> x;
          for (int64_t i = 0; i < pixels * taps; i++) images.emplace_back(new Guarded(depth + 2)), x.push_back(images.back()->data());
          std::vector<float> narrow(index(taps * depth)), want(index(pixels ? (pixels - 1) * pitch + columns : 0));
          const std::vector<float> start(y.data(), y.data() + want.size());
          for (int mode = 0; mode < 4; mode++) {
            memcpy(y.data(), start.data(), start.size() * 4);
            want = start;
            ConvProduct a;
            a.x = x.data(), a.from = 2, a.pixels = pixels, a.taps = taps, a.first_tap = mode == 1 ? 1 : 0, a.tap_count = mode == 1 ? 2 : 3, a.depth = depth;
            a.w = w.data() + a.first_tap * depth * width, a.vectors = vectors, a.columns = columns, a.bias = mode == 2 ? nullptr : bias.data();
            a.residual = mode == 3 ? residual.data() : nullptr, a.residual_row = pitch, a.y = y.data(), a.y_row = pitch, a.first = mode != 1, a.last = mode != 2;
            a.finish = {mode == 0 ? ConvAct::hard_swish : ConvAct::clip, -1, 3, mode == 3 ? 1.0f : 0.5f, mode == 3 ? 0.0f : 0.25f};
            row.product(a);
            for (int64_t j = 0; j < columns; j++) {  // the reference, one column at a time
              ConvProduct b = a;
              for (int64_t i = 0; i < taps * depth; i++) narrow[index(i)] = w.data()[i * width + j];
              b.w = narrow.data() + a.first_tap * depth, b.columns = 1, b.vectors = 1;
              if (b.bias) b.bias += j;
              if (b.residual) b.residual += j;
              b.y = want.data() + j;
              rows[count - 1].product(b);
            }
            CHECK_MSG(want.empty() || memcmp(y.data(), want.data(), want.size() * 4) == 0, "%s: %d vectors, %lld pixels, depth %lld, mode %d", row.function, vectors,
                      (long long)pixels, (long long)depth, mode);
          }
        }
    for (int64_t channels : {1, 5, 16, 17, 35, 64})
      for (int64_t pixels : {0, 1, 4, 7})
        for (int kind = 0; kind < 3; kind++) {
          const int64_t taps = 4, w_row = (channels + 15) / 16 * 16;
          Guarded w(taps * w_row), bias(channels), residual(pixels * channels), scale(pixels), y(pixels * channels);
          std::vector<std::unique_ptr<Guarded>> images;
          std::vector<const float*> x;
          for (int64_t i = 0; i < pixels * taps; i++) images.emplace_back(new Guarded(channels)), x.push_back(images.back()->data());
          std::vector<float> want(index(pixels * channels));
          const bool multiply = kind == 0;
          ConvTaps a{static_cast<ConvTapsKind>(kind), x.data(), pixels, taps, channels, multiply ? w.data() : nullptr, w_row, multiply ? bias.data() : nullptr, scale.data(),
                     multiply && channels % 2 ? residual.data() : nullptr, channels, y.data(), channels, {channels % 3 ? ConvAct::clip : ConvAct::hard_swish, 0, 6, 0.5f, 1}};
          row.taps(a);
          a.y = want.data();
          rows[count - 1].taps(a);
          CHECK_MSG(want.empty() || memcmp(y.data(), want.data(), want.size() * 4) == 0, "%s_taps: %lld channels, %lld pixels, kind %d", row.function, (long long)channels,
                    (long long)pixels, kind);
        }
  }
}

}  // namespace
}  // namespace test
}  // namespace tersor
