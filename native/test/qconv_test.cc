// qconv2d_last against sums in 64 bits, bit for bit: strides, dilation, padding of each side, groups, depthwise, codes and floats on both sides, thread counts.
// qconv2d against it. The rows of kernels/qconv against the scalar one, between guard pages. Quantizing against a division.
#include <algorithm>
#include <cmath>

#include "kernels/qconv/qconv.h"
#include "kernels/qgemm/qgemm.h"
#include "ops/qconv_last.h"
#include "test/conv_case.h"

namespace tersor {
namespace test {
namespace {


struct Conv {
  int64_t b, c, h, w, o, kh, kw, groups, sh, sw, top, bottom, left, right, dh, dw;
};
const Conv kCases[] = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},      {2, 3, 11, 9, 7, 3, 3, 1, 2, 2, 1, 1, 1, 1, 1, 1},
                       {1, 40, 9, 10, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   {2, 33, 5, 7, 200, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
                       {1, 8, 6, 30, 17, 1, 5, 1, 1, 2, 0, 0, 4, 1, 1, 1},    {1, 36, 9, 8, 33, 3, 2, 1, 2, 3, 0, 3, 4, 0, 3, 2},
                       {2, 20, 10, 9, 20, 3, 3, 20, 2, 1, 1, 0, 0, 1, 1, 1},  {1, 35, 7, 7, 35, 5, 5, 35, 1, 1, 2, 2, 2, 2, 1, 1},
                       {1, 12, 8, 8, 18, 3, 3, 3, 1, 1, 1, 1, 1, 1, 2, 2},    {1, 4, 5, 5, 8, 3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1},
                       {0, 4, 5, 5, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},      {1, 0, 3, 3, 5, 2, 2, 1, 1, 1, 0, 0, 0, 0, 1, 1},
                       {1, 600, 3, 3, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   {1, 2, 3, 3, 2, 2, 2, 1, 5, 5, 1, 1, 1, 1, 1, 3},
                       {1, 3, 3, 40, 3, 2, 30, 3, 1, 1, 9, 9, 0, 1, 1, 1},    {1, 16, 9, 9, 24, 1, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1},
                       {1, 2, 40, 40, 2, 23, 23, 2, 3, 3, 1, 1, 1, 1, 1, 1},  {2, 64, 12, 12, 64, 1, 1, 1, 1, 1, 1, 0, 0, 2, 1, 1}};
constexpr int64_t kSlack = 64;  // behind codes, as behind every tensor

template <class T> std::vector<T> random_codes(int64_t n, int lo, int hi) {
  std::vector<T> v(index(n + kSlack));
  for (T& x : v) x = static_cast<T>(random_int(lo, hi));
  return v;
}
// As qgemm.h says it, by a division.
int32_t code_of(float x, float scale, int32_t zero) {
  const float q = x / scale;
  if (q != q) return zero;
  return static_cast<int32_t>(std::nearbyint(std::min(static_cast<float>(255 - zero), std::max(static_cast<float>(-zero), q)))) + zero;
}
float activated_exactly(conv_activation act, float v, float lo, float hi) {
  if (act == conv_activation::clip) return std::min(std::max(v, lo), hi);
  return v * std::min(1.0f, std::max(0.0f, std::fma(v, 1.0f / 6.0f, 0.5f)));  // hard_swish
}

// Filters that start on a cache line, as every tensor does.
struct Packed {
  OpCall<qconv2d_pack_args> call;
  std::vector<unsigned char> memory;
  TensorRef ref;
  Packed(const std::vector<int8_t>& w, std::initializer_list<int64_t> shape, int64_t groups) {
    call.args = {view(DType::i8, w, shape), groups, {}};
    CHECK_OK(RUN_OP(call, qconv2d_pack));
    ref = call.args.packed;
    memory.resize(index(ref.bytes() + 64));
    ref.data = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    memcpy(ref.data, call.args.packed.data, index(ref.bytes()));
  }
};

void check_case(size_t at, conv_activation act, bool codes_in, bool codes_out, bool residual, int64_t zero) {
  const Conv& k = kCases[at];
  const int64_t oh = (k.h + k.top + k.bottom - (k.kh - 1) * k.dh - 1) / k.sh + 1, ow = (k.w + k.left + k.right - (k.kw - 1) * k.dw - 1) / k.sw + 1;
  const int64_t in = k.c / k.groups, out = k.o / k.groups, y_size = k.b * oh * ow * k.o;
  const float x_scale = 0.0173f, y_scale = 0.37f;
  const int32_t y_zero = 77;
  const auto q = random_codes<uint8_t>(k.b * k.h * k.w * k.c, 0, 255);
  const auto w = random_codes<int8_t>(k.o * in * k.kh * k.kw, -128, 127);
  auto x = random_values(k.b * k.h * k.w * k.c, -4, 4);
  const auto scale = random_values(k.o, 0.001f, 0.02f), bias = random_values(k.o, -3, 3), r = random_values(y_size, -2, 2);
  const Packed packed(w, {k.o, in, k.kh, k.kw}, k.groups);
  OpCall<qconv2d_last_args> f;
  f.args.x = codes_in ? view(DType::u8, q, {k.b, k.h, k.w, k.c}) : view(DType::f32, x, {k.b, k.h, k.w, k.c});
  f.args.packed = packed.ref, f.args.w_scale = view(DType::f32, scale, {k.o}), f.args.bias = view(DType::f32, bias, {k.o});
  if (residual) f.args.residual = view(DType::f32, r, {k.b, oh, ow, k.o});
  f.args.weight_shape = list({k.o, in, k.kh, k.kw}), f.args.stride = list({k.sh, k.sw}), f.args.padding = list({k.top, k.bottom, k.left, k.right});
  f.args.dilation = list({k.dh, k.dw}), f.args.groups = k.groups, f.args.x_scale = static_cast<double>(x_scale), f.args.x_zero = zero;
  f.args.act = act, f.args.lo = -0.5, f.args.hi = 30.75, f.args.scale = 2, f.args.shift = 0.25;
  f.args.dtype = codes_out ? DType::u8 : DType::f32, f.args.y_scale = static_cast<double>(y_scale), f.args.y_zero = y_zero;
  std::vector<float> planes;
  OpCall<qconv2d_last_args> other;
  other.args = f.args;
  if (!codes_in) other.args.x = turned(f.args.x, &planes);
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(f, qconv2d_last));
    CHECK_OK(RUN_OP(other, qconv2d_last));
    CHECK(f.args.y.dtype == f.args.dtype && f.args.y.shape[1] == oh && f.args.y.shape[2] == ow && f.args.y.shape[3] == k.o);
    CHECK_MSG(f.args.y.size() == 0 || memcmp(f.args.y.data, other.args.y.data, index(f.args.y.bytes())) == 0, "case %zu depends on the order of x", at);
    int64_t place = 0;
    for (int64_t b = 0; b < k.b; b++)
      for (int64_t i = 0; i < oh; i++)
        for (int64_t j = 0; j < ow; j++)
          for (int64_t o = 0; o < k.o; o++, place++) {
            int64_t sum = 0;
            for (int64_t p = 0; p < k.kh; p++)
              for (int64_t t = 0; t < k.kw; t++) {
                const int64_t y = i * k.sh + p * k.dh - k.top, u = j * k.sw + t * k.dw - k.left;
                if (y < 0 || y >= k.h || u < 0 || u >= k.w) continue;
                for (int64_t c = 0; c < in; c++) {
                  const size_t from = index(((b * k.h + y) * k.w + u) * k.c + o / out * in + c);
                  const int64_t code = codes_in ? q[from] : code_of(x[from], x_scale, static_cast<int32_t>(zero));
                  sum += (code - zero) * w[index(((o * in + c) * k.kh + p) * k.kw + t)];
                }
              }
            float v = static_cast<float>(sum) * (x_scale * scale[index(o)]) + bias[index(o)];
            if (residual) v = v + r[index(place)];
            v = std::fma(activated_exactly(act, v, -0.5f, 30.75f), 2.0f, 0.25f);
            if (codes_out) {
              const int32_t want = code_of(v, y_scale, y_zero), got = f.args.y.as<uint8_t>()[place];
              CHECK_MSG(got == want, "case %zu at %lld: code %d, want %d", at, (long long)place, got, want);
            } else {
              const float got = f.args.y.as<float>()[place];
              CHECK_MSG(memcmp(&got, &v, 4) == 0, "case %zu at %lld: %.9g, want %.9g", at, (long long)place, static_cast<double>(got), static_cast<double>(v));
            }
          }
  });
}

TERSOR_TEST(qconv_matches_sums_in_64_bits) {
  for (size_t i = 0; i < sizeof kCases / sizeof *kCases; i++)
    for (int mode = 0; mode < 4; mode++)
      check_case(i, i % 2 ? conv_activation::hard_swish : conv_activation::clip, mode % 2 == 1, mode >= 2, (i + index(mode)) % 3 == 0, mode == 3 ? 0 : 131);
}

TERSOR_TEST(qconv_sums_reach_their_ends) {
  // The largest magnitudes that codes have, in 32-bit sums and in those of f32.
  for (const bool depthwise : {false, true})
    for (const int32_t zero : {0, 255}) {
      const int64_t c = depthwise ? 2 : 65793, taps = depthwise ? 514 : 1, o = 2;
      const std::vector<int8_t> w(index(o * (depthwise ? 1 : c) * taps), -128);
      const std::vector<uint8_t> x(index(c * taps + kSlack), static_cast<uint8_t>(255 - zero));
      const std::vector<float> scale(2, 1.0f);
      const Packed packed(w, {o, depthwise ? 1 : c, 1, taps}, depthwise ? 2 : 1);
      OpCall<qconv2d_last_args> f;
      f.args.x = view(DType::u8, x, {1, 1, taps, c}), f.args.packed = packed.ref;
      f.args.w_scale = view(DType::f32, scale, {2});
      f.args.weight_shape = list({o, depthwise ? 1 : c, 1, taps}), f.args.stride = list({1, 1}), f.args.padding = list({0, 0, 0, 0}), f.args.dilation = list({1, 1});
      f.args.groups = depthwise ? 2 : 1, f.args.x_scale = 1, f.args.x_zero = zero, f.args.lo = -INFINITY, f.args.hi = INFINITY, f.args.scale = 1;
      f.args.dtype = DType::f32;
      CHECK_OK(RUN_OP(f, qconv2d_last));
      const float want = static_cast<float>(int64_t(zero ? 255 : -255) * 128 * (depthwise ? taps : c));
      CHECK_MSG(f.args.y.as<float>()[1] == want, "%.9g, want %.9g", static_cast<double>(f.args.y.as<float>()[1]), static_cast<double>(want));
    }
}

TERSOR_TEST(qconv_with_channels_first_is_the_same) {
  const int64_t b = 2, c = 18, o = 36, h = 8, w = 9, oh = 4, ow = 9;
  auto x = random_values(b * c * h * w, -4, 4);
  const auto scale = random_values(o, 0.001f, 0.02f), bias = random_values(o, -3, 3);
  const auto filters = random_codes<int8_t>(o * c / 2 * 9, -128, 127);
  const Packed packed(filters, {o, c / 2, 3, 3}, 2);
  OpCall<qconv2d_last_args> want;
  want.args.x = view(DType::f32, x, {b, h, w, c}), want.args.packed = packed.ref, want.args.w_scale = view(DType::f32, scale, {o});
  const int64_t strides[4] = {c * h * w, w, 1, h * w};
  for (int i = 0; i < 4; i++) want.args.x.stride[i] = strides[i];
  want.args.bias = view(DType::f32, bias, {o}), want.args.weight_shape = list({o, c / 2, 3, 3}), want.args.stride = list({2, 1}), want.args.padding = list({1, 1, 1, 1});
  want.args.dilation = list({1, 1}), want.args.groups = 2, want.args.x_scale = 0.03, want.args.x_zero = 120;
  want.args.lo = -INFINITY, want.args.hi = INFINITY, want.args.scale = 1, want.args.dtype = DType::f32;
  CHECK_OK(RUN_OP(want, qconv2d_last));
  OpCall<qconv2d_args> got;
  got.args = {view(DType::f32, x, {b, c, h, w}), packed.ref, want.args.w_scale, want.args.bias, want.args.weight_shape, want.args.stride, want.args.padding,
              want.args.dilation, 2, 0.03, 120, {}};
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(got, qconv2d));
    for (int64_t i = 0; i < b * oh * ow; i++)
      for (int64_t n = 0; n < o; n++)
        CHECK(got.args.y.as<float>()[(i / (oh * ow) * o + n) * oh * ow + i % (oh * ow)] == want.args.y.as<float>()[i * o + n]);
  });
}

