// conv2d_winograd against direct sums in double: both tiles, odd sizes, padding of each side, few and many channels, several images, thread counts. The rows of
// kernels/winograd against the scalar one, bit for bit, between guard pages. How the plan chooses.
#include <algorithm>

#include "kernels/winograd/winograd.h"
#include "plan/winograd.h"
#include "test/conv_case.h"

namespace tersor {
namespace test {
namespace {


struct Conv {
  int64_t b, c, h, w, o, top, bottom, left, right;
};
const Conv kCases[] = {{1, 1, 3, 3, 1, 0, 0, 0, 0},    {2, 3, 11, 9, 7, 1, 1, 1, 1},  {1, 40, 9, 10, 70, 1, 1, 1, 1},  {3, 33, 5, 7, 130, 0, 2, 1, 0}, {1, 17, 1, 30, 16, 1, 1, 4, 1},
                       {0, 4, 5, 5, 8, 1, 1, 1, 1},    {1, 0, 4, 3, 5, 1, 1, 1, 1},   {1, 300, 4, 6, 80, 1, 1, 1, 1},  {1, 8, 34, 37, 20, 1, 1, 1, 1}, {2, 16, 40, 40, 33, 2, 0, 0, 1},
                       {1, 64, 20, 20, 64, 1, 1, 1, 1}};

void check_case(size_t at, int64_t tile, conv_activation act, bool residual) {
  const Conv& k = kCases[at];
  const int64_t oh = k.h + k.top + k.bottom - 2, ow = k.w + k.left + k.right - 2;
  const auto x = random_values(k.b * k.h * k.w * k.c), w = random_values(k.o * k.c * 9), bias = random_values(k.o), scale = random_values(k.o);
  const auto r = random_values(k.b * oh * ow * k.o);
  OpCall<conv2d_winograd_pack_args> pack;
  pack.args = {view(DType::f32, w, {k.o, k.c, 3, 3}), view(DType::f32, scale, {k.o}), tile, {}};
  CHECK_OK(RUN_OP(pack, conv2d_winograd_pack));
  OpCall<conv2d_winograd_args> f;
  f.args = {view(DType::f32, x, {k.b, k.h, k.w, k.c}), pack.args.packed, view(DType::f32, bias, {k.o}), {}, k.o, tile, list({k.top, k.bottom, k.left, k.right}), act, -0.5, 0.75, 2, 0.25, {}};
  if (residual) f.args.residual = view(DType::f32, r, {k.b, oh, ow, k.o});
  std::vector<float> planes;
  OpCall<conv2d_winograd_args> other;
  other.args = f.args;
  other.args.x = turned(f.args.x, &planes);
  std::vector<float> first;
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(f, conv2d_winograd));
    CHECK_OK(RUN_OP(other, conv2d_winograd));
    CHECK(f.args.y.shape[1] == oh && f.args.y.shape[2] == ow && f.args.y.shape[3] == k.o);
    CHECK_MSG(f.args.y.size() == 0 || memcmp(f.args.y.data, other.args.y.data, index(f.args.y.bytes())) == 0, "case %zu depends on the order of x", at);
    const float* got = f.args.y.as<float>();
    if (first.empty()) first.assign(got, got + f.args.y.size());
    CHECK_MSG(first.empty() || memcmp(got, first.data(), index(f.args.y.bytes())) == 0, "case %zu, tile %lld depends on the number of threads", at, (long long)tile);
  });
  const float* got = first.data();
  for (int64_t b = 0; b < k.b; b++)
    for (int64_t i = 0; i < oh; i++)
      for (int64_t j = 0; j < ow; j++)
        for (int64_t o = 0; o < k.o; o++, got++) {
          double sum = static_cast<double>(bias[index(o)]), size = 1;
          for (int64_t p = 0; p < 3; p++)
            for (int64_t q = 0; q < 3; q++) {
              const int64_t y = i + p - k.top, u = j + q - k.left;
              if (y < 0 || y >= k.h || u < 0 || u >= k.w) continue;
              for (int64_t c = 0; c < k.c; c++) {
                const double product = static_cast<double>(x[index(((b * k.h + y) * k.w + u) * k.c + c)]) *
                                       (static_cast<double>(w[index(((o * k.c + c) * 3 + p) * 3 + q)]) * static_cast<double>(scale[index(o)]));
                sum += product, size += std::abs(product);
              }
            }
          if (residual) sum += static_cast<double>(r[index(((b * oh + i) * ow + j) * k.o + o)]);
          const double want = activated(act, sum, -0.5, 0.75) * 2 + 0.25;
          CHECK_MSG(std::abs(static_cast<double>(*got) - want) <= 2e-6 * (size + 4), "case %zu, tile %lld [%lld,%lld,%lld]: %g, want %g", at, (long long)tile, (long long)i, (long long)j,
                    (long long)o, static_cast<double>(*got), want);
        }
}

