// Codes and vectors of 32-bit lanes, one lane; to be included behind simd/vec_scalar.h. n: how many, at least 1.
#pragma once
#include <cstring>

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// The low 8 bits of the first n lanes.
TERSOR_VEC_INLINE void store_bytes(void* p, simd::I32 v, int64_t) { *static_cast<uint8_t*>(p) = static_cast<uint8_t>(v.v); }
// n codes as integers in [0, 255]; lanes behind them are unspecified. Exactly n bytes are read.
TERSOR_VEC_INLINE simd::I32 load_bytes(const void* p, int64_t) { return simd::I32(*static_cast<const uint8_t*>(p)); }

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
