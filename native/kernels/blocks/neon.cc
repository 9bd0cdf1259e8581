#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/blocks/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

int64_t blocks_encode_4_neon(const BlocksArgs& a) { return encode_run<simd::F32>(a); }
int64_t blocks_decode_4_neon(const BlocksArgs& a) { return decode_run(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
