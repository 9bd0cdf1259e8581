/** Gradients against central differences. */

import { expect } from 'vitest'
import { add, grad, sum, valueAndGrad } from '../../ts/autograd/index.js'
import { mul } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { numbers, results, type OpCase } from './cases.js'
import { rng } from './sampler.js'

export interface Tolerance {
  readonly eps: number
  readonly rtol: number
  readonly atol: number
}

/** For doubles; linear ops that exist in f32 only are exact for any step, so theirs is large. */
export const double: Tolerance = { eps: 1e-6, rtol: 1e-4, atol: 1e-7 }
export const single: Tolerance = { eps: 0.5, rtol: 1e-3, atol: 1e-4 }

export function randomLike(t: Tensor, random: () => number): Tensor {
  const values = Array.from({ length: t.size }, () => random() * 2 - 1)
  return tensor(t.dtype === 'f64' ? Float64Array.from(values) : Float32Array.from(values), t.shape)
}

function close(where: string, analytic: readonly number[], numeric: readonly number[], t: Tolerance): void {
  expect(analytic.length, where).toBe(numeric.length)
  analytic.forEach((a, i) => {
    const n = numeric[i]!
    const bound = t.atol + t.rtol * Math.max(Math.abs(a), Math.abs(n))
    if (!(Math.abs(a - n) <= bound)) expect.fail(`${where}, element ${i}: rule gives ${a}, differences ${n}`)
  })
}

/** d f / d x by central differences; f reads x afresh on each call. */
function differences(f: () => number, x: Tensor, eps: number): number[] {
  const values = x.read()
  const out: number[] = []
  for (let i = 0; i < values.length; i++) {
    const old = values[i] as number
    const at = (v: number): number => {
      values[i] = v
      x.write(values)
      return f()
    }
    // The step that is really taken, after rounding to the dtype.
    const hi = at(old + eps)
    const above = values[i] as number
    const lo = at(old - eps)
    const below = values[i] as number
    at(old)
    out.push((hi - lo) / (above - below))
  }
  return out
}

const weighted = (parts: readonly (readonly [readonly number[], readonly number[]])[]): number =>
  parts.reduce((s, [a, b]) => s + a.reduce((p, v, i) => p + v * b[i]!, 0), 0)

/** First derivatives of <op(args), c> for a random c. */
export function checkFirst(c: OpCase, args: readonly unknown[], inputs: readonly number[], t: Tolerance, seed: number): void {
  const random = rng(seed)
  const tensors = inputs.map((i) => args[i] as Tensor)
  const cotangent = scope(() => randomLike(results(c, args)[0]!, random))
  const weights = numbers(cotangent)
  const { grads } = valueAndGrad(() => sum(mul(results(c, args)[0]!, cotangent), [], false), tensors)
  tensors.forEach((x, k) => {
    const numeric = differences(() => scope(() => weighted([[numbers(results(c, args)[0]!), weights]])), x, t.eps)
    close(`${c.name}: d ${c.row.params[inputs[k]!]![1]}`, numbers(grads[k]!), numeric, t)
  })
}

/** Second derivatives: those of <gradient of <op(args), c>, v> with respect to the inputs and to c, for random c and v. */
export function checkSecond(c: OpCase, args: readonly unknown[], inputs: readonly number[], t: Tolerance, seed: number): void {
  const random = rng(seed)
  const tensors = inputs.map((i) => args[i] as Tensor)
  const cotangent = scope(() => randomLike(results(c, args)[0]!, random))
  const directions = tensors.map((x) => randomLike(x, random))
  const first = (): readonly Tensor[] => grad(() => sum(mul(results(c, args)[0]!, cotangent), [], false), tensors)
  const all = [...tensors, cotangent]
  const { grads } = valueAndGrad(
    () =>
      first()
        .map((g, i) => sum(mul(g, directions[i]!), [], false))
        .reduce((a, b) => add(a, b)),
    all,
  )
  const weights = directions.map(numbers)
  all.forEach((x, k) => {
    const numeric = differences(() => scope(() => weighted(first().map((g, i) => [numbers(g), weights[i]!] as const))), x, t.eps)
    const name = k < inputs.length ? c.row.params[inputs[k]!]![1] : 'dy'
    close(`${c.name}: second derivative, ${name}`, numbers(grads[k]!), numeric, t)
  })
}
