/** Products with 8-bit weights from the kernel-level API: static, dynamic, codes in and out, fixed point, exact sums. */
import { describe, expect, it } from 'vitest'
import {
  linear,
  matmulInt8,
  matmulInt8Exact,
  matmulInt8Fixed,
  packWeights,
  quantize,
  scope,
  tensor,
  zeros,
} from '../../ts/kernels/index.js'
import { add, relu } from '../../ts/ops/index.js'
import { numbers } from '../laws/cases.js'
import { rng, sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const run = (name: string, f: () => void): void => it(name, () => scope(f))
const integers = (n: number, lo: number, hi: number, random: () => number): number[] =>
  Array.from({ length: n }, () => lo + Math.floor(random() * (hi - lo + 1)))

describe('int8 products', () => {
  run('are exact, at the extremes too', () => {
    const random = rng(1)
    for (const [m, n, k] of [
      [1, 1, 1],
      [3, 5, 7],
      [17, 33, 129],
      [4, 3, 1000],
    ] as const)
      for (const [xs, ws] of [
        [integers(m * k, 0, 255, random), integers(n * k, -128, 127, random)],
        [integers(m * k, 255, 255, random), integers(n * k, -128, -128, random)],
        [integers(m * k, 255, 255, random), integers(n * k, 127, 127, random)],
      ] as const) {
        const zero = 77
        const want = Array.from({ length: m * n }, (_, i) => {
          let s = 0
          for (let j = 0; j < k; j++) s += (xs[Math.floor(i / n) * k + j]! - zero) * ws[(i % n) * k + j]!
          return s
        })
        expect(numbers(matmulInt8Exact(tensor(Uint8Array.from(xs), [m, k]), tensor(Int8Array.from(ws), [n, k]), zero))).toEqual(want)
      }
  })

  run('with packed weights equal quantized arithmetic done by hand', () => {
    const s = sampler(2, 'f32')
    const x = s.normal(5, 19)
    const w = tensor(Int8Array.from(integers(7 * 19, -128, 127, rng(3))), [7, 19])
    const wScale = s.uniform([7], 0.001, 0.01)
    const bias = s.normal(7)
    const packed = packWeights(w)
    expect([packed.rows, packed.cols]).toEqual([7, 19])
    expect(packed.bytes).toBeGreaterThanOrEqual(7 * 19)
    const [xScale, xZero] = [0.03, 120]
    const [xs, ws, scales, shifts] = [numbers(x), numbers(w), numbers(wScale), numbers(bias)]
    const want = Array.from({ length: 35 }, (_, i) => {
      let t = 0
      for (let j = 0; j < 19; j++) {
        // Halves do not occur in these values, so Math.round is as good as half to even.
        const q = Math.min(255, Math.max(0, Math.round(Math.fround(xs[Math.floor(i / 7) * 19 + j]! / Math.fround(xScale))) + xZero))
        t += (q - xZero) * ws[(i % 7) * 19 + j]!
      }
      return t * xScale * scales[i % 7]! + shifts[i % 7]!
    })
    numbers(matmulInt8(x, packed, { xScale, xZero, wScale, bias })).forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 4))
    numbers(matmulInt8(x, packed, { xScale, xZero, wScale, bias, activation: 'relu' })).forEach((v, i) =>
      expect(v).toBeCloseTo(Math.max(0, want[i]!), 4),
    )
    packed.dispose()
    expect(() => matmulInt8(x, packed, { xScale, wScale })).toThrowError(code('ERR_DISPOSED'))
  })

  run('refuse what does not fit', () => {
    const packed = packWeights(tensor(new Int8Array(6), [2, 3]))
    const wScale = tensor([1])
    expect(() => packWeights(zeros([2, 3]))).toThrowError(code('ERR_DTYPE'))
    expect(() => packWeights(zeros([3], 'i8'))).toThrowError(code('ERR_SHAPE'))
    expect(() => packWeights(zeros([1, 2 ** 23], 'i8'))).toThrowError(code('ERR_LIMIT'))
    expect(() => matmulInt8(zeros([2, 4]), packed, { xScale: 1, wScale })).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulInt8(tensor(1), packed, { xScale: 1, wScale })).toThrowError(code('ERR_SHAPE'))
    for (const xScale of [0, -1, NaN, Infinity])
      expect(() => matmulInt8(zeros([2, 3]), packed, { xScale, wScale })).toThrowError(code('ERR_OPTION'))
    for (const xZero of [-1, 256, 0.5, NaN])
      expect(() => matmulInt8(zeros([2, 3]), packed, { xScale: 1, xZero, wScale })).toThrowError(code('ERR_OPTION'))
    for (const xZero of [-1, 256, 0.5, NaN])
      expect(() => matmulInt8Exact(zeros([2, 3], 'u8'), zeros([2, 3], 'i8'), xZero)).toThrowError(code('ERR_OPTION'))
  })

  run('are exact to the deepest K', () => {
    const k = 65793
    const x = tensor(new Uint8Array(k).fill(255), [1, k])
    const w = tensor(new Int8Array(k).fill(-128), [1, k])
    expect(matmulInt8Exact(x, w).item()).toBe(-255 * 128 * k)
    const deeper = 131072
    const lowest = tensor(new Int8Array(deeper).fill(-128), [1, deeper])
    const packed = packWeights(lowest)
    expect(matmulInt8Exact(lowest, packed).dtype).toBe('i64')
    expect([...matmulInt8Exact(lowest, packed).read()]).toEqual([2n ** 31n])
    const column = tensor(new Int8Array(131071).fill(-128), [1, 131071])
    expect(numbers(matmulInt8Exact(column, column))).toEqual([128 * 128 * 131071])
    expect(matmulInt8(lowest, packed, { xScale: 1, wScale: tensor([1]) }).item()).toBe(2 ** 31)
  })

  run('of rows quantized by their own range stay close to f32', () => {
    const s = sampler(4, 'f32')
    for (const dynamic of ['symmetric', 'affine'] as const) {
      const x = s.normal(3, 2, 64)
      const w = s.normal(10, 64)
      const { codes, scale } = quantize(w)
      const packed = packWeights(codes)
      const [bias, residual] = [s.normal(10), s.normal(3, 2, 10)]
      const got = matmulInt8(x, packed, { dynamic, wScale: tensor(scale.read()), bias, residual, activation: 'relu' })
      const want = add(relu(linear(x, w, bias)), residual)
      expect(got.shape).toEqual([3, 2, 10])
      const [a, b] = [numbers(got), numbers(want)]
      a.forEach((v, i) => expect(Math.abs(v - b[i]!)).toBeLessThan(0.25))
      packed.dispose()
    }
    const packed = packWeights(tensor(new Int8Array([1, 2]), [1, 2]))
    expect(
      matmulInt8(
        tensor([
          [1, Infinity],
          [127, 0],
        ]),
        packed,
        { wScale: tensor([1]) },
      ).toArray(),
    ).toEqual([[NaN], [127]])
  })

  run('of codes give f32 or codes again', () => {
    const packed = packWeights(tensor(new Int8Array([1, 2, 3, -4]), [2, 2]))
    const wScale = tensor([0.5, 0.25])
    const x = tensor(new Int8Array([10, -20, 100, 50]), [2, 2])
    expect(matmulInt8(x, packed, { xScale: 2, wScale }).toArray()).toEqual([
      [-30, 55],
      [200, 50],
    ])
    const output = { dtype: 'u8', scale: 2, zero: 5 } as const
    expect(matmulInt8(x, packed, { xScale: 2, wScale, output }).toArray()).toEqual([
      [0, 33],
      [105, 30],
    ])
    const rows = { xScale: tensor([1, 2]), xZero: tensor(Int32Array.of(0, 50), [2]), wZero: tensor(Int32Array.of(1, 0), [2]) }
    expect(matmulInt8(x, packed, { ...rows, wScale }).toArray()).toEqual([
      [-10, 27.5],
      [0, 75],
    ])
    const fixed = { multiplier: tensor(Int32Array.of(2 ** 30), [1]), exponent: tensor(Int32Array.of(-1), [1]), dtype: 'i8' } as const
    expect(matmulInt8Fixed(x, packed, { ...fixed, bias: tensor(Int32Array.of(1, 0), [2]), yZero: 3 }).toArray()).toEqual([
      [-4, 31],
      [54, 28],
    ])
    for (const bad of [
      {},
      { xScale: 0 },
      { xScale: 1, xZero: 128 },
      { xScale: 1, dynamic: 'affine' },
      { xScale: tensor([1, NaN]) },
    ] as const)
      expect(() => matmulInt8(x, packed, { ...bad, wScale })).toThrowError(code('ERR_OPTION'))
    for (const bad of [{ xZero: 1 }, { output }, { xScale: tensor([1, 1]) }] as const)
      expect(() => matmulInt8(zeros([2, 2]), packed, { ...bad, wScale })).toThrowError(code('ERR_OPTION'))
    for (const scale of [0, -1, NaN, Infinity])
      expect(() => matmulInt8(x, packed, { xScale: 1, wScale, output: { dtype: 'i8', scale } })).toThrowError(code('ERR_OPTION'))
    expect(() => matmulInt8(x, packed, { xScale: 1, wScale: tensor([NaN, 1]) })).toThrowError(code('ERR_OPTION'))
    expect(() => matmulInt8Fixed(x, packed, { ...fixed, dtype: 'u8', lo: -1 })).toThrowError(code('ERR_OPTION'))
  })
})
