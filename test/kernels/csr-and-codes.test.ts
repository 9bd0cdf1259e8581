/** CSR matrices, codes and what the machine offers, from the kernel-level API. */
import { describe, expect, it } from 'vitest'
import {
  BitmaskMatrix,
  CsrMatrix,
  dequantize,
  isa,
  kernelRows,
  matmul,
  memory,
  quantize,
  scope,
  tensor,
  threads,
  zeros,
  type QuantizeOptions,
  type Tensor,
} from '../../ts/kernels/index.js'
import { transpose } from '../../ts/ops/index.js'
import { numbers } from '../laws/cases.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const run = (name: string, f: () => void): void => it(name, () => scope(f))

describe('CsrMatrix', () => {
  it('packed rows serve many vectors, as the dense product does, and are freed with the matrix', () => {
    const before = memory().tensors
    scope(() => {
      const values = Float32Array.from({ length: 101 * 90 }, (_, i) => ((i * 7919) % 10 < 6 ? ((i * 31) % 17) - 8 : 0))
      const dense = tensor(values, [101, 90])
      const w = CsrMatrix.fromDense(dense)
      const x = sampler(5, 'f32').normal(130, 90)
      const near = (a: Tensor, b: Tensor): void => {
        const [got, want] = [numbers(a), numbers(b)]
        expect(got.length).toBe(want.length)
        got.forEach((v, i) => expect(Math.abs(v - want[i]!)).toBeLessThan(1e-3))
      }
      expect(w.packed).toBe(null)
      expect(w.pack().packed).toBe(w.pack().packed)
      near(w.matmul(x), matmul(x, dense, false, true))
      near(w.multiply(transpose(x)), matmul(dense, x, false, true))
      expect(CsrMatrix.from(dense, { index: 'i32' }).pack().packed).toBe(null)
    })
    const one = tensor([[1, 2]])
    const w = CsrMatrix.fromDense(one).pack()
    w.dispose()
    one.dispose()
    expect(memory().tensors).toBe(before)
    expect(w.packed).toBe(null)
  })

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

  run('multiplies columns like rows', () => {
    const w = CsrMatrix.fromDense(dense())
    for (const n of [1, 2, 16, 40, 128, 200]) {
      const x = sampler(5, 'f32').normal(4, n)
      const want = numbers(matmul(dense(), x))
      const y = w.multiply(x)
      expect(y.shape).toEqual([3, n])
      numbers(y).forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 5))
    }
    expect(w.multiply(tensor([[1], [1], [1], [1]]), tensor([10, 20, 30])).toArray()).toEqual([[11], [20], [42]])
    const nan = numbers(w.multiply(tensor([[1, 1], [1, 1], [NaN, Infinity], [1, 1]]))) // prettier-ignore
    expect(nan).toEqual([1, 1, 0, 0, 12, 12]) // column 2 is nowhere stored
    for (const x of [tensor([1, 1, 1, 1]), zeros([3, 4]), zeros([4, 2, 2])]) expect(() => w.multiply(x)).toThrowError(code('ERR_SHAPE'))
    expect(() => w.multiply(zeros([4, 2], 'f64'))).toThrowError(code('ERR_DTYPE'))
    const coded = CsrMatrix.fromDense(tensor(new Int8Array([0, 2, 0, -1, 0, 0]), [2, 3]), tensor([0.5, 2]))
    expect(coded.multiply(tensor([[1, 4], [2, 5], [3, 6]]), tensor([1, 2])).toArray()).toEqual([[3, 6], [0, -6]]) // prettier-ignore
  })

  run('takes over a bit mask', () => {
    const x = tensor([[1, 2, 3, 4]])
    for (const values of ['f32', 'i8'] as const) {
      const w = BitmaskMatrix.from(dense(), { values })
      const csr = CsrMatrix.fromBitmask(w)
      expect(csr.nnz).toBe(4)
      expect(csr.toDense().toArray()).toEqual(w.toDense().toArray())
      expect(numbers(csr.matmul(x)).map((v) => Math.round(v) + 0)).toEqual([0, 0, 33])
      w.dispose()
      expect(csr.nnz).toBe(4)
    }
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

describe('the machine', () => {
  it('says what it has', () => {
    expect(isa().levels.map((l) => l.name)).toContain('scalar')
    expect(kernelRows().filter((r) => r.chosen).length).toBeGreaterThan(5)
    expect(threads()).toBeGreaterThanOrEqual(1)
  })
})
