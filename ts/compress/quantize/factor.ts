/**
 * Cholesky factor of a symmetric positive definite matrix, in blocks: the small triangles in doubles here, the large products natively. Bit for bit the same
 * whatever the number of threads.
 */
import { matmul } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'

const BLOCK = 128

/**
 * `a` [n, n] = U^T U with U upper triangular; gives U [n, n] (zeros below), or undefined where a pivot is not positive. `a` is not changed.
 * n^3 multiplications natively, n^2 * 64 here.
 */
export async function choleskyUpper(a: Float32Array, n: number, breathe: () => Promise<void>): Promise<Float32Array | undefined> {
  const u = new Float32Array(n * n)
  for (let from = 0; from < n; from += BLOCK) {
    const rows = Math.min(BLOCK, n - from)
    const panel = remainder(a, u, n, from, rows)
    if (!eliminate(panel, u, n, from, rows)) return undefined
    await breathe()
  }
  return u
}

/** Rows from .. from + rows of A - U^T U over the rows of U that are known, in doubles. */
function remainder(a: Float32Array, u: Float32Array, n: number, from: number, rows: number): Float64Array {
  const panel = Float64Array.from(a.subarray(from * n, (from + rows) * n))
  if (from === 0) return panel
  const own = new Float32Array(from * rows)
  for (let k = 0; k < from; k++) own.set(u.subarray(k * n + from, k * n + from + rows), k * rows)
  const known = scope(() =>
    matmul(tensor(own, [from, rows]), tensor(u.subarray(0, from * n), [from, n]), true, false).read(),
  ) as Float32Array
  for (let i = 0; i < panel.length; i++) panel[i]! -= known[i]!
  return panel
}

/** Factors the panel's own triangle and writes its rows of U. */
function eliminate(panel: Float64Array, u: Float32Array, n: number, from: number, rows: number): boolean {
  for (let i = 0; i < rows; i++) {
    const row = panel.subarray(i * n, (i + 1) * n)
    const pivot = row[from + i]!
    if (!(pivot > 0)) return false
    const inverse = 1 / Math.sqrt(pivot)
    for (let j = from + i; j < n; j++) row[j]! *= inverse
    for (let j = from + i; j < n; j++) u[(from + i) * n + j] = row[j]!
    for (let k = i + 1; k < rows; k++) {
      const factor = row[from + k]!
      if (factor === 0) continue
      const other = panel.subarray(k * n, (k + 1) * n)
      for (let j = from + k; j < n; j++) other[j]! -= factor * row[j]!
    }
  }
  return true
}
