#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/attention/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void attention_f32_4_neon_soften(const AttentionBlock<float>& b) { soften<simd::F32>(b); }
void attention_f32_4_neon_slopes(const AttentionBlock<float>& b) { slopes<simd::F32>(b); }
void attention_f32_4_neon_scale(const AttentionBlock<float>& b) { scale_rows<simd::F32>(b); }
void attention_f32_4_neon_dots(const AttentionBlock<float>& b) { dot_rows<simd::F32>(b); }

}  // namespace tersor
TERSOR_VEC_END
#endif
