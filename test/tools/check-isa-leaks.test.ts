/** Compiles small files that break each rule, and one that keeps them all. */
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkIsaLeaks, checkObject } from '../../tools/check-isa-leaks.js'
import { makeTree } from './tree.js'

const REGION = (isa: string, body: string): string =>
  `#include <immintrin.h>\n#pragma GCC push_options\n#pragma GCC target("${isa}")\n${body}\n#pragma GCC pop_options\n`
const ADD256 = '_mm256_storeu_ps(p, _mm256_add_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)));'
const ADD512 = '_mm512_storeu_ps(p, _mm512_add_ps(_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16)));'
const DOT512 = '_mm512_storeu_si512(p, _mm512_dpbusd_epi32(_mm512_loadu_si512(p), _mm512_loadu_si512(p), _mm512_loadu_si512(p)));'

function problemsOf(file: string, text: string, compiler = 'g++'): string[] {
  const base = makeTree({ [file]: text })
  execFileSync(compiler, ['-std=c++17', '-O1', '-c', file, '-o', `${file}.o`], { cwd: base, stdio: 'pipe' })
  return checkObject(join(base, `${file}.o`), file)
}

const ARM = process.arch === 'arm64' ? 'g++' : 'aarch64-linux-gnu-g++'
const hasArm = spawnSync(ARM, ['--version']).status === 0
const ARM_REGION = (features: string, body: string): string =>
  `#include <arm_neon.h>\n#pragma GCC push_options\n#pragma GCC target("arch=armv8.2-a+${features}")\n${body}\n#pragma GCC pop_options\n`
const SDOT = 'int32x4_t NAME(int32x4_t s, int8x16_t a, int8x16_t b) { return vdotq_s32(s, a, b); }'
const USDOT = 'int32x4_t NAME(int32x4_t s, uint8x16_t a, int8x16_t b) { return vusdotq_s32(s, a, b); }'
const MMLA = 'int32x4_t NAME(int32x4_t s, uint8x16_t a, int8x16_t b) { return vusmmlaq_s32(s, a, b); }'
const named = (body: string, name: string): string => body.replace('NAME', name)

describe.runIf(hasArm)('check-isa-leaks for Arm', () => {
  it('accepts ISA code where it belongs', () => {
    expect(problemsOf('gemm.cc', '#include <arm_neon.h>\nfloat32x4_t f(float32x4_t a) { return vfmaq_f32(a, a, a); }', ARM)).toEqual([])
    expect(problemsOf('neon.cc', 'float add_neon(float a, float b) { return a + b; }', ARM)).toEqual([])
    expect(problemsOf('neondot.cc', ARM_REGION('dotprod', named(SDOT, 'dot_neondot')), ARM)).toEqual([])
    expect(problemsOf('neoni8mm.cc', ARM_REGION('dotprod+i8mm', named(MMLA, 'mm_neoni8mm') + named(SDOT, 'dot_neoni8mm')), ARM)).toEqual([])
  })

  it.each([
    ['a dot product in a shared file', 'gemm.cc', ARM_REGION('dotprod', named(SDOT, 'dot')), 'a dot product instruction: sdot'],
    ['a dot product in a NEON file', 'neon.cc', ARM_REGION('dotprod', named(SDOT, 'dot_neon')), 'a dot product instruction'],
    ['usdot in a dot product file', 'neondot.cc', ARM_REGION('i8mm', named(USDOT, 'dot_neondot')), 'a byte matrix instruction: usdot'],
    ['usmmla in a dot product file', 'neondot.cc', ARM_REGION('i8mm', named(MMLA, 'mm_neondot')), 'a byte matrix instruction: usmmla'],
    [
      'bfloat16 in an i8mm file',
      'neoni8mm.cc',
      ARM_REGION('bf16', 'float32x4_t dot_neoni8mm(float32x4_t s, bfloat16x8_t a) { return vbfdotq_f32(s, a, a); }'),
      'a bfloat16 instruction',
    ],
    ['an external name without its ISA', 'neondot.cc', ARM_REGION('dotprod', named(SDOT, 'dot')), 'external symbol dot'],
    [
      'a weak symbol in an ISA file',
      'neondot.cc',
      'inline int twice(int x) { return x + x; }\nint (*volatile keep_neondot)(int) = twice;',
      'weak symbol twice',
    ],
  ])('finds %s', (_what, file, text, expected) => {
    expect(problemsOf(file, text, ARM).join('\n')).toContain(expected)
  })
})

