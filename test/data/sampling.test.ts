import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BatchIterator, type BatchOptions, type BatchPosition } from '../../ts/data/batches.js'
import { apportion, balancedEpoch, balancedSample, splitIndices } from '../../ts/data/sampling.js'
import { errorOf } from '../formats/lib.js'

const someLabels = fc.array(fc.nat(3), { minLength: 4, maxLength: 60 })
const count = (labels: readonly number[], indices: Iterable<number>): Record<number, number> => {
  const counts: Record<number, number> = {}
  for (const i of indices) counts[labels[i]!] = (counts[labels[i]!] ?? 0) + 1
  return counts
}

describe('splits', () => {
  test('two parts that are everything once, the same for the same seed', () => {
    fc.assert(
      fc.property(someLabels, fc.nat(100), fc.constantFrom('proportional', 'none'), (labels, seed, stratify) => {
        const options = { seed, heldOut: 0.25, stratify: stratify as 'none' }
        const { train, heldOut } = splitIndices(labels, options)
        expect([...train, ...heldOut].sort((a, b) => a - b)).toEqual(labels.map((_, i) => i))
        expect(heldOut.length).toBe(Math.round(labels.length / 4))
        expect(splitIndices(labels, options)).toEqual({ train, heldOut })
      }),
      { numRuns: 200, seed: 31 },
    )
  })

  test('shares of the classes are kept, or made equal', () => {
    const labels = Array.from({ length: 100 }, (_, i) => (i < 80 ? 0 : 1))
    expect(count(labels, splitIndices(labels, { seed: 1, heldOut: 20 }).heldOut)).toEqual({ 0: 16, 1: 4 })
    expect(count(labels, splitIndices(labels, { seed: 1, heldOut: 20, stratify: 'balanced' }).heldOut)).toEqual({ 0: 10, 1: 10 })
    expect(splitIndices(labels, { seed: 1, heldOut: 20 }).heldOut).not.toEqual(splitIndices(labels, { seed: 2, heldOut: 20 }).heldOut)
  })

  test('what cannot be', () => {
    const labels = [0, 0, 0, 1]
    for (const heldOut of [-1, 5, 1.5, NaN]) expect(errorOf(() => splitIndices(labels, { seed: 1, heldOut })).code).toBe('ERR_OPTION')
    expect(errorOf(() => splitIndices(labels, { seed: 1, heldOut: 4, stratify: 'balanced' })).code).toBe('ERR_OPTION')
  })

  test('apportion gives whole numbers that sum up, each within one of its share', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 9 }), fc.nat(500), (weights, total) => {
        const counts = apportion(weights, total)
        const all = weights.reduce((a, b) => a + b)
        expect(counts.reduce((a, b) => a + b)).toBe(total)
        counts.forEach((n, i) => expect(Math.abs(n - (total * weights[i]!) / all)).toBeLessThan(1))
      }),
      { numRuns: 200, seed: 32 },
    )
  })
})

describe('balance', () => {
  const labels = [0, 0, 0, 0, 0, 1, 1, 2]
  test('a sample of each class', () => {
    const sample = balancedSample([...labels, 2], 2, 1)
    expect(count([...labels, 2], sample)).toEqual({ 0: 2, 1: 2, 2: 2 })
    expect(new Set(sample).size).toBe(6)
    expect(errorOf(() => balancedSample(labels, 2, 1)).code).toBe('ERR_OPTION')
  })
  test('an epoch: every class equally often, no sample used twice before all were used once', () => {
    const epoch = balancedEpoch(labels, 1, 0)
    expect(count(labels, epoch)).toEqual({ 0: 5, 1: 5, 2: 5 })
    const uses = (i: number): number => epoch.filter((j) => j === i).length
    expect([0, 1, 2, 3, 4].map(uses)).toEqual([1, 1, 1, 1, 1])
    expect([uses(5), uses(6)].sort()).toEqual([2, 3])
    expect(balancedEpoch(labels, 1, 0)).toEqual(epoch)
    expect(balancedEpoch(labels, 1, 1)).not.toEqual(epoch)
  })
})

describe('batches', () => {
  const options: BatchOptions = { batchSize: 4, seed: 3 }

  test('an epoch is every sample once, each epoch in another order', () => {
    const batches = new BatchIterator(10, options)
    const epochs = [...batches.until(2)]
    expect(epochs.map(({ epoch, batch, indices }) => [epoch, batch, indices.length])).toEqual([
      [0, 0, 4],
      [0, 1, 4],
      [0, 2, 2],
      [1, 0, 4],
      [1, 1, 4],
      [1, 2, 2],
    ])
    const orders = [0, 1].map((e) => epochs.filter((b) => b.epoch === e).flatMap((b) => [...b.indices]))
    for (const order of orders) expect([...order].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(orders[0]).not.toEqual(orders[1])
  })

  test('sequential, without the rest, balanced', () => {
    expect([...new BatchIterator(5, { ...options, order: 'sequential', dropLast: true }).until(1)].map((b) => [...b.indices])).toEqual([
      [0, 1, 2, 3],
    ])
    const balanced = new BatchIterator(4, { ...options, order: 'balanced', labels: [0, 0, 0, 1] })
    expect(balanced.batchesPerEpoch).toBe(2)
    expect([...balanced.until(1)].flatMap((b) => [...b.indices]).filter((i) => i === 3).length).toBe(3)
  })

  test('goes on from any saved position with exactly the same batches', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 8 }),
        fc.nat(40),
        fc.constantFrom('shuffled', 'sequential', 'balanced'),
        (size, batchSize, steps, order) => {
          const all: BatchOptions = {
            batchSize,
            seed: 9,
            order: order,
            labels: Array.from({ length: size }, (_, i) => i % 3),
          }
          const straight = new BatchIterator(size, all)
          for (let i = 0; i < steps; i++) straight.next()
          const saved = JSON.parse(JSON.stringify(straight.position())) as BatchPosition
          const resumed = new BatchIterator(size, all, saved)
          for (let i = 0; i < 12; i++) expect(resumed.next()).toEqual(straight.next())
          expect(resumed.position()).toEqual(straight.position())
        },
      ),
      { numRuns: 150, seed: 33 },
    )
  })

  test('a position of other data is refused', () => {
    const from = new BatchIterator(10, options).position()
    for (const [size, other] of [
      [11, options],
      [10, { ...options, batchSize: 5 }],
      [10, { ...options, seed: 4 }],
      [10, { ...options, order: 'sequential' }],
      [10, { ...options, dropLast: true }],
    ] as [number, BatchOptions][])
      expect(errorOf(() => new BatchIterator(size, other, from)).code).toBe('ERR_CHECKPOINT')
    expect(errorOf(() => new BatchIterator(10, options, { ...from, batch: 3 })).code).toBe('ERR_CHECKPOINT')
  })

  test('what cannot be', () => {
    for (const [size, other] of [
      [0, options],
      [1.5, options],
      [10, { ...options, batchSize: 0 }],
      [3, { ...options, dropLast: true }],
      [10, { ...options, seed: -1 }],
      [10, { ...options, order: 'balanced' }],
    ] as [number, BatchOptions][])
      expect(errorOf(() => new BatchIterator(size, other)).code).toBe('ERR_OPTION')
  })
})
