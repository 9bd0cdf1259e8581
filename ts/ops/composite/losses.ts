/** Losses of values, distributions and distances. Each element (or row) has a loss; `reduction` makes one number of them. */
import { add } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { zeros, scope, type Tensor } from '../../tensor/index.js'
import { div, mul, neg, scaleShift, sub } from '../arithmetic.js'
import { where } from '../along.js'
import { softplus } from '../nonlinear.js'
import { abs, clip, greater, relu } from '../piecewise.js'
import { sum } from '../reduce.js'
import { exp, log, sqrt } from '../smooth.js'
import { square } from './elementary.js'
import { checkReduction, reduce, type Reduction } from './reduction.js'

export interface LossOptions {
  /** Default 'mean': over all losses. */
  readonly reduction?: Reduction
}

function same(name: string, a: Tensor, b: Tensor, reduction: Reduction): void {
  checkReduction(name, reduction)
  if (!a.sameShape(b)) throw new ShapeError('ERR_SHAPE', `${name}: shapes must be equal, got ${a} and ${b}`)
}

function positive(name: string, option: string, value: number): void {
  if (!(value > 0 && value < Infinity)) throw new OptionError('ERR_OPTION', `${name}: ${option} must be a positive number, got ${value}`)
}

/**
 * Squared difference.
 *
 * @example
 * mse(tensor([1, 3]), tensor([0, 1])).item()   // 2.5
 */
export function mse(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  same('mse', x, target, reduction)
  return scope(() => reduce(square(sub(x, target)), reduction))
}

/**
 * Absolute difference; gradient 0 where both are equal.
 *
 * @example
 * l1Loss(tensor([1, 3]), tensor([0, 1])).item()   // 1.5
 */
export function l1Loss(x: Tensor, target: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  same('l1Loss', x, target, reduction)
  return scope(() => reduce(abs(sub(x, target)), reduction))
}

/**
 * d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) above (Huber 1964), d = x - target.
 *
 * @example
 * huberLoss(tensor([3]), tensor([0]), { delta: 1 }).item()   // 2.5
 */
export function huberLoss(
  x: Tensor,
  target: Tensor,
  { reduction = 'mean', delta = 1 }: LossOptions & { readonly delta?: number } = {},
): Tensor {
  same('huberLoss', x, target, reduction)
  positive('huberLoss', 'delta', delta)
  return scope(() => {
    // With c the limited difference both branches are c (d - c / 2).
    const d = sub(x, target)
    const c = clip(d, -delta, delta)
    return reduce(mul(c, sub(d, scaleShift(c, 0.5))), reduction)
  })
}

/**
 * d^2 / (2 beta) for |d| < beta, |d| - beta / 2 above (Girshick 2015): huberLoss / beta.
 *
 * @example
 * smoothL1Loss(tensor([3]), tensor([0])).item()   // 2.5
 */
export function smoothL1Loss(
  x: Tensor,
  target: Tensor,
  { reduction = 'mean', beta = 1 }: LossOptions & { readonly beta?: number } = {},
): Tensor {
  same('smoothL1Loss', x, target, reduction)
  positive('smoothL1Loss', 'beta', beta)
  return scope(() => scaleShift(huberLoss(x, target, { reduction, delta: beta }), 1 / beta))
}

export interface BceOptions extends LossOptions {
  /** Weight of the positive class, broadcast against the logits. */
  readonly positiveWeight?: Tensor
}

/**
 * Cross-entropy of yes-no logits with targets in [0, 1], without overflow: (1 - t) x + (1 + (w - 1) t) log(1 + e^-x).
 *
 * @example
 * bceWithLogits(tensor([0]), tensor([1])).item()   // 0.693147...
 */
export function bceWithLogits(logits: Tensor, target: Tensor, { reduction = 'mean', positiveWeight }: BceOptions = {}): Tensor {
  same('bceWithLogits', logits, target, reduction)
  return scope(() => {
    let tail = softplus(neg(logits))
    if (positiveWeight) tail = mul(tail, scaleShift(mul(target, scaleShift(positiveWeight, 1, -1)), 1, 1))
    return reduce(add(mul(scaleShift(target, -1, 1), logits), tail), reduction)
  })
}

export interface KlOptions {
  /** 'batchMean' divides the sum by the size of the first dimension, as the definition wants. Default 'mean': over all elements. */
  readonly reduction?: Reduction | 'batchMean'
  /** The target is given as logarithms. */
  readonly logTarget?: boolean
}

/**
 * Kullback-Leibler divergence of log-probabilities from a target distribution, element by element: t (log t - x). Where t is 0 the loss is 0.
 *
 * @example
 * klLoss(tensor([-1]), tensor([1]), { reduction: 'sum' }).item()   // 1
 */
