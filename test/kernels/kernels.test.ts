/** The kernel-level API: int8 products, sparse matrices, codes, masks. */
import { describe, expect, it } from 'vitest'
import {
  CsrMatrix,
  TernaryProjection,
  dequantize,
  isa,
  kernelRows,
  maskApply,
  maskCount,
  maskToIndices,
  maskUnpack,
  linear,
  matmul,
  matmulInt8,
  matmulGroups,
  matmulInt8Exact,
  matmulInt8Fixed,
  matmulRows,
  memory,
  ones,
  packGroups,
  packWeights,
  quantize,
  scope,
  tensor,
  threads,
  topKMask,
  zeros,
  type QuantizeOptions,
  type TopKOptions,
  type QuantizedRows,
  type Tensor,
} from '../../ts/kernels/index.js'
import { sum, valueAndGrad } from '../../ts/autograd/index.js'
import { add, cast, gelu, relu, reshape, sigmoid, tanh } from '../../ts/ops/index.js'
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

describe('CsrMatrix', () => {
  const dense = (): Tensor =>
    tensor([
      [0, 2, 0, -1],
      [0, 0, 0, 0],
      [5, 0, 0, 7],
    ])

  run('multiplies like the dense matrix', () => {
    const w = CsrMatrix.fromDense(dense())
    expect([w.nnz, w.shape, w.bytes]).toEqual([4, [3, 4], 4 * 4 + 4 * 4 + 4 * 2])
    expect(w.toDense().toArray()).toEqual(dense().toArray())
    const x = sampler(4, 'f32').normal(2, 3, 4)
    const want = numbers(matmul(x, dense(), false, true))
    numbers(w.matmul(x)).forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 5))
    expect(w.matmul(tensor([1, 1, 1, 1]), tensor([10, 20, 30])).toArray()).toEqual([11, 20, 42])
    w.dispose()
    expect(() => w.matmul(x)).toThrowError(code('ERR_DISPOSED'))
  })

  run('holds scaled codes', () => {
    const codes = tensor(new Int8Array([0, 2, 0, -1, 0, 0]), [2, 3])
    const w = CsrMatrix.fromDense(codes, tensor([0.5, 2]))
    expect(w.toDense().toArray()).toEqual([
      [0, 1, 0],
      [-2, 0, 0],
    ])
    expect(w.matmul(tensor([1, 2, 3])).toArray()).toEqual([2, -2])
    expect(() => CsrMatrix.fromDense(codes)).toThrowError(code('ERR_DTYPE'))
    expect(() => CsrMatrix.fromDense(codes, tensor([1, 2, 3]))).toThrowError(code('ERR_SHAPE'))
  })

  it('fromDense fails without leaving tensors', () => {
    const codes = tensor(new Int8Array(6), [2, 3])
    const before = memory().tensors
    expect(() => CsrMatrix.fromDense(codes)).toThrowError()
    expect(memory().tensors).toBe(before)
    codes.dispose()
  })

  it.each([
    ['offsets that fall', [0, 2, 1, 2], [0, 1], 4],
    ['offsets that do not begin at 0', [1, 1, 2, 2], [0, 1], 4],
    ['offsets that do not end at nnz', [0, 1, 1, 1], [0, 1], 4],
    ['offsets past nnz in the middle', [0, 9, 2, 2], [0, 1], 4],
    ['negative offsets', [0, -1, 2, 2], [0, 1], 4],
    ['columns past the end', [0, 1, 2, 2], [0, 4], 4],
    ['columns out of order', [0, 2, 2, 2], [2, 1], 4],
    ['columns twice', [0, 2, 2, 2], [1, 1], 4],
  ])('refuses %s', (_, indptr, columns, cols) =>
    scope(() => {
      for (const list of [Int32Array.from(columns), Uint16Array.from(columns)]) {
        const parts = {
          values: tensor(new Float32Array(columns.length).fill(1)),
          indptr: tensor(Int32Array.from(indptr)),
          columns: tensor(list),
        }
        expect(() => new CsrMatrix(parts, cols)).toThrowError(code('ERR_MODEL_FORMAT'))
      }
    }),
  )

  run('refuses wrong types and shapes', () => {
    const parts = { values: tensor([1]), indptr: tensor(new Int32Array([0, 1])), columns: tensor(new Uint16Array([0])) }
    expect(new CsrMatrix(parts, 1).nnz).toBe(1)
    expect(() => new CsrMatrix({ ...parts, values: zeros([1], 'f64') }, 1)).toThrowError(code('ERR_DTYPE'))
    expect(() => new CsrMatrix({ ...parts, indptr: zeros([2], 'i64') }, 1)).toThrowError(code('ERR_DTYPE'))
    expect(() => new CsrMatrix({ ...parts, columns: zeros([1], 'u8') }, 1)).toThrowError(code('ERR_DTYPE'))
    expect(() => new CsrMatrix({ ...parts, columns: zeros([2], 'u16') }, 1)).toThrowError(code('ERR_SHAPE'))
    expect(() => new CsrMatrix({ ...parts, indptr: zeros([0], 'i32') }, 1)).toThrowError(code('ERR_SHAPE'))
    for (const cols of [-1, 0.5, NaN, 2 ** 31]) expect(() => new CsrMatrix(parts, cols)).toThrowError(code('ERR_SHAPE'))
    expect(() => new CsrMatrix(parts, 1).matmul(zeros([2]))).toThrowError(code('ERR_SHAPE'))
  })
})

