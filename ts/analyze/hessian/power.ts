/**
 * Eigenvalues of largest magnitude by power iteration with deflation, with the defaults and the stop rule of PyHessian (Yao, Gholami,
 * Keutzer, Mahoney 2020, arXiv 1912.07145, algorithm 2). `lanczos` needs far fewer products; this is the reference that the field uses.
 */
import { axpby, innerProduct } from '../../ops/index.js'
import { zeros, type Tensor } from '../../tensor/index.js'
import type { RunOptions, SymmetricOperator } from './operator.js'
import { checkCount, checkRun, checkTolerance, relativeChange } from './options.js'
import { Basis, checkFinite, gaussian, streams } from './vectors.js'

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
  const basis = new Basis(a.size, a.dtype, top)
  const product = zeros([a.size], a.dtype)
  const found: Omit<PowerPair, 'vector'>[] = []
  let products = 0
  try {
    for (let k = 0; k < top; k++) {
      const v = gaussian(a.size, a.dtype, seed, streams.powerIteration, k)
      try {
        let value = NaN
        let residual = 0
        let iterations = 0
        let converged = false
        while (iterations < most && !converged) {
          axpby(v, v, 1 / direction(basis, v, seed, k), 0)
          await a.apply(v, product, options.signal)
          iterations++
          products++
          const next = checkFinite(where, 'v A v', innerProduct(v, product))
          const norm = checkFinite(where, 'the norm of A v', Math.sqrt(innerProduct(product, product)))
          residual = Math.sqrt(Math.max(0, norm * norm - next * next))
          // A v = 0: v is an eigenvector already.
          converged = norm === 0 || (iterations > 1 && relativeChange(value, next) < tolerance)
          value = next
          if (norm > 0) axpby(v, product, 1 / norm, 0)
          options.onProgress?.({ stage: where, done: k * most + iterations, total: top * most, estimate: value })
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

/** Purges v of the basis and gives its norm; a v that lay in its span is drawn anew. */
function direction(basis: Basis, v: Tensor, seed: number, k: number): number {
  let norm = basis.purge(v)
  for (let tries = 1; !(norm > 1e-30) && Number.isFinite(norm) && tries < 8; tries++) {
    const other = gaussian(basis.size, basis.dtype, seed, streams.powerIteration, k + tries * 2 ** 20)
    axpby(v, other, 1, 0)
    other.dispose()
    norm = basis.purge(v)
  }
  return checkFinite('powerIteration', 'the norm of v', norm)
}
