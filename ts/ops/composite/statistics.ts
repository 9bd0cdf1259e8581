/** Reductions made of others. Axes as in `sum`: [] = all, negative ones count from the end. */
import { permute, reshape, slice } from '../../autograd/index.js'
import { ShapeError } from '../../base/errors.js'
import { normalizeAxis } from '../../base/shape.js'
import { ones, scope, type Tensor } from '../../tensor/index.js'
import { add } from '../../autograd/index.js'
import { mul, neg, sub } from '../arithmetic.js'
import { clip } from '../piecewise.js'
import { amax, argmax, sum } from '../reduce.js'
import { exp, log, sqrt } from '../smooth.js'
import { stopGradient } from './elementary.js'
import { variance } from './moments.js'

/**
 * Square root of the variance; `correction` 1 divides by n - 1. Its gradient where the variance is exactly 0 is NaN.
 *
 * @example
 * std(tensor([1, 3])).item()   // 1
 */
export function std(x: Tensor, axes: readonly number[] = [], options: { keepDims?: boolean; correction?: number } = {}): Tensor {
  return scope(() => sqrt(variance(x, axes, options)))
}

/**
 * log of the sum of e^x without overflow; -Infinity where all are. Nothing to sum is ERR_SHAPE.
 *
 * @example
 * logSumExp(tensor([1000, 1000])).item()   // 1000.693...
 */
export function logSumExp(x: Tensor, axes: readonly number[] = [], keepDims = false): Tensor {
  return scope(() => {
    // A finite shift keeps rows of -Infinity (and one +Infinity) free of NaN.
    const most = clip(amax(stopGradient(x), axes, true), -3e38, 3e38)
    const y = log(sum(exp(sub(x, most)), axes, keepDims))
    return add(y, keepDims ? most : reshape(most, y.shape))
  })
}

/**
 * Product over one axis, or of all elements (no axis). The gradient is exact also where elements are 0: it is made of products of the others.
 *
 * @example
 * prod(tensor([2, 3, 4])).item()   // 24
 */
export function prod(x: Tensor, axis?: number, keepDims = false): Tensor {
  return scope(() => {
    if (axis === undefined) {
      const all = prod(reshape(x, [x.size]), 0)
      return keepDims
        ? reshape(
            all,
            x.shape.map(() => 1),
          )
        : all
    }
    const at = normalizeAxis('prod', axis, x.rank)
    const part = (t: Tensor, from: number, count: number): Tensor =>
      slice(
        t,
        t.shape.map((_, i) => (i === at ? from : 0)),
        t.shape.map((d, i) => (i === at ? count : d)),
      )
    const rest = x.shape.map((d, i) => (i === at ? 1 : d))
    let y = x.shape[at] === 0 ? ones(rest, x.dtype) : x
    let odd: Tensor | undefined
    for (let n = y.shape[at]!; n > 1; n = Math.floor(n / 2)) {
      const half = Math.floor(n / 2)
      if (n % 2 === 1) odd = odd ? mul(odd, part(y, n - 1, 1)) : part(y, n - 1, 1)
      y = mul(part(y, 0, half), part(y, half, half))
    }
    if (odd) y = mul(y, odd)
    const shape = keepDims ? rest : rest.filter((_, i) => i !== at)
    return reshape(y, shape)
  })
}

/**
 * Position of the smallest element along `axis`, i32; the first of equals. Constant to the tape.
 *
 * @example
 * argmin(tensor([3, 1, 2])).item()   // 1
 */
export function argmin(x: Tensor, axis = -1): Tensor {
  if (x.rank === 0) throw new ShapeError('ERR_SHAPE', `argmin: x must have an axis, got ${x}`)
  const at = normalizeAxis('argmin', axis, x.rank)
  const order = [...x.shape.map((_, i) => i).filter((i) => i !== at), at]
  return scope(() => argmax(permute(neg(x), order)))
}
