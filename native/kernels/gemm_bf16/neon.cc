// bf16 products with NEON: B widened to f32 in registers by a shift and a mask, 5 x 16 tile of multiply-adds.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/gemm_bf16/finish.h"

#define TERSOR_BF16_BEGIN TERSOR_VEC_BEGIN
#define TERSOR_BF16_END TERSOR_VEC_END
#define TERSOR_BF16_TOP 5
#define TERSOR_BF16_NV 4
#define TERSOR_BF16_THIN1 16
#define TERSOR_BF16_THIN2 8
#define TERSOR_BF16_HEIGHTS(X) X(5) X(4) X(3) X(2) X(1)
#define TERSOR_BF16_FINISH finish_block
#include "kernels/gemm_bf16/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {
void gemm_bf16_5x16_neon(const Bf16Block& q) { block(q); }
void gemm_bf16_5x16_neon_pack(const Bf16Pack& a) { pack_rows(a); }
}  // namespace tersor
TERSOR_VEC_END
#endif
