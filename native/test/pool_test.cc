#include <algorithm>

#include "kernels/pool/pool.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

// Independent of the kernels: the definition, one window at a time.
template <class T> void reference_max(const T* x, int64_t w, int64_t i, int64_t j, const IntList& kernel, const IntList& stride, T* y, int32_t* at) {
  bool first = true;
  for (int64_t r = 0; r < kernel.v[0]; r++)
    for (int64_t c = 0; c < kernel.v[1]; c++) {
      const int64_t p = (i * stride.v[0] + r) * w + j * stride.v[1] + c;
      if (first || (!std::isnan(*y) && (std::isnan(x[p]) || x[p] > *y))) *y = x[p], *at = static_cast<int32_t>(p);
      first = false;
    }
}

TERSOR_TEST(pool_rows_equal_the_reference) {
  const PoolRow* rows;
  const int n = pool_table(&rows);
  for (int r = 0; r < n; r++) {
    if ((rows[r].needs & ~isa::detected()) != 0) continue;
    for (int64_t wo = 0; wo <= 40; wo++)
      for (int64_t odd : {0, 1})
        for (auto side : {GuardedBuffer::Side::end, GuardedBuffer::Side::begin}) {
          const int64_t ho = 3, h = 2 * ho, w = 2 * wo + odd;
          GuardedBuffer x(static_cast<size_t>(h * w) * 4, side), y(static_cast<size_t>(ho * wo) * 4, side), index(static_cast<size_t>(ho * wo) * 4, side);
          const float values[] = {-INFINITY, -1, -0.0f, 0, 1, 1, 2, INFINITY, NAN};
          for (int64_t i = 0; i < h * w; i++) x.as<float>()[i] = values[random_int(0, 8)];
          const PoolArgs args = {x.as<void>(), y.as<void>(), index.as<int32_t>(), h, w, ho, wo, 2, 2, 2, 2};
          rows[r].kernel(args);
          for (int64_t i = 0; i < ho * wo; i++) {
            float want = 0;
            int32_t at = -1;
            reference_max(x.as<float>(), w, i / wo, i % wo, list({2, 2}), list({2, 2}), &want, &at);
            CHECK_MSG(!memcmp(&want, y.as<float>() + i, 4) && index.as<int32_t>()[i] == at, "%s: w %lld, output %lld: %g at %d, want %g at %d",
                      rows[r].function, static_cast<long long>(w), static_cast<long long>(i), static_cast<double>(y.as<float>()[i]),
                      index.as<int32_t>()[i], static_cast<double>(want), at);
          }
        }
  }
}

