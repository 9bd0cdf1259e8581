#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/qgemm/bytes_neon.h"
#include "kernels/qconv/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void qconv_finish_neon(const QconvFinish& f) { qconv_finish(f); }
void qconv_finish_neon_grid(const QconvGrid& g) { qconv_grid(g); }
void qconv_finish_neon_deep(const QconvDeep& d) { qconv_deep(d); }

}  // namespace tersor
TERSOR_VEC_END
#endif
