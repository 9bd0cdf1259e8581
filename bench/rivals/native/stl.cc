// The C++ standard library: std::nth_element on |x|, then a mask of one byte per element.
// BUILD: -lm     DEBIAN: g++
#include "contender.h"

static bench::Prepared prepare(const bench::Case& c) {
  if (c.kernel != "topk") throw bench::Unsupported("no " + c.kernel + " in the standard library");
  if (c.threads > 1) throw bench::Unsupported("std::nth_element has one thread");
  const size_t n = c.size("n"), k = static_cast<size_t>(static_cast<double>(n) * c.number("keep", 0.1));
  const auto x = bench::bell_floats(n, 44), work = bench::buffer<float>(n);
  const auto mask = bench::buffer<uint8_t>(n);
  bench::Prepared p;
  p.calls.push_back([=] {
    for (size_t i = 0; i < n; i++) work->data[i] = std::fabs(x->data[i]);
    std::nth_element(work->data, work->data + (n - k), work->data + n);
    const float threshold = work->data[n - k];
    for (size_t i = 0; i < n; i++) mask->data[i] = std::fabs(x->data[i]) >= threshold;
  });
  p.calls[0]();
  p.check = bench::sum_abs(mask->data, n);
  return p;
}

int main(int argc, char** argv) { return bench::run_contender(argc, argv, {"std::nth_element", __VERSION__, "compiler"}, prepare); }
