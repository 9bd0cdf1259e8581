// What this processor can do, detected once per process (cpuid traps in virtual machines: 3.7 us each), and the cap set by TERSOR_ISA.
#pragma once
#include <cstdint>

#include "base/status.h"

namespace tersor {
namespace isa {

// Feature bits; a level includes the bits of the levels below it.
constexpr uint32_t scalar = 0;
constexpr uint32_t avx2 = 1u << 0;                       // AVX2 + FMA + F16C + BMI2
constexpr uint32_t avxvnni = avx2 | 1u << 1;             // 256-bit VNNI (VEX)
constexpr uint32_t avx512 = avx2 | 1u << 2;              // F, BW, DQ, VL, CD
constexpr uint32_t avx512vnni = avx512 | 1u << 3;
constexpr uint32_t avx512bf16 = avx512vnni | 1u << 4;    // AVX512-BF16 (on processors that have VNNI too)
constexpr uint32_t amx = avx512bf16 | 1u << 5;           // tiles, int8 and bf16, permission granted by the kernel
constexpr uint32_t neon = 1u << 8;
constexpr uint32_t neondot = neon | 1u << 9;             // dot products of four bytes (FEAT_DotProd)
constexpr uint32_t neoni8mm = neondot | 1u << 10;        // 2x8 by 8x2 byte matrix products (FEAT_I8MM)

uint32_t detected();            // what the hardware and the operating system allow
uint32_t allowed();             // detected() reduced by the cap: what kernels may use
Status cap_status();            // ERR_ISA when TERSOR_ISA names an unknown or absent level (then nothing but scalar is allowed)
const char* cap_text();         // value of TERSOR_ISA or ""
bool level_detected(int index); // by row of isa.def
bool level_allowed(int index);
const char* level_name(int index);
int level_count();
// Takes features back that the processor claims: `function`, a kernel row that needs them, gave wrong results when it was tried at start.
// Afterwards they count as absent, and a cap that names a level with them is an error. Before any row is chosen.
void withdraw(uint32_t features, const char* function);
const char* withdrawn();  // what was withdrawn and why, or ""

// True where a 512-bit vdpbf16ps takes longer than the two multiply-adds it stands for: Intel's cores with AMX (0.46 a cycle measured, against
// 1.9 multiply-adds); AMD's and the first one with the extension are as fast or faster.
bool slow_bf16_dot();
const char* feature_name(uint32_t features);  // name of the weakest level that has all these bits

#if defined(TERSOR_TESTING)
void set_cap_for_test(uint32_t features);  // allowed() = detected() & features
#endif

}  // namespace isa
}  // namespace tersor
