/** Eigenvalues of a small symmetric matrix by Jacobi's rotations: slow, simple, accurate; what the fast methods are held against. */
import { Rng } from '../../ts/base/rng.js'

export function jacobi(matrix: readonly (readonly number[])[]): number[] {
  const a = matrix.map((row) => [...row])
  const n = a.length
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const apq = a[p]![q]!
        off += apq * apq
        if (apq === 0) continue
        const theta = (a[q]![q]! - a[p]![p]!) / (2 * apq)
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1))
        const c = 1 / Math.hypot(t, 1)
        const s = t * c
        for (let k = 0; k < n; k++) {
          const [x, y] = [a[k]![p]!, a[k]![q]!]
          a[k]![p] = c * x - s * y
          a[k]![q] = s * x + c * y
        }
        for (let k = 0; k < n; k++) {
          const [x, y] = [a[p]![k]!, a[q]![k]!]
          a[p]![k] = c * x - s * y
          a[q]![k] = s * x + c * y
        }
      }
    if (off < 1e-28) break
  }
  return a.map((row, i) => row[i]!)
}

/** A random orthogonal matrix: Gram-Schmidt, twice, on normal numbers. */
export function orthogonal(n: number, seed: number): number[][] {
  const rng = Rng.of(seed)
  const rows: number[][] = []
  for (let i = 0; i < n; i++) {
    const v = Array.from({ length: n }, () => rng.normal())
    for (let pass = 0; pass < 2; pass++)
      for (const row of rows) {
        const c = row.reduce((s, x, k) => s + x * v[k]!, 0)
        row.forEach((x, k) => (v[k]! -= c * x))
      }
    const norm = Math.hypot(...v)
    rows.push(v.map((x) => x / norm))
  }
  return rows
}
