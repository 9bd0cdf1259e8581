// Bias, activation and residual of weight-only products for the rows of this vector width.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/wgemm/finish.h"

TERSOR_VEC_BEGIN
namespace tersor {
void wgemm_finish_avx2(const WgemmFinish& f) { finish(f); }
}  // namespace tersor
TERSOR_VEC_END
#endif
