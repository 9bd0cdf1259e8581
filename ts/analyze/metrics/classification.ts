/**
 * Figures of classifiers from counts: memory for the pairs of classes that occur, whatever the number of examples.
 *
 * Where a denominator is 0 the value is 0, as in scikit-learn (`zero_division=0`): precision of a class that was never predicted, recall of one that
 * never occurs, Matthews correlation where all labels or all predictions are one class.
 */
import { DataError, OptionError, ShapeError } from '../../base/errors.js'

export interface ClassFigures {
  readonly precision: number
  readonly recall: number
  readonly f1: number
  /** Examples whose true label it is. */
  readonly support: number
}

export interface ClassificationFigures {
  readonly count: number
  readonly accuracy: number
  /** Means over the classes that occur among labels or predictions. */
  readonly macro: Omit<ClassFigures, 'support'>
  /** Over all decisions together; for one label per example all three are the accuracy. */
  readonly micro: Omit<ClassFigures, 'support'>
  /** Means weighted by support. */
  readonly weighted: Omit<ClassFigures, 'support'>
  /** Matthews correlation; for more than two classes Gorodkin's R_K (2004). In [-1, 1]. */
  readonly matthews: number
  readonly classes: readonly ClassFigures[]
}

const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b)

/**
 * Counts of (true label, predicted label).
 *
 * @example
 * import { metrics } from 'tersor'
 * const m = new metrics.ConfusionMatrix(2)
 * m.update([1, 0, 1], [1, 1, 1])        // predictions, labels
 * m.result().classes[1].f1              // 0.8
 */
export class ConfusionMatrix {
  /** By label * classes + prediction; only pairs that occurred, so that many classes cost nothing. */
  readonly #counts = new Map<number, number>()
  #total = 0

  /** `classes` of at least 1: ERR_OPTION. */
  constructor(readonly classes: number) {
    if (!Number.isInteger(classes) || classes < 1 || classes > 65_536)
      throw new OptionError('ERR_OPTION', `ConfusionMatrix: classes must be an integer in [1, 65536], got ${classes}`)
  }

  /** Lists of different length: ERR_SHAPE; a label that is no class: ERR_DATA. All or nothing. */
  update(predictions: ArrayLike<number>, labels: ArrayLike<number>): void {
    if (predictions.length !== labels.length)
      throw new ShapeError('ERR_SHAPE', `ConfusionMatrix: ${predictions.length} predictions for ${labels.length} labels`)
    for (let i = 0; i < labels.length; i++)
      for (const [what, value] of [
        ['prediction', predictions[i]!],
        ['label', labels[i]!],
      ] as const)
        if (!Number.isInteger(value) || value < 0 || value >= this.classes)
          throw new DataError('ERR_DATA', `ConfusionMatrix: ${what} ${i} must be in [0, ${this.classes}), got ${value}`, {
            details: { row: i },
          })
    for (let i = 0; i < labels.length; i++) {
      const key = labels[i]! * this.classes + predictions[i]!
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    }
    this.#total += labels.length
  }

  get count(): number {
    return this.#total
  }

  /** Row: true label; column: prediction. A copy. */
  counts(): number[][] {
    const { classes: k } = this
    return Array.from({ length: k }, (_, t) => Array.from({ length: k }, (_p, p) => this.#counts.get(t * k + p) ?? 0))
  }

  /** F1 of one class against the rest: what "F1" means for two classes (default: class 1). */
  f1(positive = 1): number {
    const found = this.result().classes[positive]
    if (!found) throw new OptionError('ERR_OPTION', `ConfusionMatrix: class must be in [0, ${this.classes}), got ${positive}`)
    return found.f1
  }

  /** No examples: ERR_DATA. */
  result(): ClassificationFigures {
    const { classes: k } = this
    const n = this.#total
    if (n === 0) throw new DataError('ERR_DATA', 'ConfusionMatrix: there are no examples')
    const actual = new Float64Array(k)
    const predicted = new Float64Array(k)
    let correct = 0
    for (const [key, count] of this.#counts) {
      const [t, p] = [Math.floor(key / k), key % k]
      actual[t]! += count
      predicted[p]! += count
      if (t === p) correct += count
    }
    const classes = Array.from({ length: k }, (_, c): ClassFigures => {
      const hits = this.#counts.get(c * k + c) ?? 0
      return {
        precision: ratio(hits, predicted[c]!),
        recall: ratio(hits, actual[c]!),
        f1: ratio(2 * hits, actual[c]! + predicted[c]!),
        support: actual[c]!,
      }
    })
    const mean = (weight: (c: number) => number): Omit<ClassFigures, 'support'> => {
      const total = classes.reduce((sum, _, c) => sum + weight(c), 0)
      const of = (key: 'precision' | 'recall' | 'f1'): number => classes.reduce((sum, f, c) => sum + weight(c) * f[key], 0) / total
      return { precision: of('precision'), recall: of('recall'), f1: of('f1') }
    }
    const accuracy = correct / n
    return {
      count: n,
      accuracy,
      macro: mean((c) => (actual[c]! + predicted[c]! > 0 ? 1 : 0)),
      micro: { precision: accuracy, recall: accuracy, f1: accuracy },
      weighted: mean((c) => actual[c]!),
      matthews: matthews(n, correct, actual, predicted),
      classes,
    }
  }
}

/** Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient"; Matthews 1975 for two classes. */
function matthews(n: number, correct: number, actual: Float64Array, predicted: Float64Array): number {
  let [both, aa, pp] = [0, 0, 0]
  for (let c = 0; c < actual.length; c++) {
    both += actual[c]! * predicted[c]!
    aa += actual[c]! ** 2
    pp += predicted[c]! ** 2
  }
  const spread = Math.sqrt(n * n - aa) * Math.sqrt(n * n - pp)
  return spread === 0 ? 0 : (correct * n - both) / spread
}
