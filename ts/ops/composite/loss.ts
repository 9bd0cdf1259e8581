/** Losses. */
import { OptionError, ShapeError } from '../../base/errors.js'
import { full, scope, type Tensor } from '../../tensor/index.js'
import { add, reshape } from '../../autograd/index.js'
import { div, mul, neg, scaleShift, sub } from '../arithmetic.js'
import { cast } from '../memory.js'
import { equal, maximum } from '../piecewise.js'
import { sum } from '../reduce.js'
import { crossEntropyRows, logSoftmaxLast } from '../softmax.js'
import { square } from './elementary.js'
import { mean } from './moments.js'

export type Reduction = 'mean' | 'sum' | 'none'

export interface CrossEntropyOptions {
  /** Default 'mean': over the rows that count. 'none' keeps one loss per row, of the shape of the labels. */
  readonly reduction?: Reduction
  /** Rows with this label cost nothing and do not count. */
  readonly ignoreIndex?: number
  /** Share in [0, 1) of the target that is spread evenly over all classes (Szegedy et al. 2016, section 7). */
  readonly labelSmoothing?: number
}

const reductions: readonly Reduction[] = ['mean', 'sum', 'none']

/**
 * Cross-entropy of logits [..., C] with labels i32 [...]. A label outside [0, C) is ERR_SHAPE unless it is `ignoreIndex`. When every row
 * is ignored the mean is 0.
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { reduction = 'mean', ignoreIndex, labelSmoothing = 0 } = options
  if (!reductions.includes(reduction))
    throw new OptionError('ERR_OPTION', `crossEntropy: reduction must be one of ${reductions.join(', ')}, got ${String(reduction)}`)
  if (!(labelSmoothing >= 0 && labelSmoothing < 1))
    throw new OptionError('ERR_OPTION', `crossEntropy: labelSmoothing must be in [0, 1), got ${labelSmoothing}`)
  if (ignoreIndex !== undefined && !(Number.isInteger(ignoreIndex) && Math.abs(ignoreIndex) < 2 ** 31))
    throw new OptionError('ERR_OPTION', `crossEntropy: ignoreIndex must be a 32-bit integer, got ${ignoreIndex}`)
  if (logits.rank < 1 || logits.rank !== labels.rank + 1)
    throw new ShapeError('ERR_SHAPE', `crossEntropy: logits must be [..., C] for labels [...], got ${logits} and ${labels}`)
  return scope(() => {
    const classes = logits.shape[logits.rank - 1]!
    const rows = labels.size
    const flat = reshape(logits, [rows, classes])
    let target = reshape(labels, [rows])
    let counted: Tensor | undefined
    if (ignoreIndex !== undefined) {
      counted = scaleShift(cast(equal(target, full([], ignoreIndex, 'i32')), logits.dtype), -1, 1)
      target = mul(target, cast(counted, 'i32'))
    }
    let loss = crossEntropyRows(flat, target)
    if (labelSmoothing > 0) {
      const even = scaleShift(sum(logSoftmaxLast(flat), [-1]), -labelSmoothing / classes)
      loss = add(scaleShift(loss, 1 - labelSmoothing), even)
    }
    if (counted) loss = mul(loss, counted)
    if (reduction === 'none') return reshape(loss, labels.shape)
    if (reduction === 'sum') return sum(loss)
    return counted ? div(sum(loss), maximum(sum(counted), full([], 1, logits.dtype))) : mean(loss)
  })
}

/** Cross-entropy with target probabilities [..., C] (distillation, mixed labels): mean over rows of -sum(target * log softmax). */
export function softCrossEntropy(logits: Tensor, target: Tensor): Tensor {
  if (!logits.sameShape(target) || logits.rank < 1)
    throw new ShapeError('ERR_SHAPE', `softCrossEntropy: shapes must be equal, got ${logits} and ${target}`)
  return scope(() => neg(mean(sum(mul(target, logSoftmaxLast(logits)), [-1]))))
}

/** Mean squared difference over all elements. */
export function mse(x: Tensor, target: Tensor): Tensor {
  if (!x.sameShape(target)) throw new ShapeError('ERR_SHAPE', `mse: shapes must be equal, got ${x} and ${target}`)
  return scope(() => mean(square(sub(x, target))))
}
