/** Figures of regressions and of similarity scores. */
import { DataError, NumericError, ShapeError } from '../../base/errors.js'

export interface RegressionFigures {
  readonly count: number
  /** Mean squared error. */
  readonly mse: number
  /** Mean absolute error. */
  readonly mae: number
  /** 1 - sum of squares of errors / sum of squares about the mean of the targets. NaN where all targets are equal. */
  readonly r2: number
  /** Correlation of predictions and targets. NaN where one of them is constant: it is not defined there. */
  readonly pearson: number
}

function checkPair(where: string, predictions: ArrayLike<number>, targets: ArrayLike<number>): void {
  if (predictions.length !== targets.length)
    throw new ShapeError('ERR_SHAPE', `${where}: ${predictions.length} predictions for ${targets.length} targets`)
  for (let i = 0; i < targets.length; i++)
    if (!Number.isFinite(predictions[i]) || !Number.isFinite(targets[i]))
      throw new NumericError('ERR_NUMERIC', `${where}: numbers must be finite, example ${i} is ${predictions[i]} for ${targets[i]}`, {
        details: { index: i },
      })
}

/**
 * Mean errors, R2 and Pearson's correlation in constant memory: co-moments by Welford's update (Chan, Golub and LeVeque 1983), so large means do
 * not cancel.
 *
 * @example
 * import { metrics } from 'tersor'
 * const m = new metrics.Regression()
 * m.update([1, 2, 3.5], [1, 2, 3])      // predictions, targets
 * m.result().mae                        // 0.1666...
 */
export class Regression {
  #n = 0
  #meanP = 0
  #meanT = 0
  #spreadP = 0
  #spreadT = 0
  #common = 0
  #squares = 0
  #absolute = 0

  /** Lists of different length: ERR_SHAPE; NaN or infinity: ERR_NUMERIC. All or nothing. */
  update(predictions: ArrayLike<number>, targets: ArrayLike<number>): void {
    checkPair('Regression', predictions, targets)
    for (let i = 0; i < targets.length; i++) {
      const p = predictions[i]!
      const t = targets[i]!
      this.#n++
      const dp = p - this.#meanP
      const dt = t - this.#meanT
      this.#meanP += dp / this.#n
      this.#meanT += dt / this.#n
      this.#spreadP += dp * (p - this.#meanP)
      this.#spreadT += dt * (t - this.#meanT)
      this.#common += dp * (t - this.#meanT)
      this.#squares += (p - t) ** 2
      this.#absolute += Math.abs(p - t)
    }
  }

  get count(): number {
    return this.#n
  }

  /** No examples: ERR_DATA. */
  result(): RegressionFigures {
    const n = this.#n
    if (n === 0) throw new DataError('ERR_DATA', 'Regression: there are no examples')
    const spread = Math.sqrt(this.#spreadP) * Math.sqrt(this.#spreadT)
    return {
      count: n,
      mse: this.#squares / n,
      mae: this.#absolute / n,
      r2: this.#spreadT === 0 ? NaN : 1 - this.#squares / this.#spreadT,
      pearson: spread === 0 ? NaN : Math.max(-1, Math.min(1, this.#common / spread)),
    }
  }
}

/** Pearson's correlation; NaN where a list is constant. Lists of different length or empty: ERR_SHAPE, ERR_DATA. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const figures = new Regression()
  figures.update(a, b)
  return figures.result().pearson
}

/** Ranks from 1; equal values share the mean of their ranks. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!)
  const out = new Float64Array(values.length)
  for (let first = 0; first < order.length;) {
    let last = first
    while (last + 1 < order.length && values[order[last + 1]!] === values[order[first]!]) last++
    for (let i = first; i <= last; i++) out[order[i]!] = (first + last) / 2 + 1
    first = last + 1
  }
  return out
}

/** Spearman's rank correlation: Pearson's of the ranks, ties with mean ranks. NaN where a list is constant. Needs all values at once. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkPair('spearman', a, b)
  if (a.length === 0) throw new DataError('ERR_DATA', 'spearman: there are no examples')
  return pearson(ranks(a), ranks(b))
}