describe('quantize', () => {
  const options: readonly QuantizeOptions[] = [2, 3, 4, 8].flatMap((bits) =>
    (['symmetric', 'affine'] as const).flatMap((mode) => [1, 3].map((groups) => ({ bits, mode, groups }))),
  )

  it.each(options)('is off by at most half a step: $bits bits, $mode, $groups groups', (o) =>
    scope(() => {
      const x = sampler(5, 'f32').normal(4, 9)
      const q = quantize(x, o)
      const [codes, scales, back, from] = [numbers(q.codes), numbers(q.scale), numbers(dequantize(q)), numbers(x)]
      const top = 2 ** (o.bits! - 1) - 1
      expect(codes.every((c) => c >= (o.mode === 'affine' ? -top - 1 : -top) && c <= top)).toBe(true)
      expect(q.zero === null).toBe(o.mode === 'symmetric')
      from.forEach((v, i) => {
        const scale = scales[Math.floor(i / 9) * o.groups! + Math.floor((i % 9) / Math.ceil(9 / o.groups!))]!
        expect(Math.abs(v - back[i]!)).toBeLessThanOrEqual(scale * 0.5000001)
      })
    }),
  )

  run('copes with odd ranges', () => {
    for (const mode of ['symmetric', 'affine'] as const)
      for (const row of [
        [0, 0, 0],
        [5, 5, 5],
        [1e-45, 0, -1e-45],
        [3e38, -3e38, 0],
        [1e-30, 1e38, 0],
      ]) {
        const x = tensor([row])
        const q = quantize(x, { mode })
        const scale = numbers(q.scale)[0]!
        expect(scale > 0 && Number.isFinite(scale)).toBe(true)
        const back = numbers(dequantize(q))
        numbers(x).forEach((v, i) => expect(Math.abs(v - back[i]!) / scale).toBeLessThanOrEqual(0.5001))
      }
    expect(numbers(dequantize(quantize(tensor([[0, 3, -1]]), { mode: 'affine', bits: 2 })))[0]).toBe(0)
  })

  run('refuses what it cannot represent', () => {
    for (const bad of [NaN, Infinity, -Infinity]) expect(() => quantize(tensor([[1, bad]]))).toThrowError(code('ERR_NUMERIC'))
    for (const bits of [1, 9, 4.5, NaN]) expect(() => quantize(tensor([[1]]), { bits })).toThrowError(code('ERR_OPTION'))
    for (const groups of [0, -1, 3, NaN]) expect(() => quantize(tensor([[1, 2]]), { groups })).toThrowError(code('ERR_OPTION'))
    expect(() => quantize(tensor([[1]]), { mode: 'other' as never })).toThrowError(code('ERR_OPTION'))
    expect(() => quantize(tensor([1]))).toThrowError(code('ERR_SHAPE'))
  })

  it('leaves its results only', () => {
    const x = tensor([[1, 2]])
    const before = memory().tensors
    const q = quantize(x, { mode: 'affine' })
    expect(memory().tensors).toBe(before + 3)
    for (const t of [q.codes, q.scale, q.zero!, x]) t.dispose()
  })
})

describe('top-k masks', () => {
  run('keep exactly the k largest, ties by position, NaN last', () => {
    const scores = tensor([1, NaN, 3, 3, -Infinity, 3, 2])
    const kept = (k: number): number[] => {
      const mask = topKMask(scores, k)
      expect(Number(maskCount(mask, 7).item())).toBe(k)
      return numbers(maskApply(tensor([1, 2, 3, 4, 5, 6, 7]), mask)).filter((v) => v !== 0)
    }
    expect([0, 1, 2, 3, 4, 5, 6, 7].map(kept)).toEqual([
      [],
      [3],
      [3, 4],
      [3, 4, 6],
      [3, 4, 6, 7],
      [1, 3, 4, 6, 7],
      [1, 3, 4, 5, 6, 7],
      [1, 2, 3, 4, 5, 6, 7],
    ])
  })
})

