// What this machine can do at most: peaks of the multiply-add instructions that each cap allows, and the bandwidth of reads and copies over
// a working set of a given size. `work` of a call = operations (2 per multiply-add) or bytes.
//   limit.f32 limit.int8 limit.bf16   registers only; the instruction follows the cap (isa)
//   limit.spmm                        f32 multiply-adds whose operand comes from L1, one broadcast per 8 of them
//   limit.read  span=BYTES            reads of a buffer of that size per run, in blocks of 8 pages walked together
//   limit.copy  span=BYTES            memcpy of that size; bytes read + written
// BUILD: -fopenmp     DEBIAN: g++
#include <immintrin.h>
#include <omp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "contender.h"

using bench::Case;
using bench::Prepared;

static const long LOOPS = 20000;

#define EACH12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define DECLARE(i) V a##i = {};
#define STEP(i) asm volatile(INSTRUCTION : "+v"(a##i) : "v"(x), "v"(y));
#define PEAK(name, isa, type)                       \
  __attribute__((noinline, target(isa))) void name() {    \
    using V = type;                                       \
    V x = {}, y = {};                                     \
    EACH12(DECLARE)                                       \
    for (long i = 0; i < LOOPS; i++) {                    \
      EACH12(STEP)                                        \
    }                                                     \
  }