export function klLoss(logProbabilities: Tensor, target: Tensor, { reduction = 'mean', logTarget = false }: KlOptions = {}): Tensor {
  same('klLoss', logProbabilities, target, reduction === 'batchMean' ? 'sum' : reduction)
  if (reduction === 'batchMean' && !(logProbabilities.shape[0]! > 0))
    throw new ShapeError('ERR_SHAPE', `klLoss: batchMean needs a first dimension, got ${logProbabilities}`)
  return scope(() => {
    let loss: Tensor
    if (logTarget) loss = mul(exp(target), sub(target, logProbabilities))
    else {
      const none = zeros([], target.dtype)
      const some = greater(target, none)
      // log t only where t > 0: neither value nor gradient meets log 0.
      loss = where(some, mul(target, sub(log(where(some, target, scaleShift(none, 1, 1))), logProbabilities)), none)
    }
    if (reduction !== 'batchMean') return reduce(loss, reduction)
    return scaleShift(sum(loss), 1 / logProbabilities.shape[0]!)
  })
}

/** Sums of products and squares over `axis`, kept apart from 0 by eps. */
function cosine(a: Tensor, b: Tensor, axis: number, eps: number): Tensor {
  const length = (t: Tensor): Tensor => sqrt(clip(sum(mul(t, t), [axis]), eps * eps, Infinity))
  return div(sum(mul(a, b), [axis]), mul(length(a), length(b)))
}

/**
 * Cosine of the angle between a and b along `axis`: a b / (max(|a|, eps) max(|b|, eps)).
 *
 * @example
 * cosineSimilarity(tensor([[3, 4]]), tensor([[4, 3]])).toArray()   // [0.96]
 */
export function cosineSimilarity(a: Tensor, b: Tensor, { axis = -1, eps = 1e-8 }: { axis?: number; eps?: number } = {}): Tensor {
  same('cosineSimilarity', a, b, 'none')
  positive('cosineSimilarity', 'eps', eps)
  return scope(() => cosine(a, b, axis, eps))
}

/**
 * 1 - cos(a, b) for pairs labelled 1, max(0, cos(a, b) - margin) for those labelled -1; a, b [B, D], labels [B] in the dtype of a.
 *
 * @example
 * cosineEmbeddingLoss(tensor([[1, 0]]), tensor([[0, 1]]), tensor([1])).item()   // 1
 */
export function cosineEmbeddingLoss(
  a: Tensor,
  b: Tensor,
  labels: Tensor,
  { reduction = 'mean', margin = 0 }: LossOptions & { readonly margin?: number } = {},
): Tensor {
  same('cosineEmbeddingLoss', a, b, reduction)
  if (a.rank !== 2 || labels.rank !== 1 || labels.size !== a.shape[0])
    throw new ShapeError('ERR_SHAPE', `cosineEmbeddingLoss: a and b must be [B, D] and labels [B], got ${a}, ${b} and ${labels}`)
  return scope(() => {
    const c = cosine(a, b, -1, 1e-8)
    return reduce(where(relu(labels), scaleShift(c, -1, 1), relu(scaleShift(c, 1, -margin))), reduction)
  })
}

/**
 * max(0, margin - label (a - b)): a should rank above b where the label is 1, below where it is -1.
 *
 * @example
 * marginRankingLoss(tensor([1]), tensor([3]), tensor([1])).item()   // 2
 */
export function marginRankingLoss(
  a: Tensor,
  b: Tensor,
  labels: Tensor,
  { reduction = 'mean', margin = 0 }: LossOptions & { readonly margin?: number } = {},
): Tensor {
  same('marginRankingLoss', a, b, reduction)
  if (!a.sameShape(labels)) throw new ShapeError('ERR_SHAPE', `marginRankingLoss: labels must have the shape of a, got ${labels} and ${a}`)
  return scope(() => reduce(relu(scaleShift(mul(labels, sub(a, b)), -1, margin)), reduction))
}

/**
 * max(0, |anchor - positive| - |anchor - negative| + margin) with Euclidean distances over the last axis (Schroff et al. 2015); 1e-6 is added to each
 * difference, so that the gradient exists where points meet.
 *
 * @example
 * tripletMarginLoss(tensor([[0, 0]]), tensor([[3, 4]]), tensor([[0, 2]])).item()   // 4.0000...
 */
export function tripletMarginLoss(
  anchor: Tensor,
  positiveSample: Tensor,
  negativeSample: Tensor,
  { reduction = 'mean', margin = 1 }: LossOptions & { readonly margin?: number } = {},
): Tensor {
  same('tripletMarginLoss', anchor, positiveSample, reduction)
  same('tripletMarginLoss', anchor, negativeSample, reduction)
  if (anchor.rank < 1) throw new ShapeError('ERR_SHAPE', `tripletMarginLoss: points must have an axis, got ${anchor}`)
  return scope(() => {
    const distance = (t: Tensor): Tensor => sqrt(sum(square(scaleShift(sub(anchor, t), 1, 1e-6)), [-1]))
    return reduce(relu(scaleShift(sub(distance(positiveSample), distance(negativeSample)), 1, margin)), reduction)
  })
}

/**
 * max(0, 1 - label x) for labels -1 and 1.
 *
 * @example
 * hingeLoss(tensor([0.5, 2]), tensor([1, 1])).item()   // 0.25
 */
export function hingeLoss(x: Tensor, labels: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  same('hingeLoss', x, labels, reduction)
  return scope(() => reduce(relu(scaleShift(mul(labels, x), -1, 1)), reduction))
}
