import { describe, expect, it } from 'vitest'
import { benchmarkSampler, loopSampler, resultTable, suite, type Contender } from '../../ts/bench/index.js'

interface Sum {
  readonly name: string
  readonly n: number
}
const cases: readonly Sum[] = [
  { name: 'small', n: 10 },
  { name: 'large', n: 2000 },
]
const sum = (n: number): number => {
  let s = 0
  for (let i = 0; i < n; i++) s += Math.sqrt(i)
  return s
}
let sink = 0
const once: Contender<Sum> = {
  name: 'once',
  prepare:
    ({ n }) =>
    () =>
      (sink += sum(n)),
}
const twice: Contender<Sum> = {
  name: 'eight times',
  prepare:
    ({ n }) =>
    () =>
      (sink += sum(8 * n)),
}

describe('suite', () => {
  it.each([
    ['the loop', loopSampler],
    ['Benchmark.js', benchmarkSampler],
  ])('measures all contenders of all cases with %s', async (_, make) => {
    const sampler = await make()
    const result = await suite({ name: 'sums', cases, contenders: [once, twice], sampler }).run({ rounds: 5, ms: 1 })
    expect(result).toMatchObject({ name: 'sums', rounds: 5, aborted: false, sampler: sampler.name })
    expect(result.cases.map((c) => c.case.name)).toEqual(['small', 'large'])
    const [first, second] = result.cases[1]!.entries
    expect(first!.samples).toHaveLength(5)
    expect(first!.ratio.median).toBe(1)
    // Round by round, not of the medians: what slows a round down slows both.
    const ratios = second!.samples.map((ns, round) => ns / first!.samples[round]!).sort((a, b) => a - b)
    expect(second!.ratio.median).toBe(ratios[2])
    expect(resultTable(result).split('\n')).toHaveLength(5)
    expect(sink).not.toBe(0)
  })

  it('awaits promises', async () => {
    const wait: Contender<Sum> = { name: 'wait', prepare: () => () => new Promise((resolve) => setTimeout(resolve, 3)) }
    for (const sampler of [loopSampler(), await benchmarkSampler()]) {
      const result = await suite({ name: 'waits', cases: cases.slice(0, 1), contenders: [wait], sampler }).run({ rounds: 3, ms: 4 })
      expect(result.cases[0]!.entries[0]!.ns.median).toBeGreaterThan(2.5e6)
    }
  })

  it('lists what is absent, unsupported or fails, with the reason', async () => {
    const contenders: Contender<Sum>[] = [
      once,
      { name: 'missing', absent: 'not installed', prepare: () => Promise.reject(new Error('must not be asked')) },
      { name: 'unable', prepare: () => ({ unsupported: 'too small' }) },
      {
        name: 'broken',
        prepare: () => () => {
          throw new Error('broken here')
        },
      },
    ]
    const { entries } = (await suite({ name: 's', cases: cases.slice(0, 1), contenders }).run({ rounds: 3, ms: 0.5 })).cases[0]!
    expect(entries.map((e) => e.absent)).toEqual([undefined, 'not installed', 'too small', 'failed: broken here'])
    expect(entries[0]!.ns.count).toBe(3)
  })

  it('gives slow contenders fewer rounds, at least 3, and closes what it opened', async () => {
    let closed = 0
    const quick: Contender<Sum> = { name: 'quick', prepare: () => ({ sample: async () => 1e3 }) }
    const slow: Contender<Sum> = {
      name: 'slow',
      prepare: () => ({
        sample: () => new Promise<number>((resolve) => setTimeout(() => resolve(250e6), 250)),
        close: () => void closed++,
      }),
    }
    const { entries } = (
      await suite({ name: 's', cases: cases.slice(0, 1), contenders: [quick, slow] }).run({ rounds: 9, ms: 0.5, budgetMs: 600 })
    ).cases[0]!
    expect([entries[0]!.ns.count, entries[1]!.ns.count, closed]).toEqual([9, 3, 1])
    expect(entries[1]!.samples.filter(Number.isNaN)).toHaveLength(6)
  })

  it('keeps what was measured when it is stopped', async () => {
    const stop = new AbortController()
    const result = await suite({ name: 's', cases, contenders: [once] }).run({
      rounds: 3,
      ms: 0.5,
      signal: stop.signal,
      onProgress: ({ index }) => index === 1 && stop.abort(),
    })
    expect(result.aborted).toBe(true)
    expect(result.cases.map((c) => c.case.name)).toEqual(['small'])
  })

  it('reports progress up to the end, with an estimate', async () => {
    const seen: number[] = []
    let remaining = NaN
    await suite({ name: 's', cases, contenders: [once] }).run({
      rounds: 2,
      ms: 0.2,
      onProgress: (p) => {
        seen.push(p.index + p.round / p.rounds)
        remaining = p.remainingMs
      },
    })
    expect(seen).toEqual([0, 0.5, 1, 1, 1.5, 2])
    expect(remaining).toBe(0)
  })

  it.each([[{ rounds: 0 }], [{ rounds: 1.5 }], [{ ms: 0 }], [{ ms: NaN }], [{ budgetMs: -1 }]])('refuses %j', async (options) => {
    await expect(suite({ name: 's', cases, contenders: [once] }).run(options)).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})