TERSOR_TEST(winograd_convolution_matches_direct_sums) {
  for (const int64_t tile : {2, 4}) {
    for (size_t i = 0; i < sizeof kCases / sizeof *kCases; i++) check_case(i, tile, static_cast<conv_activation>(i % 4), i % 3 == 0);
    for (int act = 0; act < 4; act++) check_case(1, tile, static_cast<conv_activation>(act), act % 2 == 0);
  }
}

// Sums over 64 channels behind a ReLU, as a net has them: against those of conv2d_last, the errors of both measured in double.
TERSOR_TEST(winograd_errors_stay_near_those_of_direct_sums) {
  const int64_t h = 24, c = 64, o = 32;
  auto x = random_values(h * h * c);
  const auto w = random_values(o * c * 9);
  for (float& v : x) v = std::max(v, 0.0f);
  OpCall<conv2d_last_pack_args> pack;
  pack.args = {view(DType::f32, w, {o, c, 3, 3}), {}, 1, {}};
  CHECK_OK(RUN_OP(pack, conv2d_last_pack));
  OpCall<conv2d_last_args> direct;
  direct.args = {view(DType::f32, x, {1, h, h, c}), pack.args.packed, {}, {}, list({o, c, 3, 3}), list({1, 1}), list({0, 0, 0, 0}), list({1, 1}), 1, conv_activation::clip, -INFINITY, INFINITY, 1, 0, {}};
  CHECK_OK(RUN_OP(direct, conv2d_last));
  const int64_t side = h - 2;
  std::vector<double> want(index(side * side * o), 0);
  for (int64_t i = 0; i < side * side; i++)
    for (int64_t n = 0; n < o; n++)
      for (int64_t t = 0; t < 9; t++)
        for (int64_t d = 0; d < c; d++)
          want[index(i * o + n)] += static_cast<double>(x[index(((i / side + t / 3) * h + i % side + t % 3) * c + d)]) * static_cast<double>(w[index((n * c + d) * 9 + t)]);
  const auto error = [&](const TensorRef& y) {
    double squares = 0;
    for (size_t i = 0; i < want.size(); i++) squares += (static_cast<double>(y.as<float>()[i]) - want[i]) * (static_cast<double>(y.as<float>()[i]) - want[i]);
    return std::sqrt(squares / static_cast<double>(want.size()));
  };
  for (const int64_t tile : {2, 4}) {
    OpCall<conv2d_winograd_pack_args> filters;
    filters.args = {view(DType::f32, w, {o, c, 3, 3}), {}, tile, {}};
    CHECK_OK(RUN_OP(filters, conv2d_winograd_pack));
    OpCall<conv2d_winograd_args> f;
    f.args = {direct.args.x, filters.args.packed, {}, {}, o, tile, list({0, 0, 0, 0}), conv_activation::clip, -INFINITY, INFINITY, 1, 0, {}};
    CHECK_OK(RUN_OP(f, conv2d_winograd));
    const double mine = error(f.args.y), theirs = error(direct.args.y), most = tile == 2 ? 1.3 : 3;
    CHECK_MSG(mine <= most * theirs, "tile %lld: error %g, of direct sums %g", (long long)tile, mine, theirs);
  }
}

TERSOR_TEST(winograd_refuses_what_does_not_fit) {
  const std::vector<float> x(400), w(4 * 4 * 9);
  OpCall<conv2d_winograd_pack_args> pack;
  pack.args = {view(DType::f32, w, {4, 4, 3, 3}), {}, 4, {}};
  CHECK_OK(RUN_OP(pack, conv2d_winograd_pack));
  const auto code = [&](auto change) {
    OpCall<conv2d_winograd_args> f;
    f.args = {view(DType::f32, x, {1, 10, 10, 4}), pack.args.packed, {}, {}, 4, 4, list({0, 0, 0, 0}), conv_activation::clip, 0, 1, 1, 0, {}};
    change(f.args);
    return RUN_OP(f, conv2d_winograd).code;
  };
  using A = conv2d_winograd_args;
  CHECK(code([](A&) {}) == Code::ok);
  CHECK(code([](A& a) { a.tile = 2; }) == Code::shape);
  CHECK(code([](A& a) { a.tile = 3; }) == Code::option);
  CHECK(code([](A& a) { a.out = 40; }) == Code::shape);
  CHECK(code([](A& a) { a.out = -1; }) == Code::limit);
  CHECK(code([](A& a) { a.out = INT64_MAX; }) == Code::limit);
  CHECK(code([](A& a) { a.padding.n = 2; }) == Code::option);
  CHECK(code([](A& a) { a.padding.v[0] = -1; }) == Code::option);
  CHECK(code([](A& a) { a.lo = NAN; }) == Code::option);
  CHECK(code([](A& a) { a.x.dtype = DType::f64; }) == Code::dtype);
  std::vector<unsigned char> blank(index(pack.args.packed.bytes()), 0);
  CHECK(code([&](A& a) { a.packed.data = blank.data(); }) == Code::option);
}

