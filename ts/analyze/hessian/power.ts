/**
 * Eigenvalues of largest magnitude by power iteration with deflation, with the defaults and the stop rule of PyHessian (Yao, Gholami,
 * Keutzer, Mahoney 2020, arXiv 1912.07145, algorithm 2). `lanczos` needs far fewer products; this is the reference that the field uses.
 */
import { add, axpby, cast, div, mul, scaleShift, sign, sqrt } from '../../ops/index.js'
import { innerProductAt } from '../../ops/vectors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import type { RunOptions, SymmetricOperator } from './operator.js'
import { checkCount, checkRun, checkTolerance, relativeChange } from './options.js'
import { Basis, checkFinite, gaussian, streams, zeroVector } from './vectors.js'

export interface EigenPair {
  readonly value: number
  /** [size], of norm 1; belongs to the caller. */
  readonly vector: Tensor
  /** |A v - value v|: an eigenvalue lies within this distance of `value`. */
  readonly residual: number
}

export interface PowerOptions extends RunOptions {
  /** How many eigenvalues; default 1. */
  readonly top?: number
  /** Products for each of them; default 100. */
  readonly maxIterations?: number
  /** Stops when |change| / (|value| + 1e-6) is below; default 1e-3. */
  readonly tolerance?: number
}

export interface PowerPair extends EigenPair {
  readonly iterations: number
  readonly converged: boolean
}

export interface PowerResult {
  /** In the order found: falling magnitude, as far as the iteration converged. */
  readonly pairs: readonly PowerPair[]
  /** Products with the operator. */
  readonly products: number
}

/**
 * Power iteration: v := A v / |A v|, orthogonal to what was found before. The eigenvalue is v' A v.
 *
 * - top > size, maxIterations < 1, a tolerance that is negative or NaN, a bad seed: ERR_OPTION
 * - a product that is not finite: ERR_NUMERIC; the signal: ERR_ABORTED. Nothing is left behind in either case.
 */
export async function powerIteration(a: SymmetricOperator, options: PowerOptions = {}): Promise<PowerResult> {
  const where = 'powerIteration'
  const seed = checkRun(where, a, options)
  const top = checkCount(where, 'top', options.top ?? 1, 1, a.size)
  const most = checkCount(where, 'maxIterations', options.maxIterations ?? 100, 1)
  const tolerance = checkTolerance(where, options.tolerance ?? 1e-3)
  const basis = new Basis(a, top)
  const product = zeroVector(a)
  const far = a.device !== undefined && a.device.id !== 0
  const found: Omit<PowerPair, 'vector'>[] = []
  let products = 0
  try {
    for (let k = 0; k < top; k++) {
      const v = gaussian(a, seed, streams.powerIteration, k)
      try {
        let value = NaN
        let residual = 0
        let iterations = 0
        let converged = false
        while (iterations < most && !converged) {
          if (!far || iterations === 0) axpby(v, v, 1 / direction(basis, v, seed, k), 0)
          for (const step of await steps(
            a,
            basis,
            v,
            product,
            far ? Math.min(STEPS_AT_ONCE, most - iterations) : 1,
            iterations === 0,
            options.signal,
          )) {
            iterations++
            products++
            const next = checkFinite(where, 'v A v', step.dot)
            const norm = checkFinite(where, 'the norm of A v', Math.sqrt(step.square))
            residual = Math.sqrt(Math.max(0, norm * norm - next * next))
            // A v = 0: v is an eigenvector already.
            converged ||= norm === 0 || (iterations > 1 && relativeChange(value, next) < tolerance)
            value = next
            options.onProgress?.({ stage: where, done: k * most + iterations, total: top * most, estimate: value })
          }
        }
        basis.push(v, direction(basis, v, seed, k))
        found.push({ value, residual, iterations, converged })
      } finally {
        v.dispose()
      }
    }
    return { pairs: found.map((pair, i) => ({ ...pair, vector: basis.row(i) })), products }
  } finally {
    product.dispose()
    basis.dispose()
  }
}

/** Steps that a device does before anybody asks for their numbers: waiting for them costs more than a step of a small net. */
const STEPS_AT_ONCE = 8

/**
 * v := A v / |A v|, `count` times, and <v, A v> and |A v|^2 of each step; where A v = 0, v stays. On a device nothing waits until all steps are queued;
 * v, which the processor has made ready for the first step of all, is purged and normalised there before each of them.
 */
async function steps(
  a: SymmetricOperator,
  basis: Basis,
  v: Tensor,
  product: Tensor,
  count: number,
  ready: boolean,
  signal: AbortSignal | undefined,
): Promise<{ readonly dot: number; readonly square: number }[]> {
  const kept: [dot: Tensor, square: Tensor][] = []
  const far = a.device !== undefined && a.device.id !== 0
  try {
    for (let i = 0; i < count; i++) {
      if (far && !(ready && i === 0))
        scope(() => {
          const norm = cast(basis.purgeAt(v), a.dtype)
          axpby(v, div(v, add(norm, isZero(norm))), 1, 0) // a v in the span of the basis becomes 0: an eigenvalue 0, whose vector is drawn at the end
        })
      await a.apply(v, product, signal)
      kept.push([innerProductAt(v, product), innerProductAt(product, product)])
      const square = kept.at(-1)![1]
      if (far)
        scope(() => {
          const none = cast(isZero(square), a.dtype) // A v = 0
          axpby(v, div(add(product, mul(v, none)), add(cast(sqrt(square), a.dtype), none)), 1, 0)
        })
      else if (square.item() > 0) axpby(v, product, 1 / Math.sqrt(square.item()), 0)
    }
    return kept.map(([dot, square]) => ({ dot: dot.item(), square: square.item() }))
  } finally {
    for (const t of kept.flat()) t.dispose()
  }
}

/** 1 where x, which is not negative, is 0; else 0. */
const isZero = (x: Tensor): Tensor => scaleShift(sign(x), -1, 1)

/** Purges v of the basis and gives its norm; a v that lay in its span is drawn anew. */
function direction(basis: Basis, v: Tensor, seed: number, k: number): number {
  let norm = basis.purge(v)
  for (let tries = 1; !(norm > 1e-30) && Number.isFinite(norm) && tries < 8; tries++) {
    const other = gaussian(basis.space, seed, streams.powerIteration, k + tries * 2 ** 20)
    axpby(v, other, 1, 0)
    other.dispose()
    norm = basis.purge(v)
  }
  return checkFinite('powerIteration', 'the norm of v', norm)
}
