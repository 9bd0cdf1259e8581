/** f32 products from TypeScript: fused against separate ops, packed against plain weights, gemm against its definition, and what is refused. */
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { gemm, linear, matmul, matmulF32, packF32, scope, setThreads, tensor, threads, zeros, type Tensor } from '../../ts/kernels/index.js'
import { add, cast, gelu, mul, relu, scaleShift, sigmoid, sum, tanh, transpose } from '../../ts/ops/index.js'
import { bits, numbers } from '../laws/cases.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const run = (name: string, f: () => void): void => it(name, () => scope(f))
const near = (got: Tensor, want: Tensor, bound: number, what = ''): void => {
  expect(got.shape).toEqual(want.shape)
  const w = numbers(want)
  // One expectation for all elements: there are millions.
  expect(
    numbers(got).findIndex((v, i) => !(Math.abs(v - w[i]!) <= bound)),
    what,
  ).toBe(-1)
}

describe('f32 products', () => {
  run('equal the product, then the activation, then the residual', () => {
    const s = sampler(1, 'f32')
    for (const [m, n, k] of [
      [1, 1, 1],
      [1, 300, 70],
      [7, 65, 31],
      [17, 33, 64],
      [40, 530, 300],
      [300, 40, 129],
    ] as const) {
      const [x, w, bias, residual] = [s.normal(m, k), s.normal(n, k), s.normal(n), s.normal(m, n)]
      const exact = linear(cast(x, 'f64'), cast(w, 'f64'), cast(bias, 'f64'))
      const packed = packF32(w)
      expect([packed.rows, packed.cols]).toEqual([n, k])
      const plain = { none: (t: Tensor) => t, relu, gelu, tanh, sigmoid }
      for (const [activation, f] of Object.entries(plain) as [keyof typeof plain, (t: Tensor) => Tensor][]) {
        const want = f(exact)
        for (const weight of [w, packed]) {
          near(matmulF32(x, weight, { bias, activation }), want, k * 2e-6, activation)
          near(matmulF32(x, weight, { bias, activation, residual }), add(want, cast(residual, 'f64')), k * 2e-6, activation)
        }
      }
      // The same bits from a transposed weight, from a view of x, and (where the plain weight is packed too) from the plain weight.
      const want = bits(matmulF32(x, packed, { bias, residual, activation: 'gelu' }))
      const columns = tensor(Float32Array.from(numbers(transpose(w))), [k, n])
      const view = transpose(tensor(Float32Array.from(numbers(transpose(x))), [k, m]))
      expect(bits(matmulF32(x, packF32(columns, { transpose: true }), { bias, residual, activation: 'gelu' }))).toEqual(want)
      expect(bits(matmulF32(view, packed, { bias, residual, activation: 'gelu' }))).toEqual(want)
      if (m > 16) expect(bits(matmulF32(x, w, { bias, residual, activation: 'gelu' }))).toEqual(want)
      expect(bits(matmulF32(x, w, { bias }))).toEqual(bits(linear(x, w, bias)))
    }
  })

  run('have the gradients of the separate ops', () => {
    const s = sampler(4, 'f32')
    const all = [s.normal(2, 3, 5), s.normal(4, 5), s.normal(4), s.normal(2, 3, 4)] as const
    const [x, w, bias, residual] = all
    const weight = s.normal(2, 3, 4)
    const plain = { none: (t: Tensor) => t, relu, gelu, tanh, sigmoid }
    for (const [activation, f] of Object.entries(plain) as [keyof typeof plain, (t: Tensor) => Tensor][]) {
      const got = grad(() => sum(mul(matmulF32(x, w, { bias, activation, residual }), weight)), all)
      const want = grad(() => sum(mul(add(f(linear(x, w, bias)), residual), weight)), all)
      got.forEach((g, i) => near(g, want[i]!, 1e-5, activation))
    }
  })

  run('do not depend on the number of threads', () => {
    const s = sampler(2, 'f32')
    const [x, w, residual] = [s.normal(520, 300), s.normal(530, 300), s.normal(520, 530)]
    const packed = packF32(w)
    const before = threads()
    const all = [1, 2, 5].map((n) => {
      setThreads(n)
      return [w, packed]
        .map((v) => bits(matmulF32(x, v, { activation: 'tanh', residual })))
        .concat(bits(gemm(x, w, { transposeB: true, alpha: 3, c: residual })))
    })
    setThreads(before)
    expect(all[1]).toEqual(all[0])
    expect(all[2]).toEqual(all[0])
  })

  run('do what the examples say', () => {
    const w = packF32(
      tensor([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
      { transpose: true },
    )
    expect([w.rows, w.cols]).toEqual([2, 3])
    expect(matmulF32(tensor([[1, 0.5, 2]]), w).toArray()).toEqual([[12.5, 16]])
    const v = tensor([
      [1, 2],
      [3, 4],
    ])
    const options = { bias: tensor([0.25, -2]), activation: 'relu', residual: tensor([[1, 2]]) } as const
    expect(matmulF32(tensor([[1, -0.5]]), v, options).toArray()).toEqual([[1.25, 2]])
    expect(gemm(v, v, { c: tensor([1, -1]), transposeB: true, alpha: 2, beta: 0.5 }).toArray()).toEqual([
      [10.5, 21.5],
      [22.5, 49.5],
    ])
    w.dispose()
    expect(() => matmulF32(zeros([1, 3]), w)).toThrowError(code('ERR_DISPOSED'))
  })

  run('refuse what does not fit', () => {
    const w = packF32(zeros([2, 3]))
    expect(() => packF32(zeros([2, 3], 'f64'))).toThrowError(code('ERR_DTYPE'))
    for (const transposed of [false, true]) expect(() => packF32(zeros([3]), { transpose: transposed })).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulF32(zeros([2, 4]), w)).toThrowError(code('ERR_SHAPE'))
    expect(() => matmulF32(tensor(1), w)).toThrowError(code('ERR_SHAPE'))
    for (const weight of [w, zeros([2, 3])]) {
      expect(() => matmulF32(zeros([2, 3], 'f64'), weight)).toThrowError(code('ERR_DTYPE'))
      expect(() => matmulF32(zeros([2, 3]), weight, { bias: zeros([3]) })).toThrowError(code('ERR_SHAPE'))
      expect(() => matmulF32(zeros([2, 3]), weight, { bias: zeros([2], 'f64') })).toThrowError(code('ERR_DTYPE'))
      expect(() => matmulF32(zeros([2, 3]), weight, { residual: zeros([2]) })).toThrowError(code('ERR_SHAPE'))
      expect(() => matmulF32(zeros([2, 3]), weight, { residual: zeros([2, 2], 'f64') })).toThrowError(code('ERR_DTYPE'))
      expect(() => matmulF32(zeros([2, 3]), weight, { activation: 'swish' as never })).toThrowError(code('ERR_OPTION'))
    }
    // Bytes that no packing made: nothing at all, and the panels of another weight of as many bytes.
    const { packed } = packF32(zeros([3, 2]))
    const other = packF32(zeros([2, 2])).packed
    expect(() => matmulF32(zeros([2, 2]), Object.assign(packF32(zeros([2, 2])), { packed: zeros(other.shape, 'u8') }))).toThrowError(
      code('ERR_OPTION'),
    )
    expect(packed.bytes).toBe(other.bytes)
    expect(() => matmulF32(zeros([2, 2]), Object.assign(packF32(zeros([2, 2])), { packed }))).toThrowError(code('ERR_OPTION'))
  })
})

describe('gemm', () => {
  run('equals its definition for every transpose and shape of c', () => {
    for (const dtype of ['f32', 'f64'] as const) {
      const s = sampler(3, dtype)
      for (const [m, n, k] of [
        [1, 1, 1],
        [5, 40, 33],
        [70, 530, 300],
        [90, 3, 20],
      ] as const)
        for (const transposeA of [false, true])
          for (const transposeB of [false, true]) {
            const a = transposeA ? s.normal(k, m) : s.normal(m, k)
            const b = transposeB ? s.normal(n, k) : s.normal(k, n)
            const plain = matmul(a, b, transposeA, transposeB)
            expect(bits(gemm(a, b, { transposeA, transposeB }))).toEqual(bits(plain))
            for (const c of [s.normal(m, n), s.normal(n), s.normal(m, 1), s.normal(1), transpose(s.normal(n, m))]) {
              const want = add(scaleShift(plain, -1.5, 0), scaleShift(c, 0.25, 0))
              near(gemm(a, b, { c, transposeA, transposeB, alpha: -1.5, beta: 0.25 }), want, dtype === 'f32' ? 5e-5 : 1e-12)
            }
          }
    }
  })

  run('does not read c when beta is 0, and refuses what does not fit', () => {
    const a = tensor([[1, 2]])
    expect(gemm(a, a, { c: tensor(NaN), transposeB: true, alpha: 2, beta: 0 }).toArray()).toEqual([[10]])
    expect(() => gemm(a, a)).toThrowError(code('ERR_SHAPE'))
    expect(() => gemm(a, tensor([1, 2]))).toThrowError(code('ERR_SHAPE'))
    expect(() => gemm(a, a, { transposeB: true, c: zeros([2, 1]) })).toThrowError(code('ERR_SHAPE'))
    expect(() => gemm(a, a, { transposeB: true, c: zeros([1, 1, 1]) })).toThrowError(code('ERR_SHAPE'))
    expect(() => gemm(a, a, { transposeB: true, c: zeros([1], 'f64') })).toThrowError(code('ERR_DTYPE'))
    expect(() => gemm(a, cast(a, 'f64'), { transposeB: true })).toThrowError(code('ERR_DTYPE'))
    for (const alpha of [NaN, Infinity, 1e300]) expect(() => gemm(a, a, { transposeB: true, alpha })).toThrowError(code('ERR_OPTION'))
    for (const beta of [NaN, -Infinity]) expect(() => gemm(a, a, { transposeB: true, beta })).toThrowError(code('ERR_OPTION'))
  })
})
