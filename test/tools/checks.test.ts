/** The other checks, each with something planted: sizes, generated files, lint rules, the order of the sources, the summed test counts. */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, symlinkSync, writeFileSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { ESLint } from 'eslint'
import { describe, expect, it } from 'vitest'
import { BUDGET, checkLines, checkPack } from '../../tools/check-size.js'
import { root } from '../../tools/problems.js'
import { makeTree } from './tree.js'

const require = createRequire(import.meta.url)
const { countsOf } = require('../../tools/test.cjs') as { countsOf: (output: string, status: number) => object }

describe('check-size', () => {
  it('alarms above 400 lines, not at 400, and not for generated files', () => {
    const base = makeTree({
      'ts/base/long.ts': 'x\n'.repeat(401),
      'native/ops/fits.cc': 'x\n'.repeat(400),
      'ts/base/codes.gen.ts': 'x\n'.repeat(900),
    })
    expect(checkLines(base)).toEqual(['ts/base/long.ts: 401 lines, alarm at 400: split it'])
  })

  it('alarms on each budget of the package and on a packed binding.gyp', () => {
    const good = { size: 1e6, unpackedSize: 2e6, files: [{ path: 'prebuilds/linux-x64/tersor.node', size: 1e6 }] }
    expect(checkPack(good, BUDGET)).toEqual([])
    const bad = {
      size: BUDGET.packed + 1,
      unpackedSize: BUDGET.unpacked + 1,
      files: [
        { path: 'prebuilds/linux-x64/tersor.node', size: BUDGET.addon + 1 },
        { path: 'binding.gyp', size: 1 },
      ],
    }
    expect(checkPack(bad, BUDGET).map((problem) => problem.split(':')[0])).toEqual([
      'packed size',
      'unpacked size',
      'prebuilds/linux-x64/tersor.node',
      'binding.gyp is packed',
    ])
  })
})

describe('gen --check', () => {
  it('fails when a generated file differs from its table, and names it', () => {
    const base = makeTree({ 'package.json': '{ "type": "module" }' })
    for (const folder of ['tools', 'native', 'ts']) {
      cpSync(join(root, folder), join(base, folder), { recursive: true, filter: (file) => !/\.(cc|o)$/.test(file) })
    }
    symlinkSync(join(root, 'node_modules'), join(base, 'node_modules'))
    const gen = (): ReturnType<typeof spawnSync> =>
      spawnSync(process.execPath, ['--import', 'tsx', 'tools/gen.ts', '--check'], { cwd: base, encoding: 'utf8' })
    expect(gen().status).toBe(0)
    const file = join(base, 'ts/base/codes.gen.ts')
    writeFileSync(file, readFileSync(file, 'utf8').replace('ERR_LIMIT', 'ERR_LIMITS'))
    const result = gen()
    expect(result.status).toBe(1)
    expect(result.stderr).toContain('ts/base/codes.gen.ts')
  })
})

describe('lint', () => {
  const eslint = new ESLint({
    cwd: root,
    overrideConfig: { languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['ts/*.ts'] } } } },
  })
  it.each([
    ['an any', 'export const f = (x: any): number => x\n', '@typescript-eslint/no-explicit-any'],
    ['printing', "console.log('x')\n", 'no-console'],
    ['unseeded randomness', 'export const x = Math.random()\n', 'no-restricted-properties'],
    ['import.meta', 'export const x = import.meta.url\n', 'no-restricted-syntax'],
    ['top-level await', 'await Promise.resolve(1)\n', 'no-restricted-syntax'],
    ['an untyped error', "export const f = (): never => {\n  throw new Error('x')\n}\n", 'no-restricted-syntax'],
    ['a promise nobody waits for', 'const f = async (): Promise<void> => {}\nf()\n', '@typescript-eslint/no-floating-promises'],
  ])('finds %s', async (_what, text, rule) => {
    const [result] = await eslint.lintText(text, { filePath: join(root, 'ts/planted.ts') })
    expect(result?.messages.map((message) => message.ruleId)).toContain(rule)
  })
})

describe('sources.cjs', () => {
  it('lists every .cc once, in byte order, core = shared + hooked', () => {
    const list = (kind: string): string[] =>
      execFileSync(process.execPath, ['tools/sources.cjs', kind], { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean)
    const core = list('core')
    expect(core).toEqual([...new Set(core)].sort())
    expect([...list('shared'), ...list('hooked')].sort()).toEqual(core)
    expect(list('hooked')).toContain('native/base/alloc.cc')
    expect(core.some((file) => /native\/(bindings|test)\//.test(file))).toBe(false)
    expect(spawnSync(process.execPath, ['tools/sources.cjs', 'nonsense'], { cwd: root }).status).not.toBe(0)
  })
})

describe('package.json and package-lock.json', () => {
  const read = (name: string): any => JSON.parse(readFileSync(join(root, name), 'utf8'))
  it('pin exact versions and name no registry', () => {
    const { dependencies, devDependencies } = read('package.json')
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(-\d+)?$/.test(version as string),
    )
    expect(loose).toEqual([])
    const places = Object.values(read('package-lock.json').packages as Record<string, { resolved?: string }>)
    expect(places.filter((place) => place.resolved)).toEqual([])
  })
})

describe('the summed counts of npm test', () => {
  it('reads the closing line, and counts a runner that died as a failure', () => {
    expect(countsOf('x\n3 passed, 0 failed, 1 skipped\n', 0)).toEqual({ passed: 3, failed: 0, skipped: 1 })
    expect(countsOf('native: 2 passed, 1 failed\n', 1)).toEqual({ passed: 2, failed: 1, skipped: 0 })
    expect(countsOf('about to die\n', 139)).toEqual({ passed: 0, failed: 1, skipped: 0 })
    expect(countsOf('5 passed, 0 failed, 0 skipped\n', 1)).toEqual({ passed: 5, failed: 1, skipped: 0 })
  })
})
