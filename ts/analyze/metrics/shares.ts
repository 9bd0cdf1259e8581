/** Figures over labels and probabilities. */
import { OptionError, ShapeError } from '../../base/errors.js'

function sameLength(where: string, a: ArrayLike<number>, b: ArrayLike<number>): void {
  if (a.length !== b.length || a.length === 0)
    throw new ShapeError('ERR_SHAPE', `${where}: needs two lists of the same length > 0, got ${a.length} and ${b.length}`)
}

/** Share of equal entries. Against true labels this is accuracy; against another model's labels it is label loyalty (Xu et al. 2021). */
export function shareEqual(a: ArrayLike<number>, b: ArrayLike<number>): number {
  sameLength('shareEqual', a, b)
  let same = 0
  for (let i = 0; i < a.length; i++) if (a[i] === b[i]) same++
  return same / a.length
}

/** Share of rows of scores [n, classes] whose true label is among the k highest; of equal scores the lower class comes first. k = 1 is accuracy. */
export function topKShare(scores: ArrayLike<number>, labels: ArrayLike<number>, classes: number, k: number): number {
  if (!Number.isInteger(k) || k < 1 || k > classes)
    throw new OptionError('ERR_OPTION', `topKShare: k must be an integer in [1, ${classes}], got ${k}`)
  if (labels.length === 0 || scores.length !== labels.length * classes)
    throw new ShapeError(
      'ERR_SHAPE',
      `topKShare: ${labels.length} labels of ${classes} classes need ${labels.length * classes} scores > 0, got ${scores.length}`,
    )
  let hits = 0
  for (let i = 0; i < labels.length; i++) {
    const row = i * classes
    const label = labels[i]!
    const own = scores[row + label]!
    let above = 0
    for (let c = 0; c < classes; c++) if (scores[row + c]! > own || (scores[row + c] === own && c < label)) above++
    if (above < k) hits++
  }
  return hits / labels.length
}

/** Wilson score interval of a proportion (Wilson 1927); z = 1.96 gives 95 %. */
export function wilsonInterval(share: number, n: number, z = 1.959963984540054): readonly [number, number] {
  if (n <= 0) return [0, 1]
  const z2 = z * z
  const centre = (share + z2 / (2 * n)) / (1 + z2 / n)
  const half = (z * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n))) / (1 + z2 / n)
  // In exact arithmetic the ends at 0 and 1 are these; rounding would leave the share outside its own interval.
  return [share === 0 ? 0 : Math.max(0, centre - half), share === 1 ? 1 : Math.min(1, centre + half)]
}

/**
 * Probability loyalty 1 - sqrt(JS divergence, natural log), averaged over rows (Xu et al. 2021). p and q are [n, classes]; 1 for equal
 * distributions, 1 - sqrt(ln 2) for disjoint ones.
 */
export function probabilityLoyalty(p: ArrayLike<number>, q: ArrayLike<number>, classes: number): number {
  sameLength('probabilityLoyalty', p, q)
  if (classes < 1 || p.length % classes !== 0)
    throw new ShapeError('ERR_SHAPE', `probabilityLoyalty: ${p.length} numbers are no rows of ${classes} classes`)
  const term = (a: number, m: number): number => (a > 0 ? a * Math.log(a / m) : 0)
  let total = 0
  for (let row = 0; row < p.length; row += classes) {
    let js = 0
    for (let c = 0; c < classes; c++) {
      const m = (p[row + c]! + q[row + c]!) / 2
      js += (term(p[row + c]!, m) + term(q[row + c]!, m)) / 2
    }
    total += 1 - Math.sqrt(Math.max(0, js))
  }
  return total / (p.length / classes)
}

/** Value below which `share` of the numbers lie, by linear interpolation. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  if (sorted.length === 0) return NaN
  const at = share * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low)
}

/** Index of the largest number of each row; the first of equals. */
export function argmaxRows(values: ArrayLike<number>, classes: number): Int32Array {
  const out = new Int32Array(values.length / classes)
  for (let i = 0; i < out.length; i++) {
    let best = 0
    for (let c = 1; c < classes; c++) if (values[i * classes + c]! > values[i * classes + best]!) best = c
    out[i] = best
  }
  return out
}
