// Convolutions and pooling on the device, beside the CPU: tiled and direct paths, ragged tiles, strides, padding, groups, dilation.
#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

IntList ints(std::initializer_list<int64_t> v) {
  IntList l{};
  for (const int64_t i : v) l.v[l.n++] = i;
  return l;
}
Tolerance sums(DType t, int64_t terms) {
  const double u = t == DType::f32 ? 6e-8 : 2e-16;
  return within(4 * u, 4 * u * static_cast<double>(terms));
}

struct Conv {
  std::vector<int64_t> x, w;
  IntList stride, padding, dilation;
  int64_t groups;
};
int64_t out_size(int64_t n, int64_t before, int64_t after, int64_t k, int64_t dilation, int64_t stride) { return (n + before + after - (k - 1) * dilation - 1) / stride + 1; }

}  // namespace

TERSOR_TEST(cuda_conv2d) {
  // 9 x 33 channels: the tiled path with ragged tiles; 3 channels out: the direct one.
  const Conv cases[] = {{{3, 5, 9, 8}, {9, 5, 3, 3}, ints({1, 1}), ints({1, 1}), ints({1, 1}), 1},  {{2, 33, 7, 6}, {17, 33, 3, 2}, ints({2, 1}), ints({2, 0}), ints({1, 1}), 1},
                        {{2, 2, 12, 12}, {3, 2, 5, 5}, ints({1, 2}), ints({0, 3}), ints({1, 1}), 1}, {{1, 8, 1, 1}, {8, 8, 1, 1}, ints({1, 1}), ints({0, 0}), ints({1, 1}), 1}};
  for (const DType t : {DType::f32, DType::f64})
    for (const Conv& c : cases) {
      Arena arena;
      const TensorRef x = arena.uniform(t, c.x, -1, 1), w = arena.uniform(t, c.w, -1, 1);
      const int64_t oh = out_size(c.x[2], c.padding.v[0], c.padding.v[0], c.w[2], 1, c.stride.v[0]), ow = out_size(c.x[3], c.padding.v[1], c.padding.v[1], c.w[3], 1, c.stride.v[1]);
      const TensorRef dy = arena.uniform(t, {c.x[0], c.w[0], oh, ow}, -1, 1);
      DEVICE_OP(forward, conv2d);
      forward.args.x = x, forward.args.w = w, forward.args.bias = arena.uniform(t, {c.w[0]}, -1, 1), forward.args.stride = c.stride, forward.args.padding = c.padding;
      forward.check(arena, sums(t, c.w[1] * c.w[2] * c.w[3]));
      forward.args.bias = {};
      forward.check(arena, sums(t, c.w[1] * c.w[2] * c.w[3]));
      DEVICE_OP(input, conv2d_grad_input);
      input.args.dy = dy, input.args.w = w, input.args.stride = c.stride, input.args.padding = c.padding;
      input.args.input_shape = ints({c.x[0], c.x[1], c.x[2], c.x[3]});
      input.check(arena, sums(t, c.w[0] * c.w[2] * c.w[3]));
      DEVICE_OP(weight, conv2d_grad_weight);
      weight.args.x = x, weight.args.dy = dy, weight.args.stride = c.stride, weight.args.padding = c.padding;
      weight.args.weight_shape = ints({c.w[0], c.w[1], c.w[2], c.w[3]});
      weight.check(arena, sums(t, c.x[0] * oh * ow));
    }
}

TERSOR_TEST(cuda_conv2d_grad_weight_in_runs) {  // K = 2 * 18 * 18 is cut
  Arena arena;
  DEVICE_OP(weight, conv2d_grad_weight);
  weight.args.x = arena.uniform(DType::f32, {2, 3, 18, 18}, -1, 1), weight.args.dy = arena.uniform(DType::f32, {2, 8, 18, 18}, -1, 1);
  weight.args.stride = ints({1, 1}), weight.args.padding = ints({1, 1}), weight.args.weight_shape = ints({8, 3, 3, 3});
  weight.check(arena, sums(DType::f32, 648));
}

TERSOR_TEST(cuda_conv2d_grouped) {
  const Conv cases[] = {{{2, 6, 7, 8}, {6, 1, 3, 3}, ints({1, 2}), ints({1, 0, 2, 1}), ints({2, 1}), 6}, {{2, 8, 6, 5}, {16, 4, 3, 3}, ints({2, 1}), ints({1, 1, 1, 1}), ints({1, 1}), 2}};
  for (const DType t : {DType::f32, DType::f64})
    for (const Conv& c : cases) {
      Arena arena;
      const TensorRef x = arena.uniform(t, c.x, -1, 1), w = arena.uniform(t, c.w, -1, 1);
      const int64_t oh = out_size(c.x[2], c.padding.v[0], c.padding.v[1], c.w[2], c.dilation.v[0], c.stride.v[0]);
      const int64_t ow = out_size(c.x[3], c.padding.v[2], c.padding.v[3], c.w[3], c.dilation.v[1], c.stride.v[1]);
      const TensorRef dy = arena.uniform(t, {c.x[0], c.w[0], oh, ow}, -1, 1);
      const auto set = [&](auto& a) { a.stride = c.stride, a.padding = c.padding, a.dilation = c.dilation, a.groups = c.groups; };
      DEVICE_OP(forward, conv2d_grouped);
      set(forward.args);
      forward.args.x = x, forward.args.w = w, forward.args.bias = arena.uniform(t, {c.w[0]}, -1, 1);
      forward.check(arena, sums(t, c.w[1] * c.w[2] * c.w[3]));
      DEVICE_OP(input, conv2d_grouped_grad_input);
      set(input.args);
      input.args.dy = dy, input.args.w = w, input.args.input_shape = ints({c.x[0], c.x[1], c.x[2], c.x[3]});
      input.check(arena, sums(t, c.w[0] * c.w[2] * c.w[3]));
      DEVICE_OP(weight, conv2d_grouped_grad_weight);
      set(weight.args);
      weight.args.x = x, weight.args.dy = dy, weight.args.weight_shape = ints({c.w[0], c.w[1], c.w[2], c.w[3]});
      weight.check(arena, sums(t, c.x[0] * oh * ow));
    }
}

