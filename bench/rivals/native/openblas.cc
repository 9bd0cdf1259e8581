// OpenBLAS: cblas_sgemm / cblas_sgemv. It has no prepacked form: its packing is part of the call. Capped by OPENBLAS_CORETYPE.
// BUILD: -lopenblas -fopenmp     DEBIAN: libopenblas-dev libopenblas0-openmp
#include <cblas.h>

#include "contender.h"

static bench::Prepared prepare(const bench::Case& c) {
  if (c.kernel != "gemm.f32") throw bench::Unsupported("no " + c.kernel + " in OpenBLAS");
  const int m = c.size("m"), k = c.size("k"), n = c.size("n"), threads = c.threads;
  const auto a = bench::floats(static_cast<size_t>(m) * k, 11), out = bench::buffer<float>(static_cast<size_t>(m) * n);
  const auto first = bench::floats(static_cast<size_t>(k) * n, 22);
  bench::Prepared p;
  bench::add_copies(p, c.copies(), [&](int i) -> std::function<void()> {
    auto b = first;
    if (i) memcpy((b = bench::buffer<float>(first->size))->data, first->data, first->size * 4);
    return [=] {
      openblas_set_num_threads(threads);
      if (m == 1)
        cblas_sgemv(CblasRowMajor, CblasTrans, k, n, 1, b->data, n, a->data, 1, 0, out->data, 1);
      else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a->data, k, b->data, n, 0, out->data, n);
    };
  });
  p.calls[0]();
  p.check = bench::sum_abs(out->data, out->size);
  return p;
}

int main(int argc, char** argv) {
  std::string config = openblas_get_config();
  const std::string version = config.substr(config.find(' ') + 1);
  return bench::run_contender(argc, argv, {"openblas", version.substr(0, version.find(' ')), openblas_get_corename()}, prepare);
}
