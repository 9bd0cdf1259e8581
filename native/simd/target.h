// The one place that knows how a compiler is told "functions of this region may use these instructions".
// Rules: every #include stands before the region; inside it nothing with external linkage and a shared name (std:: templates,
// inline functions of shared headers); no lambdas (clang regions do not reach them). tools/check-isa-leaks.ts verifies.
#pragma once

#define TERSOR_PRAGMA_(x) _Pragma(#x)
#if defined(__clang__)
#define TERSOR_TARGET_BEGIN(features) TERSOR_PRAGMA_(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TERSOR_TARGET_END TERSOR_PRAGMA_(clang attribute pop)
#elif defined(__GNUC__)
#define TERSOR_TARGET_BEGIN(features) TERSOR_PRAGMA_(GCC push_options) TERSOR_PRAGMA_(GCC target(features))
#define TERSOR_TARGET_END TERSOR_PRAGMA_(GCC pop_options)
#else  // MSVC accepts every intrinsic everywhere
#define TERSOR_TARGET_BEGIN(features)
#define TERSOR_TARGET_END
#endif

// gcc 12 takes the "undefined" operand inside its own AVX-512 intrinsics for a use of an uninitialised variable (gcc bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define TERSOR_TARGET_AVX2 "avx2,fma,f16c"
#define TERSOR_TARGET_AVXVNNI "avx2,fma,f16c,avxvnni"
#define TERSOR_TARGET_AVX512 "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512cd"
#define TERSOR_TARGET_AVX512VNNI "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vnni"
#define TERSOR_TARGET_AVX512BF16 "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vnni,avx512bf16"
#define TERSOR_TARGET_AMX "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vnni,avx512bf16,amx-tile,amx-int8,amx-bf16"
#if defined(__clang__)
#define TERSOR_TARGET_NEONDOT "dotprod"
#define TERSOR_TARGET_NEONI8MM "dotprod,i8mm"
#else  // g++ 12's arm_neon.h declares these intrinsics for Armv8.2 and inlines them nowhere else; both features came with it
#define TERSOR_TARGET_NEONDOT "arch=armv8.2-a+dotprod"
#define TERSOR_TARGET_NEONI8MM "arch=armv8.2-a+dotprod+i8mm"
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define TERSOR_ARCH_X64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define TERSOR_ARCH_ARM64 1
#endif
