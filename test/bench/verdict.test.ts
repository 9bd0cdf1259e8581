import { describe, expect, it } from 'vitest'
import { bars, type Bar } from '../../bench/bars.js'
import { families } from '../../bench/cases/index.js'
import { contenderKinds } from '../../bench/lib/contenders.js'
import { familyPlot } from '../../bench/lib/plot.js'
import type { Measured, ResultFile } from '../../bench/lib/results.js'
import { judge } from '../../bench/lib/verdict.js'
import { barTables, familyTable } from '../../bench/report.js'

const figure = (contender: string, median: number, ratio: number | null): Measured['figures'][number] => ({
  contender,
  median,
  q1: median,
  q3: median,
  rounds: 15,
  ratio,
  ratioQ1: ratio,
  ratioQ3: ratio,
})
const measured = (name: string, threads: number, own: number, rival: number, more: Partial<Measured> = {}): Measured => ({
  family: 'topk',
  case: name,
  isa: 'avx512bf16',
  threads,
  operations: 0,
  bytes: 4e7,
  figures: [figure('Tersor', own, 1), figure('NumPy partition', rival, rival / own)],
  absent: [{ contender: 'PyTorch topk', why: 'absent: not installed' }],
  limit: { name: 'limit: read 40000000', perSecond: 1e10, fraction: 0.4 },
  ...more,
})
const file = (...cases: Measured[]): ResultFile => ({
  family: 'topk',
  isa: 'avx512bf16',
  date: '2026-01-02T03:04:05.000Z',
  machine: { cpu: 'a processor', cores: 2, memoryGiB: 8, os: 'Linux', node: 'v20' },
  versions: { Tersor: '0.1.0 (avx512bf16)' },
  rounds: 15,
  cases,
})
const bar = (more: Partial<Bar>): Bar => ({
  section: 'top-k mask',
  text: 'a bar',
  family: 'topk',
  cases: /^mask 1e7/,
  metric: { kind: 'ratio', over: ['NumPy partition', 'PyTorch topk'] },
  bar: 25,
  ...more,
})

describe('verdicts', () => {
  const results = [file(measured('mask 1e7 keep 10 %', 1, 1e6, 30e6), measured('mask 1e7 keep 10 %', 2, 0.5e6, 10e6))]

  it('judge by the worst case and name it', () => {
    expect(judge(bar({ threads: [1] }), results)).toMatchObject({
      verdict: 'reached',
      figures: '30.0x (mask 1e7 keep 10 %, avx512bf16, 1T)',
    })
    const both = judge(bar({}), results)
    expect(both.verdict).toBe('not reached')
    expect(both.figures).toMatch(/^worst 20\.0x .*2T\); best 30\.0x .*1T\); 1 of 2 cases$/)
  })

  it('leave out a rival that computes something else', () => {
    const saturates = { ...figure('PyTorch topk', 110, 1.1), differs: true }
    const figures = [figure('Tersor', 100, 1), figure('NumPy partition', 3000, 30), saturates]
    expect(judge(bar({}), [file(measured('mask 1e7 x', 1, 100, 0, { figures }))]).verdict).toBe('reached')
    expect(
      judge(bar({}), [file(measured('mask 1e7 x', 1, 100, 0, { figures: [...figures.slice(0, 2), figure('PyTorch topk', 110, 1.1)] }))])
        .verdict,
    ).toBe('not reached')
  })

  it('compare with the best of several rivals, another part of Tersor, one thread, or another case', () => {
    const parts = [
      file(
        measured('mask 1e7 x', 1, 100, 0, {
          figures: [
            figure('Tersor', 100, 1),
            figure('Tersor dynamic', 50, 0.5),
            figure('NumPy partition', 200, 2),
            figure('PyTorch topk', 150, 1.5),
          ],
        }),
        measured('mask 1e7 x', 2, 50, 200),
      ),
    ]
    const value = (metric: Bar['metric'], threads = [1]): string => judge(bar({ metric, threads }), parts).figures.split(' ')[0]!
    expect(value({ kind: 'ratio', over: ['NumPy partition', 'PyTorch topk'] })).toBe('1.50x')
    expect(value({ kind: 'ratio', over: ['NumPy partition'], subject: 'Tersor dynamic' })).toBe('4.00x')
    expect(value({ kind: 'limit' })).toBe('40.0')
    expect(value({ kind: 'time' })).toBe('100')
    expect(value({ kind: 'threads' }, [2])).toBe('2.00x')
    expect(value({ kind: 'against', case: 'mask 1e7 x', contender: 'NumPy partition' })).toBe('2.00x')
  })

  it('want times below and shares above the bar', () => {
    const time = (ns: number): string => judge(bar({ metric: { kind: 'time' }, bar: ns, threads: [1] }), results).verdict
    expect([time(1e6), time(0.9e6)]).toEqual(['reached', 'not reached'])
    const share = (s: number): string => judge(bar({ metric: { kind: 'limit' }, bar: s }), results).verdict
    expect([share(0.4), share(0.41)]).toEqual(['reached', 'not reached'])
  })

  it('tell what was not measured from what cannot be measured here', () => {
    expect(judge(bar({ cases: /nothing/ }), results).verdict).toBe('not measured')
    expect(judge(bar({ needs: 'amx', isas: ['amx'] }), results)).toMatchObject({
      verdict: 'not measurable here',
      figures: 'this machine has no amx',
    })
  })

  it('do not judge a rival in the place of an absent Tersor', () => {
    const alone = [file(measured('mask 1e7 x', 1, 1, 1, { figures: [figure('NumPy partition', 5, null)] }))]
    expect(judge(bar({}), alone).verdict).toBe('not measured')
  })
})

describe('bars', () => {
  it('name families, cases and contenders that exist', () => {
    const titles = Object.values(contenderKinds()).map((kind) => kind.title)
    for (const b of bars) {
      const family = families.find((f) => f.name === b.family)
      expect(family, b.text).toBeDefined()
      const cases = family!.cases.filter((c) => b.cases.test(c.name))
      expect(b.bar, b.text).toBeGreaterThan(0)
      if (b.metric.kind !== 'ratio') continue
      for (const over of b.metric.over)
        expect(
          titles.some((title) => over.startsWith(title)),
          `${b.text}: ${over}`,
        ).toBe(true)
      if (!cases.length) expect(b.text, 'a bar without a case').toMatch(/blocked/)
    }
  })
})

describe('report', () => {
  const results = file(measured('mask 1e7 keep 10 %', 1, 1e6, 30e6))
  it('counts verdicts and tables the bars', () => {
    const text = barTables([results])
    expect(text).toMatch(/^\d+ reached, \d+ not reached, \d+ not measured, \d+ not measurable here\./)
    expect(text).toContain('| n >= 1e7: >= 25x numpy.partition | reached | 30.0x')
  })
  it('tables a family with rates, ratios, the limit and who was absent', () => {
    const text = familyTable(results)
    expect(text).toContain('| mask 1e7 keep 10 % | 1 | 40.0 | 1.33 (30.0x) | 40.0 % of read |')
    expect(text).toContain('Not measured: PyTorch topk: absent: not installed.')
  })
  it('draws a family', async () => {
    const svg = await familyPlot(results)
    expect(svg).toMatch(/^<svg [^]*<\/svg>\n$/)
    for (const name of ['NumPy partition', 'Tersor', 'limit', 'mask 1e7 keep 10 %, 1T']) expect(svg).toContain(name)
  })
})
