// conv2d followed by max pooling with windows pool[2] that do not overlap, and what its derivatives need, without the convolution's result in memory:
//   conv2d_max_pool(x, w, bias) -> y, index[B,O,PH,PW]: index is the flat position in the H' x W' plane; a rest that fills no window is dropped
//   conv2d_select(x, w, index) -> y: conv2d(x, w) at the positions index, each of which lies in its window
//   conv2d_select_grad_input(dy, index, w), conv2d_select_grad_weight(x, dy, index): the adjoints of conv2d_select in x and in w
// The last three are linear in each tensor, and each other's derivatives. Where the batch fills the lanes of a vector (conv_lanes.h) pooling and selection
// happen while a block is in cache; with few channels the last three compute the chosen positions alone (conv_patches.h); else they are the ops conv2d*,
// max_pool2d, max_unpool2d and pool_select2d one after the other. f32 or f64.
#include <atomic>
#include <cstring>

#include "ops/conv_lanes.h"
#include "ops/conv_patches.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status windows_of(const char* op, const ConvShape& s, const IntList& pool, ConvWindows* out) {
  if (pool.n != 2 || pool.v[0] < 1 || pool.v[1] < 1) return fail(Code::option, "%s: pool must be two integers >= 1", op);
  if (pool.v[0] > s.out_h || pool.v[1] > s.out_w)
    return fail(Code::shape, "%s: pool is %lldx%lld, larger than the convolution's result %lldx%lld", op, static_cast<long long>(pool.v[0]),
                static_cast<long long>(pool.v[1]), static_cast<long long>(s.out_h), static_cast<long long>(s.out_w));
  if (s.out_h * s.out_w > INT32_MAX) return fail(Code::limit, "%s: the convolution's result has more than 2^31 - 1 positions", op);
  out->ph = pool.v[0], out->pw = pool.v[1];
  return {};
}

Status expect_index(const char* op, const ConvShape& s, const ConvWindows& p, const TensorRef& index) {
  const int64_t shape[4] = {s.batch, s.out, p.rows(s), p.columns(s)};
  TERSOR_TRY(expect_dtype(op, "index", index, DType::i32));
  return expect_shape(op, "index", index, shape, 4);
}

Status check_index(const char* op, const ConvShape& s, const ConvWindows& p, const int32_t* index, const Cancel* cancel) {
  const int64_t rows = p.rows(s), columns = p.columns(s);
  std::atomic<int64_t> bad{-1};
  TERSOR_TRY(parallel_for(s.batch * s.out * rows, grain_for(columns * 8), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at++)
      for (int64_t j = 0; j < columns; j++) {
        const int64_t v = index[at * columns + j];
        if (v >= 0 && v / s.out_w / p.ph == at % rows && v % s.out_w / p.pw == j) continue;
        int64_t seen = bad.load();  // the first one, whichever thread finds it
        while ((seen < 0 || at * columns + j < seen) && !bad.compare_exchange_weak(seen, at * columns + j)) {
        }
      }
  }));
  if (bad.load() < 0) return {};
  return fail(Code::shape, "%s: index must lie in its window of %lld x %lld positions, got %d at position %lld", op, static_cast<long long>(p.ph),
              static_cast<long long>(p.pw), index[bad.load()], static_cast<long long>(bad.load()));
}

// A result of the composed path in scratch memory.
Status attach(const char* op, TensorRef& t, Scratch& memory) {
  TERSOR_TRY(memory.reserve(op, t.bytes()));
  t.data = memory.as<void>();
  return {};
}

bool in_lanes(const TensorRef& x, const ConvShape& s) { return x.dtype == DType::f32 && conv_lanes_pays(s); }
using Pays = bool (*)(const ConvShape& s, const ConvWindows& p);
bool in_patches(const TensorRef& x, const ConvShape& s, const ConvWindows& p, Pays pays) { return x.dtype == DType::f32 && pays(s, p); }

// Lanes only say that an index is bad: which one, check_index finds.
Status named(const Status& status, const char* op, const ConvShape& s, const ConvWindows& p, const Contiguous& index, const Cancel* cancel) {
  return status.code == Code::shape ? check_index(op, s, p, index.as<int32_t>(), cancel) : status;
}

