#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/qgemm/bytes_avx512.h"
#include "kernels/qconv/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void qconv_finish_avx512(const QconvFinish& f) { qconv_finish(f); }
void qconv_finish_avx512_grid(const QconvGrid& g) { qconv_grid(g); }
void qconv_finish_avx512_deep(const QconvDeep& d) { qconv_deep(d); }

}  // namespace tersor
TERSOR_VEC_END
#endif
