import { execFileSync } from 'node:child_process'
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Family } from '../../bench/cases/case.js'
import { families } from '../../bench/cases/index.js'
import { isSlower, pairs } from '../../bench/compare.js'
import { contenderKinds, root } from '../../bench/lib/contenders.js'
import { floats, signedBytes } from '../../bench/lib/data.js'
import { showMeasured } from '../../bench/lib/output.js'
import { ChildContender } from '../../bench/lib/protocol.js'
import { resultJson, type Figure } from '../../bench/lib/results.js'
import { itemsOf, runBench, type Selection } from '../../bench/lib/run.js'
import { strongestIsa } from '../../bench/lib/machine.js'

// A contender is measured as it is built: dist of this tree.
execFileSync(process.execPath, ['tools/build-ts.cjs', '--if-stale'], { cwd: root, stdio: 'inherit' })

const folder = mkdtempSync(join(tmpdir(), 'tersor-bench-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function script(text: string): ChildContender {
  const file = join(folder, `${Math.abs(text.length)}-${text.slice(0, 8).replace(/\W/g, '')}.cjs`)
  writeFileSync(file, text)
  return new ChildContender({ command: process.execPath, args: [file] })
}
const answering = (body: string): string =>
  `require('readline').createInterface({ input: process.stdin }).on('line', (l) => { const r = JSON.parse(l); const say = (o) => console.log(JSON.stringify({ id: r.id, ...o })); ${body} })`

describe('protocol', () => {
  it('matches replies by their id and skips what a library prints', async () => {
    const child = script(
      answering(`console.log('banner of a library'); say(r.op === 'sample' ? { ns: r.ms * 10 } : { name: 'n', version: '1', isa: 'i' })`),
    )
    expect(await child.hello()).toMatchObject({ name: 'n', version: '1', isa: 'i' })
    expect(await Promise.all([child.sample(0, 1), child.sample(0, 2)])).toEqual([10, 20])
    child.close()
  })

  it('rejects with the error that the contender reports, and with what it wrote when it dies', async () => {
    const child = script(
      answering(`if (r.op === 'hello') say({ error: 'no such thing' }); else { console.error('out of luck'); process.exit(3) }`),
    )
    await expect(child.hello()).rejects.toThrow('no such thing')
    await expect(child.sample(0, 1)).rejects.toThrow(/exit code 3: out of luck/)
    await expect(child.hello()).rejects.toThrow(/exit code 3/)
  })

  it('refuses samples that are not positive numbers', async () => {
    const child = script(answering(`say({ ns: r.ms === 1 ? 0 : 'fast' })`))
    await expect(child.sample(0, 1)).rejects.toThrow('positive number')
    await expect(child.sample(0, 2)).rejects.toThrow('positive number')
    child.close()
  })

  it('reports a program that does not exist', async () => {
    await expect(new ChildContender({ command: join(folder, 'nothing'), args: [] }).hello()).rejects.toThrow('ENOENT')
  })
})

const tiny: Family = {
  name: 'tiny',
  title: 'tiny',
  unit: 'GFLOP/s',
  cases: [
    {
      name: '8x16x8',
      params: { m: 8, k: 16, n: 8 },
      operations: 2048,
      bytes: 0,
      limits: [],
      parts: [
        { contender: 'tersor', kernel: 'gemm.f32' },
        { contender: 'javascript', kernel: 'gemm.f32' },
        { contender: 'javascript', kernel: 'no.such.kernel', label: 'unable' },
        { contender: 'nobody', kernel: 'gemm.f32' },
      ],
    },
    { name: 'rare', params: {}, operations: 0, bytes: 0, limits: [], parts: [], rare: true },
  ],
}
const selection: Selection = { families: [tiny], threads: [1], isas: [strongestIsa()], rare: false }

describe('run', () => {
  it('measures Tersor against a rival, compares their results and lists who is absent', async () => {
    const { measured, versions, aborted } = await runBench(selection, { rounds: 3, ms: 0.5, budgetMs: 500 })
    expect(aborted).toBe(false)
    const [m] = measured
    expect(m!.absent.map((a) => `${a.contender}: ${a.why}`)).toEqual([
      'JavaScript unable: no no.such.kernel in plain JavaScript',
      'nobody: absent: no such contender',
    ])
    expect(m!.figures.map((f) => [f.contender, f.rounds, f.differs])).toEqual([
      ['Tersor', 3, undefined],
      ['JavaScript', 3, undefined],
    ])
    expect(m!.figures[0]!.median).toBeGreaterThan(100)
    expect(versions.Tersor).toContain(strongestIsa())
    expect(showMeasured(m!)).toContain('nobody: absent')
    expect(JSON.parse(resultJson(measured))).toEqual(measured)
  })

  it('measures this tree against itself: about as fast', async () => {
    const { measured } = await runBench({ ...selection, base: root }, { rounds: 9, ms: 2, budgetMs: 2000 })
    const rows = measured.flatMap(pairs)
    expect(rows.map((r) => r.label)).toEqual([`tiny: 8x16x8 · ${strongestIsa()} · 1T`])
    expect(rows[0]!.base.ratio).toBeGreaterThan(0.1)
    expect(rows[0]!.base.ratio).toBeLessThan(10)
  })

  it('selects by family, cap, threads and pattern; rare cases only when asked', () => {
    const names = (s: Partial<Selection>): string[] => itemsOf({ ...selection, isas: ['avx2'], ...s }).map((i) => i.name)
    expect(names({})).toEqual(['tiny: 8x16x8 · avx2 · 1T'])
    expect(names({ rare: true, threads: [1, 2] })).toHaveLength(4)
    expect(names({ pattern: /rare$/ })).toEqual(['tiny: rare · avx2 · 1T'])
    expect(names({ isas: [] })).toEqual([])
  })

  it('calls a revision slower only beyond the tolerance and the spread', () => {
    const figure = (ratio: number, ratioQ3: number): Figure => ({
      contender: '',
      median: 1,
      q1: 1,
      q3: 1,
      rounds: 9,
      ratio,
      ratioQ1: ratio,
      ratioQ3,
    })
    expect(isSlower(figure(0.9, 0.95), 0.05)).toBe(true)
    expect(isSlower(figure(0.97, 0.98), 0.05)).toBe(false)
    expect(isSlower(figure(0.9, 1.1), 0.05)).toBe(false)
  })
})

describe('cases', () => {
  const all = families.flatMap((f) => f.cases.map((c) => ({ family: f.name, ...c })))
  it('have names of their own, sizes, and known contenders; Tersor comes first', () => {
    expect(new Set(all.map((c) => `${c.family} ${c.name}`)).size).toBe(all.length)
    const known = Object.keys(contenderKinds())
    for (const c of all) {
      expect(c.operations + c.bytes, c.name).toBeGreaterThan(0)
      expect(c.parts[0]?.contender, c.name).toBe('tersor')
      for (const p of c.parts) expect(known, c.name).toContain(p.contender)
    }
  })

  it('use data that every language makes alike', () => {
    // The values of rivals/native/contender.h and rivals/python/contender.py.
    expect([...floats(3, 11)]).toEqual([0.1533505916595459, 0.594569206237793, 0.7651773691177368])
    expect([...signedBytes(5, 22)]).toEqual([-8, 58, 105, -125, -46])
  })
})
