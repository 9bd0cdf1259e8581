// bf16 products with tdpbf16ps: 32 x 32 sums in four tiles; a single row goes to the AVX512-BF16 row.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/tile.h"

#define TERSOR_BF16_FINISH bf16_finish_avx512
#define TERSOR_BF16_NARROW bf16_narrow_avx512
#define TERSOR_BF16_GEMV gemm_bf16_14x32_avx512bf16
#include "kernels/gemm_bf16/tile_body.h"

TERSOR_TILE_BEGIN
namespace tersor {
void gemm_bf16_32x32_amx(const Bf16Block& q) { tile_block(q); }
void gemm_bf16_32x32_amx_pack(const Bf16Pack& a) { tile_pack(a); }
}  // namespace tersor
TERSOR_TILE_END
#endif
