/** The tape under load: a small network over many steps, its memory, and its curvature. */
import { describe, expect, it } from 'vitest'
import { grad, valueAndGrad } from '../../ts/autograd/index.js'
import { memory, resetPeakMemory } from '../../ts/native/devices.js'
import { crossEntropy, dot, gelu, hvp, layerNorm, linear, mul, sgdStep, sum, tanh } from '../../ts/ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'
import { sampler } from '../laws/sampler.js'

/** Two layers with normalisation and a loss; every rule that has a native and a composite form takes part. */
function network(dtype: 'f32' | 'f64') {
  const s = sampler(3, dtype)
  const params = [s.normal(5, 4), s.normal(5), s.uniform([5], 0.5, 1.5), s.normal(5), s.normal(3, 5), s.normal(3)]
  const x = s.normal(6, 4)
  const labels = s.index([6], 3)
  const loss = (): Tensor => {
    const [w1, b1, gamma, beta, w2, b2] = params as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
    return crossEntropy(linear(gelu(layerNorm(tanh(linear(x, w1, b1)), gamma, beta)), w2, b2), labels, { labelSmoothing: 0.1 })
  }
  const directions = (seed: number): Tensor[] => {
    const r = sampler(seed, dtype)
    return params.map((p) => r.normal(...p.shape))
  }
  return { params, loss, directions }
}

describe('Hessian-vector products', () => {
  it('are symmetric: u H v = v H u', () =>
    scope(() => {
      const { params, loss, directions } = network('f64')
      const [u, v] = [directions(1), directions(2)]
      const pair = (a: readonly Tensor[], b: readonly Tensor[]): number => a.reduce((t, x, i) => t + dot(x, b[i]!).item(), 0)
      const [uhv, vhu] = [pair(u, hvp(loss, params, v)), pair(v, hvp(loss, params, u))]
      expect(Math.abs(uhv)).toBeGreaterThan(1e-3)
      expect(Math.abs(uhv - vhu)).toBeLessThanOrEqual(1e-8 * Math.abs(uhv))
    }))

  it('equal differences of gradients along the vector', () =>
    scope(() => {
      const { params, loss, directions } = network('f64')
      const v = directions(3)
      const exact = hvp(loss, params, v)
      const eps = 1e-5
      const at = (sign: number): number[][] => {
        const old = params.map((p) => p.read() as Float64Array)
        params.forEach((p, i) => {
          const d = numbers(v[i]!)
          p.write(old[i]!.map((x, j) => x + sign * eps * d[j]!))
        })
        const g = grad(loss, params).map(numbers)
        params.forEach((p, i) => p.write(old[i]!))
        return g
      }
      const [hi, lo] = [at(1), at(-1)]
      exact.forEach((h, i) =>
        numbers(h).forEach((value, j) => {
          const numeric = (hi[i]![j]! - lo[i]![j]!) / (2 * eps)
          expect(Math.abs(value - numeric)).toBeLessThanOrEqual(1e-6 + 1e-5 * Math.abs(numeric))
        }),
      )
    }))

  it('take records, and refuse vectors that do not fit', () =>
    scope(() => {
      const x = tensor([1, 2], undefined, 'f64')
      const f = (): Tensor => sum(mul(mul(x, x), x))
      expect(hvp(f, { x }, { x: tensor([1, 1], undefined, 'f64') }).x.toArray()).toEqual([6, 12])
      expect(hvp(f, x, tensor([0, 1], undefined, 'f64')).toArray()).toEqual([0, 12])
      expect(() => hvp(f, [x], [])).toThrowError(/hvp: vectors must have the shapes of params/)
      expect(() => hvp(f, x, zeros([3], 'f64'))).toThrowError(/hvp: vectors must have the shapes of params/)
    }))
})

describe('training', () => {
  it('lowers the loss and leaves memory as it was', () => {
    const before = memory()
    const { params, loss } = network('f32')
    const velocity = params.map((p) => zeros(p.shape))
    const losses: number[] = []
    let steady = 0
    for (let i = 0; i < 200; i++) {
      const { value, grads } = valueAndGrad(loss, params)
      losses.push(value.item())
      params.forEach((p, k) => sgdStep(p, grads[k]!, velocity[k]!, null, { lr: 0.05, momentum: 0.9, weightDecay: 0, nesterov: true }))
      for (const t of [value, ...grads]) t.dispose()
      if (i === 0) steady = memory().bytes
      expect(memory().bytes).toBe(steady)
    }
    expect(losses[199]!).toBeLessThan(losses[0]! / 2)
    for (const t of [...params, ...velocity]) t.dispose()
    // x and labels stay with the closure's tensors
    expect(memory().tensors - before.tensors).toBe(2)
  })

  it('frees each saved tensor when its rule has run: the backward pass needs little more than the forward one', () =>
    scope(() => {
      const x = zeros([2 ** 16])
      const chain = (): Tensor => {
        let y: Tensor = x
        for (let i = 0; i < 40; i++) y = tanh(y)
        return sum(y)
      }
      const start = memory().bytes
      resetPeakMemory()
      const forward = scope(() => (chain(), memory().peakBytes - start))
      resetPeakMemory()
      valueAndGrad(chain, [x])
      const both = memory().peakBytes - start
      expect(forward).toBeGreaterThan(40 * 2 ** 18)
      expect(both).toBeLessThan(forward + 8 * 2 ** 18)
    }))
})
