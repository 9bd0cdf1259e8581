/** Loss of connectionist temporal classification: sequences whose labels have no positions in time. Decoding: ctc-decode.ts. */
import { permute, sum } from '../../autograd/index.js'
import { ShapeError } from '../../base/errors.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import { ctcLossRows } from '../ctc.js'
import { mul } from '../arithmetic.js'
import { inDType } from '../memory.js'
import { mean } from './moments.js'
import { checkReduction, type Reduction } from './reduction.js'

export interface CtcOptions {
  /** Frames of each sequence, i32 [B], each in [0, T]; default T. */
  readonly inputLengths?: Tensor | null
  /** Labels of each target, i32 [B], each in [0, L]; default L. */
  readonly targetLengths?: Tensor | null
  /** Class that stands for no label. Default 0. */
  readonly blank?: number
  /** Default 'mean': each loss divided by its number of labels (at least 1), then averaged, as PyTorch has it. */
  readonly reduction?: Reduction
  /** A target that no path can spell costs nothing and has no gradient, instead of an error (too few frames) or Infinity (probabilities of 0). */
  readonly zeroInfinity?: boolean
  /** logProbs is [B, T, C]; false: [T, B, C]. Default true. */
  readonly batchFirst?: boolean
}

/**
 * Connectionist temporal classification (Graves, Fernandez, Gomez, Schmidhuber 2006, eq. 8): minus the log of the probability that the frames of
 * logProbs [B, T, C] (the log-softmax of a net's scores) spell targets i32 [B, L], summed over all alignments. A path spells what is left when
 * repeats are merged and then blanks removed, so a label twice in a row needs a blank between. Range and precision are those of double whatever the length.
 *
 * - a label outside [0, C) or equal to the blank, a length out of range, more labels than frames can spell: ERR_SHAPE with the row
 * - a blank outside [0, C), an unknown reduction: ERR_OPTION; integers of another type than i32: ERR_DTYPE
 *
 * @example
 * const logProbs = logSoftmax(zeros([1, 2, 3]))                          // two frames, three classes, all equally likely
 * ctcLoss(logProbs, tensor(new Int32Array([1]), [1, 1])).item()         // 1.098612...: 3 of the 9 paths spell label 1
 */
export function ctcLoss(logProbs: Tensor, targets: Tensor, options: CtcOptions = {}): Tensor {
  const { inputLengths = null, targetLengths = null, blank = 0, reduction = 'mean', zeroInfinity = false, batchFirst = true } = options
  checkReduction('ctcLoss', reduction)
  if (logProbs.rank !== 3) throw new ShapeError('ERR_SHAPE', `ctcLoss: logProbs must have rank 3, got ${logProbs}`)
  return scope(() => {
    const x = batchFirst ? logProbs : permute(logProbs, [1, 0, 2])
    const loss = ctcLossRows(x, targets, inputLengths, targetLengths, blank, zeroInfinity)
    if (reduction === 'none') return loss
    if (reduction === 'sum') return sum(loss, [], false)
    const labels = targetLengths ? (targetLengths.read() as Int32Array) : new Int32Array(loss.size).fill(targets.shape[1]!)
    const shares = inDType(tensor(Float64Array.from(labels, (n) => 1 / Math.max(1, n))), loss.dtype)
    return mean(mul(loss, shares))
  })
}
