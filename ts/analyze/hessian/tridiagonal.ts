/**
 * Eigenvalues of a symmetric tridiagonal matrix by the QL algorithm with implicit shifts (Bowdler, Martin, Reinsch, Wilkinson 1968; EISPACK
 * tql2), with chosen rows of the matrix of eigenvectors: Lanczos needs the first one (weights of a quadrature) and the last one (error bounds) only.
 */
import { InternalError } from '../../base/errors.js'

export interface TridiagonalEigen {
  /** Rising. */
  readonly values: Float64Array
  /** rows[r][i]: entry of the eigenvector of values[i] in the r-th row that was asked for. */
  readonly rows: readonly Float64Array[]
}

/** `diagonal` has m numbers, `off` the m - 1 beside it (more are ignored). `wanted`: rows of the eigenvector matrix; all of them give the vectors. */
export function tridiagonalEigen(diagonal: ArrayLike<number>, off: ArrayLike<number>, wanted: readonly number[]): TridiagonalEigen {
  const m = diagonal.length
  const d = Float64Array.from(diagonal)
  const e = new Float64Array(m)
  for (let i = 0; i + 1 < m; i++) e[i] = off[i]!
  const z = wanted.map((row) => Float64Array.from({ length: m }, (_, i) => (i === row ? 1 : 0)))
  for (let l = 0; l < m; l++) {
    for (let sweeps = 0; ; sweeps++) {
      let end = l
      while (end + 1 < m && Math.abs(e[end]!) > Number.EPSILON * (Math.abs(d[end]!) + Math.abs(d[end + 1]!))) end++
      if (end === l) break
      // Never seen for finite input: two sweeps are usual.
      if (sweeps === 60) throw new InternalError('ERR_INTERNAL', `tridiagonalEigen: no convergence at row ${l} of ${m}`)
      sweep(d, e, z, l, end)
    }
  }
  const order = Array.from(d, (_, i) => i).sort((i, j) => d[i]! - d[j]! || i - j)
  return { values: Float64Array.from(order, (i) => d[i]!), rows: z.map((row) => Float64Array.from(order, (i) => row[i]!)) }
}

/** One implicit QL step on rows l to end, chasing the bulge upwards. */
function sweep(d: Float64Array, e: Float64Array, z: readonly Float64Array[], l: number, end: number): void {
  let g = (d[l + 1]! - d[l]!) / (2 * e[l]!)
  let r = Math.hypot(g, 1)
  g = d[end]! - d[l]! + e[l]! / (g + (g >= 0 ? r : -r))
  let s = 1
  let c = 1
  let p = 0
  for (let i = end - 1; i >= l; i--) {
    let f = s * e[i]!
    const b = c * e[i]!
    r = Math.hypot(f, g)
    e[i + 1] = r
    if (r === 0) {
      // The matrix splits: go on with the rest.
      d[i + 1] = d[i + 1]! - p
      e[end] = 0
      return
    }
    s = f / r
    c = g / r
    g = d[i + 1]! - p
    r = (d[i]! - g) * s + 2 * c * b
    p = s * r
    d[i + 1] = g + p
    g = c * r - b
    for (const row of z) {
      f = row[i + 1]!
      row[i + 1] = s * row[i]! + c * f
      row[i] = c * row[i]! - s * f
    }
  }
  d[l] = d[l]! - p
  e[l] = g
  e[end] = 0
}
