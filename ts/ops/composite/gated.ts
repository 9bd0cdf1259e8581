/** Gates, and convolutions whose kernel is normalised by softmax. */
import { add, permute, reshape, slice } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { normalizeAxis } from '../../base/shape.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { mul, sub } from '../arithmetic.js'
import { gelu, silu } from '../nonlinear.js'
import { padSlice } from '../../autograd/index.js'
import { sigmoid } from '../smooth.js'
import { softmaxLast } from '../softmax.js'
import { conv1d, sides1d, type Padding1d } from './convolution.js'
import { repeatInterleave, split } from './shape.js'

function halves(where: string, x: Tensor, axis: number): [Tensor, Tensor] {
  const at = normalizeAxis(where, axis, x.rank)
  const n = x.shape[at]!
  if (n % 2 !== 0) throw new ShapeError('ERR_SHAPE', `${where}: axis ${axis} of ${x} must have an even size`)
  return split(x, [n / 2, n / 2], at) as [Tensor, Tensor]
}

/**
 * a sigmoid(b) with a, b the halves of x along `axis` (Dauphin et al. 2017).
 *
 * @example
 * glu(tensor([4, 0])).toArray()   // [2]
 */
export function glu(x: Tensor, axis = -1): Tensor {
  return scope(() => {
    const [a, b] = halves('glu', x, axis)
    return mul(a, sigmoid(b))
  })
}

/**
 * a silu(b) with a, b the halves of x along `axis` (Shazeer 2020).
 *
 * @example
 * swiglu(tensor([4, 0])).toArray()   // [0]
 */
export function swiglu(x: Tensor, axis = -1): Tensor {
  return scope(() => {
    const [a, b] = halves('swiglu', x, axis)
    return mul(a, silu(b))
  })
}

/**
 * a gelu(b) with a, b the halves of x along `axis` (Shazeer 2020).
 *
 * @example
 * geglu(tensor([4, 0])).toArray()   // [0]
 */
export function geglu(x: Tensor, axis = -1): Tensor {
  return scope(() => {
    const [a, b] = halves('geglu', x, axis)
    return mul(a, gelu(b))
  })
}

/**
 * gate y + (1 - gate) x, the gate in [0, 1] (Srivastava et al. 2015, eq. 3): what passes through a layer y and what goes around it.
 *
 * @example
 * highway(tensor([1]), tensor([3]), tensor([0.5])).toArray()   // [2]
 */
export function highway(x: Tensor, y: Tensor, gate: Tensor): Tensor {
  return scope(() => add(x, mul(gate, sub(y, x))))
}

function checkHeads(where: string, x: Tensor, heads: number): [b: number, t: number, c: number] {
  if (x.rank !== 3 || heads < 1 || x.shape[2]! % heads !== 0)
    throw new ShapeError('ERR_SHAPE', `${where}: x must be [B, T, C] with C a multiple of ${heads} heads, got ${x}`)
  return x.shape as unknown as [number, number, number]
}

/**
 * Depthwise convolution over time whose kernel [heads, k] is normalised by softmax and shared by the C / heads channels of a head (Wu et al. 2019, eq. 5);
 * x [B, T, C] -> [B, T, C]. Padding 'same' sees both sides, 'causal' the past only.
 *
 * @example
 * lightweightConv(ones([1, 4, 6]), zeros([2, 3]), { padding: 'causal' }).shape   // [1, 4, 6]
 */
export function lightweightConv(x: Tensor, kernel: Tensor, { padding = 'same' }: { padding?: 'same' | 'causal' } = {}): Tensor {
  if (kernel.rank !== 2 || kernel.shape[1] === 0)
    throw new ShapeError('ERR_SHAPE', `lightweightConv: the kernel must be [heads, k] with k >= 1, got ${kernel}`)
  const [, , c] = checkHeads('lightweightConv', x, kernel.shape[0]!)
  return scope(() => {
    const each = repeatInterleave(softmaxLast(kernel), c / kernel.shape[0]!)
    const y = conv1d(permute(x, [0, 2, 1]), reshape(each, [c, 1, kernel.shape[1]!]), null, { padding, groups: c })
    return permute(y, [0, 2, 1])
  })
}

/**
 * As `lightweightConv` with a kernel of its own for each place, weights [B, T, heads, k], which a layer predicts from x (Wu et al. 2019, eq. 6):
 * y[b, t, c] = sum over j of softmax(weights)[b, t, head, j] x[b, t + j - left, c].
 *
 * @example
 * dynamicConv(ones([1, 4, 6]), zeros([1, 4, 2, 3]), { padding: 'causal' }).shape   // [1, 4, 6]
 */
export function dynamicConv(x: Tensor, weights: Tensor, { padding = 'same' }: { padding?: Extract<Padding1d, string> } = {}): Tensor {
  if (weights.rank !== 4 || weights.shape[3] === 0)
    throw new ShapeError('ERR_SHAPE', `dynamicConv: weights must be [B, T, heads, k] with k >= 1, got ${weights}`)
  const [wb, wt, heads, k] = weights.shape as [number, number, number, number]
  const [b, t, c] = checkHeads('dynamicConv', x, heads)
  if (wb !== b || wt !== t)
    throw new ShapeError('ERR_SHAPE', `dynamicConv: x [B, T, C] and weights [B, T, heads, k] do not fit, got ${x} and ${weights}`)
  if (padding !== 'same' && padding !== 'causal')
    throw new OptionError('ERR_OPTION', `dynamicConv: padding must be 'same' or 'causal', got ${String(padding)}`)
  return scope(() => {
    const [left, right] = sides1d('dynamicConv', padding, t, k, 1, 1)
    const wide = padSlice(x, [b, t + left + right, c], [0, left, 0])
    const shares = softmaxLast(weights)
    let y: Tensor | undefined
    for (let j = 0; j < k; j++) {
      const moved = reshape(slice(wide, [0, j, 0], [b, t, c]), [b, t, heads, c / heads])
      const part = mul(moved, slice(shares, [0, 0, 0, j], [b, t, heads, 1]))
      y = y ? add(y, part) : part
    }
    return reshape(y!, [b, t, c])
  })
}
