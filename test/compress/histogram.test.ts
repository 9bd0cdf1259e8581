/** Streaming distributions: exact counts in constant memory, whatever the order of the batches. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  distribution,
  HistogramObserver,
  leastErrorRange,
  percentileRange,
  type Distribution,
} from '../../ts/compress/observe/histogram.js'
import { valueRange } from '../../ts/compress/observe/ranges.js'
import { tensor } from '../../ts/tensor/index.js'
import { Rng } from '../../ts/base/rng.js'

function seen(...batches: (readonly number[] | Float32Array)[]): Distribution {
  const o = new HistogramObserver('layer')
  for (const b of batches) {
    const t = tensor(Float32Array.from(b))
    o.see(t)
    t.dispose()
  }
  return o.value()
}
const total = (d: Distribution): number => d.counts.reduce((a, b) => a + b, 0)
const normals = (n: number, scale: number, seed = 1): Float32Array => Rng.of(seed, 'h').fillNormal(new Float32Array(n), 0, scale)

describe('distribution', () => {
  it('growing the range merges counters exactly: any order of batches gives the same counts', () => {
    const value = fc.float({ min: -1000, max: 1000, noNaN: true }).map((x) => (Math.abs(x) < 1e-6 ? 0 : x))
    const batch = fc.array(value, { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.array(batch, { minLength: 1, maxLength: 6 }), (batches) => {
        const forward = seen(...batches)
        for (const other of [seen(...[...batches].reverse()), seen(batches.flat())]) {
          expect(other.limit).toBe(forward.limit)
          expect(Buffer.from(other.counts.buffer).equals(Buffer.from(forward.counts.buffer))).toBe(true)
        }
        expect(total(forward)).toBe(batches.flat().length)
        expect(forward.min).toBe(Math.min(...batches.flat()))
        expect(forward.max).toBe(Math.max(...batches.flat()))
      }),
      { numRuns: 100, seed: 1 },
    )
  })

  it('memory does not depend on what is seen', () => {
    expect(seen([1e-30]).counts.length).toBe(seen(normals(10_000, 1), [1e38]).counts.length)
  })

  it('zeros, one value, the smallest and the largest numbers', () => {
    expect(seen([0, 0, 0])).toMatchObject({ min: 0, max: 0 })
    expect(percentileRange(seen([0, 0, 0]), 99)).toEqual({ min: 0, max: 0 })
    for (const x of [5, -5, 1e-45, -1e-45, 3e38, -3e38].map(Math.fround)) {
      const { min, max } = percentileRange(seen([x]), 99.9)
      expect(min).toBeLessThanOrEqual(x)
      expect(max).toBeGreaterThanOrEqual(x)
    }
  })

  it('NaN and infinity name the layer and the index', () => {
    for (const bad of [NaN, Infinity, -Infinity])
      for (const o of [new HistogramObserver('conv1'), valueRange.observe('conv1')])
        expect(() => o.see(tensor([1, 2, bad, 4]))).toThrow(
          expect.objectContaining({ code: 'ERR_NUMERIC', details: { stage: 'calibration', tensor: 'conv1', index: 2 } }),
        )
  })

  it('goes through a file and back', () => {
    const d = seen(normals(1000, 3))
    const { json, tensors } = distribution.save(d)
    expect(distribution.restore(JSON.parse(JSON.stringify(json)), tensors!)).toEqual(d)
    const r = valueRange.observe('x')
    r.see(tensor([-1, 2]))
    expect(valueRange.restore(JSON.parse(JSON.stringify(valueRange.save(r.value()).json)), {})).toEqual({ min: -1, max: 2 })
  })
})

describe('ranges from a distribution', () => {
  it('100 percent is the whole range', () => {
    const x = normals(5000, 1)
    const d = seen(x)
    expect(percentileRange(d, 100)).toEqual({ min: d.min, max: d.max })
  })

  it('percentiles agree with sorting, to the width of a counter', () => {
    const x = normals(100_000, 2).sort()
    const d = seen(x)
    const width = (2 * d.limit) / d.counts.length
    for (const percent of [99.99, 99.9, 99, 90]) {
      const cut = (x.length * (100 - percent)) / 200
      const { min, max } = percentileRange(d, percent)
      expect(Math.abs(min - x[Math.floor(cut)]!)).toBeLessThanOrEqual(2 * width)
      expect(Math.abs(max - x[x.length - 1 - Math.floor(cut)]!)).toBeLessThanOrEqual(2 * width)
    }
  })

  it('an outlier is clipped by percentile and by least error, never by the whole range', () => {
    const d = seen(normals(100_000, 1), [1000])
    expect(percentileRange(d, 100).max).toBe(1000)
    expect(percentileRange(d, 99.9).max).toBeLessThan(10)
    const best = leastErrorRange(seen(normals(100_000, 1), [20]), 255)
    expect(best.max).toBeLessThan(20)
    expect(best.max).toBeGreaterThan(2)
  })

  it('least error keeps the range where nothing is gained by clipping, and always contains 0', () => {
    const uniform = seen(Float32Array.from({ length: 10_000 }, (_, i) => i / 10_000))
    const { min, max } = leastErrorRange(uniform, 255)
    expect(min).toBe(0)
    expect(max).toBeGreaterThan(0.97)
    expect(leastErrorRange(seen([5, 6, 7]), 255).min).toBe(0)
  })
})
