// The transcendental functions of simd/math.h, through every elementwise row this machine can run: ulp bounds against long double over a
// sweep of all float patterns, special values, and equal bits on every row.
#include <cfloat>

#include "kernels/elementwise/elementwise.h"
#include "test/test.h"

namespace tersor {
namespace {

struct Function {
  const char* name;
  UnaryOp op;
  long double (*exact)(long double);
  double max_ulp;
};
long double exact_sigmoid(long double x) { return 1 / (1 + expl(-x)); }
const Function kFunctions[] = {
    {"exp", UnaryOp::exp, expl, 4},   {"log", UnaryOp::log, logl, 4}, {"tanh", UnaryOp::tanh, tanhl, 4}, {"sigmoid", UnaryOp::sigmoid, exact_sigmoid, 4},
    {"erf", UnaryOp::erf, erfl, 4},   {"sin", UnaryOp::sin, sinl, 4}, {"cos", UnaryOp::cos, cosl, 4},
};

uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
float from_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

// Distance in units of the last place of the exact value (of the smallest subnormal below them).
double ulps(float got, long double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : INFINITY;
  const float nearest = static_cast<float>(exact);
  if (std::isinf(nearest) || std::isinf(got)) return nearest == got ? 0 : INFINITY;
  int e = 0;
  frexpl(exact, &e);
  if (exact == 0 || e < -125) e = -125;
  return static_cast<double>(fabsl(got - exact) / ldexpl(1, e - 24));
}

std::vector<float> sweep() {
  std::vector<float> x;
  for (uint64_t u = 0; u < (uint64_t(1) << 32); u += 20011) x.push_back(from_bits(static_cast<uint32_t>(u)));
  const float edges[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, FLT_MIN, FLT_TRUE_MIN, -FLT_TRUE_MIN, 88.72283f, 88.72284f,
                         -87.33654f, -103.97f, -104.0f, -105.0f, 0.62f, 1e5f, 1.00001e5f, 1e10f, 3.14159265f, 1.57079633f, 4.0f, 0.99999994f, 1.0000001f, 0.70710678f};
  x.insert(x.end(), std::begin(edges), std::end(edges));
  for (int i = 0; i < 20000; i++) x.push_back(std::uniform_real_distribution<float>(-20, 20)(test::rng()));
  return x;
}

std::vector<float> run(const ElementwiseRow<UnaryArgs<float>>& row, UnaryOp op, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  row.kernel({op, x.data(), y.data(), static_cast<int64_t>(x.size()), 0, 0});
  return y;
}

}  // namespace

TERSOR_TEST(math_functions_stay_within_4_ulp) {
  const std::vector<float> x = sweep();
  const ElementwiseRow<UnaryArgs<float>>* rows;
  const int n = elementwise_unary_table(&rows);
  for (const Function& f : kFunctions) {
    const std::vector<float> reference = run(rows[n - 1], f.op, x);
    for (size_t i = 0; i < x.size(); i++) {
      const double d = ulps(reference[i], f.exact(static_cast<long double>(x[i])));
      CHECK_MSG(d <= f.max_ulp, "%s(%.9g) = %.9g is %.2f ulp off", f.name, x[i], reference[i], d);
    }
    for (int r = 0; r < n - 1; r++) {
      if (rows[r].needs & ~isa::allowed()) continue;
      const std::vector<float> y = run(rows[r], f.op, x);
      for (size_t i = 0; i < x.size(); i++)
        CHECK_MSG(bits_of(y[i]) == bits_of(reference[i]) || (std::isnan(y[i]) && std::isnan(reference[i])), "%s: %s(%.9g) = %.9g, scalar %.9g", rows[r].function,
                  f.name, x[i], y[i], reference[i]);
    }
  }
}

TERSOR_TEST(math_special_values) {
  const ElementwiseRow<UnaryArgs<float>>* rows;
  const int n = elementwise_unary_table(&rows);
  struct Value {
    UnaryOp op;
    float x, y;
  };
  const Value values[] = {
      {UnaryOp::exp, -INFINITY, 0},      {UnaryOp::exp, INFINITY, INFINITY}, {UnaryOp::exp, 0, 1},           {UnaryOp::exp, 100, INFINITY},
      {UnaryOp::exp, -200, 0},           {UnaryOp::log, 0, -INFINITY},       {UnaryOp::log, -0.0f, -INFINITY}, {UnaryOp::log, 1, 0},
      {UnaryOp::log, INFINITY, INFINITY}, {UnaryOp::log, -1, NAN},           {UnaryOp::log, -INFINITY, NAN},  {UnaryOp::tanh, INFINITY, 1},
      {UnaryOp::tanh, -INFINITY, -1},    {UnaryOp::tanh, -0.0f, -0.0f},      {UnaryOp::sigmoid, INFINITY, 1}, {UnaryOp::sigmoid, -INFINITY, 0},
      {UnaryOp::sigmoid, 0, 0.5f},       {UnaryOp::erf, INFINITY, 1},        {UnaryOp::erf, -INFINITY, -1},   {UnaryOp::erf, -0.0f, -0.0f},
      {UnaryOp::sin, -0.0f, -0.0f},      {UnaryOp::sin, INFINITY, NAN},      {UnaryOp::cos, -INFINITY, NAN},  {UnaryOp::cos, 0, 1},
      {UnaryOp::relu, -3, 0},            {UnaryOp::step, 0, 0},              {UnaryOp::step, 1e-40f, 1},      {UnaryOp::sign, -0.0f, 0},
      {UnaryOp::sign, -1e-40f, -1},      {UnaryOp::round, 0.5f, 0},          {UnaryOp::round, 1.5f, 2},       {UnaryOp::round, 2.5f, 2},
      {UnaryOp::round, -2.5f, -2},       {UnaryOp::round, -0.5f, -0.0f},     {UnaryOp::round, 8388609.0f, 8388609.0f}, {UnaryOp::gelu, 0, 0},
      {UnaryOp::gelu, 30, 30},           {UnaryOp::reciprocal, 0, INFINITY}, {UnaryOp::sqrt, -1, NAN},        {UnaryOp::neg, 0, -0.0f},
  };
  for (int r = 0; r < n; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (const Value& v : values) {
      float y;
      rows[r].kernel({v.op, &v.x, &y, 1, 0, 0});
      CHECK_MSG(v.y != v.y ? y != y : (y == v.y && std::signbit(y) == std::signbit(v.y)), "%s: op %d of %g is %g, want %g", rows[r].function, static_cast<int>(v.op), v.x,
                y, v.y);
    }
    const float nan = NAN;
    for (int op = 0; op < static_cast<int>(UnaryOp::count); op++) {
      if (op == static_cast<int>(UnaryOp::step)) continue;  // NaN > 0 is false
      float y = 0;
      rows[r].kernel({static_cast<UnaryOp>(op), &nan, &y, 1, -1, 1});
      CHECK_MSG(y != y, "%s: op %d of NaN is %g", rows[r].function, op, y);
    }
  }
}

TERSOR_TEST(math_gelu_error) {
  const ElementwiseRow<UnaryArgs<float>>* rows;
  const int n = elementwise_unary_table(&rows);
  std::vector<float> x;
  for (int i = -160000; i <= 160000; i++) x.push_back(static_cast<float>(i) * 1e-4f);
  const std::vector<float> y = run(rows[n - 1], UnaryOp::gelu, x);
  for (size_t i = 0; i < x.size(); i++) {
    const double v = x[i], exact = 0.5 * v * erfc(-v * 0.70710678118654752440);
    const double bound = std::ldexp(1.0, -22) * fmax(fabs(exact), fabs(v) / 2);
    CHECK_MSG(fabs(y[i] - exact) <= bound, "gelu(%.9g) = %.9g, exact %.9g", v, static_cast<double>(y[i]), exact);
  }
}

}  // namespace tersor
