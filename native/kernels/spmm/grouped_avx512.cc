// Groups of rows with 512-bit vectors: 4 rows x 64 lanes, 3 rows x 128 lanes (24 sums, three values, one vector of x).
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE void loaded(simd::F32& v) {
#if defined(__GNUC__)
  __asm__("" : "+v"(v.v));
#else
  static_cast<void>(v);
#endif
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/spmm/grouped_generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void spmm_grouped_avx512(const SpmmGroups& s) { s.group_rows == 4 ? groups<4, 4>(s) : groups<3, 8>(s); }

}  // namespace tersor
TERSOR_VEC_END
#endif