TERSOR_TEST(qconv_refuses_what_does_not_fit) {
  const std::vector<float> x(400), scale(4, 1.0f);
  const std::vector<int8_t> w(36);
  const Packed packed(w, {4, 1, 3, 3}, 4);
  const auto code = [&](auto change) {
    OpCall<qconv2d_last_args> f;
    f.args = {view(DType::f32, x, {1, 10, 10, 4}), packed.ref, view(DType::f32, scale, {4}), {}, {}, list({4, 1, 3, 3}), list({1, 1}), list({0, 0, 0, 0}),
              list({1, 1}), 4, 0.1, 3, conv_activation::clip, 0, 1, 1, 0, DType::u8, 0.5, 9, {}};
    change(f.args);
    return RUN_OP(f, qconv2d_last).code;
  };
  using A = qconv2d_last_args;
  CHECK(code([](A&) {}) == Code::ok);
  CHECK(code([](A& a) { a.groups = 0; }) == Code::option);
  CHECK(code([](A& a) { a.groups = 3; }) == Code::shape);
  CHECK(code([](A& a) { a.groups = 1; }) == Code::shape);
  CHECK(code([](A& a) { a.weight_shape.n = 3; }) == Code::shape);
  CHECK(code([](A& a) { a.weight_shape.v[0] = INT64_MAX; }) == Code::limit);
  CHECK(code([](A& a) { a.weight_shape.v[2] = 70000; }) == Code::limit);
  CHECK(code([](A& a) { a.weight_shape.v[2] = 2; }) == Code::shape);
  CHECK(code([](A& a) { a.stride.v[0] = 0; }) == Code::option);
  CHECK(code([](A& a) { a.lo = NAN; }) == Code::option);
  CHECK(code([](A& a) { a.x_scale = 0; }) == Code::option);
  CHECK(code([](A& a) { a.x_zero = 256; }) == Code::option);
  CHECK(code([](A& a) { a.y_scale = INFINITY; }) == Code::option);
  CHECK(code([](A& a) { a.y_zero = -1; }) == Code::option);
  CHECK(code([](A& a) { a.dtype = DType::i8; }) == Code::dtype);
  CHECK(code([](A& a) { a.x.dtype = DType::i8; }) == Code::dtype);
  std::vector<unsigned char> blank(index(packed.ref.bytes()), 0);
  CHECK(code([&](A& a) { a.packed.data = blank.data(); }) == Code::option);
}

