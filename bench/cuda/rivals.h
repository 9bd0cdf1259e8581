// What native.cc times our kernels beside: cuBLASLt and cuSPARSE of the CUDA toolkit, on the same device memory. Where the toolkit has no such library the function
// gives an empty call, and the case stands alone.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace rivals {

using Call = std::function<bool()>;  // queues the work; false: it failed

enum class Type { f32, f16, bf16, i8 };

bool here();          // of a device at all
std::string about();  // "cuBLASLt 13.1.1, cuSPARSE 12.6.3" or why there is none
void wait();

// y [m, n] = x [m, k] w [n, k]^T, row-major; y is of x's type, i32 for i8. f32 without TF32. The heuristic's first algorithm with 32 MB to work in.
Call product(Type type, int64_t m, int64_t n, int64_t k, const void* x, const void* w, void* y);
// y [rows, n] = CSR [rows, cols] x [cols, n], all f32, indices i32.
Call sparse(int64_t rows, int64_t cols, int64_t n, int64_t values_n, const float* values, const int32_t* indptr, const int32_t* columns, const float* x, float* y);

}  // namespace rivals
