// Bias, activation and residual of weight-only products for the rows of this vector width.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/wgemm/finish.h"

TERSOR_VEC_BEGIN
namespace tersor {
void wgemm_finish_neon(const WgemmFinish& f) { finish(f); }
}  // namespace tersor
TERSOR_VEC_END
#endif