TERSOR_TEST(qconv_rows_match_scalar) {
  const QconvRow* rows;
  const int count = qconv_all_rows(&rows);
  const QconvRow& reference = rows[count - 1];
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (const int64_t columns : {1, 7, 16, 33, 64})
      for (const int64_t pixels : {0, 1, 5, 13})
        for (int mode = 0; mode < 16; mode++) {
          const bool deep = mode & 1, codes = mode & 2, residual = mode & 4;
          const ConvAct act = mode & 8 ? ConvAct::hard_swish : ConvAct::clip;
          const int64_t padded = (columns + 15) / 16 * 16, y_bytes = pixels * columns * (codes ? 1 : 4);
          GuardedBuffer sums(index(pixels * padded) * 4), scale(index(columns) * 4), bias(index(columns) * 4), other(index(pixels * columns) * 4), y(index(y_bytes));
          for (int64_t i = 0; i < pixels * padded; i++) sums.as<int32_t>()[i] = random_int(-100000, 100000);
          for (int64_t i = 0; i < columns; i++) scale.as<float>()[i] = random_float(0.0001f, 0.001f), bias.as<float>()[i] = random_float(-9, 9);
          for (int64_t i = 0; i < pixels * columns; i++) other.as<float>()[i] = i % 11 == 10 ? NAN : random_float(-9, 9);
          std::vector<unsigned char> want(index(y_bytes + 1));
          const ConvFinish how{act, -20, 40, mode % 3 ? 1.0f : 0.5f, mode % 3 ? 0.0f : 0.25f};
          QconvFinish f{sums.as<int32_t>(), padded, pixels, columns, scale.as<float>(), mode % 5 ? bias.as<float>() : nullptr, residual ? other.as<float>() : nullptr, columns,
                        how, !residual, codes, mode < 8 || columns == 33 ? 0.31f : 3e-20f, 99, y.as<void>(), columns};
          // Taps 2 x 3, every second one, two pixels on for each of y: rows end at the last vector that is read.
          const int64_t kh = 2, kw = 3, step = 2 * padded, gap = 2 * padded, wide = pixels ? (pixels - 1) * step + (kw - 1) * gap + padded : 0;
          GuardedBuffer top(index(wide) * 4), bottom(index(wide) * 4), w(index(kh * kw * padded) * 4);
          for (int64_t i = 0; i < wide; i++) {
            top.as<float>()[i] = static_cast<float>(random_int(-255, 255)), bottom.as<float>()[i] = static_cast<float>(random_int(-255, 255));
          }
          for (int64_t i = 0; i < kh * kw * padded; i++) w.as<float>()[i] = static_cast<float>(random_int(-128, 127));
          const float* const lines[2] = {top.as<float>(), bottom.as<float>()};
          QconvDeep d{lines, kh, kw, step, gap, pixels, columns, w.as<float>(), padded, f};
          if (deep) rows[r].deep(d);
          else rows[r].finish(f);
          d.finish.y = f.y = want.data();
          if (deep) reference.deep(d);
          else reference.finish(f);
          CHECK_MSG(y_bytes == 0 || memcmp(y.as<void>(), want.data(), index(y_bytes)) == 0, "%s: %lld columns, %lld pixels, mode %d", rows[r].function,
                    (long long)columns, (long long)pixels, mode);
        }
    for (const int64_t n : {0, 1, 5, 16, 67})
      for (const bool codes : {false, true}) {
        const int64_t runs = 3, x_run = n + 2, out_run = n + 3, x_size = (runs - 1) * x_run + n, out_size = (runs - 1) * out_run + n;
        GuardedBuffer x(index(x_size) * (codes ? 1 : 4)), out(index(out_size) * 4);
        for (int64_t i = 0; i < x_size; i++) {
          if (codes) x.as<uint8_t>()[i] = static_cast<uint8_t>(random_int(0, 255));
          else x.as<float>()[i] = i == 3 ? NAN : i == 4 ? INFINITY : random_float(-90, 90);
        }
        rows[r].grid({x.as<void>(), codes, 0.31f, 100, runs, n, x_run, out_run, out.as<float>()});
        for (int64_t i = 0; i < runs * n; i++) {
          const int64_t from = i / n * x_run + i % n;
          const int32_t want = (codes ? x.as<uint8_t>()[from] : code_of(x.as<float>()[from], 0.31f, 100)) - 100;
          CHECK_MSG(out.as<float>()[i / n * out_run + i % n] == static_cast<float>(want), "%s_grid at %lld", rows[r].function, (long long)i);
        }
      }
  }
}

