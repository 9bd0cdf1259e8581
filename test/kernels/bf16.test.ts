/** bf16 products from TypeScript: against products of the rounded values, the examples of the docs, and what is refused. */
import { describe, expect, it } from 'vitest'
import { kernelRows, linear, matmulBf16, packBf16, scope, setThreads, tensor, threads, zeros, type Tensor } from '../../ts/kernels/index.js'
import { cast, gelu, relu, sigmoid, tanh, transpose } from '../../ts/ops/index.js'
import { bits, numbers } from '../laws/cases.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const run = (name: string, f: () => void): void => it(name, () => scope(f))
const rounded = (x: Tensor): Tensor => cast(cast(x, 'bf16'), 'f32')

describe('bf16 products', () => {
  run('equal f32 products of the rounded values', () => {
    const s = sampler(1, 'f32')
    for (const [m, n, k] of [
      [1, 1, 1],
      [1, 300, 70],
      [2, 33, 64],
      [7, 65, 31],
      [300, 40, 129],
    ] as const) {
      const [x, w, bias] = [s.normal(m, k), s.normal(n, k), s.normal(n)]
      const exact = linear(cast(rounded(x), 'f64'), cast(rounded(w), 'f64'), cast(bias, 'f64'))
      const packed = packBf16(w)
      expect([packed.rows, packed.cols]).toEqual([n, k])
      const plain = { none: (t: Tensor) => t, relu, gelu, tanh, sigmoid }
      for (const [activation, f] of Object.entries(plain) as [keyof typeof plain, (t: Tensor) => Tensor][]) {
        const want = numbers(f(exact))
        const got = matmulBf16(x, packed, { bias, activation })
        expect(got.dtype).toBe('f32')
        numbers(got).forEach((v, i) => expect(Math.abs(v - want[i]!), activation).toBeLessThanOrEqual(k * 2e-6))
        const narrow = matmulBf16(x, packed, { bias, activation, dtype: 'bf16' })
        expect(narrow.dtype).toBe('bf16')
        expect(bits(narrow)).toEqual(bits(cast(got, 'bf16')))
      }
      // The same bits from a transposed weight, from bf16 operands, from a view.
      const want = bits(matmulBf16(x, packed))
      const columns = tensor(Float32Array.from(numbers(transpose(w))), [k, n])
      expect(bits(matmulBf16(x, packBf16(columns, { transpose: true })))).toEqual(want)
      expect(bits(matmulBf16(cast(x, 'bf16'), packBf16(cast(w, 'bf16'))))).toEqual(want)
      expect(bits(matmulBf16(transpose(tensor(Float32Array.from(numbers(transpose(x))), [k, m])), packed))).toEqual(want)
    }
  })

  run('do not depend on the number of threads', () => {
    const s = sampler(2, 'f32')
    const [x, w] = [s.normal(520, 100), packBf16(s.normal(530, 100))]
    const before = threads()
    const all = [1, 2, 5].map((n) => {
      setThreads(n)
      return bits(matmulBf16(x, w))
    })
    setThreads(before)
    expect(all[1]).toEqual(all[0])
    expect(all[2]).toEqual(all[0])
  })

  run('do what the examples say', () => {
    const w = packBf16(
      tensor([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
      { transpose: true },
    )
    expect([w.rows, w.cols]).toEqual([2, 3])
    expect(matmulBf16(tensor([[1, 0.5, 2]]), w).toArray()).toEqual([[12.5, 16]])
    const v = packBf16(
      tensor([
        [1, 2],
        [3, 4],
      ]),
    )
    expect(matmulBf16(tensor([[1, -0.5]]), v, { bias: tensor([0.25, -2]), activation: 'relu' }).toArray()).toEqual([[0.25, 0]])
    v.dispose()
    expect(() => matmulBf16(tensor([[1, 1]]), v)).toThrowError(code('ERR_DISPOSED'))
  })

  run('round to nearest even and keep infinities and NaN', () => {
    const halfway = 1 + 2 ** -8 // between 1 and 1 + 2^-7: even is 1
    const w = packBf16(tensor([[1], [halfway], [Infinity], [NaN]]))
    expect(matmulBf16(tensor([[1 + 3 * 2 ** -8]]), w).toArray()).toEqual([[1 + 2 ** -6, 1 + 2 ** -6, Infinity, NaN]])
    expect(w.bytes).toBe(64 + 32 * 32 * 2)
  })

  run('refuse what does not fit', () => {
    const w = packBf16(zeros([2, 3]))
    expect(() => packBf16(zeros([2, 3], 'f64'))).toThrowError(code('ERR_DTYPE'))
    expect(() => packBf16(zeros([2, 3], 'i8'))).toThrowError(code('ERR_DTYPE'))
    for (const transposed of [false, true]) {
      expect(() => packBf16(zeros([3]), { transpose: transposed })).toThrowError(code('ERR_SHAPE'))
      expect(() => packBf16(zeros([1, 2, 3]), { transpose: transposed })).toThrowError(code('ERR_SHAPE'))
    }
    expect(() => matmulBf16(zeros([2, 4]), w)).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulBf16(tensor(1), w)).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulBf16(zeros([2, 3], 'f64'), w)).toThrowError(code('ERR_DTYPE'))
    expect(() => matmulBf16(zeros([2, 3]), w, { bias: zeros([3]) })).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulBf16(zeros([2, 3]), w, { bias: zeros([2], 'bf16') })).toThrowError(code('ERR_DTYPE'))
    expect(() => matmulBf16(zeros([2, 3]), w, { dtype: 'f64' as never })).toThrowError(code('ERR_DTYPE'))
    expect(() => matmulBf16(zeros([2, 3]), w, { activation: 'swish' as never })).toThrowError(code('ERR_OPTION'))
    // Bytes that no packing made.
    expect(() => matmulBf16(zeros([2, 3]), { rows: 2, cols: 3, packed: zeros([64 + 2048], 'u8') } as never)).toThrowError(
      code('ERR_OPTION'),
    )
  })

  run('run on one row of the table', () => {
    const rows = kernelRows().filter((r) => r.family === 'gemm_bf16')
    expect(rows.length).toBeGreaterThan(0)
    expect(rows.filter((r) => r.chosen)).toHaveLength(1)
  })
})
