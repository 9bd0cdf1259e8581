// Attention: rows of the family against the scalar row, the ops against sums in double over the whole matrix of scores.
#include "kernels/attention/attention.h"

#include "kernels/random/random.h"
#include "test/op_call.h"

namespace tersor {
namespace {

using test::GuardedBuffer;
using test::random_float;
using test::view;

bool near(double got, double want, double tolerance) { return got == want || std::fabs(got - want) <= tolerance * (1 + std::fabs(want)); }

struct Problem {
  int64_t b, h, t, s, d, e;
  bool causal = false, mask = false, key_mask = false;
  double dropout = 0;
  std::vector<float> q = {}, k = {}, v = {}, bias = {}, keys = {}, dy = {};
  void fill() {
    for (auto [list, n] : {std::pair{&q, b * t * h * d}, std::pair{&k, b * s * h * d}, std::pair{&v, b * s * h * e}, std::pair{&bias, t * s}, std::pair{&dy, b * t * h * e}}) {
      list->resize(static_cast<size_t>(n));
      for (float& x : *list) x = random_float(-1, 1);
    }
    for (size_t i = 0; i < bias.size(); i += 3) bias[i] = i % 2 ? -INFINITY : -1e30f;
    keys.assign(static_cast<size_t>(b * s), 1);
    for (size_t i = 0; i < keys.size(); i += 4) keys[i] = 0;
  }
};

struct Expected {
  std::vector<double> y, lse, dq, dk, dv;
};

Expected expected(const Problem& p, double scale) {
  Expected r;
  r.y.assign(p.dy.size(), 0), r.dq.assign(p.q.size(), 0), r.dk.assign(p.k.size(), 0), r.dv.assign(p.v.size(), 0);
  const int64_t wide = (p.s + 63) / 64 * 64;
  std::vector<float> uniform(static_cast<size_t>(p.b * p.h * p.t * wide));
  random(RandomArgs{uniform.data(), 0, static_cast<int64_t>(uniform.size()), 5, 3, false});
  for (int64_t b = 0; b < p.b; b++)
    for (int64_t h = 0; h < p.h; h++)
      for (int64_t i = 0; i < p.t; i++) {
        const size_t row = static_cast<size_t>((b * p.t + i) * p.h + h);
        std::vector<double> w(static_cast<size_t>(p.s), -INFINITY), u(w.size(), 1);
        double top = -INFINITY, sum = 0, delta = 0;
        const auto key = [&](int64_t j) { return static_cast<size_t>((b * p.s + j) * p.h + h); };
        for (int64_t j = 0; j < p.s; j++) {
          const size_t n = static_cast<size_t>(j);
          const double added = p.mask ? p.bias[static_cast<size_t>(i * p.s + j)] : 0;
          if ((p.causal && j > i + p.s - p.t) || added < -1e29 || (p.key_mask && p.keys[static_cast<size_t>(b * p.s + j)] == 0)) continue;
          double dot = 0;
          for (int64_t c = 0; c < p.d; c++) dot += static_cast<double>(p.q[row * p.d + c]) * p.k[key(j) * p.d + c];
          w[n] = dot * scale + added;
          top = w[n] > top ? w[n] : top;
        }
        for (double x : w) sum += top == -INFINITY ? 0 : std::exp(x - top);
        r.lse.push_back(sum == 0 ? INFINITY : top + std::log(sum));
        if (sum == 0) continue;
        for (int64_t j = 0; j < p.s; j++) {
          const size_t n = static_cast<size_t>(j);
          w[n] = std::exp(w[n] - top) / sum;
          if (p.dropout > 0)
            u[n] = uniform[static_cast<size_t>(((b * p.h + h) * p.t + i) * wide + j)] < static_cast<float>(1 - p.dropout) ? 1 / (1 - p.dropout) : 0;
          for (int64_t c = 0; c < p.e; c++) r.y[row * p.e + c] += w[n] * u[n] * p.v[key(j) * p.e + c];
        }
        for (int64_t c = 0; c < p.e; c++) delta += r.y[row * p.e + c] * p.dy[row * p.e + c];
        for (int64_t j = 0; j < p.s; j++) {
          const size_t n = static_cast<size_t>(j);
          double dp = 0;
          for (int64_t c = 0; c < p.e; c++) {
            dp += static_cast<double>(p.dy[row * p.e + c]) * p.v[key(j) * p.e + c];
            r.dv[key(j) * p.e + c] += w[n] * u[n] * p.dy[row * p.e + c];
          }
          const double ds = w[n] * (dp * u[n] - delta) * scale;
          for (int64_t c = 0; c < p.d; c++) {
            r.dq[row * p.d + c] += ds * p.k[key(j) * p.d + c];
            r.dk[key(j) * p.d + c] += ds * p.q[row * p.d + c];
          }
        }
      }
  return r;
}

void check(const char* what, const TensorRef& got, const std::vector<double>& want, double tolerance) {
  CHECK(static_cast<size_t>(got.size()) == want.size());
  for (size_t i = 0; i < want.size(); i++)
    CHECK_MSG(near(got.as<float>()[i], want[i], tolerance), "%s at %zu: %g, want %g", what, i, static_cast<double>(got.as<float>()[i]), want[i]);
}

template <class Args> void set_terms(Args& a, const Problem& p, double scale, const TensorRef& bias, const TensorRef& keys) {
  a.heads = p.h, a.scale = scale, a.causal = p.causal, a.dropout = p.dropout, a.seed = 5, a.stream = 3;
  if (p.mask) a.mask = bias;
  if (p.key_mask) a.key_mask = keys;
}

// `once`: the results of the first run, one behind the other.
void same_bits(std::vector<char>& once, const Status& status, std::initializer_list<const TensorRef*> results) {
  CHECK_OK(status);
  std::vector<char> now;
  for (const TensorRef* r : results) now.insert(now.end(), static_cast<const char*>(r->data), static_cast<const char*>(r->data) + r->bytes());
  if (once.empty()) once = now;
  CHECK(now == once);
}

void check_problem(Problem p) {
  p.fill();
  const double scale = 0.6;
  const Expected want = expected(p, scale);
  const TensorRef q = view(DType::f32, p.q, {p.b, p.t, p.h * p.d}), k = view(DType::f32, p.k, {p.b, p.s, p.h * p.d}), v = view(DType::f32, p.v, {p.b, p.s, p.h * p.e});
  const TensorRef bias = view(DType::f32, p.bias, {p.t, p.s}), keys = view(DType::f32, p.keys, {p.b, p.s}), dy = view(DType::f32, p.dy, {p.b, p.t, p.h * p.e});
  test::OpCall<attention_args> forward;
  forward.args.q = q, forward.args.k = k, forward.args.v = v;
  set_terms(forward.args, p, scale, bias, keys);
  std::vector<char> once, once_back;
  test::for_thread_counts([&] { same_bits(once, RUN_OP(forward, attention), {&forward.args.y, &forward.args.lse}); });
  check("y", forward.args.y, want.y, 1e-5);
  check("lse", forward.args.lse, want.lse, 1e-5);
  test::OpCall<attention_grad_args> back;
  back.args.q = q, back.args.k = k, back.args.v = v, back.args.y = forward.args.y, back.args.lse = forward.args.lse, back.args.dy = dy;
  set_terms(back.args, p, scale, bias, keys);
  test::for_thread_counts([&] { same_bits(once_back, RUN_OP(back, attention_grad), {&back.args.dq, &back.args.dk, &back.args.dv}); });
  check("dq", back.args.dq, want.dq, 5e-5);
  check("dk", back.args.dk, want.dk, 5e-5);
  check("dv", back.args.dv, want.dv, 5e-5);
}

}  // namespace

TERSOR_TEST(attention_rows_match_scalar) {
  const AttentionRow* rows;
  const int count = attention_table(&rows);
  const AttentionRow& scalar = rows[count - 1];
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {1, 3, 8, 15, 16, 17, 33, 64, 100})
      for (int options = 0; options < 16; options++) {
        const int64_t height = 3;
        const size_t bytes = static_cast<size_t>(height * n) * 4;
        GuardedBuffer s_buffer(bytes), d_buffer(bytes, GuardedBuffer::Side::begin), u_buffer(bytes), m_buffer(bytes), b_buffer(static_cast<size_t>(n) * 4);
        float *s = s_buffer.as<float>(), *d = d_buffer.as<float>(), *u = u_buffer.as<float>(), *m = m_buffer.as<float>(), *bias = b_buffer.as<float>();
        for (int64_t i = 0; i < height * n; i++) s[i] = random_float(-4, 4), d[i] = random_float(-1, 1), u[i] = random_float(0, 1), m[i] = i % 5 ? random_float(-1, 1) : -INFINITY;
        for (int64_t i = 0; i < n; i++) bias[i] = i % 3 ? 0 : -INFINITY;
        std::vector<float> s2(s, s + height * n), d2(d, d + height * n);
        float state[2][4][3] = {{{-INFINITY, 0.5f, 7}, {0, 2, 3}, {}, {}}, {{-INFINITY, 0.5f, 7}, {0, 2, 3}, {}, {}}};
        const float lse[3] = {1.5f, INFINITY, 2}, zero[3] = {0.25f, 1, -1};
        const auto block = [&](float* at, float* slope, int which) {
          AttentionBlock<float> b = {};
          b.s = at, b.rows = height, b.n = n, b.ld = n, b.visible = options & 1 ? n - 1 : n, b.scale = 0.7f;
          if (options & 2) b.column_bias = bias;
          if (options & 4) b.mask = m, b.mask_row = n;
          if (options & 8) b.uniform = u, b.uniform_row = n;
          b.keep = 0.6f, b.max = state[which][0], b.sum = state[which][1], b.factor = state[which][2], b.d = slope, b.d_ld = n, b.lse = lse, b.delta = const_cast<float*>(zero);
          return b;
        };
        const auto same = [&](const char* what, double tolerance) {
          for (int64_t i = 0; i < height * n; i++) {
            CHECK_MSG(near(s[i], s2[static_cast<size_t>(i)], tolerance), "%s %s n %lld options %d at %lld: %g, want %g", rows[r].function, what, (long long)n, options, (long long)i, s[i], s2[static_cast<size_t>(i)]);
            CHECK_MSG(near(d[i], d2[static_cast<size_t>(i)], tolerance), "%s %s d", rows[r].function, what);
          }
          for (int i = 0; i < 4; i++)
            for (int j = 0; j < 3; j++) CHECK_MSG(near(state[0][i][j], state[1][i][j], tolerance), "%s %s state %d %d: %g, want %g", rows[r].function, what, i, j, state[0][i][j], state[1][i][j]);
        };
        rows[r].slopes(block(s, d, 0)), scalar.slopes(block(s2.data(), d2.data(), 1));
        same("slopes", 2e-6);
        rows[r].soften(block(s, d, 0)), scalar.soften(block(s2.data(), d2.data(), 1));
        same("soften", 2e-6);
        rows[r].scale(block(s, d, 0)), scalar.scale(block(s2.data(), d2.data(), 1));
        same("scale", 2e-6);
        AttentionBlock<float> one = block(s, d, 0), two = block(s2.data(), d2.data(), 1);
        one.delta = state[0][3], two.delta = state[1][3];
        rows[r].dots(one), scalar.dots(two);
        same("dots", 2e-5);
      }
  }
}

