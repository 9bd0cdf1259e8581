#include "rivals.h"

#if defined(TERSOR_RIVAL_CUBLASLT)
#include <cublasLt.h>
#endif
#if defined(TERSOR_RIVAL_CUSPARSE)
#include <cusparse.h>
#endif
#if defined(TERSOR_RIVAL_CUDA)
#include <cuda_runtime_api.h>
#endif
#include <memory>

namespace rivals {

#if defined(TERSOR_RIVAL_CUDA)
bool here() {
  int n = 0;
  return cudaGetDeviceCount(&n) == cudaSuccess && n > 0;
}
void wait() { cudaDeviceSynchronize(); }

namespace {
[[maybe_unused]] std::string three(int version, int major, int minor) {
  return std::to_string(version / major) + "." + std::to_string(version % major / minor) + "." + std::to_string(version % minor);
}
}  // namespace
#else
bool here() { return false; }
void wait() {}
#endif

std::string about() {
  std::string text;
#if defined(TERSOR_RIVAL_CUBLASLT)
  const auto version = static_cast<int>(cublasLtGetVersion());
  text += "cuBLASLt " + three(version, 10000, 100);
#endif
#if defined(TERSOR_RIVAL_CUSPARSE)
  text += (text.empty() ? "cuSPARSE " : ", cuSPARSE ") + three(CUSPARSE_VERSION, 1000, 100);
#endif
  return text.empty() ? "absent: the toolkit has neither cuBLASLt nor cuSPARSE" : text;
}

#if defined(TERSOR_RIVAL_CUBLASLT)
namespace {
constexpr size_t kWorkspace = size_t(32) << 20;
struct Product {
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t op = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulPreference_t wish = nullptr;
  cublasLtMatmulHeuristicResult_t found{};
  void* workspace = nullptr;
  ~Product() {
    if (workspace) cudaFree(workspace);
    if (wish) cublasLtMatmulPreferenceDestroy(wish);
    for (cublasLtMatrixLayout_t layout : {a, b, c})
      if (layout) cublasLtMatrixLayoutDestroy(layout);
    if (op) cublasLtMatmulDescDestroy(op);
    if (handle) cublasLtDestroy(handle);
  }
};
}  // namespace

// Column-major: y^T [n, m] = (w as [k, n])^T (x as [k, m]), the one form that cuBLASLt has for 8 bits.
Call product(Type type, int64_t m, int64_t n, int64_t k, const void* x, const void* w, void* y) {
  const bool integer = type == Type::i8;
  const cudaDataType_t in = type == Type::f32 ? CUDA_R_32F : type == Type::f16 ? CUDA_R_16F : type == Type::bf16 ? CUDA_R_16BF : CUDA_R_8I;
  if (!here()) return {};
  auto p = std::make_shared<Product>();
  auto fine = [](cublasStatus_t s) { return s == CUBLAS_STATUS_SUCCESS; };
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const size_t most = kWorkspace;
  int results = 0;
  const bool ready = fine(cublasLtCreate(&p->handle)) && cudaMalloc(&p->workspace, kWorkspace) == cudaSuccess &&
                     fine(cublasLtMatmulDescCreate(&p->op, integer ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F, integer ? CUDA_R_32I : CUDA_R_32F)) &&
                     fine(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed)) &&
                     fine(cublasLtMatrixLayoutCreate(&p->a, in, static_cast<uint64_t>(k), static_cast<uint64_t>(n), k)) &&
                     fine(cublasLtMatrixLayoutCreate(&p->b, in, static_cast<uint64_t>(k), static_cast<uint64_t>(m), k)) &&
                     fine(cublasLtMatrixLayoutCreate(&p->c, integer ? CUDA_R_32I : in, static_cast<uint64_t>(n), static_cast<uint64_t>(m), n)) &&
                     fine(cublasLtMatmulPreferenceCreate(&p->wish)) &&
                     fine(cublasLtMatmulPreferenceSetAttribute(p->wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most)) &&
                     fine(cublasLtMatmulAlgoGetHeuristic(p->handle, p->op, p->a, p->b, p->c, p->c, p->wish, 1, &p->found, &results)) && results == 1;
  if (!ready) return {};
  return [=] {
    const float one = 1, zero = 0;
    const int32_t one_i = 1, zero_i = 0;
    const void *alpha = integer ? static_cast<const void*>(&one_i) : &one, *beta = integer ? static_cast<const void*>(&zero_i) : &zero;
    return fine(cublasLtMatmul(p->handle, p->op, alpha, w, p->a, x, p->b, beta, y, p->c, y, p->c, &p->found.algo, p->workspace, kWorkspace, nullptr));
  };
}
#else
Call product(Type, int64_t, int64_t, int64_t, const void*, const void*, void*) { return {}; }
#endif

#if defined(TERSOR_RIVAL_CUSPARSE)
namespace {
struct Sparse {
  cusparseHandle_t handle = nullptr;
  cusparseSpMatDescr_t a = nullptr;
  cusparseDnMatDescr_t b = nullptr, c = nullptr;
  void* workspace = nullptr;
  ~Sparse() {
    if (workspace) cudaFree(workspace);
    if (a) cusparseDestroySpMat(a);
    if (b) cusparseDestroyDnMat(b);
    if (c) cusparseDestroyDnMat(c);
    if (handle) cusparseDestroy(handle);
  }
};
}  // namespace

Call sparse(int64_t rows, int64_t cols, int64_t n, int64_t values_n, const float* values, const int32_t* indptr, const int32_t* columns, const float* x, float* y) {
  if (!here()) return {};
  auto p = std::make_shared<Sparse>();
  auto fine = [](cusparseStatus_t s) { return s == CUSPARSE_STATUS_SUCCESS; };
  const float one = 1, zero = 0;
  size_t bytes = 0;
  const auto none = CUSPARSE_OPERATION_NON_TRANSPOSE;
  const auto way = CUSPARSE_SPMM_CSR_ALG2;  // the one for row-major matrices
  const bool ready =
      fine(cusparseCreate(&p->handle)) &&
      fine(cusparseCreateCsr(&p->a, rows, cols, values_n, const_cast<int32_t*>(indptr), const_cast<int32_t*>(columns), const_cast<float*>(values), CUSPARSE_INDEX_32I,
                             CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F)) &&
      fine(cusparseCreateDnMat(&p->b, cols, n, n, const_cast<float*>(x), CUDA_R_32F, CUSPARSE_ORDER_ROW)) &&
      fine(cusparseCreateDnMat(&p->c, rows, n, n, y, CUDA_R_32F, CUSPARSE_ORDER_ROW)) &&
      fine(cusparseSpMM_bufferSize(p->handle, none, none, &one, p->a, p->b, &zero, p->c, CUDA_R_32F, way, &bytes)) &&
      (bytes == 0 || cudaMalloc(&p->workspace, bytes) == cudaSuccess) &&
      fine(cusparseSpMM_preprocess(p->handle, none, none, &one, p->a, p->b, &zero, p->c, CUDA_R_32F, way, p->workspace));
  if (!ready) return {};
  return [=] {
    const float alpha = 1, beta = 0;
    return fine(cusparseSpMM(p->handle, none, none, &alpha, p->a, p->b, &beta, p->c, CUDA_R_32F, way, p->workspace));
  };
}
#else
Call sparse(int64_t, int64_t, int64_t, int64_t, const float*, const int32_t*, const int32_t*, const float*, float*) { return {}; }
#endif

}  // namespace rivals
