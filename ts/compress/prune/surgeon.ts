/**
 * Optimal Brain Surgeon on one row of a layer (Hassibi, Stork 1992; row by row: Frantar, Singh, Alistarh, NeurIPS 2022). The output's squared error is a quadratic form with
 * H = sum x x^T: removing w_q costs w_q^2 / [H^-1]_qq, and dw = -w_q / [H^-1]_qq H^-1 e_q is the best answer of the others. In doubles.
 */

/** Lower triangle L of a symmetric positive definite [n, n] = L L^T, or undefined where a pivot is not positive. */
export function cholesky(h: Float64Array, n: number): Float64Array | undefined {
  const l = new Float64Array(n * n)
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = h[i * n + j]!
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!
      if (i > j) l[i * n + j] = sum / l[j * n + j]!
      else if (!(sum > 0)) return undefined
      else l[i * n + i] = Math.sqrt(sum)
    }
  return l
}

/** Solves L L^T x = b. */
export function solve(l: Float64Array, n: number, b: Float64Array): Float64Array {
  const x = b.slice()
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= l[i * n + k]! * x[k]!
    x[i]! /= l[i * n + i]!
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i]! -= l[k * n + i]! * x[k]!
    x[i]! /= l[i * n + i]!
  }
  return x
}

export function inverse(l: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n)
  for (let c = 0; c < n; c++) {
    const unit = new Float64Array(n)
    unit[c] = 1
    solve(l, n, unit).forEach((v, r) => (out[r * n + c] = v))
  }
  return out
}

/**
 * The order in which weights of a row go, each time the one that costs least, and what each costs (its rise of the squared error). `inverted` is H^-1 [n, n]; `alive`
 * weights only; `may(q, alive)`: whether q may go now. Ends after `most`, or when nothing may go.
 */
export function removalOrder(
  row: ArrayLike<number>,
  inverted: Float64Array,
  alive: Uint8Array,
  most: number,
  may: (q: number, alive: Uint8Array) => boolean = () => true,
): { readonly order: number[]; readonly costs: number[] } {
  const n = row.length
  const [w, left] = [Float64Array.from(row), alive.slice()]
  const inv = inverted.slice()
  const remove = (q: number): void => {
    const pivot = inv[q * n + q]!
    const step = w[q]! / pivot
    left[q] = 0
    const column = Float64Array.from({ length: n }, (_, i) => inv[i * n + q]!)
    for (let i = 0; i < n; i++) {
      if (!left[i] || column[i] === 0) continue
      w[i]! -= step * column[i]!
      const factor = column[i]! / pivot
      for (let j = 0; j < n; j++) if (left[j]) inv[i * n + j]! -= factor * column[j]!
    }
    w[q] = 0
  }
  // What is gone already is no column that can answer.
  for (let q = 0; q < n; q++) if (!alive[q]) remove(q)
  const [order, costs]: [number[], number[]] = [[], []]
  while (order.length < most) {
    let [best, least] = [-1, Infinity]
    for (let q = 0; q < n; q++) {
      if (!left[q] || !may(q, left)) continue
      const cost = w[q]! ** 2 / inv[q * n + q]!
      if (cost < least) [best, least] = [q, cost]
    }
    if (best < 0) break
    order.push(best)
    costs.push(least)
    remove(best)
  }
  return { order, costs }
}

/** The values of the weights that stay with the least squared error: those of a new least-squares fit to what the whole row gave. */
export function refit(row: ArrayLike<number>, h: Float64Array, kept: readonly number[]): Float64Array {
  const n = row.length
  const out = new Float64Array(n)
  const m = kept.length
  if (m === 0) return out
  const part = new Float64Array(m * m)
  kept.forEach((i, a) => kept.forEach((j, b) => (part[a * m + b] = h[i * n + j]!)))
  const target = Float64Array.from(kept, (i) => {
    let sum = 0
    for (let j = 0; j < n; j++) sum += h[i * n + j]! * row[j]!
    return sum
  })
  solve(cholesky(part, m)!, m, target).forEach((v, a) => (out[kept[a]!] = v))
  return out
}
