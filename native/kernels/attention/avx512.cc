#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/attention/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void attention_f32_16_avx512_soften(const AttentionBlock<float>& b) { soften<simd::F32>(b); }
void attention_f32_16_avx512_slopes(const AttentionBlock<float>& b) { slopes<simd::F32>(b); }
void attention_f32_16_avx512_scale(const AttentionBlock<float>& b) { scale_rows<simd::F32>(b); }
void attention_f32_16_avx512_dots(const AttentionBlock<float>& b) { dot_rows<simd::F32>(b); }

}  // namespace tersor
TERSOR_VEC_END
#endif
