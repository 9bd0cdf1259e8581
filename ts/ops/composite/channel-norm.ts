/** Normalisation over groups of channels: group norm (Wu, He 2018) and instance norm (Ulyanov et al. 2016). */
import { add, reshape } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { mul } from '../arithmetic.js'
import { layerNorm } from '../layer-norm.js'

/** [C] -> [1, C, 1, ...] so that it broadcasts against x. */
function perChannel(where: string, name: string, t: Tensor, x: Tensor): Tensor {
  if (t.rank !== 1 || t.size !== x.shape[1])
    throw new ShapeError('ERR_SHAPE', `${where}: ${name} must have one value per channel, got ${t} (x: ${x})`)
  return reshape(
    t,
    x.shape.map((_, i) => (i === 1 ? t.size : 1)),
  )
}

/**
 * x [B, C, ...] normalised over each of `groups` runs of C / groups channels of each example, then gamma [C] and beta [C] per channel.
 * C must be a multiple of groups (ERR_OPTION); nothing to average is ERR_SHAPE.
 *
 * @example
 * groupNorm(ones([2, 6, 4, 4]), 3).shape   // [2, 6, 4, 4]
 */
export function groupNorm(x: Tensor, groups: number, gamma: Tensor | null = null, beta: Tensor | null = null, eps = 1e-5): Tensor {
  if (x.rank < 2) throw new ShapeError('ERR_SHAPE', `groupNorm: x must be [B, C, ...], got ${x}`)
  const [b, c] = x.shape as [number, number]
  if (!Number.isInteger(groups) || groups < 1 || c % groups !== 0)
    throw new OptionError('ERR_OPTION', `groupNorm: groups must be a divisor of the ${c} channels, got ${groups}`)
  const inner = (c / groups) * x.shape.slice(2).reduce((n, d) => n * d, 1)
  if (inner === 0) throw new ShapeError('ERR_SHAPE', `groupNorm: there is nothing to average in ${x}`)
  return scope(() => {
    let y = reshape(layerNorm(reshape(x, [b * groups, inner]), null, null, eps), x.shape)
    if (gamma) y = mul(y, perChannel('groupNorm', 'gamma', gamma, x))
    if (beta) y = add(y, perChannel('groupNorm', 'beta', beta, x))
    return y
  })
}

/**
 * x [B, C, ...] normalised over each channel of each example.
 *
 * @example
 * instanceNorm(ones([2, 3, 8])).shape   // [2, 3, 8]
 */
export function instanceNorm(x: Tensor, gamma: Tensor | null = null, beta: Tensor | null = null, eps = 1e-5): Tensor {
  if (x.rank < 3) throw new ShapeError('ERR_SHAPE', `instanceNorm: x must be [B, C, ...] with something behind the channels, got ${x}`)
  if (x.shape[1] === 0) throw new ShapeError('ERR_SHAPE', `instanceNorm: there is nothing to average in ${x}`)
  return groupNorm(x, x.shape[1]!, gamma, beta, eps)
}
