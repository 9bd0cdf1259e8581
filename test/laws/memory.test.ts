/** An op leaves behind its results and nothing else; so does its gradient. */
import { describe, expect, it } from 'vitest'
import { sum, valueAndGrad } from '../../ts/autograd/index.js'
import { memory } from '../../ts/native/devices.js'
import { mul } from '../../ts/ops/index.js'
import { callOp, scope, type Tensor } from '../../ts/tensor/index.js'
import { cases, differentiable, results, singleOnly } from './cases.js'
import { randomLike } from './gradcheck.js'
import { rng } from './sampler.js'

const now = (): { bytes: number; blocks: number; tensors: number } => {
  const { bytes, blocks, tensors } = memory()
  return { bytes, blocks, tensors }
}

describe.each(cases.map((c) => [c.name, c] as const))('%s', (name, c) => {
  const dtype = singleOnly.has(name) ? 'f32' : 'f64'

  it('leaves only its results', () => {
    const before = now()
    scope(() => {
      for (const args of c.samples(dtype)) {
        const start = now()
        const out = callOp(name, args)
        expect(now().tensors - start.tensors).toBe(c.row.results)
        for (const t of out) t.dispose()
        expect(now()).toEqual(start)
      }
    })
    expect(now()).toEqual(before)
  })

  if (c.op.grad)
    it('its gradient leaves the value and one tensor per input', () => {
      const before = now()
      scope(() => {
        for (const args of c.samples(dtype)) {
          const inputs = differentiable(c, args)
          if (inputs.length === 0) continue
          const cotangent = randomLike(results(c, args)[0]!, rng(1))
          const start = now()
          const { value, grads } = valueAndGrad(
            () => sum(mul(results(c, args)[0]!, cotangent), [], false),
            inputs.map((i) => args[i] as Tensor),
          )
          expect(now().tensors - start.tensors).toBe(1 + inputs.length)
          for (const t of [value, ...grads]) t.dispose()
          expect(now()).toEqual(start)
        }
      })
      expect(now()).toEqual(before)
    })

  it('leaves nothing when it fails', () =>
    scope(() => {
      const args = c.samples(dtype)[0]!
      const at = c.row.params.findIndex(([kind]) => kind === 'T' || kind === 'M')
      const bad =
        at >= 0
          ? args.with(
              at,
              scope(() => disposed()),
            )
          : args.with(0, [-1])
      const start = now()
      expect(() => callOp(name, bad)).toThrowError()
      expect(now()).toEqual(start)
    }))
})

function disposed(): Tensor {
  const t = callOp('random_uniform', [[1], 1, 1])[0]!
  t.dispose()
  return t
}
