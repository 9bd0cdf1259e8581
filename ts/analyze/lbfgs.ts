/** Limited-memory BFGS (Liu and Nocedal 1989, algorithm 2.1) with backtracking until the Armijo condition; deterministic, f64. */

export interface LbfgsResult {
  readonly x: Float64Array
  readonly value: number
  readonly iterations: number
  /** The gradient's largest entry is below the tolerance. */
  readonly converged: boolean
}

const dot = (a: Float64Array, b: Float64Array): number => {
  let s = 0
  for (let i = 0; i < a.length; i++) s += a[i]! * b[i]!
  return s
}

/** Minimises f, which returns the value and writes the gradient. */
export function lbfgs(
  f: (x: Float64Array, gradient: Float64Array) => number,
  start: Float64Array,
  { memory = 10, maxIterations = 500, tolerance = 1e-6 } = {},
): LbfgsResult {
  const n = start.length
  let x = start.slice()
  let g = new Float64Array(n)
  let value = f(x, g)
  const pairs: { s: Float64Array; y: Float64Array; rho: number }[] = []
  for (let iteration = 0; ; iteration++) {
    const steepest = g.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    if (steepest < tolerance || iteration === maxIterations || !Number.isFinite(value))
      return { x, value, iterations: iteration, converged: steepest < tolerance }
    const d = g.slice()
    const alphas: number[] = []
    for (let i = pairs.length - 1; i >= 0; i--) {
      const { s, y, rho } = pairs[i]!
      const a = rho * dot(s, d)
      alphas[i] = a
      for (let k = 0; k < n; k++) d[k] = d[k]! - a * y[k]!
    }
    const last = pairs[pairs.length - 1]
    const gamma = last ? 1 / (last.rho * dot(last.y, last.y)) : 1 / Math.max(1, Math.sqrt(dot(g, g)))
    for (let k = 0; k < n; k++) d[k] = d[k]! * gamma
    pairs.forEach(({ s, y, rho }, i) => {
      const b = rho * dot(y, d)
      for (let k = 0; k < n; k++) d[k] = d[k]! + (alphas[i]! - b) * s[k]!
    })
    const slope = -dot(g, d)
    if (!(slope < 0)) return { x, value, iterations: iteration, converged: false }
    let step = 1
    const next = new Float64Array(n)
    const nextG = new Float64Array(n)
    let nextValue = Infinity
    for (let tries = 0; tries < 50; tries++, step /= 2) {
      for (let k = 0; k < n; k++) next[k] = x[k]! - step * d[k]!
      nextValue = f(next, nextG)
      if (nextValue <= value + 1e-4 * step * slope) break
    }
    if (!(nextValue < value)) return { x, value, iterations: iteration, converged: false }
    const s = next.map((v, k) => v - x[k]!)
    const y = nextG.map((v, k) => v - g[k]!)
    const sy = dot(s, y)
    if (sy > 1e-12) {
      pairs.push({ s, y, rho: 1 / sy })
      if (pairs.length > memory) pairs.shift()
    }
    x = next
    g = nextG
    value = nextValue
  }
}
