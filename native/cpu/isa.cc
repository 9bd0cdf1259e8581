#include "cpu/isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#define TERSOR_X64 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif
#if !defined(TERSOR_X64) && defined(__linux__)
#include <sys/auxv.h>
#elif !defined(TERSOR_X64) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif !defined(TERSOR_X64) && defined(_WIN32)
#include <windows.h>
#endif
#if defined(__linux__) && defined(TERSOR_X64)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tersor {
namespace isa {
namespace {

struct Level {
  const char* name;
  uint32_t features;
};
const Level kLevels[] = {
#define TERSOR_ISA_LEVEL(name, features) {#name, features},
#include "cpu/isa.def"
#undef TERSOR_ISA_LEVEL
};
constexpr int kLevelCount = static_cast<int>(sizeof kLevels / sizeof *kLevels);

#if defined(TERSOR_X64)
void cpuid(unsigned leaf, unsigned sub, unsigned r[4]) {
#if defined(_MSC_VER)
  int v[4];
  __cpuidex(v, static_cast<int>(leaf), static_cast<int>(sub));
  for (int i = 0; i < 4; i++) r[i] = static_cast<unsigned>(v[i]);
#else
  if (!__get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3])) r[0] = r[1] = r[2] = r[3] = 0;
#endif
}

uint64_t xcr0() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  unsigned lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (static_cast<uint64_t>(hi) << 32) | lo;
#endif
}

// Tiles must be asked for once per process; before that a tile instruction is SIGILL.
bool amx_permission() {
#if defined(__linux__)
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureTileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTileData) == 0;
#else
  return false;
#endif
}
#elif defined(__aarch64__) || defined(_M_ARM64)
#if defined(__linux__)
bool arm_has_dotprod() { return getauxval(AT_HWCAP) & (1ul << 20); }
bool arm_has_i8mm() { return getauxval(AT_HWCAP2) & (1ul << 13); }
#elif defined(__APPLE__)
bool arm_has(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool arm_has_dotprod() { return arm_has("hw.optional.arm.FEAT_DotProd"); }
bool arm_has_i8mm() { return arm_has("hw.optional.arm.FEAT_I8MM"); }
#elif defined(_WIN32)
bool arm_has_dotprod() { return IsProcessorFeaturePresent(43) != 0; }  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
bool arm_has_i8mm() { return false; }                                  // no flag in the oldest headers we build with
#else
bool arm_has_dotprod() { return false; }
bool arm_has_i8mm() { return false; }
#endif
#endif

uint32_t detect() {
  uint32_t found = scalar;
#if defined(TERSOR_X64)
  unsigned r1[4], r7[4], r71[4];
  cpuid(1, 0, r1);
  const bool osxsave = r1[2] & (1u << 27);
  if (!osxsave) return found;
  const uint64_t os = xcr0();
  const bool ymm = (os & 0x6) == 0x6, zmm = (os & 0xe6) == 0xe6, tiles = (os & 0x60000) == 0x60000;
  const bool fma = r1[2] & (1u << 12), f16c = r1[2] & (1u << 29);
  cpuid(7, 0, r7);
  cpuid(7, 1, r71);
  if (ymm && fma && f16c && (r7[1] & (1u << 5)) && (r7[1] & (1u << 8))) found |= avx2;
  if ((found & avx2) == avx2 && (r71[0] & (1u << 4))) found |= avxvnni;
  const unsigned f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
  const unsigned all = f | dq | cd | bw | vl;
  if ((found & avx2) == avx2 && zmm && (r7[1] & all) == all) found |= avx512;
  if ((found & avx512) == avx512 && (r7[2] & (1u << 11))) found |= avx512vnni;
  if ((found & avx512vnni) == avx512vnni && (r71[0] & (1u << 5))) found |= avx512bf16;
  const unsigned amx_bits = 1u << 22 | 1u << 24 | 1u << 25;  // bf16, tile, int8
  if ((found & avx512bf16) == avx512bf16 && tiles && (r7[3] & amx_bits) == amx_bits && amx_permission()) found |= amx;
#elif defined(__aarch64__) || defined(_M_ARM64)
  found |= neon;
  if (arm_has_dotprod()) found |= neondot;
  if ((found & neondot) == neondot && arm_has_i8mm()) found |= neoni8mm;
#endif
  return found;
}

struct State {
  uint32_t found;
  uint32_t allow;
  char cap[32];
  Status status;
  char withdrawn[128];
};

State make_state() {
  State s;
  s.found = s.allow = detect();
  s.cap[0] = s.withdrawn[0] = 0;
  const char* text = getenv("TERSOR_ISA");
  if (!text || !*text) return s;
  snprintf(s.cap, sizeof s.cap, "%s", text);
  char available[128] = "";
  for (int i = 0; i < kLevelCount; i++)
    if ((kLevels[i].features & ~s.found) == 0) {
      if (available[0]) strncat(available, ", ", sizeof available - strlen(available) - 1);
      strncat(available, kLevels[i].name, sizeof available - strlen(available) - 1);
    }
  for (int i = 0; i < kLevelCount; i++) {
    if (strcmp(kLevels[i].name, text) != 0) continue;
    if ((kLevels[i].features & ~s.found) != 0) {
      s.status = fail(Code::isa, "TERSOR_ISA=%s: this processor lacks it; available: %s", text, available);
      s.allow = scalar;
      return s;
    }
    // avxvnni and avx512 are siblings: a cap keeps exactly the features of its level.
    s.allow = s.found & kLevels[i].features;
    return s;
  }
  s.status = fail(Code::isa, "TERSOR_ISA=%s: unknown level; available: %s", text, available);
  s.allow = scalar;
  return s;
}

State& state() {
  static State* s = new State(make_state());  // leaked: threads may outlive static destructors
  return *s;
}

}  // namespace

