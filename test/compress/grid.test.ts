/** Laws of scales and zero points. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { codeRange, gridOf, gridsOf, groupCount, type Grid, type RunLayout } from '../../ts/compress/quantize/grid.js'
import { halfScales } from '../../ts/compress/quantize/half.js'

const roundEven = (x: number): number => {
  const r = Math.round(x)
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r
}
const quantizeOne = (x: number, { scale, zero }: { scale: number; zero: number }, { qmin, qmax }: { qmin: number; qmax: number }): number =>
  (Math.min(qmax, Math.max(qmin, roundEven(x / scale) + zero)) - zero) * scale

const found = (values: Float32Array, at: RunLayout, symmetric: boolean, b: number, mode: 'max' | 'mse'): Promise<Grid[]> =>
  gridsOf(values, at, { symmetric, codes: codeRange(b, symmetric, mode), mode }, async () => {})

const bits = fc.integer({ min: 2, max: 8 })
const value = fc.oneof(fc.float({ min: -1000, max: 1000, noNaN: true }), fc.constantFrom(0, 1e-45, -1e-45, 1e38, -3e38, 3e38, 1e-30))
const list = fc.array(value, { minLength: 1, maxLength: 60 }).map((v) => Float32Array.from(v))

describe('code ranges', () => {
  it('symmetric ones have as many codes on both sides; 8 bits never use -128', () => {
    expect(codeRange(4, true, 'max')).toEqual({ qmin: -7, qmax: 7 })
    expect(codeRange(8, true, 'max')).toEqual({ qmin: -127, qmax: 127 })
    expect(codeRange(8, true, 'mse')).toEqual({ qmin: -127, qmax: 127 })
    expect(codeRange(4, true, 'mse')).toEqual({ qmin: -8, qmax: 7 })
    expect(codeRange(2, false, 'max')).toEqual({ qmin: -2, qmax: 1 })
  })
})

describe('grids (A7.1, N02)', () => {
  it.each([true, false])('symmetric %s: scale finite and > 0, 0 exact, |x - Q(x)| <= scale / 2, Q(Q(x)) = Q(x)', (symmetric) => {
    fc.assert(
      fc.property(list, bits, (values, b) => {
        const codes = codeRange(b, symmetric, 'max')
        const grid = gridOf(Math.min(...values), Math.max(...values), symmetric, codes)
        expect(Number.isFinite(grid.scale) && grid.scale > 0).toBe(true)
        expect(Number.isInteger(grid.zero) && grid.zero >= codes.qmin && grid.zero <= codes.qmax).toBe(true)
        expect(quantizeOne(0, grid, codes)).toBe(0)
        for (const x of values) {
          const q = quantizeOne(x, grid, codes)
          // The scale is rounded to f32: a relative 2^-24 of the range on top.
          expect(Math.abs(x - q)).toBeLessThanOrEqual(grid.scale * (0.5 + 2 ** b * 2 ** -23))
          expect(quantizeOne(q, grid, codes)).toBe(q)
        }
      }),
      { numRuns: 500, seed: 1 },
    )
  })

  it('constant and empty ranges', () => {
    const codes = codeRange(8, false, 'max')
    expect(gridOf(0, 0, false, codes)).toEqual({ scale: 1, zero: 0 })
    const five = gridOf(5, 5, false, codes)
    expect(quantizeOne(5, five, codes)).toBeCloseTo(5, 6)
    expect(quantizeOne(-3, gridOf(-3, -3, false, codes), codes)).toBeCloseTo(-3, 6)
  })

  it('more bits never give a larger error, smaller groups neither', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 64, maxLength: 64 }),
        fc.boolean(),
        async (v, symmetric) => {
          const values = Float32Array.from(v)
          const worst = async (b: number, groups: number): Promise<number> => {
            const grids = await found(values, { rows: 1, cols: 64, layout: 'group', groups }, symmetric, b, 'max')
            return Math.max(...grids.map((g) => g.scale))
          }
          for (let b = 2; b < 8; b++) expect(await worst(b + 1, 1)).toBeLessThanOrEqual(await worst(b, 1))
          expect(await worst(4, 8)).toBeLessThanOrEqual(await worst(4, 1))
        },
      ),
      { numRuns: 100, seed: 1 },
    )
  })

  it("'mse' never has a larger squared error than 'max'", async () => {
    const squared = async (values: Float32Array, mode: 'max' | 'mse', symmetric: boolean, b: number): Promise<number> => {
      const codes = codeRange(b, symmetric, mode)
      const [grid] = await found(values, { rows: 1, cols: values.length, layout: 'channel', groups: 1 }, symmetric, b, mode)
      return values.reduce((sum, x) => sum + (x - quantizeOne(x, grid!, codes)) ** 2, 0)
    }
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.float({ min: -10, max: 10, noNaN: true }), { minLength: 1, maxLength: 50 }),
        bits,
        fc.boolean(),
        async (v, b, symmetric) => {
          const values = Float32Array.from(v)
          const max = await squared(values, 'max', symmetric, b)
          expect(await squared(values, 'mse', symmetric, b)).toBeLessThanOrEqual(max * (1 + 1e-5) + 1e-9)
        },
      ),
      { numRuns: 300, seed: 1 },
    )
    // An outlier among many small values: clipping it pays.
    const outlier = Float32Array.from({ length: 200 }, (_, i) => (i === 0 ? 8 : Math.sin(i)))
    expect(await squared(outlier, 'mse', true, 4)).toBeLessThan(0.9 * (await squared(outlier, 'max', true, 4)))
  })
})

it('importance counts where one scale holds for the whole weight too', async () => {
  // Columns of rows 0 and 1, then of rows 2 and 3 (another group of channels): only the small values matter.
  const values = Float32Array.from([4, 0.5, 4, 0.4, -0.3, 4, 0.45, 4])
  const importance = Float32Array.from([1e-3, 1, 1, 1e-3])
  const rules = { symmetric: true, codes: codeRange(4, true, 'mse'), mode: 'mse' } as const
  const at = { rows: 4, cols: 2, layout: 'tensor', groups: 1 } as const
  const cost = ({ scale }: Grid): number =>
    values.reduce((sum, x, i) => {
      const e = x - quantizeOne(x, { scale, zero: 0 }, rules.codes)
      return sum + importance[Math.floor(i / 4) * 2 + (i % 2)]! * e * e
    }, 0)
  const [plain] = await gridsOf(values, at, rules, async () => {})
  const [weighted] = await gridsOf(values, at, { ...rules, importance }, async () => {})
  expect(weighted!.scale).toBeLessThan(plain!.scale)
  expect(cost(weighted!)).toBeLessThan(cost(plain!))
})

it('a long search lets other work run, and finds the same', async () => {
  const values = Float32Array.from({ length: 200_000 }, (_, i) => Math.sin(i * i))
  let turns = 0
  const rules = { symmetric: true, codes: codeRange(4, true, 'mse'), mode: 'mse' } as const
  const breathe = async (): Promise<void> => void turns++
  const [whole] = await gridsOf(values, { rows: 1, cols: values.length, layout: 'tensor', groups: 1 }, rules, breathe)
  expect(turns).toBeGreaterThan(30)
  const [part] = await gridsOf(values, { rows: 1, cols: values.length, layout: 'channel', groups: 1 }, rules, breathe)
  expect(part).toEqual(whole)
})

describe('groups', () => {
  it.each([
    [100, 32, 4],
    [64, 32, 2],
    [5, 32, 1],
    [33, 32, 2],
    [10, 3, 4],
  ])('%d columns in groups of at most %d: %d', (cols, size, groups) => {
    expect(groupCount(cols, size)).toBe(groups)
  })

  it('no group is empty or larger than asked for', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 2, max: 64 }), async (cols, size) => {
        const groups = groupCount(cols, size)
        const run = Math.ceil(cols / groups)
        expect(run).toBeLessThanOrEqual(size)
        expect((groups - 1) * run).toBeLessThan(cols)
        expect(await found(new Float32Array(3 * cols).fill(1), { rows: 3, cols, layout: 'group', groups }, true, 4, 'max')).toHaveLength(
          3 * groups,
        )
      }),
      { seed: 1 },
    )
  })
})

describe('scales as halves', () => {
  it('are rounded up, by less than one step of f16', () => {
    const scales = Float32Array.from({ length: 1000 }, (_, i) => 0.001 * 1.007 ** i)
    const halves = halfScales(scales)!
    halves.forEach((h, i) => {
      expect(h).toBeGreaterThanOrEqual(scales[i]!)
      expect(h).toBeLessThanOrEqual(scales[i]! * (1 + 2 ** -10))
    })
    expect(halfScales(halves)).toEqual(halves)
  })

  it('are refused outside the range of f16', () => {
    expect(halfScales(Float32Array.of(1, 65505))).toBeUndefined()
    expect(halfScales(Float32Array.of(1, 1e-6))).toBeUndefined()
    expect(halfScales(Float32Array.of(65504, 2 ** -14))).toEqual(Float32Array.of(65504, 2 ** -14))
  })
})
