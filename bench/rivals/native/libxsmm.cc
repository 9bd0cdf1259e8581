// libxsmm: sparse times dense (spmdm). Capped by LIBXSMM_TARGET. Its threads are the caller's: OpenMP here.
// BUILD: -fopenmp -lxsmm -lxsmmnoblas -ldl -lrt -lpthread     DEBIAN: libxsmm-dev
#include <libxsmm.h>
#include <omp.h>

#include "contender.h"

static bench::Prepared prepare(const bench::Case& c) {
  if (c.kernel != "spmm.f32") throw bench::Unsupported("no " + c.kernel + " in this driver of libxsmm");
  const int m = c.size("m"), k = c.size("k"), n = c.size("n"), threads = c.threads;
  if (n == 1) throw bench::Unsupported("spmdm computes blocks of columns: a vector is not its case");
  const auto w = bench::sparse_floats(static_cast<size_t>(m) * k, 33, c.number("sparsity", 0)), x = bench::floats(static_cast<size_t>(k) * n, 22);
  const auto out = bench::buffer<float>(static_cast<size_t>(m) * n);
  const std::shared_ptr<libxsmm_spmdm_handle> h(new libxsmm_spmdm_handle, [](libxsmm_spmdm_handle* p) {
    libxsmm_spmdm_destroy(p);
    delete p;
  });
  libxsmm_CSR_sparseslice* slices = nullptr;
  libxsmm_spmdm_init(m, n, k, threads, h.get(), &slices);
  for (int i = 0; i < libxsmm_spmdm_get_num_createSparseSlice_blocks(h.get()); i++) libxsmm_spmdm_createSparseSlice_fp32_thread(h.get(), 'N', w->data, slices, i, 0, 1);
  const int blocks = libxsmm_spmdm_get_num_compute_blocks(h.get());
  bench::Prepared p;
  p.calls.push_back([=] {
    const float one = 1, zero = 0;
#pragma omp parallel num_threads(threads)
    {
      const int t = omp_get_thread_num();
      for (int i = t; i < blocks; i += threads) libxsmm_spmdm_compute_fp32_thread(h.get(), 'N', 'N', &one, slices, x->data, 'N', &zero, out->data, i, t, threads);
    }
  });
  p.calls[0]();
  p.check = bench::sum_abs(out->data, out->size);
  return p;
}

int main(int argc, char** argv) {
  libxsmm_init();
  return bench::run_contender(argc, argv, {"libxsmm", LIBXSMM_VERSION, libxsmm_get_target_arch()}, prepare);
}