namespace {
#define INSTRUCTION "vfmadd231ps %1, %2, %0"
PEAK(fma256, "avx2,fma", __m256)
PEAK(fma512, "avx512f", __m512)
#undef INSTRUCTION
#define INSTRUCTION "%{vex%} vpdpbusd %1, %2, %0"
PEAK(dot256, "avx2,avxvnni", __m256i)
#undef INSTRUCTION
#define INSTRUCTION "vpdpbusd %1, %2, %0"
PEAK(dot512, "avx512f,avx512vnni", __m512i)
#undef INSTRUCTION

// Exact s8 x s8 without dot product instructions: 16-bit multiply-add, 32-bit add.
#define WIDE(name, isa, type)                                                                                                       \
  __attribute__((noinline, target(isa))) void name() {                                                                              \
    using V = type;                                                                                                                 \
    V x = {}, y = {}, a0 = {}, a1 = {}, a2 = {}, a3 = {}, a4 = {}, a5 = {}, t0, t1, t2, t3, t4, t5;                                   \
    for (long i = 0; i < LOOPS; i++) {                                                                                              \
      MADD(0) MADD(1) MADD(2) MADD(3) MADD(4) MADD(5) MADD(0) MADD(1) MADD(2) MADD(3) MADD(4) MADD(5)                               \
    }                                                                                                                               \
  }
#define MADD(k) asm volatile("vpmaddwd %2, %3, %1\n\tvpaddd %1, %0, %0" : "+v"(a##k), "=&v"(t##k) : "v"(x), "v"(y));
WIDE(wide256, "avx2", __m256i)
WIDE(wide512, "avx512f,avx512bw", __m512i)

// The inner loop of a sparse product at its best: a broadcast weight times 8 vectors of a panel that lives in L1.
#define PANEL(name, isa, type, width)                                                                                    \
  __attribute__((noinline, target(isa))) void name(const float* panel, const float* w) {                                 \
    using V = type;                                                                                                      \
    V a0 = {}, a1 = {}, a2 = {}, a3 = {}, a4 = {}, a5 = {}, a6 = {}, a7 = {}, b;                                         \
    for (long i = 0; i < LOOPS; i++) {                                                                                   \
      const float* p = panel + (i * 7 % 32) * 8 * width;                                                                 \
      asm volatile("vbroadcastss %1, %0" : "=v"(b) : "m"(w[i & 255]));                                                   \
      LOADED(0, width) LOADED(1, width) LOADED(2, width) LOADED(3, width) LOADED(4, width) LOADED(5, width)              \
      LOADED(6, width) LOADED(7, width)                                                                                  \
    }                                                                                                                    \
  }
#define LOADED(k, width) asm volatile("vfmadd231ps %1, %2, %0" : "+v"(a##k) : "m"(*reinterpret_cast<const V*>(p + k * width)), "v"(b));
PANEL(panel256, "avx2,fma", __m256, 8)
PANEL(panel512, "avx512f", __m512, 16)

// AMX in assembly text: no compiler support needed. Tiles 0-3 accumulate, 4-7 are operands.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, zero[14] = {};
  uint16_t columns[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
bool has_amx() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
#define TILES(name, op)                                                                                                            \
  __attribute__((noinline)) void name() {                                                                                          \
    const TileConfig config;                                                                                                       \
    asm volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\ttilezero %%tmm4\n\t" \
                 "tilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7" ::"m"(config)                                             \
                 : "memory");                                                                                                      \
    for (long i = 0; i < LOOPS; i++)                                                                                               \
      asm volatile(op " %tmm6, %tmm4, %tmm0\n\t" op " %tmm7, %tmm4, %tmm1\n\t" op " %tmm6, %tmm5, %tmm2\n\t" op " %tmm7, %tmm5, %tmm3"); \
    asm volatile("tilerelease");                                                                                                   \
  }
TILES(tiles_int8, "tdpbssd")
TILES(tiles_bf16, "tdpbf16ps")

__attribute__((noinline, target("avx2"))) void read_blocks(const char* p, size_t bytes) {
  __m256i a[8] = {};
  size_t o = 0;
  for (; o + 8 * 4096 <= bytes; o += 8 * 4096)
    for (size_t i = 0; i < 4096; i += 64)
#pragma GCC unroll 8
      for (size_t page = 0; page < 8; page++) {
        const auto* q = reinterpret_cast<const __m256i*>(p + o + page * 4096 + i);
        a[page] = _mm256_or_si256(a[page], _mm256_or_si256(_mm256_load_si256(q), _mm256_load_si256(q + 1)));
      }
  for (; o + 64 <= bytes; o += 64) {
    const auto* q = reinterpret_cast<const __m256i*>(p + o);
    a[0] = _mm256_or_si256(a[0], _mm256_or_si256(_mm256_load_si256(q), _mm256_load_si256(q + 1)));
  }
  for (int i = 1; i < 8; i++) a[0] = _mm256_or_si256(a[0], a[i]);
  asm volatile("" ::"x"(a[0]));
}
__attribute__((noinline, target("avx512f"))) void read_blocks512(const char* p, size_t bytes) {
  __m512i a[8] = {};
  size_t o = 0;
  for (; o + 8 * 4096 <= bytes; o += 8 * 4096)
    for (size_t i = 0; i < 4096; i += 64)
#pragma GCC unroll 8
      for (size_t page = 0; page < 8; page++) a[page] = _mm512_or_si512(a[page], _mm512_load_si512(p + o + page * 4096 + i));
  for (; o + 64 <= bytes; o += 64) a[0] = _mm512_or_si512(a[0], _mm512_load_si512(p + o));
  for (int i = 1; i < 8; i++) a[0] = _mm512_or_si512(a[0], a[i]);
  asm volatile("" ::"v"(a[0]));
}

bool is_avx512(const std::string& isa) { return __builtin_cpu_supports("avx512f") && isa != "scalar" && isa != "avx2" && isa != "avxvnni"; }

template <class F> Prepared repeated(int threads, double work, F&& f) {
  Prepared p;
  p.work = work * threads;
  p.calls.push_back([=] {
#pragma omp parallel num_threads(threads)
    f(omp_get_thread_num());
  });
  return p;
}

char* map_bytes(size_t n) {
  void* p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  madvise(p, n, MADV_HUGEPAGE);
  memset(p, 1, n);
  return static_cast<char*>(p);
}

using Kernel = void (*)();
Prepared peak(int threads, Kernel kernel, double per_loop) {
  return repeated(threads, static_cast<double>(LOOPS) * per_loop, [=](int) { kernel(); });
}

Prepared prepare(const Case& c) {
  const bool wide = is_avx512(c.isa), below_vnni = c.isa == "avx512";
  const int threads = c.threads;
  const bool tiles = (c.isa.empty() || c.isa == "amx") && has_amx();
  if (c.isa == "scalar") throw bench::Unsupported("no peak is defined for scalar code");
  if (c.kernel == "limit.f32") return wide ? peak(threads, fma512, 12.0 * 32) : peak(threads, fma256, 12.0 * 16);
  if (c.kernel == "limit.int8") {
    if (tiles) return peak(threads, tiles_int8, 4.0 * 16 * 16 * 64 * 2);
    if (wide && !below_vnni && __builtin_cpu_supports("avx512vnni")) return peak(threads, dot512, 12.0 * 128);
    if (wide) return peak(threads, wide512, 12.0 * 64);
    if (c.isa == "avxvnni") return peak(threads, dot256, 12.0 * 64);
    return peak(threads, wide256, 12.0 * 32);
  }
  if (c.kernel == "limit.bf16") {
    if (tiles) return peak(threads, tiles_bf16, 4.0 * 16 * 16 * 32 * 2);
    // vdpbf16ps does twice the work of an f32 multiply-add at a quarter of its rate (measured): widening to f32 is the faster way without AMX.
    return wide ? peak(threads, fma512, 12.0 * 32) : peak(threads, fma256, 12.0 * 16);
  }
  if (c.kernel == "limit.spmm") {
    const auto panel = bench::floats(32 * 8 * 16, 1), w = bench::floats(256, 2);
    return repeated(threads, static_cast<double>(LOOPS) * 8 * (wide ? 32 : 16), [=](int) { (wide ? panel512 : panel256)(panel->data, w->data); });
  }
  if (c.kernel == "limit.read" || c.kernel == "limit.copy") {
    const bool copy = c.kernel == "limit.copy";
    const size_t span = std::max<size_t>(64, static_cast<size_t>(c.number("span", 1 << 29)) / static_cast<size_t>(threads) / 64 * 64);
    const long repeats = std::max<long>(1, static_cast<long>((8 << 20) / span));
    std::vector<std::shared_ptr<char>> mapped;
    std::vector<char*> from, to;
    for (int t = 0; t < threads * (copy ? 2 : 1); t++) {
      mapped.emplace_back(map_bytes(span), [span](char* p) { munmap(p, span); });
      (t < threads ? from : to).push_back(mapped.back().get());
    }
    return repeated(threads, static_cast<double>(span) * static_cast<double>(repeats) * (copy ? 2 : 1), [=](int t) {
      (void)mapped;
      for (long r = 0; r < repeats; r++) {
        if (copy)
          memcpy(to[static_cast<size_t>(t)], from[static_cast<size_t>(t)], span);
        else
          (wide ? read_blocks512 : read_blocks)(from[static_cast<size_t>(t)], span);
      }
    });
  }
  throw bench::Unsupported("no limit " + c.kernel);
}
}  // namespace

int main(int argc, char** argv) { return bench::run_contender(argc, argv, {"limits", "1", "by cap"}, prepare); }
