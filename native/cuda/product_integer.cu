// The kernels of the products of 8-bit elements (product_mma.h, product_wgmma.h), compiled once.
#include "cuda/product_wgmma.h"

namespace tersor {
namespace cuda {

TERSOR_PRODUCT(, Kind::u8, IntegerEpilogue)
TERSOR_PRODUCT(, Kind::s8, IntegerEpilogue)

}  // namespace cuda
}  // namespace tersor