TERSOR_TEST(cuda_conv2d_pooled) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    const TensorRef x = arena.uniform(t, {2, 2, 9, 10}, -1, 1), w = arena.uniform(t, {8, 2, 3, 3}, -1, 1);  // result 9 x 10, pooled 4 x 3
    DEVICE_OP(pool, conv2d_max_pool);
    pool.args.x = x, pool.args.w = w, pool.args.bias = arena.uniform(t, {8}, -1, 1);
    pool.args.stride = ints({1, 1}), pool.args.padding = ints({1, 1}), pool.args.pool = ints({2, 3});
    pool.check(arena, sums(t, 18));
    const TensorRef index = arena.make(DType::i32, {2, 8, 4, 3}), dy = arena.uniform(t, {2, 8, 4, 3}, -1, 1);
    for (int64_t i = 0; i < index.size(); i++) {
      const int64_t row = i / 3 % 4 * 2 + static_cast<int64_t>(rng()() % 2), column = i % 3 * 3 + static_cast<int64_t>(rng()() % 3);
      index.as<int32_t>()[i] = static_cast<int32_t>(row * 10 + column);
    }
    const auto set = [&](auto& a) { a.stride = pool.args.stride, a.padding = pool.args.padding, a.pool = pool.args.pool, a.index = index; };
    DEVICE_OP(select, conv2d_select);
    set(select.args);
    select.args.x = x, select.args.w = w;
    select.check(arena, sums(t, 18));
    DEVICE_OP(input, conv2d_select_grad_input);
    set(input.args);
    input.args.dy = dy, input.args.w = w, input.args.input_shape = ints({2, 2, 9, 10});
    input.check(arena, sums(t, 72));
    DEVICE_OP(weight, conv2d_select_grad_weight);
    set(weight.args);
    weight.args.x = x, weight.args.dy = dy, weight.args.weight_shape = ints({8, 2, 3, 3});
    weight.check(arena, sums(t, 180));
    index.as<int32_t>()[5] = 0;  // not in its window
    Results results;
    const Status status = run_device(arena, "conv2d_select", &select.args, &results);
    CHECK_MSG(status.code == Code::shape && strstr(status.message, "position 5"), "got \"%s\"", status.message);
  }
}

TERSOR_TEST(cuda_pooling) {
  for (const DType t : {DType::f32, DType::f64})
    for (const bool padded : {false, true}) {
      Arena arena;
      const TensorRef x = arena.uniform(t, {2, 3, 11, 8}, -1, 1);
      const IntList kernel = ints({3, 2}), stride = padded ? ints({2, 2}) : ints({1, 2}), padding = padded ? ints({1, 1}) : ints({0, 0});
      if (!padded) {
        if (t == DType::f32) x.as<float>()[5] = NAN, x.as<float>()[6] = x.as<float>()[7] = INFINITY;
      }
      DEVICE_OP(max, max_pool2d);
      max.args.x = x, max.args.kernel = kernel, max.args.stride = stride, max.args.padding = padding, max.args.ceil = padded;
      max.check(arena, exact());
      const TensorRef& shape = max.results.list[0].shape;
      const std::vector<int64_t> out(shape.shape, shape.shape + 4);
      for (const bool count : {false, true}) {
        DEVICE_OP(avg, avg_pool2d);
        avg.args.x = x, avg.args.kernel = kernel, avg.args.stride = stride, avg.args.padding = padding, avg.args.ceil = padded, avg.args.count_padding = count;
        avg.check(arena, sums(t, 6));
        DEVICE_OP(back, avg_pool2d_grad);
        back.args.dy = arena.uniform(t, out, -1, 1), back.args.kernel = kernel, back.args.stride = stride, back.args.padding = padding, back.args.ceil = padded;
        back.args.count_padding = count, back.args.input_shape = ints({2, 3, 11, 8});
        back.check(arena, sums(t, 6));
      }
      const TensorRef index = arena.uniform(DType::i32, out, 0, 20);  // many share a place
      DEVICE_OP(unpool, max_unpool2d);
      unpool.args.dy = arena.uniform(t, out, -1, 1), unpool.args.index = index, unpool.args.input_shape = ints({2, 3, 11, 8});
      unpool.check(arena, exact());
      DEVICE_OP(select, pool_select2d);
      select.args.x = x, select.args.index = index;
      select.check(arena, exact());
    }
  Arena arena;  // a plane that takes two tiles
  DEVICE_OP(unpool, max_unpool2d);
  unpool.args.dy = arena.uniform(DType::f32, {1, 2, 9, 30}, -1, 1), unpool.args.index = arena.uniform(DType::i32, {1, 2, 9, 30}, 0, 4999);
  unpool.args.input_shape = ints({1, 2, 50, 100});
  unpool.check(arena, exact());
}
