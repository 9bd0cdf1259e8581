/** Ten steps of every optimizer against torch and the papers: test/golden/make-torch-optim.py names the same cases. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { threads, setThreads } from '../../ts/native/devices.js'
import { add, scaleShift } from '../../ts/ops/index.js'
import { ascend, clipByNorm, Optimizer, type OptimizerInput, type Parameter, type SamSpec } from '../../ts/optim/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'

const golden = JSON.parse(readFileSync(new URL('../golden/torch-optim.json', import.meta.url), 'utf8')) as Record<string, number[]>
const wave = (k: number, n: number): Tensor => tensor(Float64Array.from({ length: n }, (_, i) => Math.sin(1.3 * i + k)))

interface Case {
  readonly spec: OptimizerInput
  readonly lr: number
  readonly sam?: SamSpec
  readonly clip?: number
}
const momentum: OptimizerInput = { kind: 'sgd', momentum: 0.9 }
const cases: Record<string, Case> = {
  sgd: { spec: { ...momentum, weightDecay: 0.01 }, lr: 0.1 },
  nesterov: { spec: { ...momentum, weightDecay: 0.01, nesterov: true }, lr: 0.1 },
  adam: { spec: { kind: 'adam', weightDecay: 0.1 }, lr: 0.05 },
  adamw: { spec: { kind: 'adamw', weightDecay: 0.1 }, lr: 0.05 },
  rmsprop: { spec: { kind: 'rmsprop', weightDecay: 0.01 }, lr: 0.02 },
  'rmsprop centered momentum': { spec: { kind: 'rmsprop', alpha: 0.9, centered: true, momentum: 0.5 }, lr: 0.02 },
  lamb: { spec: { kind: 'lamb', weightDecay: 0.01 }, lr: 0.05 },
  sam: { spec: momentum, lr: 0.1, sam: { rho: 0.05, adaptive: false, eta: 0 } },
  asam: { spec: momentum, lr: 0.1, sam: { rho: 0.5, adaptive: true, eta: 0.01 } },
  clip: { spec: { kind: 'sgd' }, lr: 0.1, clip: 0.5 },
}

function run({ spec, lr, sam, clip }: Case): number[] {
  const leaves: [string, Parameter][] = [
    ['w', { value: wave(0, 6), mask: null }],
    ['b', { value: wave(1, 4), mask: null }],
  ]
  const parameters = new Map(leaves)
  const o = new Optimizer(spec, parameters)
  const gradients = (t: number): Map<string, Tensor> =>
    new Map(leaves.map(([path, { value }], k) => [path, add(wave(10 * t + k, value.size), scaleShift(value, 0.1, 0))]))
  for (let t = 0; t < 10; t++)
    scope(() => {
      let g: ReadonlyMap<string, Tensor> = gradients(t)
      if (sam) {
        const before = leaves.map(([, { value }]) => value.read())
        const restore = ascend(sam, parameters, g, (path) => path === 'b')
        g = gradients(t)
        expect(leaves.map(([, { value }]) => value.read())).not.toEqual(before)
        restore()
        expect(leaves.map(([, { value }]) => value.read())).toEqual(before)
      }
      if (clip) g = clipByNorm(g, clip).grads
      o.step(g, lr)
    })
  o.dispose()
  return leaves.flatMap(([, { value }]) => [...(value.read() as Float64Array)])
}

describe('ten steps', () => {
  it('has a golden value for each case', () => expect(Object.keys(golden)).toEqual(Object.keys(cases)))

  // torch's clip_grad_norm_ divides by norm + 1e-6.
  it.each(Object.keys(cases))('%s', (name) => {
    const got = run(cases[name]!)
    golden[name]!.forEach((want, i) => expect(got[i], `element ${i}`).toBeCloseTo(want, name === 'clip' ? 5 : 7))
  })

  it.each(Object.keys(cases))('%s: the same bits with one thread and with two', (name) => {
    const before = threads()
    const list = [1, 2].map((n) => (setThreads(n), run(cases[name]!)))
    setThreads(before)
    expect(list[0]).toEqual(list[1])
  })
})
