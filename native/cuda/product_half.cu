// The kernels of the products of 16-bit elements (product_mma.h, product_wgmma.h), compiled once.
#include "cuda/product_wgmma.h"

namespace tersor {
namespace cuda {

TERSOR_PRODUCT(, Kind::f16, FloatEpilogue)
TERSOR_PRODUCT(, Kind::bf16, FloatEpilogue)

}  // namespace cuda
}  // namespace tersor
