/** Order statistics of repeated measurements: medians and quartiles, since times have long tails. */

export interface Summary {
  readonly median: number
  /** Lower and upper quartile. */
  readonly q1: number
  readonly q3: number
  readonly min: number
  /** How many measurements. */
  readonly count: number
}

/** The p-quantile (0 to 1) of ascending numbers, linear between neighbours; NaN of none. */
export function quantile(ascending: readonly number[], p: number): number {
  if (!ascending.length) return NaN
  const at = (ascending.length - 1) * p
  const below = Math.floor(at)
  const low = ascending[below]!
  return low + (at - below) * ((ascending[below + 1] ?? low) - low)
}

/** Median, quartiles and least of the values that are finite. */
export function summarize(values: readonly number[]): Summary {
  const v = values.filter(Number.isFinite).sort((a, b) => a - b)
  return { median: quantile(v, 0.5), q1: quantile(v, 0.25), q3: quantile(v, 0.75), min: v[0] ?? NaN, count: v.length }
}

/**
 * How many times as long b takes as a, from samples of the same rounds: each round gives one ratio, so what slowed a whole round down
 * (another tenant of the machine) does not count. Rounds that lack one of the two are left out; with fewer than 3 common rounds the ratio
 * is that of the medians.
 */
export function ratio(a: readonly number[], b: readonly number[]): Summary {
  const pairs = a.map((x, i) => (b[i] ?? NaN) / x)
  const paired = summarize(pairs)
  if (paired.count >= 3) return paired
  const whole = summarize(b).median / summarize(a).median
  return { median: whole, q1: whole, q3: whole, min: whole, count: paired.count }
}
