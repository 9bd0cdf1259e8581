/** Gradients against central differences. */

import { expect } from 'vitest'
import { add, grad, sum, valueAndGrad } from '../../ts/autograd/index.js'
import { mul } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from './cases.js'
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

/** A function to differentiate: f reads its inputs afresh on each call. */
export interface Subject {
  readonly where: string
  readonly inputs: readonly { readonly name: string; readonly x: Tensor }[]
  readonly f: () => Tensor
}

const total = (list: readonly Tensor[]): Tensor => list.reduce((a, b) => add(a, b))
const against = (y: Tensor, c: Tensor): Tensor => sum(mul(y, c), [], false)

/** First derivatives of <f, c> for a random c. */
export function checkFirst({ where, inputs, f }: Subject, t: Tolerance, seed: number): void {
  scope(() => {
    const cotangent = scope(() => randomLike(f(), rng(seed)))
    const weights = numbers(cotangent)
    const { grads } = valueAndGrad(
      () => against(f(), cotangent),
      inputs.map(({ x }) => x),
    )
    inputs.forEach(({ name, x }, k) => {
      const numeric = differences(() => scope(() => weighted([[numbers(f()), weights]])), x, t.eps)
      close(`${where}: d ${name}`, numbers(grads[k]!), numeric, t)
    })
  })
}

/** Second derivatives: those of <gradient of <f, c>, v> with respect to the inputs and to c, for random c and v. */
export function checkSecond({ where, inputs, f }: Subject, t: Tolerance, seed: number): void {
  scope(() => {
    const random = rng(seed)
    const tensors = inputs.map(({ x }) => x)
    const cotangent = scope(() => randomLike(f(), random))
    const directions = tensors.map((x) => randomLike(x, random))
    const first = (): readonly Tensor[] => grad(() => against(f(), cotangent), tensors)
    const all = [...inputs, { name: 'dy', x: cotangent }]
    const { grads } = valueAndGrad(
      () => total(first().map((g, i) => against(g, directions[i]!))),
      all.map(({ x }) => x),
    )
    const weights = directions.map(numbers)
    all.forEach(({ name, x }, k) => {
      const numeric = differences(() => scope(() => weighted(first().map((g, i) => [numbers(g), weights[i]!] as const))), x, t.eps)
      close(`${where}: second derivative, ${name}`, numbers(grads[k]!), numeric, t)
    })
  })
}

/** First and second derivatives of a function of tensors in double precision. */
export function checkFunction(where: string, f: (...xs: Tensor[]) => Tensor, xs: readonly Tensor[], t: Tolerance = double): void {
  const subject: Subject = { where, inputs: xs.map((x, i) => ({ name: `argument ${i}`, x })), f: () => f(...xs) }
  checkFirst(subject, t, 11)
  checkSecond(subject, t, 12)
}
