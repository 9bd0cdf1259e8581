// f32 matrix product, 6 x 64 register tile over two panels of 32: 24 accumulators, 4 vectors of B, 1 broadcast of A. Up to 14 rows take 14 x 32.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#define TERSOR_GEMM_NV 2
#define TERSOR_GEMM_PANELS 2
#define TERSOR_GEMM_TALLEST 6
#define TERSOR_GEMM_HEIGHTS(X) X(14) X(12) X(8) X(6) X(4) X(2) X(1)
#define TERSOR_GEMM_WIDE_HEIGHTS(X) X(6) X(5) X(4) X(3) X(2) X(1)
#include "kernels/gemm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void gemm_f32_6x64_avx512(const GemmStrip<float>& s) { s.offset ? strip<true>(s) : strip<false>(s); }
void gemm_f32_6x64_avx512_dot(const GemmDot<float>& d) { dot(d); }
void gemm_f32_6x64_avx512_pack(const float* b, int64_t b_row, int64_t k, int n, float* out) { pack_transposed<kWidth>(b, b_row, k, n, out); }

}  // namespace tersor
TERSOR_VEC_END
#endif