uint32_t detected() { return state().found; }
uint32_t allowed() { return state().allow; }
Status cap_status() { return state().status; }
const char* cap_text() { return state().cap; }
int level_count() { return kLevelCount; }
const char* level_name(int i) { return kLevels[i].name; }
bool level_detected(int i) { return (kLevels[i].features & ~state().found) == 0; }
bool level_allowed(int i) { return (kLevels[i].features & ~state().allow) == 0; }

void withdraw(uint32_t features, const char* function) {
  State& s = state();
  s.found &= ~features;
  snprintf(s.withdrawn, sizeof s.withdrawn, "%s gave wrong results when it was tried", function);
  for (int i = 0; i < kLevelCount; i++)
    if (s.cap[0] && strcmp(kLevels[i].name, s.cap) == 0 && (kLevels[i].features & ~s.found) != 0) {
      s.status = fail(Code::isa, "TERSOR_ISA=%s: %s", s.cap, s.withdrawn);
      s.allow = scalar;
    }
  s.allow &= s.found;
}
const char* withdrawn() { return state().withdrawn; }

bool slow_bf16_dot() {
#if defined(TERSOR_X64)
  static const bool slow = [] {
    unsigned r0[4], r1[4];
    cpuid(0, 0, r0);
    cpuid(1, 0, r1);
    const unsigned model = (r1[0] >> 4 & 0xf) | (r1[0] >> 12 & 0xf0);
    return r0[1] == 0x756e6547u && model != 0x55;  // "Genu"ineIntel, and not Cooper Lake
  }();
  return slow;
#else
  return false;
#endif
}

const char* feature_name(uint32_t features) {
  for (int i = 0; i < kLevelCount; i++)
    if ((features & ~kLevels[i].features) == 0) return kLevels[i].name;
  return "?";
}

#if defined(TERSOR_TESTING)
void set_cap_for_test(uint32_t features) { state().allow = state().found & features; }
#endif

}  // namespace isa
}  // namespace tersor
