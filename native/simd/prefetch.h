// Brings the cache line at p into L2 in good time; only a hint, never a fault, so p may be any address.
#pragma once
#if defined(__GNUC__)
#define TERSOR_PREFETCH_L2(p) __builtin_prefetch((p), 0, 2)
#else
#include <immintrin.h>
#define TERSOR_PREFETCH_L2(p) _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1)
#endif