// max_unpool2d of dy to the convolution's result.
Status unpool(const char* op, const ConvShape& s, const TensorRef& dy, const TensorRef& index, TensorRef* out, Scratch& memory, Context& ctx) {
  max_unpool2d_args u{};
  u.dy = dy, u.index = index, u.input_shape = {{s.batch, s.out, s.out_h, s.out_w}, 4};
  TERSOR_TRY(max_unpool2d_infer(u));
  TERSOR_TRY(attach(op, u.dx, memory));
  TERSOR_TRY(max_unpool2d_cpu(u, ctx));
  *out = u.dx;
  return {};
}

}  // namespace

Status conv2d_max_pool_infer(conv2d_max_pool_args& a) {
  const char* op = "conv2d_max_pool";
  TERSOR_TRY(expect_float(op, "x", a.x));
  TERSOR_TRY(expect_same_dtype(op, a.x, a.w));
  TERSOR_TRY(expect_rank(op, "x", a.x, 4));
  TERSOR_TRY(expect_rank(op, "w", a.w, 4));
  ConvShape s;
  ConvWindows p;
  TERSOR_TRY(conv_shape(op, a.x.shape, a.w.shape, a.stride, a.padding, &s));
  TERSOR_TRY(windows_of(op, s, a.pool, &p));
  if (a.bias.present()) {
    TERSOR_TRY(expect_same_dtype(op, a.x, a.bias));
    TERSOR_TRY(expect_shape(op, "bias", a.bias, &s.out, 1));
  }
  const int64_t shape[4] = {s.batch, s.out, p.rows(s), p.columns(s)};
  set_shape(a.y, a.x.dtype, shape, 4);
  set_shape(a.index, DType::i32, shape, 4);
  return {};
}

Status conv2d_max_pool_cpu(conv2d_max_pool_args& a, Context& ctx) {
  const char* op = "conv2d_max_pool";
  ConvShape s;
  TERSOR_TRY(conv_shape(op, a.x.shape, a.w.shape, a.stride, a.padding, &s));
  if (in_lanes(a.x, s)) {
    Contiguous x, w, bias;
    TERSOR_TRY(x.open(op, a.x, ctx.cancel));
    TERSOR_TRY(w.open(op, a.w, ctx.cancel));
    if (a.bias.present()) TERSOR_TRY(bias.open(op, a.bias, ctx.cancel));
    return conv_lanes_max_pool(op, s, {a.pool.v[0], a.pool.v[1]}, x.as<float>(), w.as<float>(), a.bias.present() ? bias.as<float>() : nullptr,
                               a.y.as<float>(), a.index.as<int32_t>(), ctx.cancel);
  }
  Scratch memory;
  conv2d_args c{};
  c.x = a.x, c.w = a.w, c.bias = a.bias, c.stride = a.stride, c.padding = a.padding;
  TERSOR_TRY(conv2d_infer(c));
  TERSOR_TRY(attach(op, c.y, memory));
  TERSOR_TRY(conv2d_cpu(c, ctx));
  max_pool2d_args m{};
  m.x = c.y, m.kernel = m.stride = a.pool, m.padding = {{0, 0}, 2};
  TERSOR_TRY(max_pool2d_infer(m));
  m.y.data = a.y.data, m.index.data = a.index.data;
  return max_pool2d_cpu(m, ctx);
}

Status conv2d_select_infer(conv2d_select_args& a) {
  const char* op = "conv2d_select";
  TERSOR_TRY(expect_float(op, "x", a.x));
  TERSOR_TRY(expect_same_dtype(op, a.x, a.w));
  TERSOR_TRY(expect_rank(op, "x", a.x, 4));
  TERSOR_TRY(expect_rank(op, "w", a.w, 4));
  ConvShape s;
  ConvWindows p;
  TERSOR_TRY(conv_shape(op, a.x.shape, a.w.shape, a.stride, a.padding, &s));
  TERSOR_TRY(windows_of(op, s, a.pool, &p));
  TERSOR_TRY(expect_index(op, s, p, a.index));
  set_shape(a.y, a.x.dtype, a.index.shape, 4);
  return {};
}

