/**
 * Lanczos' method with full re-orthogonalisation: an orthonormal basis of the Krylov space in which the operator is tridiagonal. Its eigenvalues
 * (Ritz values) converge to the extreme ones of the operator, in the square root of the products that power iteration takes (Golub, Van Loan,
 * Matrix Computations, 10.1).
 */
import { axpby, innerProduct } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { RunOptions, SymmetricOperator } from './operator.js'
import { checkCount, checkRun, checkTolerance } from './options.js'
import type { EigenPair } from './power.js'
import { tridiagonalEigen } from './tridiagonal.js'
import { OptionError } from '../../base/errors.js'
import { Basis, checkFinite, gaussian, streams, zeroVector } from './vectors.js'

/** The tridiagonal matrix: `alpha` on the diagonal, `beta[j]` between j and j + 1; the last beta is what the last step left. */
export interface Krylov {
  readonly alpha: number[]
  readonly beta: number[]
}

/**
 * Steps from `start` (consumed in place) until `enough` says so, `steps` are done or the Krylov space is exhausted. Returns true when it is.
 */
export async function krylov(
  a: SymmetricOperator,
  basis: Basis,
  start: Tensor,
  steps: number,
  t: Krylov,
  enough: (t: Krylov) => boolean,
  { where, signal }: { readonly where: string; readonly signal: AbortSignal | undefined },
): Promise<boolean> {
  const unit = a.dtype === 'f32' ? 2 ** -24 : 2 ** -53
  const norm = checkFinite(where, 'the norm of the start vector', basis.purge(start))
  basis.push(start, norm)
  const w = zeroVector(a)
  try {
    for (;;) {
      const q = basis.row(basis.count - 1)
      try {
        await a.apply(q, w, signal)
        t.alpha.push(checkFinite(where, 'v A v', innerProduct(q, w)))
      } finally {
        q.dispose()
      }
      const beta = checkFinite(where, 'the norm of A v', basis.purge(w))
      t.beta.push(beta)
      const size = Math.max(...t.alpha.map(Math.abs), ...t.beta)
      const exhausted = basis.count >= a.size || beta <= 8 * unit * Math.sqrt(basis.count) * size
      if (exhausted) t.beta[t.beta.length - 1] = 0
      if (enough(t) || exhausted) return exhausted
      if (t.alpha.length >= steps) return false
      basis.push(w, beta)
    }
  } finally {
    w.dispose()
  }
}

export interface LanczosOptions extends RunOptions {
  /** How many eigenvalues; default 1. */
  readonly top?: number
  /** Which ones: of largest magnitude (default, as power iteration), largest, or smallest. */
  readonly which?: 'magnitude' | 'largest' | 'smallest'
  /** Most products; default 100. The basis holds one vector for each. */
  readonly maxIterations?: number
  /** An eigenvalue is good when its error bound is below tolerance (|value| + 1e-6); default 1e-3. */
  readonly tolerance?: number
}

export interface LanczosPair extends EigenPair {
  /** The error bound (Kato, Temple) was below the tolerance. */
  readonly converged: boolean
}

export interface LanczosResult {
  readonly pairs: readonly LanczosPair[]
  /** Products with the operator. */
  readonly products: number
}

interface Ritz {
  readonly index: number
  readonly value: number
  readonly residual: number
  readonly error: number
}

/** Ritz values with residual |beta s_last| and the error bound min(residual, residual^2 / gap to the nearest other one). */
function ritz(t: Krylov, which: NonNullable<LanczosOptions['which']>): { list: Ritz[]; eigen: ReturnType<typeof tridiagonalEigen> } {
  const m = t.alpha.length
  const eigen = tridiagonalEigen(t.alpha, t.beta, [m - 1])
  const beta = t.beta[m - 1]!
  const list = Array.from(eigen.values, (value, index): Ritz => {
    const residual = Math.abs(beta * eigen.rows[0]![index]!)
    const gap = Math.min(value - (eigen.values[index - 1] ?? -Infinity), (eigen.values[index + 1] ?? Infinity) - value)
    return { index, value, residual, error: residual < gap ? (residual * residual) / gap : residual }
  })
  const rank = { magnitude: (v: number) => -Math.abs(v), largest: (v: number) => -v, smallest: (v: number) => v }[which]
  return { list: list.sort((x, y) => rank(x.value) - rank(y.value)), eigen }
}

/**
 * Extreme eigenvalues with their vectors. Stops as soon as the error bounds of the wanted ones are below the tolerance. A multiple eigenvalue
 * is found once (power iteration finds it as often as it occurs).
 *
 * - top > size, maxIterations < top, a tolerance that is negative or NaN, a bad seed: ERR_OPTION
 * - a product that is not finite: ERR_NUMERIC; the signal: ERR_ABORTED. Nothing is left behind in either case.
 */
export async function lanczos(a: SymmetricOperator, options: LanczosOptions = {}): Promise<LanczosResult> {
  const where = 'lanczos'
  const seed = checkRun(where, a, options)
  const top = checkCount(where, 'top', options.top ?? 1, 1, a.size)
  const most = checkCount(where, 'maxIterations', options.maxIterations ?? 100, top)
  const tolerance = checkTolerance(where, options.tolerance ?? 1e-3)
  const { which = 'magnitude' } = options
  if (!['magnitude', 'largest', 'smallest'].includes(which))
    throw new OptionError('ERR_OPTION', `${where}: which must be one of magnitude, largest, smallest, got ${String(which)}`)
  const good = (r: Ritz): boolean => r.error <= tolerance * (Math.abs(r.value) + 1e-6)
  const basis = new Basis(a, Math.min(most, a.size))
  const t: Krylov = { alpha: [], beta: [] }
  const start = gaussian(a, seed, streams.lanczos, 0)
  try {
    const enough = (): boolean => {
      const { list } = ritz(t, which)
      options.onProgress?.({ stage: where, done: t.alpha.length, total: most, estimate: list[0]!.value })
      // One step more than values: a single Ritz value has no neighbour that a gap could be taken to.
      return list.length > top && list.slice(0, top).every(good)
    }
    const exhausted = await krylov(a, basis, start, most, t, enough, { where, signal: options.signal })
    const m = t.alpha.length
    const chosen = ritz(t, which).list.slice(0, top)
    const { rows } = tridiagonalEigen(
      t.alpha,
      t.beta,
      Array.from({ length: m }, (_, i) => i),
    )
    const pairs = chosen.map((r): LanczosPair => {
      const vector = basis.combine(rows.map((row) => row[r.index]!))
      axpby(vector, vector, 1 / Math.sqrt(innerProduct(vector, vector)), 0)
      return { value: r.value, vector, residual: r.residual, converged: exhausted || good(r) }
    })
    return { pairs, products: m }
  } finally {
    start.dispose()
    basis.dispose()
  }
}
