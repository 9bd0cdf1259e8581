#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/winograd/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void winograd_f32_avx2_input(int64_t m, const WinogradInput& a) { winograd_input(m, a); }
void winograd_f32_avx2_output(int64_t m, const WinogradOutput& a) { winograd_output(m, a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
