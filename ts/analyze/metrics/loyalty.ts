/** How far a compressed model keeps to the one it was made from (Xu et al. 2021, "Beyond preserved accuracy"): labels and distributions. */
import { DataError, OptionError, ShapeError } from '../../base/errors.js'
import { argmaxRows, probabilityLoyalty } from './shares.js'

export interface LoyaltyFigures {
  readonly count: number
  /** Share of examples with the teacher's label, in [0, 1]. */
  readonly label: number
  /** Mean of 1 - sqrt(Jensen-Shannon divergence, natural logarithm), in [1 - sqrt(ln 2), 1] = [0.167, 1]. */
  readonly probability: number
}

/** exp(x - max) / sum of each row, in doubles. */
function softmaxRows(scores: ArrayLike<number>, classes: number): Float64Array {
  const out = new Float64Array(scores.length)
  for (let row = 0; row < out.length; row += classes) {
    let [most, total] = [-Infinity, 0]
    for (let c = 0; c < classes; c++) most = Math.max(most, scores[row + c]!)
    for (let c = 0; c < classes; c++) total += out[row + c] = Math.exp(scores[row + c]! - most)
    for (let c = 0; c < classes; c++) out[row + c]! /= total
  }
  return out
}

/**
 * Label and probability loyalty of scores (before softmax) to a teacher's.
 *
 * @example
 * import { metrics } from 'tersor'
 * const loyalty = new metrics.Loyalty(2)
 * loyalty.update([1, 0, 3, 0], [2, 0, 0, 1])   // student, teacher: two examples
 * loyalty.result().label                       // 0.5
 */
export class Loyalty {
  #count = 0
  #same = 0
  #probability = 0

  /** `classes` of at least 1: ERR_OPTION. */
  constructor(readonly classes: number) {
    if (!Number.isInteger(classes) || classes < 1)
      throw new OptionError('ERR_OPTION', `Loyalty: classes must be an integer >= 1, got ${classes}`)
  }

  /** Scores [n, classes] of both. Lists that are no such rows: ERR_SHAPE; a score that is not finite: ERR_DATA. All or nothing. */
  update(student: ArrayLike<number>, teacher: ArrayLike<number>): void {
    const { classes } = this
    if (student.length !== teacher.length || student.length % classes !== 0 || student.length === 0)
      throw new ShapeError(
        'ERR_SHAPE',
        `Loyalty: needs rows of ${classes} scores of both, got ${student.length} and ${teacher.length} numbers`,
      )
    for (let i = 0; i < student.length; i++)
      if (!Number.isFinite(student[i]) || !Number.isFinite(teacher[i]))
        throw new DataError(
          'ERR_DATA',
          `Loyalty: scores must be finite, row ${Math.floor(i / classes)} has ${student[i]} and ${teacher[i]}`,
          {
            details: { row: Math.floor(i / classes) },
          },
        )
    const n = student.length / classes
    const [own, theirs] = [argmaxRows(student, classes), argmaxRows(teacher, classes)]
    for (let i = 0; i < n; i++) if (own[i] === theirs[i]) this.#same++
    this.#probability += n * probabilityLoyalty(softmaxRows(student, classes), softmaxRows(teacher, classes), classes)
    this.#count += n
  }

  get count(): number {
    return this.#count
  }

  /** No examples: ERR_DATA. */
  result(): LoyaltyFigures {
    const n = this.#count
    if (n === 0) throw new DataError('ERR_DATA', 'Loyalty: there are no examples')
    return { count: n, label: this.#same / n, probability: this.#probability / n }
  }
}
