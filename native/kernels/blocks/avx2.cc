#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/blocks/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

int64_t blocks_encode_8_avx2(const BlocksArgs& a) { return encode_run<simd::F32>(a); }
int64_t blocks_decode_8_avx2(const BlocksArgs& a) { return decode_run(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