// Guarded copies of n floats.
struct Guarded {
  GuardedBuffer memory;
  explicit Guarded(int64_t n) : memory(index(n) * 4) {
    for (int64_t i = 0; i < n; i++) data()[i] = random_float(-2, 2);
  }
  float* data() const { return memory.as<float>(); }
};

TERSOR_TEST(winograd_rows_match_scalar) {
  const WinogradRow* rows;
  const int count = winograd_all_rows(&rows);
  const WinogradRow& scalar = rows[count - 1];
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (const int64_t m : {2, 4})
      for (const int64_t channels : {0, 1, 5, 16, 17, 35}) {
        const int64_t positions = (m + 2) * (m + 2), tiles = 2;
        std::vector<std::unique_ptr<Guarded>> values;
        std::vector<const float*> x;
        for (int64_t i = 0; i < tiles * positions; i++) values.emplace_back(new Guarded(channels)), x.push_back(values.back()->data());
        Guarded v(tiles * positions * channels);
        std::vector<float> want(index(tiles * positions * channels));
        rows[r].input(m, {x.data(), tiles, channels, v.data()});
        scalar.input(m, {x.data(), tiles, channels, want.data()});
        CHECK_MSG(want.empty() || memcmp(v.data(), want.data(), want.size() * 4) == 0, "%s_input: tile %lld, %lld channels", rows[r].function, (long long)m, (long long)channels);

        for (int mode = 0; mode < 4; mode++) {
          const int64_t high = random_int(1, m), across = random_int(1, m), width = channels + random_int(0, 3), pixel = channels + random_int(0, 3), row = m * pixel + random_int(0, 3);
          const int64_t all = (high - 1) * row + (across - 1) * pixel + channels;
          Guarded products((positions - 1) * width + channels), bias(channels), residual(all), y(all);
          std::vector<float> expected(y.data(), y.data() + all);
          WinogradOutput o{products.data(), width, channels, mode ? bias.data() : nullptr, mode % 2 ? residual.data() : nullptr, y.data(), row, pixel, high, across, {}};
          o.finish = {mode == 1 ? ConvAct::hard_swish : ConvAct::clip, -1, 3, mode == 3 ? 1.0f : 0.5f, mode == 3 ? 0.0f : 0.25f};
          rows[r].output(m, o);
          o.y = expected.data();
          scalar.output(m, o);
          CHECK_MSG(expected.empty() || memcmp(y.data(), expected.data(), expected.size() * 4) == 0, "%s_output: tile %lld, %lld columns, mode %d", rows[r].function, (long long)m,
                    (long long)channels, mode);
        }
      }
  }
}

TERSOR_TEST(winograd_is_chosen_by_sizes) {
  const auto tile = [](int64_t batch, int64_t side, int64_t channels, int64_t filters, int64_t stride, int64_t kernel, int64_t groups) {
    conv2d_last_args a{};
    const int64_t shape[4] = {batch, channels, side, side};
    set_shape(a.x, DType::f32, shape, 4);
    a.weight_shape = list({filters, channels / groups, kernel, kernel}), a.stride = list({stride, stride}), a.padding = list({1, 1, 1, 1}), a.dilation = list({1, 1}), a.groups = groups;
    return winograd_tile(a);
  };
  CHECK(tile(1, 56, 64, 64, 1, 3, 1) == 4);
  CHECK(tile(1, 28, 128, 128, 1, 3, 1) == 4);
  CHECK(tile(1, 56, 64, 64, 2, 3, 1) == 0);
  CHECK(tile(1, 56, 64, 64, 1, 5, 1) == 0);
  CHECK(tile(1, 56, 64, 64, 1, 3, 2) == 0);
  CHECK(tile(1, 224, 3, 32, 1, 3, 1) == 0);
  CHECK(tile(32, 7, 512, 512, 1, 3, 1) != 0);  // filters are read once for all images
  CHECK(tile(0, 56, 64, 64, 1, 3, 1) == 0);
}

}  // namespace
}  // namespace test
}  // namespace tersor
