/** Weights of few bits, selected rows and ternary projections from the kernel-level API. */
import { describe, expect, it } from 'vitest'
import {
  TernaryProjection,
  dequantize,
  maskToIndices,
  maskUnpack,
  linear,
  matmulGroups,
  matmulRows,
  ones,
  packGroups,
  quantize,
  scope,
  tensor,
  topKMask,
  zeros,
  type QuantizedRows,
  type Tensor,
} from '../../ts/kernels/index.js'
import { sum, valueAndGrad } from '../../ts/autograd/index.js'
import { add, cast, gelu, relu, reshape, sigmoid, tanh } from '../../ts/ops/index.js'
import { numbers } from '../laws/cases.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const run = (name: string, f: () => void): void => it(name, () => scope(f))

describe('products with groups of codes', () => {
  const weight = (bits: number, mode: 'symmetric' | 'affine', groups = 4): QuantizedRows =>
    quantize(sampler(7, 'f32').normal(13, 64), { bits, mode, groups })

  run('equal products with the values that the codes stand for', () => {
    const s = sampler(8, 'f32')
    for (const bits of [2, 3, 4, 8])
      for (const mode of ['symmetric', 'affine'] as const) {
        const q = weight(bits, mode)
        const w = packGroups(q, bits)
        expect([w.rows, w.cols]).toEqual([13, 64])
        expect(w.unpack().toArray()).toEqual(dequantize(q).toArray())
        const [x, bias, residual] = [s.normal(2, 3, 64), s.normal(13), s.normal(2, 3, 13)]
        const want = add(relu(linear(x, dequantize(q), bias)), residual)
        const got = matmulGroups(x, w, { bias, activation: 'relu', residual })
        expect(got.shape).toEqual([2, 3, 13])
        const [a, b] = [numbers(got), numbers(want)]
        a.forEach((v, i) => expect(Math.abs(v - b[i]!)).toBeLessThan(2e-5))
        numbers(matmulGroups(x, w)).forEach((v, i) => expect(Math.abs(v - numbers(linear(x, dequantize(q)))[i]!)).toBeLessThan(2e-5))
        w.dispose()
        expect(() => matmulGroups(x, w)).toThrowError(code('ERR_DISPOSED'))
      }
  })

  run('have the gradients of those products, through every activation', () => {
    const s = sampler(9, 'f32')
    const q = weight(4, 'affine')
    const [x, bias, residual] = [s.normal(3, 64), s.normal(13), s.normal(3, 13)]
    const w = packGroups(q, 4)
    const dense = dequantize(q)
    const plain = { none: (t: Tensor) => t, relu, gelu, tanh, sigmoid }
    for (const [activation, f] of Object.entries(plain) as [keyof typeof plain, (t: Tensor) => Tensor][]) {
      const got = valueAndGrad(() => sum(matmulGroups(x, w, { bias, activation, residual }), [], false), [x, bias, residual]).grads
      const want = valueAndGrad(() => sum(add(f(linear(x, dense, bias)), residual), [], false), [x, bias, residual]).grads
      got.forEach((g, k) => numbers(g).forEach((v, i) => expect(Math.abs(v - numbers(want[k]!)[i]!), activation).toBeLessThan(1e-4)))
    }
  })

  run('refuse what does not fit', () => {
    const q = weight(4, 'affine')
    for (const bits of [0, 1, 5, 6, 7, 16, -4, 2 ** 32 + 4]) expect(() => packGroups(q, bits)).toThrowError(code('ERR_OPTION'))
    for (const bits of [NaN, 3.5]) expect(() => packGroups(q, bits)).toThrowError()
    expect(() => packGroups(q, 3)).toThrowError(code('ERR_OPTION'))
    for (const bad of [NaN, 0, Infinity]) {
      const scale = Float32Array.from(numbers(q.scale))
      scale[5] = bad
      expect(() => packGroups({ ...q, scale: tensor(scale, q.scale.shape) }, 4)).toThrowError(code('ERR_NUMERIC'))
    }
    expect(() => packGroups({ ...q, zero: null, scale: ones([13, 3]) }, 4)).toThrowError(code('ERR_SHAPE'))
    const w = packGroups(q, 4)
    expect(() => matmulGroups(zeros([2, 63]), w)).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulGroups(tensor(1), w)).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulGroups(zeros([2, 64]), w, { bias: zeros([12]) })).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulGroups(zeros([2, 64]), w, { residual: zeros([13]) })).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulGroups(zeros([2, 64], 'i8'), w)).toThrowError(code('ERR_DTYPE'))
    expect(() => matmulGroups(zeros([2, 64]), w, { activation: 'swish' as never })).toThrowError()
  })
})