TERSOR_TEST(quantizing_is_a_division) {
  // Values next to the middle of two codes, where a quotient that is off by its last bit shows, and every scale that an input may have.
  const QgemmRow* rows;
  const int count = qgemm_all_rows(&rows);
  for (int trial = 0; trial < 400; trial++) {
    const float scale = std::ldexp(random_float(1, 2), random_int(-126, 110));
    const int32_t zero = random_int(0, 255);
    std::vector<float> x;
    for (int i = 0; i < 256; i++) {
      float v = (static_cast<float>(random_int(-zero - 2, 257 - zero)) + 0.5f) * scale;
      for (int step = random_int(-3, 3); step != 0; step += step < 0 ? 1 : -1) v = std::nextafter(v, step < 0 ? -INFINITY : INFINITY);
      x.push_back(v);
    }
    const float odd[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-45f, -1e-40f, 3.4e38f, -3.4e38f};
    x.insert(x.end(), odd, odd + 9);
    std::vector<uint8_t> got(x.size());
    for (int r = 0; r < count; r++) {
      if (rows[r].needs & ~isa::allowed()) continue;
      rows[r].width->quantize({x.data(), static_cast<int64_t>(x.size()), scale, zero, got.data()});
      for (size_t i = 0; i < x.size(); i++)
        CHECK_MSG(got[i] == code_of(x[i], scale, zero), "%s: %.9g / %.9g + %d is %d, want %d", rows[r].function, static_cast<double>(x[i]), static_cast<double>(scale),
                  zero, got[i], code_of(x[i], scale, zero));
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace tersor
