/** How much and which: exact counts, whatever the scope, the ties and the history. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cubicOf, cubicSparsity, densities, keptAt, roundsFor } from '../../ts/compress/prune/amount.js'
import { countBits, selectMasks, type Candidate } from '../../ts/compress/prune/select.js'

const bit = (mask: Uint8Array, i: number): number => (mask[i >> 3]! >> (i & 7)) & 1
const all = (c: Candidate): number => c.scores.length

describe('amount', () => {
  it('removing 20 % of the survivors gives the densities of the paper (A2.2, A2.5)', () => {
    const d = densities({ iterative: { fraction: 0.2, rounds: 10 } })
    expect(d.slice(0, 2).map((x) => +x.toFixed(6))).toEqual([0.8, 0.64])
    expect(d[7]).toBeCloseTo(0.1678, 4)
    expect(1 / d[7]!).toBeCloseTo(5.96, 2)
    expect(1 / d[9]!).toBeCloseTo(9.31, 2)
    expect(roundsFor(5.96)).toBe(8)
    expect(roundsFor(1)).toBe(0)
    expect(roundsFor(1.25)).toBe(1)
    expect(roundsFor(2, 0.5)).toBe(1)
  })

  it('levels and one-shot', () => {
    expect(densities({ sparsity: 0.75 })).toEqual([0.25])
    expect(densities({ sparsity: [0.25, 0.5] })).toEqual([0.75, 0.5])
  })

  it.each([
    [10, 0, 0],
    [10, 1, 10],
    [1, 0.4, 0],
    [1, 0.6, 1],
    [7, 0.5, 4],
    [0, 0.5, 0],
  ])('of %d at density %d stay %d', (n, density, k) => {
    expect(keptAt(n, density)).toBe(k)
  })

  it('cubic schedule: both ends exact, monotone, silent between events (A4.5)', () => {
    const c = cubicOf({ initial: 0.1, begin: 0.1, end: 0.6, everySteps: 100 }, 0.9, 10_000)
    expect(c).toMatchObject({ firstStep: 1000, events: 50 })
    expect(cubicSparsity(c, 1000)).toBe(0.1)
    expect(cubicSparsity(c, 6000)).toBe(0.9)
    expect(cubicSparsity(c, 999)).toBeUndefined()
    expect(cubicSparsity(c, 1050)).toBeUndefined()
    expect(cubicSparsity(c, 6100)).toBeUndefined()
    const trace = Array.from({ length: 51 }, (_, i) => cubicSparsity(c, 1000 + 100 * i)!)
    expect(trace.every((s, i) => i === 0 || s > trace[i - 1]!)).toBe(true)
    expect(trace[25]).toBeCloseTo(0.9 - 0.8 * 0.125, 12)
  })

  it('cubic schedule: a training shorter than one interval still reaches the end', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.double({ min: 0.005, max: 1, noNaN: true }),
        (steps, everySteps, begin, span) => {
          const c = cubicOf({ initial: 0, begin, end: Math.min(1, begin + span), everySteps }, 0.8, steps)
          const trace = Array.from({ length: steps }, (_, step) => cubicSparsity(c, step)).filter((s) => s !== undefined)
          expect(trace.at(-1)).toBe(0.8)
          expect(trace.every((s, i) => i === 0 || s > trace[i - 1]!)).toBe(true)
        },
      ),
      { seed: 1 },
    )
  })
})

describe('selection', () => {
  const candidateOf = (path: string, scores: readonly number[], mask: Uint8Array | null = null): Candidate => ({
    path,
    scores: Float32Array.from(scores),
    mask,
  })

  it('local takes the same share of each weight, global the largest of all', () => {
    const c = [candidateOf('a', [1, 2, 3, 4]), candidateOf('b', [10, 20, 30, 40])]
    const local = selectMasks(c, 'local', 0.5, all)
    expect([...local.values()].map((m) => m[0])).toEqual([0b1100, 0b1100])
    const global = selectMasks(c, 'global', 0.5, all)
    expect([...global.values()].map((m) => m[0])).toEqual([0, 0b1111])
  })

  it('ties go to the lower index; zeros of survivors rank above pruned weights', () => {
    const ties = selectMasks([candidateOf('a', new Array<number>(20).fill(1))], 'local', 0.35, all).get('a')!
    expect(Array.from({ length: 20 }, (_, i) => bit(ties, i))).toEqual([1, 1, 1, 1, 1, 1, 1, ...new Array<number>(13).fill(0)])
    const grown = selectMasks([candidateOf('a', [0, 0, 0, 0], new Uint8Array([0b1010]))], 'local', 0.5, all).get('a')!
    expect(grown[0]).toBe(0b1010)
  })

  it('exact to the weight, and the mask only grows: any sizes, scores, scopes and rounds', () => {
    const tensorOf = fc.array(fc.constantFrom(0, 0.5, 1, 2, 3.5), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(
        fc.array(tensorOf, { minLength: 1, maxLength: 5 }),
        fc.constantFrom('local' as const, 'global' as const),
        fc.double({ min: 0.05, max: 0.6, noNaN: true }),
        (lists, by, fraction) => {
          let candidates = lists.map((scores, i) => candidateOf(String(i), scores))
          const total = candidates.reduce((n, c) => n + c.scores.length, 0)
          for (let round = 1; round <= 5; round++) {
            const density = (1 - fraction) ** round
            const masks = selectMasks(candidates, by, density, all)
            const kept = [...masks.values()].map(countBits)
            if (by === 'global') expect(kept.reduce((a, b) => a + b)).toBe(keptAt(total, density))
            else candidates.forEach((c, i) => expect(kept[i]).toBe(keptAt(c.scores.length, density)))
            candidates = candidates.map((c) => {
              const mask = masks.get(c.path)!
              expect(mask).toHaveLength(Math.ceil(c.scores.length / 8))
              for (let i = 0; i < c.scores.length; i++) if (bit(mask, i) && c.mask) expect(bit(c.mask, i)).toBe(1)
              // No kept score is below a dropped one that could have been kept.
              const live = [...c.scores.keys()].filter((i) => !c.mask || bit(c.mask, i))
              const least = Math.min(...live.filter((i) => bit(mask, i)).map((i) => c.scores[i]!))
              for (const i of live) if (!bit(mask, i)) expect(c.scores[i]).toBeLessThanOrEqual(least)
              return { ...c, mask }
            })
          }
        },
      ),
      { numRuns: 200, seed: 1 },
    )
  })

  it('everything and nothing', () => {
    const c = [candidateOf('a', [3, 1, 2]), candidateOf('b', [1])]
    for (const by of ['local', 'global'] as const) {
      expect([...selectMasks(c, by, 1, all).values()].map((m) => m[0])).toEqual([0b111, 1])
      expect([...selectMasks(c, by, 0, all).values()].map((m) => m[0])).toEqual([0, 0])
    }
  })
})
