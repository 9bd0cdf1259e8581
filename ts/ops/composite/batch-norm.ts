/** Batch normalisation (Ioffe, Szegedy 2015, algorithm 1) of x [B, C, ...] per channel. */
import { add, reshape } from '../../autograd/index.js'
import { ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { mul, scaleShift, sub } from '../arithmetic.js'
import { batchNormOp } from '../batch-norm.js'
import { relu } from '../piecewise.js'
import { reciprocal, sqrt } from '../smooth.js'
import { mean } from './moments.js'

export interface BatchNormResult {
  readonly y: Tensor
  /** Statistics of this batch, [C]: variance divided by n (not n - 1). For running averages; constant to the tape. */
  readonly mean: Tensor
  readonly variance: Tensor
}

/** [C] -> [1, C, 1, ...] so that it broadcasts against x. */
function perChannel(where: string, name: string, t: Tensor, x: Tensor): Tensor {
  if (t.rank !== 1 || t.size !== x.shape[1])
    throw new ShapeError('ERR_SHAPE', `${where}: ${name} must have one value per channel, got ${t} (x: ${x})`)
  return reshape(
    t,
    x.shape.map((_, i) => (i === 1 ? t.size : 1)),
  )
}

function check(where: string, x: Tensor): void {
  if (x.rank < 2) throw new ShapeError('ERR_SHAPE', `${where}: x must be [B, C, ...], got ${x}`)
}

/** Below this many elements per channel and example, [B, C] above all, whole-tensor passes beat walking each channel. */
const SHORT = 16

/** What follows a batch norm at once. */
export interface BatchNormThen {
  /** Added to the result; of x's shape. */
  readonly residual?: Tensor | null
  /** max(0, .) of that. */
  readonly relu?: boolean
}

/**
 * Training: normalises with the statistics of the batch, which must have something to average (ERR_SHAPE). With `then`,
 * y = relu(norm(x) + residual), or one of both, in the same passes over memory; values and gradients are those of the separate ops. A residual of another
 * shape: ERR_SHAPE.
 *
 * @example
 * batchNorm(tensor([[1], [3]]), null, null, 0).y.toArray()                    // [[-1], [1]]
 * batchNorm(tensor([[1], [3]]), null, null, 0, { relu: true }).y.toArray()    // [[0], [1]]
 */
export function batchNorm(
  x: Tensor,
  gamma: Tensor | null = null,
  beta: Tensor | null = null,
  eps = 1e-5,
  then: BatchNormThen = {},
): BatchNormResult {
  check('batchNorm', x)
  const { residual = null, relu: clamped = false } = then
  if (residual && !residual.sameShape(x)) throw new ShapeError('ERR_SHAPE', `batchNorm: residual must be like x ${x}, got ${residual}`)
  return scope(() => {
    if (x.shape.slice(2).reduce((n, d) => n * d, 1) >= SHORT) {
      const [y, centre, spread] = batchNormOp(x, gamma, beta, residual, eps, clamped)
      return { y, mean: centre, variance: spread }
    }
    const axes = x.shape.map((_, i) => i).filter((i) => i !== 1)
    const centre = mean(x, axes, true)
    const centred = sub(x, centre)
    const spread = mean(mul(centred, centred), axes, true)
    let y = mul(centred, reciprocal(sqrt(scaleShift(spread, 1, eps))))
    if (gamma) y = mul(y, perChannel('batchNorm', 'gamma', gamma, x))
    if (beta) y = add(y, perChannel('batchNorm', 'beta', beta, x))
    if (residual) y = add(y, residual)
    if (clamped) y = relu(y)
    return { y, mean: reshape(centre, [x.shape[1]!]).alias(), variance: reshape(spread, [x.shape[1]!]).alias() }
  })
}

export interface RunningStatistics {
  readonly mean: Tensor
  readonly variance: Tensor
}

/** Inference as one multiply-add: scale = gamma / sqrt(variance + eps), shift = beta - mean * scale, both [C]. */
export function foldBatchNorm(
  running: RunningStatistics,
  gamma: Tensor | null = null,
  beta: Tensor | null = null,
  eps = 1e-5,
): { scale: Tensor; shift: Tensor } {
  return scope(() => {
    const inverse = reciprocal(sqrt(scaleShift(running.variance, 1, eps)))
    const scale = gamma ? mul(gamma, inverse) : inverse
    const moved = mul(running.mean, scale)
    return { scale, shift: beta ? sub(beta, moved) : scaleShift(moved, -1) }
  })
}

/** Inference: normalises with running statistics [C]. */
export function batchNormInference(
  x: Tensor,
  running: RunningStatistics,
  gamma: Tensor | null = null,
  beta: Tensor | null = null,
  eps = 1e-5,
): Tensor {
  check('batchNormInference', x)
  return scope(() => {
    const { scale, shift } = foldBatchNorm(running, gamma, beta, eps)
    return add(mul(x, perChannel('batchNormInference', 'scale', scale, x)), perChannel('batchNormInference', 'shift', shift, x))
  })
}
