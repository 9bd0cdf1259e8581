// bf16 products on plain AVX-512: B widened to f32 in registers, 10 x 32 tile of multiply-adds.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/gemm_bf16/finish.h"

#define TERSOR_BF16_BEGIN TERSOR_VEC_BEGIN
#define TERSOR_BF16_END TERSOR_VEC_END
#define TERSOR_BF16_TOP 10
#define TERSOR_BF16_NV 2
#define TERSOR_BF16_THIN1 16
#define TERSOR_BF16_THIN2 8
#define TERSOR_BF16_HEIGHTS(X) X(10) X(8) X(6) X(5) X(4) X(3) X(2) X(1)
#define TERSOR_BF16_FINISH bf16_finish_avx512
#include "kernels/gemm_bf16/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {
void bf16_narrow_avx512(const float* x, int64_t n, uint16_t* out) { narrow(x, n, out); }
void bf16_finish_avx512(const Bf16Finish& f) { finish_block(f); }
void gemm_bf16_10x32_avx512(const Bf16Block& q) { block(q); }
void gemm_bf16_10x32_avx512_pack(const Bf16Pack& a) { pack_rows(a); }
}  // namespace tersor
TERSOR_VEC_END
#endif
