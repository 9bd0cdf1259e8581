/**
 * Density of the eigenvalues by stochastic Lanczos quadrature (Lin, Saad, Yang 2016; Ubaru, Chen, Saad 2017) with PyHessian's defaults: the Ritz
 * values of a random start vector, weighted by the squares of the first components of their vectors, each a Gaussian of variance
 * 1e-5 max(1, range).
 */
import type { RunOptions, SymmetricOperator } from './operator.js'
import { krylov, type Krylov } from './lanczos.js'
import { checkCount, checkRun } from './options.js'
import { tridiagonalEigen } from './tridiagonal.js'
import { Basis, rademacher, streams } from './vectors.js'

export interface DensityOptions extends RunOptions {
  /** Products for each start vector; default 100 (fewer when the operator is smaller). */
  readonly iterations?: number
  /** Start vectors; default 1. */
  readonly vectors?: number
  /** Points of the grid; default 10,000. */
  readonly bins?: number
}

export interface DensityResult {
  /** Eigenvalues, evenly spaced; from below the least to above the largest Ritz value. */
  readonly grid: Float64Array
  /** Density at each of them; its sum times the spacing is 1. */
  readonly density: Float64Array
  /** Standard deviation of the Gaussians. */
  readonly sigma: number
  /** Ritz values (rising) and weights (sum 1) of each start vector: the measure before it was smoothed. */
  readonly nodes: readonly { readonly values: Float64Array; readonly weights: Float64Array }[]
  readonly products: number
}

/**
 * The spectral density.
 *
 * - iterations, vectors < 1, bins < 2, a bad seed: ERR_OPTION
 * - a product that is not finite: ERR_NUMERIC; the signal: ERR_ABORTED
 */
export async function density(a: SymmetricOperator, options: DensityOptions = {}): Promise<DensityResult> {
  const where = 'density'
  const seed = checkRun(where, a, options)
  const steps = Math.min(checkCount(where, 'iterations', options.iterations ?? 100, 1), a.size)
  const vectors = checkCount(where, 'vectors', options.vectors ?? 1, 1)
  const bins = checkCount(where, 'bins', options.bins ?? 10_000, 2, 10_000_000)
  const nodes: { values: Float64Array; weights: Float64Array }[] = []
  let products = 0
  for (let i = 0; i < vectors; i++) {
    const t: Krylov = { alpha: [], beta: [] }
    const basis = new Basis(a, steps)
    const start = rademacher(a, seed, streams.density, i)
    try {
      const seen = (): boolean => {
        options.onProgress?.({ stage: where, done: i * steps + t.alpha.length, total: vectors * steps })
        return false
      }
      await krylov(a, basis, start, steps, t, seen, { where, signal: options.signal })
    } finally {
      start.dispose()
      basis.dispose()
    }
    products += t.alpha.length
    const { values, rows } = tridiagonalEigen(t.alpha, t.beta, [0])
    nodes.push({ values, weights: rows[0]!.map((s) => s * s) })
  }
  return { ...smooth(nodes, bins), nodes, products }
}

/** Gaussians around the nodes on an even grid, normalised to mass 1. */
function smooth(nodes: readonly { readonly values: Float64Array; readonly weights: Float64Array }[], bins: number) {
  const least = Math.min(...nodes.map((n) => n.values[0]!))
  const most = Math.max(...nodes.map((n) => n.values[n.values.length - 1]!))
  const range = most - least
  // Not narrower than the grid, or a node between two points would be lost.
  const sigma = Math.max(Math.sqrt(1e-5 * Math.max(1, range)), range / bins)
  const from = least - Math.max(0.01, 5 * sigma)
  const spacing = (most + Math.max(0.01, 5 * sigma) - from) / (bins - 1)
  const grid = Float64Array.from({ length: bins }, (_, i) => from + i * spacing)
  const density = new Float64Array(bins)
  for (const { values, weights } of nodes)
    values.forEach((value, k) => {
      // Beyond 8 sigma a Gaussian is below 1e-14 of its peak.
      const first = Math.max(0, Math.ceil((value - 8 * sigma - from) / spacing))
      const last = Math.min(bins - 1, Math.floor((value + 8 * sigma - from) / spacing))
      for (let i = first; i <= last; i++) density[i]! += weights[k]! * Math.exp(-((grid[i]! - value) ** 2) / (2 * sigma * sigma))
    })
  const mass = density.reduce((sum, v) => sum + v, 0) * spacing
  return { grid, density: density.map((v) => v / mass), sigma }
}
