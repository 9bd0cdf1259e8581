/** Losses of class scores. */
import { add, reshape } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { full, scope, type Tensor } from '../../tensor/index.js'
import { div, mul, neg, scaleShift } from '../arithmetic.js'
import { gather } from '../gather.js'
import { cast, inDType } from '../memory.js'
import { gatherAlong } from '../along.js'
import { equal, maximum } from '../piecewise.js'
import { sum } from '../reduce.js'
import { crossEntropyRows, logSoftmaxLast } from '../softmax.js'
import { mean } from './moments.js'
import { checkReduction, reduce, type Reduction } from './reduction.js'

export interface NllOptions {
  /** Default 'mean': over the rows that count, weighted. 'none' keeps one loss per row, of the shape of the labels. */
  readonly reduction?: Reduction
  /** Rows with this label cost nothing and do not count. */
  readonly ignoreIndex?: number
  /** A weight per class, [C]: a row costs, and counts, as much as the class of its label. Constant to the tape. */
  readonly classWeights?: Tensor
}

export interface CrossEntropyOptions extends NllOptions {
  /** Share in [0, 1) of the target that is spread evenly over all classes (Szegedy et al. 2016, section 7). */
  readonly labelSmoothing?: number
}

function checkLabels(where: string, scores: Tensor, labels: Tensor, { reduction = 'mean', ignoreIndex, classWeights }: NllOptions): void {
  checkReduction(where, reduction)
  if (ignoreIndex !== undefined && !(Number.isInteger(ignoreIndex) && Math.abs(ignoreIndex) < 2 ** 31))
    throw new OptionError('ERR_OPTION', `${where}: ignoreIndex must be a 32-bit integer, got ${ignoreIndex}`)
  if (scores.rank < 1 || scores.rank !== labels.rank + 1)
    throw new ShapeError('ERR_SHAPE', `${where}: scores must be [..., C] for labels [...], got ${scores} and ${labels}`)
  const classes = scores.shape[scores.rank - 1]!
  if (classWeights && (classWeights.rank !== 1 || classWeights.size !== classes))
    throw new ShapeError('ERR_SHAPE', `${where}: classWeights must be [${classes}], got ${classWeights}`)
}

/** Labels that may be looked up, and what each row counts (undefined: 1 each). */
function countRows(
  labels: Tensor,
  like: Tensor,
  { ignoreIndex, classWeights }: NllOptions,
): { target: Tensor; counts: Tensor | undefined } {
  let target = reshape(labels, [labels.size])
  let counts: Tensor | undefined
  if (ignoreIndex !== undefined) {
    counts = scaleShift(cast(equal(target, full([], ignoreIndex, 'i32')), like.dtype), -1, 1)
    target = mul(target, cast(counts, 'i32'))
  }
  if (classWeights) {
    const weight = gather(inDType(classWeights, like.dtype), target)
    counts = counts ? mul(counts, weight) : weight
  }
  return { target, counts }
}

function finish(loss: Tensor, counts: Tensor | undefined, labels: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return reshape(loss, labels.shape)
  if (reduction === 'sum') return sum(loss)
  if (!counts) return mean(loss)
  // When nothing counts the loss is 0, not 0 / 0.
  const total = sum(counts)
  return div(sum(loss), maximum(total, equal(total, full([], 0, loss.dtype))))
}

/**
 * Cross-entropy of logits [..., C] with labels i32 [...]. A label outside [0, C) is ERR_SHAPE unless it is `ignoreIndex`. When every row
 * is ignored the mean is 0.
 *
 * @example
 * crossEntropy(tensor([[0, 0]]), tensor(new Int32Array([1]))).item()   // 0.693147...
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { reduction = 'mean', labelSmoothing = 0, classWeights } = options
  checkLabels('crossEntropy', logits, labels, options)
  if (!(labelSmoothing >= 0 && labelSmoothing < 1))
    throw new OptionError('ERR_OPTION', `crossEntropy: labelSmoothing must be in [0, 1), got ${labelSmoothing}`)
  return scope(() => {
    const classes = logits.shape[logits.rank - 1]!
    const flat = reshape(logits, [labels.size, classes])
    const { target, counts } = countRows(labels, logits, options)
    let loss = crossEntropyRows(flat, target)
    if (counts) loss = mul(loss, counts)
    if (labelSmoothing > 0) {
      const scores = logSoftmaxLast(flat)
      let even = scaleShift(sum(classWeights ? mul(scores, inDType(classWeights, logits.dtype)) : scores, [-1]), -labelSmoothing / classes)
      if (options.ignoreIndex !== undefined) even = mul(even, countRows(labels, logits, { ignoreIndex: options.ignoreIndex }).counts!)
      loss = add(scaleShift(loss, 1 - labelSmoothing), even)
    }
    return finish(loss, counts, labels, reduction)
  })
}

/**
 * Negative log-likelihood of log-probabilities [..., C] with labels i32 [...]: crossEntropy without the softmax.
 *
 * @example
 * nllLoss(tensor([[-1, -2]]), tensor(new Int32Array([1]))).item()   // 2
 */
export function nllLoss(logProbabilities: Tensor, labels: Tensor, options: NllOptions = {}): Tensor {
  const { reduction = 'mean' } = options
  checkLabels('nllLoss', logProbabilities, labels, options)
  return scope(() => {
    const flat = reshape(logProbabilities, [labels.size, logProbabilities.shape[logProbabilities.rank - 1]!])
    const { target, counts } = countRows(labels, logProbabilities, options)
    let loss = neg(reshape(gatherAlong(flat, reshape(target, [labels.size, 1]), 1), [labels.size]))
    if (counts) loss = mul(loss, counts)
    return finish(loss, counts, labels, reduction)
  })
}

/**
 * Cross-entropy with target probabilities [..., C] (distillation, mixed labels): -sum(target * log softmax) of each row.
 *
 * @example
 * softCrossEntropy(tensor([[0, 0]]), tensor([[0.5, 0.5]])).item()   // 0.693147...
 */
export function softCrossEntropy(logits: Tensor, target: Tensor, { reduction = 'mean' }: { reduction?: Reduction } = {}): Tensor {
  checkReduction('softCrossEntropy', reduction)
  if (!logits.sameShape(target) || logits.rank < 1)
    throw new ShapeError('ERR_SHAPE', `softCrossEntropy: shapes must be equal, got ${logits} and ${target}`)
  return scope(() => reduce(neg(sum(mul(target, logSoftmaxLast(logits)), [-1])), reduction))
}