Status conv2d_select_cpu(conv2d_select_args& a, Context& ctx) {
  const char* op = "conv2d_select";
  ConvShape s;
  TERSOR_TRY(conv_shape(op, a.x.shape, a.w.shape, a.stride, a.padding, &s));
  const ConvWindows p{a.pool.v[0], a.pool.v[1]};
  Contiguous x, w, index;
  TERSOR_TRY(index.open(op, a.index, ctx.cancel));
  const bool patches = in_patches(a.x, s, p, conv_patches_select_pays), lanes = in_lanes(a.x, s);
  if (patches || lanes) {
    TERSOR_TRY(x.open(op, a.x, ctx.cancel));
    TERSOR_TRY(w.open(op, a.w, ctx.cancel));
  }
  if (patches) {
    bool taken = false;
    TERSOR_TRY(named(conv_patches_select(op, s, p, x.as<float>(), w.as<float>(), index.as<int32_t>(), a.y.as<float>(), ctx.cancel, &taken), op, s, p, index,
                     ctx.cancel));
    if (taken) return {};
  }
  if (lanes)
    return named(conv_lanes_select(op, s, p, x.as<float>(), w.as<float>(), index.as<int32_t>(), a.y.as<float>(), ctx.cancel), op, s, p, index, ctx.cancel);
  TERSOR_TRY(check_index(op, s, p, index.as<int32_t>(), ctx.cancel));
  Scratch memory;
  conv2d_args c{};
  c.x = a.x, c.w = a.w, c.stride = a.stride, c.padding = a.padding;
  TERSOR_TRY(conv2d_infer(c));
  TERSOR_TRY(attach(op, c.y, memory));
  TERSOR_TRY(conv2d_cpu(c, ctx));
  pool_select2d_args q{};
  q.x = c.y, q.index = a.index;
  TERSOR_TRY(pool_select2d_infer(q));
  q.y.data = a.y.data;
  return pool_select2d_cpu(q, ctx);
}

Status conv2d_select_grad_input_infer(conv2d_select_grad_input_args& a) {
  const char* op = "conv2d_select_grad_input";
  TERSOR_TRY(expect_float(op, "dy", a.dy));
  TERSOR_TRY(expect_same_dtype(op, a.dy, a.w));
  TERSOR_TRY(expect_rank(op, "w", a.w, 4));
  TERSOR_TRY(conv_list4(op, "input_shape", a.input_shape));
  ConvShape s;
  ConvWindows p;
  TERSOR_TRY(conv_shape(op, a.input_shape.v, a.w.shape, a.stride, a.padding, &s));
  TERSOR_TRY(windows_of(op, s, a.pool, &p));
  TERSOR_TRY(expect_index(op, s, p, a.index));
  TERSOR_TRY(expect_shape(op, "dy", a.dy, a.index.shape, 4));
  set_shape(a.dx, a.dy.dtype, a.input_shape.v, 4);
  return {};
}

Status conv2d_select_grad_input_cpu(conv2d_select_grad_input_args& a, Context& ctx) {
  const char* op = "conv2d_select_grad_input";
  ConvShape s;
  TERSOR_TRY(conv_shape(op, a.input_shape.v, a.w.shape, a.stride, a.padding, &s));
  const ConvWindows p{a.pool.v[0], a.pool.v[1]};
  Contiguous dy, w, index;
  TERSOR_TRY(index.open(op, a.index, ctx.cancel));
  // Where padding is as wide as the kernel, parts of dy meet no x, and the planes have no room for them.
  const bool patches = in_patches(a.dy, s, p, conv_patches_grad_input_pays), lanes = in_lanes(a.dy, s) && s.ph < s.kh && s.pw < s.kw;
  if (patches || lanes) {
    TERSOR_TRY(dy.open(op, a.dy, ctx.cancel));
    TERSOR_TRY(w.open(op, a.w, ctx.cancel));
  }
  if (patches) {
    bool taken = false;
    TERSOR_TRY(named(conv_patches_grad_input(op, s, p, dy.as<float>(), index.as<int32_t>(), w.as<float>(), a.dx.as<float>(), ctx.cancel, &taken), op, s, p, index,
                     ctx.cancel));
    if (taken) return {};
  }
  if (lanes)
    return named(conv_lanes_select_grad_input(op, s, p, dy.as<float>(), index.as<int32_t>(), w.as<float>(), a.dx.as<float>(), ctx.cancel), op, s, p, index,
                 ctx.cancel);
  TERSOR_TRY(check_index(op, s, p, index.as<int32_t>(), ctx.cancel));
  Scratch memory;
  conv2d_grad_input_args c{};
  TERSOR_TRY(unpool(op, s, a.dy, a.index, &c.dy, memory, ctx));
  c.w = a.w, c.input_shape = a.input_shape, c.stride = a.stride, c.padding = a.padding;
  TERSOR_TRY(conv2d_grad_input_infer(c));
  c.dx.data = a.dx.data;
  return conv2d_grad_input_cpu(c, ctx);
}

