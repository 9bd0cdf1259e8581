/**
 * When an activation does not care (Liu et al., ICML 2020, section 3.2): f is insensitive at x if |f(x + d) - f(x)| < theta for the error d of the twin.
 *
 *   paper    tanh |x| > ln(2 d / theta) / 2      sigmoid |x| > ln(d / theta)        ReLU x < theta - d
 *   safe     tanh |x| > ln(4 d / theta) / 2      (the slope of tanh is close to 4 exp(-2 |x|), not 2)
 *   strict   both of safe, + d: by the mean value theorem the change is then below theta for every error up to d
 *
 * Thresholds below 0 are 0: the error is then smaller than what is tolerated anywhere.
 */
export type Squash = 'tanh' | 'sigmoid'
export type Bound = 'paper' | 'safe' | 'strict'

/**
 * |x| beyond which `squash` is insensitive to errors of `delta`, where a change of `theta` is tolerated.
 *
 * @example
 * dualThreshold('tanh', 'strict', 0.01, 0.1)   // 1.944
 */
export function dualThreshold(squash: Squash, bound: Bound, theta: number, delta: number): number {
  const change = squash === 'tanh' ? Math.log(((bound === 'paper' ? 2 : 4) * delta) / theta) / 2 : Math.log(delta / theta)
  return Math.max(0, change + (bound === 'strict' ? delta : 0))
}

/**
 * Numbers that the twin sees, floor(4 ln n / (e^2 / 2 - e^3 / 3)), n = outputs of the layer (four or three times the units of a recurrent one), e = epsilon
 * (Johnson and Lindenstrauss; section 3.3).
 *
 * @example
 * projectionSize(6000, 0.5)   // 417
 */
export function projectionSize(outputs: number, epsilon: number): number {
  return Math.max(1, Math.floor((4 * Math.log(outputs)) / (epsilon ** 2 / 2 - epsilon ** 3 / 3)))
}

/** The value that a share of `values` lies above, by rank. */
export function upperQuantile(values: Float32Array, share: number): number {
  const sorted = values.slice().sort()
  const above = Math.round(share * sorted.length)
  if (above <= 0) return Infinity
  return above >= sorted.length ? -1 : (sorted[sorted.length - above - 1]! + sorted[sorted.length - above]!) / 2
}

/** Squared to the predictions of a layer: |y| by gate. */
export interface GatePredictions {
  readonly squash: Squash
  readonly magnitudes: Float32Array
}

/** Thresholds by gate for which `ratio` of all predictions is insensitive: one for all (fixed), or those of one theta (adaptive). */
export function tuneThresholds(
  gates: readonly GatePredictions[],
  ratio: number,
  adaptive?: { readonly bound: Bound; readonly delta: number },
): number[] {
  const all = Float32Array.from(gates.flatMap((g) => [...g.magnitudes]))
  if (!adaptive) return gates.map(() => Math.max(0, upperQuantile(all, ratio)))
  const of = (theta: number): number[] => gates.map(({ squash }) => dualThreshold(squash, adaptive.bound, theta, adaptive.delta))
  const shareOf = (t: readonly number[]): number =>
    gates.reduce((n, { magnitudes }, q) => n + magnitudes.reduce((m, v) => m + (v > t[q]! ? 1 : 0), 0), 0) / all.length
  // The share rises with theta; below the smallest theta nothing is insensitive, above the largest every threshold is 0.
  let [low, high] = [Math.log(adaptive.delta) - 60, Math.log(adaptive.delta) + 2]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (shareOf(of(Math.exp(middle))) < ratio) low = middle
    else high = middle
  }
  return of(Math.exp(low)).every((t, q) => t === of(Math.exp(high))[q]) ||
    Math.abs(shareOf(of(Math.exp(low))) - ratio) < Math.abs(shareOf(of(Math.exp(high))) - ratio)
    ? of(Math.exp(low))
    : of(Math.exp(high))
}
