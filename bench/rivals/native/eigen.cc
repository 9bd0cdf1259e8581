// Eigen: CSR times dense (row-major X) and CSR times vector. Compiled once per instruction set (its kernels are chosen by the compiler).
// BUILD: -I/usr/include/eigen3 -fopenmp     VARIANTS: avx2:-mavx2,-mfma avx512:-march=skylake-avx512     DEBIAN: libeigen3-dev
#include <Eigen/Sparse>

#include "contender.h"

using Sparse = Eigen::SparseMatrix<float, Eigen::RowMajor, int>;
using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::Matrix<float, Eigen::Dynamic, 1>;

static bench::Prepared prepare(const bench::Case& c) {
  if (c.kernel != "spmm.f32") throw bench::Unsupported("no " + c.kernel + " in this driver of Eigen");
  const int m = c.size("m"), k = c.size("k"), n = c.size("n"), threads = c.threads;
  const auto w = bench::sparse_floats(static_cast<size_t>(m) * k, 33, c.number("sparsity", 0)), x = bench::floats(static_cast<size_t>(k) * n, 22);
  const auto sparse = std::make_shared<Sparse>(Eigen::Map<Dense>(w->data, m, k).sparseView(1.0f, 0.0f));
  sparse->makeCompressed();
  bench::Prepared p;
  if (n == 1) {
    const auto in = std::make_shared<Vector>(Eigen::Map<Vector>(x->data, k)), out = std::make_shared<Vector>(m);
    p.calls.push_back([=] {
      Eigen::setNbThreads(threads);
      out->noalias() = *sparse * *in;
    });
    p.calls[0]();
    p.check = bench::sum_abs(out->data(), static_cast<size_t>(m));
  } else {
    const auto in = std::make_shared<Dense>(Eigen::Map<Dense>(x->data, k, n)), out = std::make_shared<Dense>(m, n);
    p.calls.push_back([=] {
      Eigen::setNbThreads(threads);
      out->noalias() = *sparse * *in;
    });
    p.calls[0]();
    p.check = bench::sum_abs(out->data(), static_cast<size_t>(m) * n);
  }
  return p;
}

int main(int argc, char** argv) {
#ifdef __AVX512F__
  const char* isa = "avx512";
#else
  const char* isa = "avx2";
#endif
  const std::string version = std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." + std::to_string(EIGEN_MINOR_VERSION);
  return bench::run_contender(argc, argv, {"eigen", version, isa}, prepare);
}
