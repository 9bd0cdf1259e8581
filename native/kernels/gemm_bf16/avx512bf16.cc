// bf16 products with vdpbf16ps: 14 x 32 tile, two products of a pair per lane and instruction.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "base/float16.h"
#include "kernels/gemm_bf16/gemm_bf16.h"

#define TERSOR_BF16_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512BF16)
#define TERSOR_BF16_END TERSOR_TARGET_END
#define TERSOR_BF16_TOP 14
#define TERSOR_BF16_NV 2
#define TERSOR_BF16_THIN1 16
#define TERSOR_BF16_THIN2 8
#define TERSOR_BF16_HEIGHTS(X) X(14) X(10) X(8) X(6) X(4) X(2) X(1)
#define TERSOR_BF16_FINISH bf16_finish_avx512
#define TERSOR_BF16_NARROW bf16_narrow_avx512
#define TERSOR_BF16_DOT(acc, a, b) V(_mm512_dpbf16_ps((acc).v, (__m512bh)(a).v, (__m512bh)(b).v))
#include "kernels/gemm_bf16/generic.h"

TERSOR_BF16_BEGIN
namespace tersor {
void gemm_bf16_14x32_avx512bf16(const Bf16Block& q) { block(q); }
void gemm_bf16_14x32_avx512bf16_pack(const Bf16Pack& a) { pack_rows(a); }
}  // namespace tersor
TERSOR_BF16_END
#endif