template <class T> void pooling_op() {
  struct Shape {
    int64_t b, c, h, w, kh, kw, sh, sw;
  };
  const Shape shapes[] = {{2, 3, 8, 8, 2, 2, 2, 2}, {1, 2, 7, 9, 3, 2, 2, 1}, {1, 1, 5, 5, 5, 5, 1, 1}, {2, 1, 9, 9, 2, 2, 3, 3}, {0, 3, 4, 4, 2, 2, 2, 2},
                          {1, 1, 300, 301, 2, 2, 2, 2}, {3, 5, 24, 24, 2, 2, 2, 2}, {1, 2, 6, 6, 3, 3, 1, 1}};
  for (const Shape& s : shapes) {
    const int64_t n = s.b * s.c * s.h * s.w, plane = s.h * s.w;
    std::vector<T> x(static_cast<size_t>(n));
    for (auto& v : x) v = static_cast<T>(random_float(-1, 1));
    OpCall<max_pool2d_args> pool;
    pool.args.x = view(dtype_of<T>::value, x, {s.b, s.c, s.h, s.w});
    pool.args.kernel = list({s.kh, s.kw}), pool.args.stride = list({s.sh, s.sw}), pool.args.padding = list({0, 0});
    for_thread_counts([&] {
      CHECK_OK(RUN_OP(pool, max_pool2d));
      const int64_t out = pool.args.y.shape[2] * pool.args.y.shape[3];
      CHECK(pool.args.y.shape[2] == (s.h - s.kh) / s.sh + 1 && pool.args.y.shape[3] == (s.w - s.kw) / s.sw + 1);
      for (int64_t i = 0; i < pool.args.y.size(); i++) {
        T want = 0;
        int32_t at = -1;
        reference_max(x.data() + i / out * plane, s.w, i % out / pool.args.y.shape[3], i % pool.args.y.shape[3], pool.args.kernel, pool.args.stride, &want, &at);
        CHECK(pool.args.y.template as<T>()[i] == want && pool.args.index.template as<int32_t>()[i] == at);
      }
    });
    // Adjoint: <select(x), dy> = <x, unpool(dy)>; select at the maxima gives y again.
    std::vector<T> dy(static_cast<size_t>(pool.args.y.size()));
    for (auto& v : dy) v = static_cast<T>(random_int(-8, 8));
    OpCall<pool_select2d_args> select;
    select.args.x = pool.args.x, select.args.index = pool.args.index;
    CHECK_OK(RUN_OP(select, pool_select2d));
    CHECK(!memcmp(select.args.y.data, pool.args.y.data, static_cast<size_t>(pool.args.y.bytes())));
    OpCall<max_unpool2d_args> unpool;
    unpool.args.dy = pool.args.y, unpool.args.dy.data = dy.data(), unpool.args.index = pool.args.index;
    unpool.args.input_shape = list({s.b, s.c, s.h, s.w});
    CHECK_OK(RUN_OP(unpool, max_unpool2d));
    double left = 0, right = 0;
    for (size_t i = 0; i < dy.size(); i++) left += static_cast<double>(dy[i]) * static_cast<double>(select.args.y.template as<T>()[i]);
    for (int64_t i = 0; i < n; i++) right += static_cast<double>(x[static_cast<size_t>(i)]) * static_cast<double>(unpool.args.dx.template as<T>()[i]);
    CHECK_MSG(std::abs(left - right) <= 1e-6 * (1 + static_cast<double>(n)), "max pooling adjoint: %g and %g", left, right);

    OpCall<avg_pool2d_args> avg;
    avg.args.x = pool.args.x, avg.args.kernel = pool.args.kernel, avg.args.stride = pool.args.stride, avg.args.padding = pool.args.padding;
    CHECK_OK(RUN_OP(avg, avg_pool2d));
    OpCall<avg_pool2d_grad_args> grad;
    grad.args.dy = unpool.args.dy, grad.args.kernel = pool.args.kernel, grad.args.stride = pool.args.stride, grad.args.input_shape = unpool.args.input_shape;
    grad.args.padding = pool.args.padding;
    for_thread_counts([&] { CHECK_OK(RUN_OP(grad, avg_pool2d_grad)); });
    const int64_t wo = avg.args.y.shape[3], out = avg.args.y.shape[2] * wo;
    left = right = 0;
    for (int64_t i = 0; i < avg.args.y.size(); i++) {
      double mean = 0;
      for (int64_t r = 0; r < s.kh; r++)
        for (int64_t c = 0; c < s.kw; c++) mean += static_cast<double>(x[static_cast<size_t>(i / out * plane + (i % out / wo * s.sh + r) * s.w + i % wo * s.sw + c)]);
      mean /= static_cast<double>(s.kh * s.kw);
      const double got = static_cast<double>(avg.args.y.template as<T>()[i]);
      CHECK(std::abs(got - mean) <= 4e-7);
      left += got * static_cast<double>(dy[static_cast<size_t>(i)]);
    }
    for (int64_t i = 0; i < n; i++) right += static_cast<double>(x[static_cast<size_t>(i)]) * static_cast<double>(grad.args.dx.template as<T>()[i]);
    CHECK_MSG(std::abs(left - right) <= 1e-6 * (1 + static_cast<double>(n)), "average pooling adjoint: %g and %g", left, right);
  }
}

TERSOR_TEST(pool_ops_and_their_adjoints) {
  pooling_op<float>();
  pooling_op<double>();
}