describe('the machine', () => {
  it('says what it has', () => {
    expect(isa().levels.map((l) => l.name)).toContain('scalar')
    expect(kernelRows().filter((r) => r.chosen).length).toBeGreaterThan(5)
    expect(threads()).toBeGreaterThanOrEqual(1)
  })
})

describe('topKMask', () => {
  const w = (): Tensor =>
    tensor([
      [1, -4, 3, 0],
      [2, 0, -5, 1],
    ])

  run('keeps the largest magnitudes, values or scores, of all, of rows, of groups, from a threshold on', () => {
    const kept = (o: TopKOptions): unknown => maskApply(w(), topKMask(w(), o)).toArray()
    expect(kept({ k: 3 })).toEqual([
      [0, -4, 3, 0],
      [0, 0, -5, 0],
    ])
    expect(kept({ k: 3, scores: 'value' })).toEqual([
      [1, 0, 3, 0],
      [2, 0, 0, 0],
    ])
    expect(kept({ perRow: 1 })).toEqual([
      [0, -4, 0, 0],
      [0, 0, -5, 0],
    ])
    expect(kept({ nm: [2, 4] })).toEqual([
      [0, -4, 3, 0],
      [2, 0, -5, 0],
    ])
    expect(kept({ nm: [1, 2], scores: 'value' })).toEqual([
      [1, 0, 3, 0],
      [2, 0, 0, 1],
    ])
    expect(kept({ threshold: 3 })).toEqual([
      [0, -4, 3, 0],
      [0, 0, -5, 0],
    ])
    const scores = tensor([
      [0, 0, 9, 0],
      [0, 0, 0, 9],
    ])
    expect(kept({ k: 2, scores })).toEqual([
      [0, 0, 3, 0],
      [0, 0, 0, 1],
    ])
    expect(topKMask(w(), 3).toArray()).toEqual(topKMask(w(), { k: 3, scores: 'value' }).toArray())
  })

  run('counts one k over a list, ties in the order of the list', () => {
    const s = sampler(9, 'f32')
    const list = [s.normal(3, 5), s.normal(7), tensor(new Float32Array(0)), s.normal(11, 13)]
    for (const k of [0, 1, 40, 165]) {
      const all = list.flatMap((t) => numbers(t).map(Math.abs))
      const cut = [...all].sort((a, b) => b - a)
      const masks = topKMask(list, { k })
      const bits = masks.flatMap((m, i) => numbers(maskUnpack(m, [list[i]!.size])))
      expect(bits.reduce((a, b) => a + b, 0)).toBe(k)
      bits.forEach((b, i) => {
        expect(b).toBe(k > 0 && all[i]! >= cut[k - 1]! ? 1 : 0)
      })
    }
    const ties = topKMask([tensor([1, 1, 1]), tensor([1, 1])], { k: 4 })
    expect(ties.map((m) => numbers(m))).toEqual([[7], [1]])
    expect(topKMask([w(), tensor([9, -9])], { nm: [1, 2] }).map((m) => numbers(m))).toEqual([[0b01010110], [1]])
    expect(topKMask([], { k: 0 })).toEqual([])
  })

  run('refuses what makes no sense', () => {
    const bad = (o: unknown): void => expect(() => topKMask(w(), o as TopKOptions)).toThrowError(code('ERR_OPTION'))
    for (const k of [-1, 9, 0.5, NaN, 2 ** 32 + 1]) bad({ k })
    for (const perRow of [-1, 5, NaN]) bad({ perRow })
    for (const nm of [
      [3, 2],
      [-1, 4],
      [2, 0],
      [2, 65],
      [NaN, 4],
    ])
      bad({ nm })
    bad({ threshold: NaN })
    bad({})
    bad({ k: 1, perRow: 1 })
    bad({ k: 1, scores: 'size' })
    bad({ k: 1, scores: [w(), w()] })
    expect(() => topKMask(w(), { nm: [1, 3] })).toThrowError(code('ERR_SHAPE'))
    expect(() => topKMask(w(), { k: 1, scores: zeros([8]) })).toThrowError(code('ERR_SHAPE'))
    expect(() => topKMask([w()], { k: 9 })).toThrowError(code('ERR_OPTION'))
    expect(() => topKMask([w()], 1 as unknown as TopKOptions)).toThrowError(code('ERR_OPTION'))
    expect(() => topKMask([w(), zeros([2], 'f64')], { k: 1 })).toThrowError()
  })
})
