// f32 matrix product, 6 x 16 register tile: 12 accumulators, 2 vectors of B, 1 broadcast of A.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#define TERSOR_GEMM_NV 2
#define TERSOR_GEMM_PANELS 1
#define TERSOR_GEMM_TALLEST 6
#define TERSOR_GEMM_HEIGHTS(X) X(6) X(5) X(4) X(3) X(2) X(1)
#include "kernels/gemm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void gemm_f32_6x16_avx2(const GemmStrip<float>& s) { s.offset ? strip<true>(s) : strip<false>(s); }
void gemm_f32_6x16_avx2_dot(const GemmDot<float>& d) { dot(d); }
void gemm_f32_6x16_avx2_pack(const float* b, int64_t b_row, int64_t k, int n, float* out) { pack_transposed<kWidth>(b, b_row, k, n, out); }

}  // namespace tersor
TERSOR_VEC_END
#endif