// Padding and ceil against the plane padded by hand: -inf for the maximum; for the mean, zeros and a count of the places.
TERSOR_TEST(pool_windows_may_reach_outside) {
  for (int64_t h : {1, 4, 5, 7})
    for (int64_t k : {1, 2, 3, 5})
      for (int64_t stride : {1, 2, 3, 4})
        for (int64_t pad = 0; pad <= k / 2; pad++)
          for (bool ceil : {false, true}) {
            if (h + 2 * pad < k) continue;
            std::vector<float> x(static_cast<size_t>(2 * h * h));
            for (float& v : x) v = static_cast<float>(random_int(-9, 9));
            OpCall<max_pool2d_args> most;
            most.args = {view(DType::f32, x, {1, 2, h, h}), list({k, k}), list({stride, stride}), list({pad, pad}), ceil, {}, {}};
            OpCall<avg_pool2d_args> mean, inner;
            mean.args = {most.args.x, list({k, k}), list({stride, stride}), list({pad, pad}), ceil, true, {}};
            inner.args = mean.args, inner.args.count_padding = false;
            CHECK_OK(RUN_OP(most, max_pool2d));
            CHECK_OK(RUN_OP(mean, avg_pool2d));
            CHECK_OK(RUN_OP(inner, avg_pool2d));
            int64_t n = 0;  // windows: all starts that fit; with ceil also one that begins in the data or the padding before it
            for (int64_t at = -pad; ceil ? (at < h && (n == 0 || at - stride + k < h + pad)) : at + k <= h + pad; at += stride) n++;
            CHECK(most.args.y.shape[2] == n && mean.args.y.shape[3] == n);
            for (int64_t i = 0; i < 2 * n * n; i++) {
              const int64_t r0 = i / n % n * stride - pad, c0 = i % n * stride - pad;
              float top = -INFINITY, sum = 0, padded = 0, real = 0;
              for (int64_t r = r0; r < r0 + k; r++)
                for (int64_t c = c0; c < c0 + k; c++) {
                  if (r < h + pad && c < h + pad) padded += 1;
                  if (r < 0 || r >= h || c < 0 || c >= h) continue;
                  const float v = x[static_cast<size_t>((i / n / n * h + r) * h + c)];
                  top = std::max(top, v), sum += v, real += 1;
                }
              CHECK_MSG(most.args.y.as<float>()[i] == top, "h %lld k %lld s %lld p %lld", (long long)h, (long long)k, (long long)stride, (long long)pad);
              CHECK(x[static_cast<size_t>(i / n / n * h * h + most.args.index.as<int32_t>()[i])] == top);
              CHECK(std::abs(mean.args.y.as<float>()[i] - sum / padded) <= 1e-5f && std::abs(inner.args.y.as<float>()[i] - sum / real) <= 1e-5f);
            }
          }
}

TERSOR_TEST(pool_ops_refuse_what_does_not_fit) {
  std::vector<float> x(64), dy(4);
  std::vector<int32_t> index = {0, 1, 2, 15};
  OpCall<max_pool2d_args> p;
  p.args.x = view(DType::f32, x, {1, 1, 8, 8});
  p.args.kernel = list({2, 2}), p.args.stride = list({0, 2}), p.args.padding = list({0, 0});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::option);
  p.args.stride = list({2});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::shape);
  p.args.stride = list({1, 1}), p.args.kernel = list({9, 1});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::shape);
  p.args.kernel = list({2, INT64_MAX});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::option);
  p.args.kernel = list({2, 3}), p.args.padding = list({1, 2});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::option);
  p.args.padding = list({-1, 0});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::option);
  p.args.padding = list({1});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::shape);
  p.args.padding = list({0, 0});
  p.args.x = view(DType::f32, x, {8, 8});
  p.args.kernel = list({2, 2});
  CHECK_CODE(RUN_OP(p, max_pool2d), Code::shape);
  OpCall<max_unpool2d_args> u;
  u.args.dy = view(DType::f32, dy, {1, 1, 2, 2});
  u.args.index = view(DType::i32, index, {1, 1, 2, 2});
  u.args.input_shape = list({1, 1, 4, 4});
  CHECK_OK(RUN_OP(u, max_unpool2d));
  index[3] = 16;
  const Status s = RUN_OP(u, max_unpool2d);
  CHECK_CODE(s, Code::shape);
  CHECK(strstr(s.message, "16") && strstr(s.message, "position 3"));
  index[3] = -1;
  CHECK_CODE(RUN_OP(u, max_unpool2d), Code::shape);
  u.args.input_shape = list({1, 2, 4, 4});
  CHECK_CODE(RUN_OP(u, max_unpool2d), Code::shape);
  u.args.input_shape = list({1, 1, -4, 4});
  CHECK_CODE(RUN_OP(u, max_unpool2d), Code::shape);
  u.args.input_shape = list({1, 1, int64_t(1) << 40, int64_t(1) << 40});
  CHECK_CODE(RUN_OP(u, max_unpool2d), Code::limit);
  OpCall<avg_pool2d_grad_args> g;
  g.args.dy = view(DType::f32, dy, {1, 1, 2, 2});
  g.args.input_shape = list({1, 1, 5, 4}), g.args.kernel = list({2, 2}), g.args.stride = list({2, 2}), g.args.padding = list({0, 0});
  CHECK_OK(RUN_OP(g, avg_pool2d_grad));
  g.args.input_shape = list({1, 1, 6, 4});
  CHECK_CODE(RUN_OP(g, avg_pool2d_grad), Code::shape);
}

}  // namespace
}  // namespace test
}  // namespace tersor
