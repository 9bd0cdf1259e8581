// Finish and quantize, one value at a time: the reference.
#include "simd/vec_scalar.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using simd::I32;
constexpr int kLanes = simd::F32::lanes;
TERSOR_VEC_INLINE I32 high_mul(I32 a, I32 b) { return I32(static_cast<int32_t>((int64_t(a.v) * b.v + (int64_t(1) << 30)) >> 31)); }
TERSOR_VEC_INLINE I32 shift_left(I32 a, I32 n) { return I32(static_cast<int32_t>(static_cast<uint32_t>(a.v) << n.v)); }
TERSOR_VEC_INLINE I32 shift_right(I32 a, I32 n) { return I32(a.v >> n.v); }
TERSOR_VEC_INLINE I32 min_int(I32 a, I32 b) { return a.v < b.v ? a : b; }
TERSOR_VEC_INLINE I32 max_int(I32 a, I32 b) { return a.v > b.v ? a : b; }
TERSOR_VEC_INLINE I32 load_ints(const int32_t* p, int64_t) { return I32(*p); }
TERSOR_VEC_INLINE void store_ints(int32_t* p, I32 v, int64_t) { *p = v.v; }
TERSOR_VEC_INLINE void store_bytes(void* p, I32 v, int64_t) { *static_cast<uint8_t*>(p) = static_cast<uint8_t>(v.v); }

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/qgemm/finish.h"

namespace tersor {
const QgemmWidth qgemm_width_scalar = {finish_tile, quantize, dynamic};
}  // namespace tersor
