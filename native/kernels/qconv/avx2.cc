#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/qgemm/bytes_avx2.h"
#include "kernels/qconv/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void qconv_finish_avx2(const QconvFinish& f) { qconv_finish(f); }
void qconv_finish_avx2_grid(const QconvGrid& g) { qconv_grid(g); }
void qconv_finish_avx2_deep(const QconvDeep& d) { qconv_deep(d); }

}  // namespace tersor
TERSOR_VEC_END
#endif
