// The headers that cost most to read, precompiled by CMakeLists.txt for the core. Nothing may rely on it: every file includes what it needs, and
// the node-gyp build goes without.
#pragma once
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
