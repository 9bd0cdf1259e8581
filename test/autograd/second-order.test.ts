/** Products with the Hessian from a recording: equal to hvp, repeatable, nothing left behind. */
import { describe, expect, it } from 'vitest'
import { grad, hvpOperator } from '../../ts/autograd/index.js'
import { memory } from '../../ts/native/devices.js'
import { add, conv2d, crossEntropy, exp, hvp, linear, maxPool2d, mul, randomNormal, relu, reshape, sum, tanh } from '../../ts/ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { code } from '../tensor/code.js'

describe('hvpOperator', () => {
  it('gives the products of a known Hessian, in the structure of the parameters', () =>
    scope(() => {
      const [w, b] = [tensor([1, 2]), tensor([3])]
      const h = hvpOperator(() => sum(mul(mul(mul(w, w), w), b)), { w, b })
      expect(h.value.item()).toBe(27)
      expect(h.grads.w.toArray()).toEqual([9, 36])
      // d2/dw2 = 6 w b, d2/dw db = 3 w^2
      const got = h.apply({ w: tensor([1, 1]), b: tensor([2]) })
      expect(got.w.toArray()).toEqual([18 + 6, 36 + 24])
      expect(got.b.toArray()).toEqual([3 + 12])
      expect(h.apply({ w: zeros([2]), b: zeros([1]) }).w.toArray()).toEqual([0, 0])
      h.dispose()
      h.dispose()
      expect(() => h.apply({ w, b })).toThrowError(code('ERR_DISPOSED'))
    }))

  it('equals hvp on a net with every kind of node, and itself bit for bit time after time', () => {
    const before = memory().tensors
    scope(() => {
      const x = randomNormal([3, 2, 6, 6], { seed: 1 })
      const [k, w] = [randomNormal([4, 2, 3, 3], { seed: 2 }), randomNormal([5, 16], { seed: 3 })]
      const labels = tensor(Int32Array.of(0, 4, 2))
      const f = (): Tensor => crossEntropy(linear(tanh(reshape(maxPool2d(relu(conv2d(x, k)), 2), [3, 16])), w), labels)
      const h = hvpOperator(f, [k, w])
      for (let i = 0; i < 3; i++) {
        const v = [randomNormal(k.shape, { seed: 5 + i }), randomNormal(w.shape, { seed: 50 + i })]
        const [got, want] = [h.apply(v), hvp(f, [k, w], v)]
        got.forEach((t, j) => {
          const [a, b] = [t.read() as Float32Array, want[j]!.read() as Float32Array]
          const size = Math.max(...b.map(Math.abs))
          a.forEach((value, e) => expect(Math.abs(value - b[e]!)).toBeLessThan(1e-5 * size))
        })
        expect(h.apply(v)[0]!.toArray()).toEqual(got[0]!.toArray())
      }
      h.dispose()
    })
    expect(memory().tensors).toBe(before)
  })

  it('gives new tensors where the Hessian passes the vector through, and zeros where there is nothing', () => {
    const before = memory().tensors
    scope(() => {
      const [w, u, n] = [tensor([1, 2]), tensor([5]), tensor([7])]
      const half = tensor(0.5)
      const h = hvpOperator(() => add(mul(sum(mul(w, w)), half), sum(u)), [w, u, n])
      const v = [tensor([3, 4]), tensor([1]), tensor([1])]
      const got = h.apply(v)
      expect(got.map((t) => t.toArray())).toEqual([[3, 4], [0], [0]])
      for (const t of got) t.dispose()
      expect(v.map((t) => t.toArray())).toEqual([[3, 4], [1], [1]])
      h.dispose()
      expect([w, u, n].every((t) => !t.disposed)).toBe(true)
    })
    expect(memory().tensors).toBe(before)
  })

  it('keeps only what products read', () => {
    const w = tensor([1, 2])
    const before = memory().tensors
    const h = hvpOperator(() => {
      for (let i = 0; i < 20; i++) exp(tensor([i])) // constants
      return sum(exp(w))
    }, [w])
    expect(memory().tensors - before).toBeLessThan(12)
    scope(() => expect(h.apply([tensor([1, 0])])[0]!.toArray()).toEqual([Math.fround(Math.E), 0]))
    h.dispose()
    expect(memory().tensors).toBe(before)
    w.dispose()
  })

  it('leaves nothing behind when the function throws', () => {
    const w = tensor([1, 2])
    const before = memory().tensors
    expect(() => hvpOperator(() => sum(add(exp(w), tensor([1, 2, 3]))), [w])).toThrowError(code('ERR_SHAPE'))
    expect(() => hvpOperator(() => exp(w), [w])).toThrowError(code('ERR_SHAPE'))
    expect(memory().tensors).toBe(before)
    w.dispose()
  })

  it('refuses vectors that do not fit and tapes around it', () =>
    scope(() => {
      const w = tensor([1, 2])
      const h = hvpOperator(() => sum(exp(w)), [w])
      expect(() => h.apply([tensor([1, 2, 3])])).toThrowError(code('ERR_SHAPE'))
      expect(() => h.apply([])).toThrowError(code('ERR_SHAPE'))
      expect(() => h.apply([tensor([1, 2], undefined, 'f64')])).toThrowError(code('ERR_DTYPE'))
      expect(() => grad(() => sum(h.apply([w])[0]!), w)).toThrowError(code('ERR_OPTION'))
      expect(() => grad(() => hvpOperator(() => sum(exp(w)), [w]).value, w)).toThrowError(code('ERR_OPTION'))
      h.dispose()
    }))
})
