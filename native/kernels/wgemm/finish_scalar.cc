// Bias, activation and residual of weight-only products: the reference.
#include "simd/vec_scalar.h"

#include "kernels/wgemm/finish.h"

namespace tersor {
void wgemm_finish_scalar(const WgemmFinish& f) { finish(f); }
}  // namespace tersor
