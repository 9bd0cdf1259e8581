// CRC-32 (reflected polynomial 0xEDB88320, as in zip and PNG).
#pragma once
#include <cstdint>

namespace tersor {

// crc32("123456789") = 0xCBF43926. Continue a running value by passing the last result as `seed`.
uint32_t crc32(const void* data, int64_t bytes, uint32_t seed = 0);

}  // namespace tersor
