// XNNPACK: fully connected f32 and qs8 (s8 x s8 -> s8, requantized), and sparse W x X through its 1x1 NCHW convolution. Cannot be capped.
// BUILD: -lXNNPACK -lpthreadpool     DEBIAN: libxnnpack-dev libpthreadpool-dev
#include <pthreadpool.h>
#include <xnnpack.h>

#include "contender.h"

using Operator = std::shared_ptr<xnn_operator>;

static void must(xnn_status s, const char* what) {
  if (s != xnn_status_success) throw bench::Unsupported(std::string(what) + " failed with status " + std::to_string(s));
}
static Operator own(xnn_operator_t op) { return Operator(op, [](xnn_operator_t o) { xnn_delete_operator(o); }); }

static pthreadpool_t pool_of(int threads) {
  static std::map<int, pthreadpool_t> pools;
  if (threads == 1) return nullptr;
  auto& p = pools[threads];
  return p ? p : (p = pthreadpool_create(static_cast<size_t>(threads)));
}

// The pool's threads spin for tens of milliseconds: they are sent to sleep, or the next contender would share its core with one.
static std::function<void()> rest(pthreadpool_t pool, int threads) {
  return [=] { if (pool) pthreadpool_parallelize_1d(pool, [](void*, size_t) {}, nullptr, static_cast<size_t>(threads), PTHREADPOOL_FLAG_YIELD_WORKERS); };
}

static bench::Prepared gemm_f32(const bench::Case& c) {
  const size_t m = c.size("m"), k = c.size("k"), n = c.size("n");
  const auto a = bench::floats(m * k, 11), b = bench::floats(k * n, 22), out = bench::buffer<float>(m * n);
  pthreadpool_t pool = pool_of(c.threads);
  bench::Prepared p;
  bench::add_copies(p, c.copies(), [&](int) -> std::function<void()> {
    xnn_operator_t op = nullptr;
    must(xnn_create_fully_connected_nc_f32(k, n, k, n, b->data, nullptr, -INFINITY, INFINITY, XNN_FLAG_TRANSPOSE_WEIGHTS, &op), "fully_connected_nc_f32");
    const Operator o = own(op);
    must(xnn_setup_fully_connected_nc_f32(op, m, a->data, out->data, pool), "setup");
    return [=] { xnn_run_operator(o.get(), pool); };
  });
  p.calls[0]();
  p.check = bench::sum_abs(out->data, m * n);
  for (auto& call : p.calls) call = [call, a, out] { call(); };
  p.rest = rest(pool, c.threads);
  return p;
}

static bench::Prepared gemm_s8(const bench::Case& c) {
  const size_t m = c.size("m"), k = c.size("k"), n = c.size("n");
  const auto a = bench::signed_bytes(m * k, 11), b = bench::signed_bytes(k * n, 22);
  const auto out = bench::buffer<int8_t>(m * n);
  pthreadpool_t pool = pool_of(c.threads);
  bench::Prepared p;
  bench::add_copies(p, c.copies(), [&](int) -> std::function<void()> {
    xnn_operator_t op = nullptr;
    must(xnn_create_fully_connected_nc_qs8(k, n, k, n, 0, 0.02f, 0.01f, b->data, nullptr, 0, 1.5f, -128, 127, XNN_FLAG_TRANSPOSE_WEIGHTS, &op), "fully_connected_nc_qs8");
    const Operator o = own(op);
    must(xnn_setup_fully_connected_nc_qs8(op, m, a->data, out->data, pool), "setup");
    return [=] { xnn_run_operator(o.get(), pool); };
  });
  for (auto& call : p.calls) call = [call, a, out] { call(); };
  p.rest = rest(pool, c.threads);
  return p;
}

static bench::Prepared spmm(const bench::Case& c) {
  const size_t m = c.size("m"), k = c.size("k"), n = c.size("n");
  if (n == 1) throw bench::Unsupported("a 1x1 convolution over one pixel is no fair form of a vector product");
  const auto w = bench::sparse_floats(m * k, 33, c.number("sparsity", 0)), x = bench::floats(k * n, 22), out = bench::buffer<float>(m * n);
  xnn_operator_t op = nullptr;
  must(xnn_create_convolution2d_nchw_f32(0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, k, m, k, m, w->data, nullptr, -INFINITY, INFINITY, 0, &op), "convolution2d_nchw_f32");
  const Operator o = own(op);
  pthreadpool_t pool = pool_of(c.threads);
  must(xnn_setup_convolution2d_nchw_f32(op, 1, 1, n, x->data, out->data, pool), "setup");
  bench::Prepared p;
  p.calls.push_back([=] {
    (void)x, (void)out; // live as long as the call
    xnn_run_operator(o.get(), pool);
  });
  p.calls[0]();
  p.check = bench::sum_abs(out->data, m * n);
  p.rest = rest(pool, c.threads);
  return p;
}

static bench::Prepared prepare(const bench::Case& c) {
  if (c.kernel == "gemm.f32") return gemm_f32(c);
  if (c.kernel == "gemm.s8s8") return gemm_s8(c);
  if (c.kernel == "spmm.f32") return spmm(c);
  throw bench::Unsupported("no " + c.kernel + " in this driver of XNNPACK");
}

int main(int argc, char** argv) {
  if (xnn_initialize(nullptr) != xnn_status_success) return 1;
  return bench::run_contender(argc, argv, {"xnnpack", "2022-02-16", "uncapped"}, prepare);
}
