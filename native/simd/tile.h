// Tile registers (AMX). Kernels over tiles are written once over these macros: with the instructions below in the ISA files amx.cc, and
// with plain arrays in the native tests (test/tile_emulated.h), which so run every such kernel on every machine.
// A tile number must be a literal: it is part of the instruction.
//   CONFIGURE(c)      TileConfig c; all tiles become 0           RELEASE()          back to the state of a fresh process
//   ZERO(t)           LOAD(t, p, stride)  STORE(t, p, stride)    rows of the tile, `stride` bytes apart in memory
//   DOT_U8S8(c, a, b), DOT_S8S8(c, a, b)   c[i][j] += sum_k a[i][4k..4k+3] * b[k][4j..4j+3], s32 that wrap
//   DOT_BF16(c, a, b)                      c[i][j] += sum_k a[i][2k..2k+1] * b[k][2j..2j+1], f32
// Between CONFIGURE and RELEASE no other code that uses tiles may run.
#pragma once
#include <immintrin.h>

#include "simd/target.h"
#include "simd/tile_config.h"

// The intrinsics of g++ name neither the bytes that they read nor all of the configuration as operands: without a barrier, stores to
// memory that a tile is about to load may be moved behind it or dropped.
#if defined(__GNUC__)
#define TERSOR_TILE_BARRIER __asm__ volatile("" ::: "memory")
#else
#define TERSOR_TILE_BARRIER ((void)0)
#endif

#define TERSOR_TILE_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AMX)
#define TERSOR_TILE_END TERSOR_TARGET_END
#define TERSOR_TILE_CONFIGURE(config) \
  do {                                \
    TERSOR_TILE_BARRIER;              \
    _tile_loadconfig(&(config));      \
  } while (0)
#define TERSOR_TILE_RELEASE() _tile_release()
#define TERSOR_TILE_ZERO(t) _tile_zero(t)
#define TERSOR_TILE_LOAD(t, p, stride)                      \
  do {                                                      \
    TERSOR_TILE_BARRIER;                                    \
    _tile_loadd(t, p, static_cast<size_t>(stride));         \
  } while (0)
#define TERSOR_TILE_STORE(t, p, stride)                     \
  do {                                                      \
    _tile_stored(t, p, static_cast<size_t>(stride));        \
    TERSOR_TILE_BARRIER;                                    \
  } while (0)
#define TERSOR_TILE_DOT_U8S8(c, a, b) _tile_dpbusd(c, a, b)
#define TERSOR_TILE_DOT_S8S8(c, a, b) _tile_dpbssd(c, a, b)
#define TERSOR_TILE_DOT_BF16(c, a, b) _tile_dpbf16ps(c, a, b)
