#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/attention/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void attention_f32_8_avx2_soften(const AttentionBlock<float>& b) { soften<simd::F32>(b); }
void attention_f32_8_avx2_slopes(const AttentionBlock<float>& b) { slopes<simd::F32>(b); }
void attention_f32_8_avx2_scale(const AttentionBlock<float>& b) { scale_rows<simd::F32>(b); }
void attention_f32_8_avx2_dots(const AttentionBlock<float>& b) { dot_rows<simd::F32>(b); }

}  // namespace tersor
TERSOR_VEC_END
#endif
