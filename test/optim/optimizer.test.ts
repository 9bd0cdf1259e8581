import { describe, expect, it } from 'vitest'
import { Optimizer, type OptimizerInput } from '../../ts/optim/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { memory } from '../../ts/native/devices.js'

const values = (t: Tensor): number[] => [...(t.read() as Float32Array)]

/** The formulas, in doubles. */
function reference(spec: OptimizerInput, p: number[], grads: number[][], lr: number): number[] {
  const out = [...p]
  const a = p.map(() => 0)
  const b = p.map(() => 0)
  grads.forEach((g, t) =>
    out.forEach((x, i) => {
      if (spec.kind === 'sgd') {
        const { momentum = 0, weightDecay = 0, nesterov = false } = spec
        const d = g[i]! + weightDecay * x
        a[i] = momentum * a[i]! + d
        out[i] = x - lr * (nesterov ? d + momentum * a[i] : a[i])
      } else if (spec.kind === 'adamw') {
        const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0 } = spec
        a[i] = beta1 * a[i]! + (1 - beta1) * g[i]!
        b[i] = beta2 * b[i]! + (1 - beta2) * g[i]! ** 2
        const m = a[i] / (1 - beta1 ** (t + 1))
        const v = b[i] / (1 - beta2 ** (t + 1))
        out[i] = x * (1 - lr * weightDecay) - (lr * m) / (Math.sqrt(v) + eps)
      }
    }),
  )
  return out
}

const specs: OptimizerInput[] = [
  { kind: 'sgd' },
  { kind: 'sgd', momentum: 0.9, weightDecay: 0.01 },
  { kind: 'sgd', momentum: 0.9, weightDecay: 0.01, nesterov: true },
  { kind: 'adamw', weightDecay: 0.05 },
  { kind: 'adamw', beta1: 0.8, beta2: 0.9, eps: 1e-6 },
]
const start = [1, -2, 0.5, 3, -0.25]
const grads = Array.from({ length: 7 }, (_, t) => start.map((_x, i) => Math.sin(t * 5 + i)))

function steps(o: Optimizer, list: number[][], lr = 0.1): void {
  for (const g of list) scope(() => o.step(new Map([['w', tensor(g)]]), lr))
}

describe.each(specs)('optimizer %j', (spec) => {
  it('follows the formulas', () => {
    const w = tensor(start)
    const o = new Optimizer(spec, new Map([['w', { value: w, mask: null }]]))
    steps(o, grads)
    values(w).forEach((x, i) => expect(x).toBeCloseTo(reference(spec, start, grads, 0.1)[i]!, 5))
    expect(o.updates).toBe(7)
  })

  it('keeps masked values exactly 0, whatever momentum they had', () => {
    const w = tensor(start)
    const mask = tensor(new Uint8Array([0b10101]))
    const o = new Optimizer(spec, new Map([['w', { value: w, mask: null }]]))
    steps(o, grads.slice(0, 3))
    const masked = new Optimizer(spec, new Map([['w', { value: w, mask }]]))
    masked.restore(o.save(), o.updates)
    steps(masked, grads.slice(3))
    const after = values(w)
    expect([after[1], after[3]]).toEqual([0, 0])
    expect(Object.is(after[1], 0)).toBe(true)
    expect(after[0]).not.toBe(0)
  })

  it('goes on from saved slots with the same bits', () => {
    const straight = tensor(start)
    steps(new Optimizer(spec, new Map([['w', { value: straight, mask: null }]])), grads)
    const w = tensor(start)
    const parameters = new Map([['w', { value: w, mask: null }]])
    const first = new Optimizer(spec, parameters)
    steps(first, grads.slice(0, 4))
    const second = new Optimizer(spec, parameters)
    second.restore(first.save(), first.updates)
    first.dispose()
    steps(second, grads.slice(4))
    expect(values(w)).toEqual(values(straight))
  })

  it('frees its slots', () => {
    const w = tensor(start)
    const before = memory().tensors
    const o = new Optimizer(spec, new Map([['w', { value: w, mask: null }]]))
    steps(o, grads)
    o.dispose()
    expect(memory().tensors).toBe(before)
  })
})

describe('optimizer options (N07)', () => {
  it.each([
    { kind: 'sgd', momentum: 1 },
    { kind: 'sgd', momentum: -0.1 },
    { kind: 'sgd', weightDecay: NaN },
    { kind: 'sgd', weightDecay: -1 },
    { kind: 'adamw', eps: 0 },
    { kind: 'adamw', beta1: 1 },
    { kind: 'sgd', lr: 1 },
    { kind: 'adagrad' },
    { kind: 'lamb', phiMin: 11 },
    { kind: 'rmsprop', alpha: 1 },
  ])('%j is ERR_OPTION', (spec) => {
    expect(() => new Optimizer(spec as OptimizerInput, new Map())).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })

  it.each([-1, NaN, Infinity])('lr %d is ERR_OPTION and moves nothing', (lr) => {
    const w = tensor(start)
    const o = new Optimizer({ kind: 'sgd' }, new Map([['w', { value: w, mask: null }]]))
    expect(() => steps(o, grads, lr)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
    expect(values(w)).toEqual(start)
    expect(o.updates).toBe(0)
  })

  it('lr 0 changes nothing but the slots', () => {
    const w = tensor(start)
    steps(new Optimizer({ kind: 'adamw', weightDecay: 0.1 }, new Map([['w', { value: w, mask: null }]])), grads, 0)
    expect(values(w)).toEqual(start)
  })

  it('slots of another shape or of other leaves are ERR_CHECKPOINT', () => {
    const a = new Optimizer({ kind: 'sgd' }, new Map([['w', { value: tensor([1, 2]), mask: null }]]))
    const b = new Optimizer({ kind: 'sgd' }, new Map([['w', { value: tensor([1, 2, 3]), mask: null }]]))
    const c = new Optimizer({ kind: 'sgd' }, new Map([['v', { value: tensor([1, 2]), mask: null }]]))
    for (const o of [b, c]) expect(() => o.restore(a.save(), 1)).toThrow(expect.objectContaining({ code: 'ERR_CHECKPOINT' }))
  })
})
