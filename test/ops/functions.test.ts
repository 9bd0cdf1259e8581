/** Functions made of others against Math, with their derivatives against differences. */
import { describe, expect, it } from 'vitest'
import { acos, acosh, asin, asinh, atan, atanh, ceil, cosh, floor, realPower, sinh, sum, tan, trunc } from '../../ts/ops/index.js'
import { grad } from '../../ts/autograd/index.js'
import { scope, tensor, type Tensor } from '../../ts/index.js'

const f64 = (list: readonly number[]): Tensor => tensor(Float64Array.from(list))
const cases: readonly (readonly [string, (x: Tensor) => Tensor, (x: number) => number, readonly number[]])[] = [
  ['tan', tan, Math.tan, [-1.2, -0.3, 0, 0.7, 1.4]],
  ['sinh', sinh, Math.sinh, [-5, -0.9, 1e-4, 1.5, 6]],
  ['cosh', cosh, Math.cosh, [-5, -0.9, 0.1, 1.5, 6]],
  ['asin', asin, Math.asin, [-0.99, -0.5, 0.01, 0.7, 0.95]],
  ['acos', acos, Math.acos, [-0.99, -0.5, 0.01, 0.7, 0.95]],
  ['atan', atan, Math.atan, [-1e6, -2, -0.1, 0.5, 3, 1e4]],
  ['asinh', asinh, Math.asinh, [-5, -0.9, 0.3, 1.5, 60]],
  ['acosh', acosh, Math.acosh, [1.2, 2, 60]],
  ['atanh', atanh, Math.atanh, [-0.9, -0.2, 0.3, 0.99]],
]

describe.each(cases)('%s', (_name, f, reference, points) => {
  it('agrees with Math', () => {
    const y = scope(() => Array.from(f(f64(points)).read() as Float64Array))
    y.forEach((v, i) => expect(Math.abs(v - reference(points[i]!))).toBeLessThan(1e-9 * Math.max(1, Math.abs(reference(points[i]!)))))
  })
  it('has the right derivative', () => {
    const small = points.filter((x) => Math.abs(x) < 100)
    const slope = scope(() => {
      const x = f64(small)
      return Array.from(grad(() => sum(f(x)), [x])[0]!.read() as Float64Array)
    })
    slope.forEach((v, i) => {
      const h = 1e-6
      const expected = (reference(small[i]! + h) - reference(small[i]! - h)) / (2 * h)
      expect(Math.abs(v - expected)).toBeLessThan(1e-6 * Math.max(1, Math.abs(expected)))
    })
  })
})

it('rounds down, up and towards zero', () => {
  const x = [-2.5, -1, -0.2, 0, 0.5, 1.5, 2.999, 7]
  scope(() => {
    expect(floor(f64(x)).toArray()).toEqual(x.map((v) => Math.floor(v)))
    expect((ceil(f64(x)).toArray() as number[]).map((v) => v + 0)).toEqual(x.map((v) => Math.ceil(v) + 0))
    expect((trunc(f64(x)).toArray() as number[]).map((v) => v + 0)).toEqual(x.map((v) => Math.trunc(v) + 0))
  })
})

it('takes real powers as Math.pow does, and their gradient for positive numbers', () => {
  const pairs = [-2, -0.5, 0, 0.5, 1, 3].flatMap((x) => [-3, -2, -0.5, 0, 0.5, 1, 2, 3].map((y) => [x, y] as const))
  scope(() => {
    const y = realPower(f64(pairs.map(([a]) => a)), f64(pairs.map(([, b]) => b))).read() as Float64Array
    pairs.forEach(([a, b], i) => {
      if (Number.isFinite(a ** b)) expect(y[i], `${a}^${b}`).toBeCloseTo(a ** b, 9)
      else expect(y[i], `${a}^${b}`).toBe(a ** b)
    })
    const [a, b] = [f64([2]), f64([3])]
    const [da, db] = grad(() => sum(realPower(a, b)), [a, b])
    expect(da.item()).toBeCloseTo(12, 9)
    expect(db.item()).toBeCloseTo(8 * Math.log(2), 9)
  })
})
