/** The exact knapsack against brute force, and bits under a budget. */
import { describe, expect, it } from 'vitest'
import { sensitivity } from '../../ts/analyze/index.js'
import type { GroupSensitivity, KnapsackOption } from '../../ts/analyze/sensitivity/index.js'
import { Rng } from '../../ts/base/rng.js'

const { knapsack, assignBits, parseBudget } = sensitivity

/** The code of what f throws. */
function code(f: () => unknown): string {
  try {
    f()
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'nothing'
}

/** Every choice there is. */
function bruteForce(
  items: readonly (readonly KnapsackOption[])[],
  budget: number,
  follows: (a: number, b: number) => boolean = () => true,
): { cost: number; size: number } | undefined {
  let best: { cost: number; size: number } | undefined
  const walk = (i: number, size: number, cost: number, last: number): void => {
    if (size > budget) return
    if (i === items.length) {
      if (!best || cost < best.cost || (cost === best.cost && size < best.size)) best = { cost, size }
      return
    }
    items[i]!.forEach((o, pick) => {
      if (i === 0 || follows(last, pick)) walk(i + 1, size + o.size, cost + o.cost, pick)
    })
  }
  walk(0, 0, 0, -1)
  return best
}

/** Whole numbers: sums are exact, so the results must be equal. Costs may rise with the size, be equal or negative. */
function randomItems(rng: Rng, count: number): KnapsackOption[][] {
  return Array.from({ length: count }, () => {
    const kind = rng.int(3)
    return Array.from({ length: 1 + rng.int(4) }, (_, b) => ({
      size: kind === 0 ? 10 * (b + 1) : rng.int(60),
      cost: kind === 2 ? rng.int(200) - 100 : Math.round(rng.int(5000) / 4 ** b),
    }))
  })
}

describe('knapsack', () => {
  it('equals brute force', () => {
    const rng = Rng.of(3, 'knapsack')
    let infeasible = 0
    for (let trial = 0; trial < 400; trial++) {
      const items = randomItems(rng, 1 + rng.int(7))
      const budget = rng.int(60 * items.length)
      const follows = trial % 2 === 0 ? undefined : (a: number, b: number): boolean => b <= a
      const want = bruteForce(items, budget, follows)
      if (!want) {
        infeasible++
        expect(code(() => knapsack(items, budget, follows ? { follows } : {}))).toBe('ERR_OPTION')
        continue
      }
      const got = knapsack(items, budget, follows ? { follows } : {})
      expect({ cost: got.cost, size: got.size }).toEqual(want)
      expect(got.picks.reduce((n, p, i) => n + items[i]![p]!.size, 0)).toBe(got.size)
      if (follows) got.picks.forEach((p, i) => expect(i === 0 || follows(got.picks[i - 1]!, p)).toBe(true))
    }
    expect(infeasible).toBeGreaterThan(5)
  })

  it('is exact for ten layers of four widths (HAWQ-v3), with fractions', () => {
    const rng = Rng.of(4, 'knapsack')
    const items = Array.from({ length: 9 }, () => {
      const [n, s] = [1 + rng.uniform(), rng.uniform() ** 4]
      return [2, 3, 4, 8].map((b) => ({ size: n * b, cost: (s * n) / 4 ** b }))
    })
    for (const mean of [2.1, 3, 4.5, 7]) {
      const budget = mean * items.reduce((sum, o) => sum + o[0]!.size / 2, 0)
      const got = knapsack(items, budget)
      expect(got.size).toBeLessThanOrEqual(budget * (1 + 1e-12))
      expect(got.cost).toBeCloseTo(bruteForce(items, budget)!.cost, 14)
    }
  })

  it('takes a hundred layers of different sizes in a moment', () => {
    const rng = Rng.of(5, 'knapsack')
    const items = Array.from({ length: 100 }, () => {
      const n = 1000 + rng.int(100_000)
      const s = rng.uniform() ** 4
      return [2, 3, 4, 8].map((b) => ({ size: Math.ceil((n * b) / 8), cost: (s * n) / 4 ** b }))
    })
    const least = items.reduce((n, o) => n + o[0]!.size, 0)
    const began = process.cpuUsage()
    const { size } = knapsack(items, 2 * least)
    expect(size).toBeLessThanOrEqual(2 * least)
    expect(size).toBeGreaterThan(1.99 * least)
    expect(process.cpuUsage(began).user / 1e6).toBeLessThan(2)
  })

  it('says what is possible at least, and what is wrong', () => {
    const items = [
      [
        { size: 3, cost: 2 },
        { size: 5, cost: 1 },
      ],
      [{ size: 4, cost: 0 }],
    ]
    expect(() => knapsack(items, 6)).toThrow(/at least 7, the smallest choice, got 6/)
    try {
      knapsack(items, 6)
    } catch (error) {
      expect((error as { details: object }).details).toEqual({ smallest: 7, budget: 6 })
    }
    expect(code(() => knapsack([], 1))).toBe('ERR_OPTION')
    expect(code(() => knapsack([[]], 1))).toBe('ERR_OPTION')
    expect(code(() => knapsack(items, NaN))).toBe('ERR_OPTION')
    expect(code(() => knapsack([[{ size: 1, cost: NaN }]], 3))).toBe('ERR_NUMERIC')
    expect(code(() => knapsack([[{ size: -1, cost: 1 }]], 3))).toBe('ERR_NUMERIC')
    expect(code(() => knapsack([items[0]!, items[0]!], 9, { maxStates: 1, follows: () => true }))).toBe('ERR_LIMIT')
  })
})

/** Groups of n weights with a sensitivity; the squared change falls by 4 with each bit. */
function groups(list: readonly (readonly [n: number, sensitivity: number])[]): GroupSensitivity[] {
  return list.map(([n, s], i) => ({
    name: `g${i}`,
    paths: [`g${i}.weight`],
    parameters: n,
    bytes: 4 * n,
    sensitivity: s,
    choices: [2, 3, 4, 8].map((bits) => ({ bits, bytes: (n * bits) / 8, perturbation: n / 4 ** bits, cost: (s * n) / 4 ** bits / 2 })),
  }))
}

describe('assignBits', () => {
  const found = { groups: groups([[80, 1], [80, 100], [80, 10], [80, 0.1]]) } // prettier-ignore

  it('gives bits to the sensitive; both controls cost more at the same bytes', () => {
    const best = assignBits(found, 160)
    const reversed = assignBits(found, 160, { rule: 'reversed' })
    const random = assignBits(found, 160, { rule: 'random', seed: 2 })
    expect(best.bits.g1).toBeGreaterThan(best.bits.g3!)
    expect(reversed.bits.g1).toBeLessThan(reversed.bits.g3!)
    expect([best.bytes, reversed.bytes, random.bytes].every((b) => b <= 160)).toBe(true)
    expect(reversed.bytes).toBe(best.bytes)
    expect(reversed.cost).toBeGreaterThan(4 * best.cost)
    expect(random.cost).toBeGreaterThan(best.cost)
    expect(assignBits(found, 160, { rule: 'random', seed: 2 })).toEqual(random)
  })

  it('gives uniform bits to layers that are alike', () => {
    expect(new Set(Object.values(assignBits({ groups: groups([[80, 1], [80, 1], [80, 1]]) }, 120).bits))).toEqual(new Set([4])) // prettier-ignore
  })

  it('monotone: never fewer bits for a more sensitive group, though it costs', () => {
    const uneven = { groups: groups([[800, 4], [80, 3], [80, 1], [400, 2]]) } // prettier-ignore
    for (let budget = 340; budget < 1300; budget += 60) {
      const free = assignBits(uneven, budget)
      const { bits, cost, bytes } = assignBits(uneven, budget, { monotone: true })
      expect(bytes).toBeLessThanOrEqual(budget)
      expect(cost).toBeGreaterThanOrEqual(free.cost)
      const order = ['g0', 'g1', 'g3', 'g2'].map((g) => bits[g]!)
      expect(order).toEqual([...order].sort((a, b) => b - a))
    }
  })

  it('takes times in place of bytes', () => {
    const times = Object.fromEntries(found.groups.map((g) => [g.name, [1, 3, 1.5, 2]]))
    const { bits, ms } = assignBits(found, 6.5, { times })
    expect(ms).toBeCloseTo(6.5, 12)
    expect(Object.values(bits)).not.toContain(3) // slower than more bits
    expect(bits.g1).toBe(8)
    expect(code(() => assignBits(found, 3.9, { times }))).toBe('ERR_OPTION')
    expect(code(() => assignBits(found, 5, { times: {} }))).toBe('ERR_OPTION')
  })

  it('reads budgets', () => {
    expect(parseBudget('13x')).toEqual({ kind: 'ratio', value: 13 })
    expect(parseBudget(40_000)).toEqual({ kind: 'bytes', value: 40_000 })
    expect(parseBudget('1.5 kB')).toEqual({ kind: 'bytes', value: 1500 })
    expect(parseBudget('300KiB')).toEqual({ kind: 'bytes', value: 307_200 })
    expect(parseBudget('12.5ms')).toEqual({ kind: 'ms', value: 12.5 })
    for (const bad of ['', 'x', '-3x', '0', 0, NaN, Infinity, '4 apples', '1e400', '4xx'])
      expect(code(() => parseBudget(bad))).toBe('ERR_OPTION')
  })
})