TERSOR_TEST(attention_keeps_nan) {
  const AttentionRow* rows;
  const int count = attention_table(&rows);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    float s[2][4] = {{1, NAN, 2, 0}, {NAN, NAN, NAN, NAN}}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, factor[2];
    AttentionBlock<float> b = {};
    b.s = s[0], b.rows = 2, b.n = b.ld = b.visible = 4, b.scale = 1, b.keep = 1, b.max = top, b.sum = sum, b.factor = factor;
    rows[r].soften(b);
    CHECK(std::isnan(sum[0]) && std::isnan(sum[1]) && std::isnan(s[1][3]));
  }
}

TERSOR_TEST(attention_ops_match_the_whole_matrix) {
  check_problem({2, 2, 5, 7, 3, 4});
  check_problem({1, 2, 70, 300, 8, 5, true, true, true, 0.25});   // more than one block of queries and of keys, cut in tasks
  check_problem({3, 3, 66, 66, 4, 4, true});                      // tasks of whole pairs
  check_problem({1, 1, 9, 4, 2, 2, true, false, true});           // rows that see nothing
  check_problem({2, 4, 3, 270, 4, 6, true, false, false, 0.5});
  check_problem({1, 9, 1, 33, 16, 16, false, true, true});
}

TERSOR_TEST(attention_refuses) {
  const std::vector<float> x(24, 1.0f);
  test::OpCall<attention_args> call;
  const auto reset = [&] {
    call.args = attention_args{};
    call.args.q = call.args.k = call.args.v = view(DType::f32, x, {2, 3, 4});
    call.args.heads = 2, call.args.scale = 1;
  };
  reset(), call.args.heads = 3;
  CHECK_CODE(RUN_OP(call, attention), Code::shape);
  reset(), call.args.heads = 0;
  CHECK_CODE(RUN_OP(call, attention), Code::option);
  reset(), call.args.dropout = 1;
  CHECK_CODE(RUN_OP(call, attention), Code::option);
  reset(), call.args.scale = INFINITY;
  CHECK_CODE(RUN_OP(call, attention), Code::option);
  reset(), call.args.mask = view(DType::f32, x, {2, 3});
  CHECK_CODE(RUN_OP(call, attention), Code::shape);
  reset(), call.args.key_mask = view(DType::f32, x, {2, 4});
  CHECK_CODE(RUN_OP(call, attention), Code::shape);
  reset(), call.args.k = view(DType::f32, x, {2, 2, 6});
  CHECK_CODE(RUN_OP(call, attention), Code::shape);
  reset(), call.args.v = view(DType::f32, x, {4, 6});
  CHECK_CODE(RUN_OP(call, attention), Code::shape);
}

}  // namespace tersor