describe('selected rows', () => {
  run('equal those of the whole product, compact and in place', () => {
    const s = sampler(11, 'f32')
    const [x, w, bias, base] = [s.normal(3, 40), s.normal(21, 40), s.normal(21), s.normal(3, 21)]
    const q = quantize(w, { bits: 8 })
    const scale = reshape(q.scale, [21])
    const mask = topKMask(s.distinct(21), 8)
    const index = maskToIndices(mask, 21)
    const chosen = numbers(index)
    expect(chosen).toEqual(numbers(maskUnpack(mask, [21])).flatMap((v, i) => (v ? [i] : [])))
    for (const [weight, options, whole] of [
      [w, { bias }, linear(x, w, bias)],
      [q.codes, { bias, scale }, linear(x, dequantize(q), bias)],
    ] as const) {
      const exact = numbers(whole)
      const compact = matmulRows(x, weight, index, options)
      expect(compact.shape).toEqual([3, 8])
      numbers(compact).forEach((v, i) => expect(v).toBeCloseTo(exact[Math.floor(i / 8) * 21 + chosen[i % 8]!]!, 4))
      numbers(matmulRows(x, weight, index, { ...options, base })).forEach((v, i) =>
        expect(v).toBeCloseTo(chosen.includes(i % 21) ? exact[i]! : numbers(base)[i]!, 4),
      )
      const offsets = tensor(new Int32Array([0, 2, 2, 5]))
      const lists = tensor(new Int32Array([3, 20, 0, 1, 9]))
      const own = numbers(matmulRows(x, weight, lists, { ...options, offsets }))
      ;[3, 20, 42, 43, 51].forEach((at, i) => expect(own[i]).toBeCloseTo(exact[at]!, 4))
    }
  })

  run('refuse what does not fit', () => {
    const [x, w] = [zeros([2, 4]), zeros([3, 4])]
    for (const bad of [[0, 3], [-1], [1, 0], [1, 1]])
      expect(() => matmulRows(x, w, tensor(Int32Array.from(bad)))).toThrowError(code('ERR_OPTION'))
    expect(() => matmulRows(x, w, tensor([0, 1]))).toThrowError(code('ERR_DTYPE'))
    expect(() => matmulRows(x, zeros([3, 4], 'i8'), tensor(new Int32Array([0])))).toThrowError(code('ERR_OPTION'))
    expect(() => matmulRows(zeros([2, 5]), w, tensor(new Int32Array([0])))).toThrowError(code('ERR_SHAPE'))
    expect(() => maskToIndices(zeros([2], 'u8'), 17)).toThrowError(code('ERR_SHAPE'))
    for (const size of [NaN, 0.5, -1, 2 ** 32 + 1]) expect(() => maskToIndices(zeros([2], 'u8'), size)).toThrowError()
  })
})

describe('TernaryProjection', () => {
  run('is its signs times its scale, the same for the same seed', () => {
    const p = new TernaryProjection(37, 300, { seed: 5, stream: 2 })
    const x = sampler(12, 'f32').normal(3, 300)
    const signs = cast(p.signs(), 'f32')
    expect(numbers(signs).every((v) => v === -1 || v === 0 || v === 1)).toBe(true)
    const want = numbers(linear(x, signs))
    numbers(p.apply(x)).forEach((v, i) => expect(v).toBeCloseTo(want[i]! * p.scale, 4))
    expect(p.bytes).toBeLessThan(37 * 300)
    expect(new TernaryProjection(37, 300, { seed: 5, stream: 2 }).apply(x).toArray()).toEqual(p.apply(x).toArray())
    for (const other of [{ seed: 6, stream: 2 }, { seed: 5 }])
      expect(new TernaryProjection(37, 300, other).signs().toArray()).not.toEqual(p.signs().toArray())
    // The first entries of seed 0: a reference that must never change.
    expect(numbers(new TernaryProjection(2, 12, { seed: 0 }).signs())).toEqual([
      0, 0, 0, 0, 0, 0, 0, 1, 1, -1, 1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
    ])
    expect(() => p.apply(zeros([2, 299]))).toThrowError(code('ERR_SHAPE'))
    p.dispose()
    expect(() => p.apply(x)).toThrowError(code('ERR_DISPOSED'))
  })

  run('refuses sizes and seeds that are no integers', () => {
    for (const bad of [NaN, 0.5, Infinity, -1, 2 ** 32 + 1]) {
      expect(() => new TernaryProjection(bad, 3, { seed: 1 })).toThrowError(code('ERR_OPTION'))
      expect(() => new TernaryProjection(3, bad, { seed: 1 })).toThrowError(code('ERR_OPTION'))
    }
    for (const seed of [NaN, 0.5, Infinity]) expect(() => new TernaryProjection(3, 3, { seed })).toThrowError(code('ERR_OPTION'))
  })
})
