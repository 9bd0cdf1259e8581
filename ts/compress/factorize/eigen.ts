/**
 * Eigenvalues and eigenvectors of a symmetric matrix: Householder's reflections to a tridiagonal matrix (Martin, Reinsch, Wilkinson 1968; Golub and Van Loan, "Matrix
 * computations", section 8.3.1), then QL with implicit shifts. In doubles, on one thread, always the same bits.
 */
import { tridiagonalEigen } from '../../analyze/hessian/tridiagonal.js'

/** Rows of the eigenvector matrix that are rotated together: they stay in the caches, and others have a turn between them. */
const rowsTogether = (n: number): number => (n <= 1024 ? 32 : 8)

export interface SymmetricEigen {
  /** Falling. */
  readonly values: Float64Array
  /** The eigenvectors of the `count` largest values as rows [count, n], each of length 1. 2 n^2 count operations. */
  readonly vectors: (count: number) => Promise<Float64Array>
}

/** `a` [n, n], symmetric; it is overwritten. 2 n^3 operations for the tridiagonal matrix, about 3 n^3 for its eigenvectors. */
export async function symmetricEigen(a: Float64Array, n: number, breathe: () => Promise<void>): Promise<SymmetricEigen> {
  const betas = new Float64Array(n)
  const off = new Float64Array(Math.max(0, n - 1))
  for (let k = 0; k + 2 < n; k++) {
    off[k] = reflect(a, n, k, betas)
    await breathe()
  }
  if (n > 1) off[n - 2] = a[(n - 1) * n + n - 2]!
  const diagonal = Float64Array.from({ length: n }, (_, i) => a[i * n + i]!)
  await breathe()
  let values: Float64Array = diagonal
  const rows: Float64Array[] = []
  for (let from = 0; from < n; from += rowsTogether(n)) {
    const wanted = Array.from({ length: Math.min(rowsTogether(n), n - from) }, (_, i) => from + i)
    const found = tridiagonalEigen(diagonal, off, wanted)
    values = found.values
    rows.push(...found.rows)
    await breathe()
  }
  return {
    values: values.slice().reverse(),
    vectors: async (count) => {
      const out = new Float64Array(count * n)
      for (let v = 0; v < count; v++) {
        const z = out.subarray(v * n, (v + 1) * n)
        for (let i = 0; i < n; i++) z[i] = rows[i]![n - 1 - v]!
        for (let k = n - 3; k >= 0; k--) unreflect(a, n, k, betas[k]!, z)
        await breathe()
      }
      return out
    },
  }
}

/**
 * One reflection H = I - beta v v^T that leaves one number below the diagonal of column k; the rest of the matrix becomes H A H. v stays in column k
 * (rows k + 1 on), read along row k, which is its mirror. Returns that number.
 */
function reflect(a: Float64Array, n: number, k: number, betas: Float64Array): number {
  const v = a.subarray(k * n + k + 1, (k + 1) * n) // row k right of the diagonal
  const m = n - k - 1
  let squares = 0
  for (let i = 1; i < m; i++) squares += v[i]! * v[i]!
  const first = v[0]!
  if (squares === 0) {
    betas[k] = 0
    return first
  }
  const length = Math.sqrt(squares + first * first)
  const alpha = first > 0 ? -length : length
  v[0] = first - alpha
  const beta = 2 / (squares + v[0] * v[0])
  betas[k] = beta
  const p = new Float64Array(m)
  let dot = 0
  for (let i = 0; i < m; i++) {
    const row = a.subarray((k + 1 + i) * n + k + 1, (k + 2 + i) * n)
    let sum = 0
    for (let j = 0; j < m; j++) sum += row[j]! * v[j]!
    p[i] = beta * sum
    dot += p[i]! * v[i]!
  }
  const half = (beta / 2) * dot
  for (let i = 0; i < m; i++) p[i] = p[i]! - half * v[i]!
  for (let i = 0; i < m; i++) {
    const row = a.subarray((k + 1 + i) * n + k + 1, (k + 2 + i) * n)
    const [vi, pi] = [v[i]!, p[i]!]
    for (let j = 0; j < m; j++) row[j] = row[j]! - (vi * p[j]! + pi * v[j]!)
  }
  return alpha
}

/** z - beta v (v . z), with the v of reflection k. */
function unreflect(a: Float64Array, n: number, k: number, beta: number, z: Float64Array): void {
  if (beta === 0) return
  let dot = 0
  for (let j = k + 1; j < n; j++) dot += a[k * n + j]! * z[j]!
  const factor = beta * dot
  for (let j = k + 1; j < n; j++) z[j] = z[j]! - factor * a[k * n + j]!
}
