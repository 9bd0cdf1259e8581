/** The f32 path of every op stays close to the f64 path: results and gradients. */
import { describe, expect, it } from 'vitest'
import { sum, valueAndGrad } from '../../ts/autograd/index.js'
import { mul } from '../../ts/ops/index.js'
import { callOp, scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { cases, differentiable, isFloat, numbers, results, singleOnly } from './cases.js'
import { code } from '../tensor/code.js'
import { randomLike } from './gradcheck.js'
import { rng } from './sampler.js'

/** Relative to the largest magnitude of the tensor; sums of a few dozen products round that far. */
const RTOL = 2e-5

function close(where: string, got: readonly number[], want: readonly number[]): void {
  const scale = want.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-30)
  expect(got.length, where).toBe(want.length)
  got.forEach((g, i) => {
    if (!(Math.abs(g - want[i]!) <= RTOL * scale) && !Object.is(g, want[i])) expect.fail(`${where}, element ${i}: f32 ${g}, f64 ${want[i]}`)
  })
}

/** Random numbers and signs have one dtype whatever the inputs: there are none. */
const compared = cases.filter((c) => !c.name.startsWith('random_') && c.name !== 'ternary_pack')

describe.each(compared.map((c) => [c.name, c] as const))('%s', (name, c) => {
  const exists = c.row.params.some(([kind]) => kind === 'T' || kind === 'M') && !singleOnly.has(name)

  if (exists)
    it('f32 results are close to f64 results', () =>
      scope(() => {
        c.samples('f64').forEach((wide, s) => {
          const narrow = c.samples('f32')[s]!
          const changed = c.row.params.flatMap(([kind], i) => (kind === 'M' ? [i] : []))
          const [a, b] = c.inPlace
            ? [narrow, wide].map((args) => (callOp(name, args), changed.map((i) => args[i] as Tensor)))
            : [results(c, narrow), results(c, wide)]
          expect(a.length).toBe(b.length)
          a.forEach((y, r) => close(`sample ${s}, result ${r}`, numbers(y), numbers(b[r]!)))
        })
      }))

  if (exists && c.op.grad !== null)
    it('f32 gradients are close to f64 gradients', () =>
      scope(() => {
        c.samples('f64').forEach((wide, s) => {
          const narrow = c.samples('f32')[s]!
          const inputs = differentiable(c, wide)
          if (inputs.length === 0) return
          const cotangent = randomLike(results(c, wide)[0]!, rng(s))
          const gradients = (args: readonly unknown[], weights: Tensor): readonly Tensor[] =>
            valueAndGrad(
              () => sum(mul(results(c, args)[0]!, weights), [], false),
              inputs.map((i) => args[i] as Tensor),
            ).grads
          const b = gradients(wide, cotangent)
          const target = results(c, narrow)[0]!
          const weights = target.dtype === 'f64' ? cotangent : tensor(Float32Array.from(numbers(cotangent)), cotangent.shape)
          gradients(narrow, weights).forEach((g, k) => {
            expect(g.dtype).toBe('f32')
            close(`sample ${s}, input ${k}`, numbers(g), numbers(b[k]!))
          })
        })
      }))

  if (singleOnly.has(name))
    it('has no f64 form, as declared', () =>
      scope(() => {
        const args = c.samples('f32')[0]!.map((a) => (isFloat(a) ? callOp('cast', [a, 'f64'])[0]! : a))
        expect(() => callOp(name, args)).toThrowError(code('ERR_DTYPE'))
      }))
})
