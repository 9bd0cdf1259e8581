/** Each rule of the floors check is broken once, in a tree that is otherwise clean. */
import { describe, expect, it } from 'vitest'
import { checkFloors } from '../../tools/check-floors.js'
import { readFloors } from '../../tools/floor-rules.js'
import { readText, root } from '../../tools/problems.js'
import { makeTree } from './tree.js'

const clean: Record<string, string> = {
  'ARCHITECTURE.md': readText(root, 'ARCHITECTURE.md'),
  'native/cpu/isa.def': readText(root, 'native/cpu/isa.def'),
  'package.json': JSON.stringify({ exports: { '.': { import: { default: './dist/esm/index.js' } }, './package.json': './package.json' } }),
  'ts/index.ts': `export { a } from './cli/main.js'\nexport { b } from './base/b.js'\n`,
  'ts/base/b.ts': `export const b = 1\n`,
  'ts/native/call.ts': `import { b } from '../base/b.js'\nimport { readFileSync } from 'node:fs'\nexport const call = [b, readFileSync]\n`,
  'ts/cli/main.ts': `import { b } from '../base/b.js'\nexport const a = b\n`,
  'ts/compress/pass.ts': `export const definePass = (x: object) => x\n`,
  'ts/compress/observe/gram.ts': `export const gram = 1\n`,
  'ts/compress/prune/magnitude.ts': `import { definePass } from '../pass.js'\nimport { gram } from '../observe/gram.js'\nexport const magnitude = definePass({ gram })\n`,
  'ts/compress/prune/index.ts': `export * from './magnitude.js'\n`,
  'native/base/alloc.h': '#pragma once\n#include <cstddef>\n',
  'native/cpu/threads.cc': '#include <thread>\n#include "base/alloc.h"\n',
  'native/simd/vec_avx2.h': '#include <immintrin.h>\n#include "base/alloc.h"\n',
  'native/kernels/gemm/avx2.cc': '#include <immintrin.h>\n#include "simd/vec_avx2.h"\n#include "kernels/gemm/gemm.h"\n',
  'native/kernels/gemm/gemm.h': '#pragma once\n#include "cpu/isa.h"\n',
  'native/bindings/addon.cc': '#include <napi.h>\n#include "ops/args.h"\n',
  'native/cuda/plugin.cc': '#include "backend/backend.h"\n#include "base/alloc.h"\n',
}
const problemsWith = (files: Record<string, string>): string[] => checkFloors(makeTree({ ...clean, ...files }))

describe('check-floors', () => {
  it('reads the table and the rules out of ARCHITECTURE.md', () => {
    const floors = readFloors(clean['ARCHITECTURE.md'] ?? '')
    expect([floors.ts.get('base'), floors.ts.get('tensor'), floors.ts.get('cli')]).toEqual([0, 2, 12])
    expect([floors.native.get('kernels'), floors.native.get('bindings')]).toEqual([2, 6])
    expect(floors.plugins.get('cuda')).toEqual(expect.arrayContaining(['base', 'ops/args.h', 'backend/backend.h']))
    expect(floors.headers.get('thread')).toEqual({ folders: ['cpu', 'test'], isaFiles: false })
    expect(floors.headers.get('immintrin.h')).toEqual({ folders: ['simd'], isaFiles: true })
    expect(floors.nodeFolders).toContain('runtime')
    expect(() => readFloors('# no such section')).toThrow('no section')
  })

  it('accepts a clean tree', () => {
    expect(problemsWith({})).toEqual([])
  })

  it.each([
    [
      'an import upwards',
      { 'ts/base/b.ts': `import { call } from '../native/call.js'\nexport const b = call\n` },
      'floor 0 (base) imports',
    ],
    ['an import sideways', { 'ts/formats/x.ts': `import { t } from '../tensor/t.js'\nexport const x = t\n` }, 'floor 2 (formats) imports'],
    [
      'a type-only import upwards',
      { 'ts/base/b.ts': `import type { call } from '../native/call.js'\nexport type B = typeof call\n` },
      'floor 0',
    ],
    ['a dynamic import upwards', { 'ts/base/b.ts': `export const b = () => import('../native/call.js')\n` }, 'floor 0'],
    ['an import of the public entry', { 'ts/cli/main.ts': `import { b } from '../index.js'\nexport const a = b\n` }, 'no floor'],
    ['a folder without a floor', { 'ts/misc/x.ts': 'export const x = 1\n' }, 'ts/misc is not in the table'],
    ['an import from outside ts/', { 'ts/cli/x.ts': `import x from '../../tools/x.js'\nexport const y = x\n` }, 'outside ts/'],
    ['Node on a low floor', { 'ts/base/b.ts': `import { join } from 'node:path'\nexport const b = join\n` }, 'imports node:path'],
    ['Node without its prefix', { 'ts/tensor/t.ts': `import fs from 'fs'\nexport const t = fs\n` }, 'imports fs'],
    [
      'a pass that imports a pass',
      { 'ts/compress/prune/b.ts': `import { magnitude } from './magnitude.js'\nexport const b = definePass({ magnitude })\n` },
      'another pass',
    ],
    [
      'the same through a barrel',
      { 'ts/compress/quantize/q.ts': `import { magnitude } from '../prune/index.js'\nexport const q = definePass({ magnitude })\n` },
      'another pass',
    ],
    ['an include upwards', { 'native/base/alloc.h': '#include "cpu/threads.h"\n' }, 'floor 0 (base) imports cpu/threads.h'],
    ['an include sideways', { 'native/simd/x.h': '#include "cpu/isa.h"\n' }, 'floor 1 (simd)'],
    ['a native folder without a floor', { 'native/misc/x.cc': '' }, 'native/misc is not in the table'],
    ['an include without its folder', { 'native/cpu/x.cc': '#include "threads.h"\n' }, 'write the path from native/'],
    ['napi.h outside bindings', { 'native/ops/x.cc': '#include <napi.h>\n' }, 'includes napi.h'],
    ['intrinsics outside ISA files', { 'native/kernels/gemm/gemm.cc': '# include <immintrin.h>\n' }, 'includes immintrin.h'],
    ['NEON intrinsics outside ISA files', { 'native/ops/x.cc': '#include <arm_neon.h>\n' }, 'includes arm_neon.h'],
    ['<thread> outside cpu', { 'native/ops/x.cc': '#include <thread>\n' }, 'includes thread'],
    ['a plug-in that knows too much', { 'native/cuda/x.cu': '#include "ops/util.h"\n' }, 'plug-in cuda includes ops/util.h'],
  ])('finds %s', (_what, files, expected) => {
    const problems = problemsWith(files)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(expected)
    expect(problems[0]).toContain(Object.keys(files)[0])
  })
})