Status conv2d_select_grad_weight_infer(conv2d_select_grad_weight_args& a) {
  const char* op = "conv2d_select_grad_weight";
  TERSOR_TRY(expect_float(op, "x", a.x));
  TERSOR_TRY(expect_same_dtype(op, a.x, a.dy));
  TERSOR_TRY(expect_rank(op, "x", a.x, 4));
  TERSOR_TRY(conv_list4(op, "weight_shape", a.weight_shape));
  ConvShape s;
  ConvWindows p;
  TERSOR_TRY(conv_shape(op, a.x.shape, a.weight_shape.v, a.stride, a.padding, &s));
  TERSOR_TRY(windows_of(op, s, a.pool, &p));
  TERSOR_TRY(expect_index(op, s, p, a.index));
  TERSOR_TRY(expect_shape(op, "dy", a.dy, a.index.shape, 4));
  set_shape(a.dw, a.x.dtype, a.weight_shape.v, 4);
  return {};
}

Status conv2d_select_grad_weight_cpu(conv2d_select_grad_weight_args& a, Context& ctx) {
  const char* op = "conv2d_select_grad_weight";
  ConvShape s;
  TERSOR_TRY(conv_shape(op, a.x.shape, a.weight_shape.v, a.stride, a.padding, &s));
  if (s.batch == 0) {
    if (a.dw.size() > 0) memset(a.dw.data, 0, static_cast<size_t>(a.dw.bytes()));
    return {};
  }
  const ConvWindows p{a.pool.v[0], a.pool.v[1]};
  Contiguous x, dy, index;
  TERSOR_TRY(index.open(op, a.index, ctx.cancel));
  const bool patches = in_patches(a.x, s, p, conv_patches_grad_weight_pays), lanes = in_lanes(a.x, s);
  if (patches || lanes) {
    TERSOR_TRY(x.open(op, a.x, ctx.cancel));
    TERSOR_TRY(dy.open(op, a.dy, ctx.cancel));
  }
  if (patches) {
    bool taken = false;
    TERSOR_TRY(named(conv_patches_grad_weight(op, s, p, x.as<float>(), dy.as<float>(), index.as<int32_t>(), a.dw.as<float>(), ctx.cancel, &taken), op, s, p, index,
                     ctx.cancel));
    if (taken) return {};
  }
  if (lanes)
    return named(conv_lanes_select_grad_weight(op, s, p, x.as<float>(), dy.as<float>(), index.as<int32_t>(), a.dw.as<float>(), ctx.cancel), op, s, p, index,
                 ctx.cancel);
  TERSOR_TRY(check_index(op, s, p, index.as<int32_t>(), ctx.cancel));
  Scratch memory;
  conv2d_grad_weight_args c{};
  TERSOR_TRY(unpool(op, s, a.dy, a.index, &c.dy, memory, ctx));
  c.x = a.x, c.weight_shape = a.weight_shape, c.stride = a.stride, c.padding = a.padding;
  TERSOR_TRY(conv2d_grad_weight_infer(c));
  c.dw.data = a.dw.data;
  return conv2d_grad_weight_cpu(c, ctx);
}

}  // namespace tersor
