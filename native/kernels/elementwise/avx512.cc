#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/elementwise/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void elementwise_unary_f32_16_avx512(const UnaryArgs<float>& a) { unary_switch<simd::F32>(a); }
void elementwise_binary_f32_16_avx512(const BinaryArgs<float>& a) { binary_switch<simd::F32>(a); }
void elementwise_convert_16_avx512(const ConvertArgs& a) { convert_switch(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
