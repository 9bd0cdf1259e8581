// u8 x s8 and s8 x s8 with tdpbusd and tdpbssd: 32 x 32 sums in four tiles.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/tile.h"

#include "kernels/qgemm/qgemm.h"

#define TERSOR_QGEMM_TILE_WIDTH qgemm_width_avx512
#include "kernels/qgemm/tile_body.h"

TERSOR_TILE_BEGIN
namespace tersor {
void qgemm_u8s8s32_32x32_amx(const QgemmBlock& q) { qgemm_tile_block(q); }
}  // namespace tersor
TERSOR_TILE_END
#endif
