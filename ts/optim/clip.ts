/** Limits on gradients, between the backward pass and the step. The gradients given are not changed. */
import { OptionError } from '../base/errors.js'
import { clip, innerProduct, scaleShift } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'

/** Euclidean norm over all elements of all tensors: sums in f64 in a fixed order, the same bits for any number of threads. */
export function globalNorm(tensors: Iterable<Tensor>): number {
  let square = 0
  for (const t of tensors) square += innerProduct(t, t)
  return Math.sqrt(square)
}

function mapped(grads: ReadonlyMap<string, Tensor>, f: (g: Tensor) => Tensor): Map<string, Tensor> {
  return new Map([...grads].map(([path, g]) => [path, f(g)]))
}

/** @internal All times a factor; the same map when it is 1. */
export function scaled(grads: ReadonlyMap<string, Tensor>, factor: number): ReadonlyMap<string, Tensor> {
  return factor === 1 ? grads : mapped(grads, (g) => scaleShift(g, factor, 0))
}

/**
 * All gradients times min(1, limit / norm), with the norm over all of them (Pascanu et al. 2013). Call inside a scope. ERR_OPTION unless limit > 0.
 *
 * @example
 * clipByNorm(new Map([['w', tensor([3, 4])]]), 1)   // norm 5; w: 0.6, 0.8
 */
export function clipByNorm(
  grads: ReadonlyMap<string, Tensor>,
  limit: number,
): { readonly grads: ReadonlyMap<string, Tensor>; readonly norm: number } {
  if (!(limit > 0)) throw new OptionError('ERR_OPTION', `clipByNorm: the limit must be > 0, got ${limit}`)
  const norm = globalNorm(grads.values())
  return { grads: norm > limit ? scaled(grads, limit / norm) : grads, norm }
}

/** Each element limited to [-limit, limit]. Call inside a scope. ERR_OPTION unless limit > 0. */
export function clipByValue(grads: ReadonlyMap<string, Tensor>, limit: number): Map<string, Tensor> {
  if (!(limit > 0)) throw new OptionError('ERR_OPTION', `clipByValue: the limit must be > 0, got ${limit}`)
  return mapped(grads, (g) => clip(g, -limit, limit))
}