describe.runIf(process.arch === 'x64')('check-isa-leaks', () => {
  it('accepts ISA code where it belongs', () => {
    expect(problemsOf('avx2.cc', REGION('avx2', `static void help(float* p) { ${ADD256} }\nvoid add_avx2(float* p) { help(p); }`))).toEqual(
      [],
    )
    expect(
      problemsOf(
        'avx512.cc',
        REGION('avx512f', `namespace t { namespace { void help(float* p) { ${ADD512} } } void add_avx512(float* p) { help(p); } }`),
      ),
    ).toEqual([])
    expect(problemsOf('avx512vnni.cc', REGION('avx512f,avx512vnni', `void dot_avx512vnni(int* p) { ${DOT512} }`))).toEqual([])
    expect(problemsOf('gemm.cc', 'void add_scalar(float* p, int n) { for (int i = 0; i < n; i++) p[i] += p[i + n]; }')).toEqual([])
  })

  it.each([
    ['AVX2 code in a shared file', 'gemm.cc', REGION('avx2', `void add(float* p) { ${ADD256} }`), 'an AVX instruction'],
    [
      'one VEX-encoded scalar instruction',
      'gemm.cc',
      REGION('avx2,fma', 'float f(float a, float b) { return a * b; }'),
      'an AVX instruction',
    ],
    ['AVX-512 in an AVX2 file', 'avx2.cc', REGION('avx512f', `void add_avx2(float* p) { ${ADD512} }`), 'an AVX-512 register'],
    ['VNNI in an AVX-512 file', 'avx512.cc', REGION('avx512f,avx512vnni', `void dot_avx512(int* p) { ${DOT512} }`), 'a VNNI instruction'],
    [
      'EVEX VNNI in an AVX-VNNI file',
      'avxvnni.cc',
      REGION('avx512vl,avx512vnni', 'void dot_avxvnni(__m256i* p) { *p = _mm256_dpbusd_epi32(p[0], p[1], p[2]); }'),
      'EVEX',
    ],
    ['a tile in an AVX-512 file', 'avx512vnni.cc', REGION('amx-tile', 'void z_avx512vnni() { _tile_zero(0); }'), 'an AMX instruction'],
    [
      'a weak symbol in an ISA file',
      'avx2.cc',
      REGION('avx2', `inline void help(float* p) { ${ADD256} }\nvoid (*volatile keep_avx2)(float*) = help;`),
      'weak symbol help',
    ],
    [
      'a template instance in an ISA file',
      'avx2.cc',
      `template <class T> T twice(T x) { return x + x; }\nint (*volatile keep_avx2)(int) = twice<int>;`,
      'weak symbol int twice<int>',
    ],
    ['an external name without its ISA', 'avx2.cc', REGION('avx2', `void add(float* p) { ${ADD256} }`), 'external symbol add'],
    ['an initialiser in an ISA file', 'avx2.cc', 'int now();\nstatic int start = now();\nint get_avx2() { return start; }', 'initialiser'],
  ])('finds %s', (_what, file, text, expected) => {
    const problems = problemsOf(file, text)
    expect(problems.join('\n')).toContain(expected)
  })

  it('does not call an empty build folder clean', () => {
    expect(checkIsaLeaks(makeTree({ 'build/x': '' }), 'build')).toEqual([expect.stringContaining('no object files')])
  })
})
