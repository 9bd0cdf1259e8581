#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/winograd/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void winograd_f32_neon_input(int64_t m, const WinogradInput& a) { winograd_input(m, a); }
void winograd_f32_neon_output(int64_t m, const WinogradOutput& a) { winograd_output(m, a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
