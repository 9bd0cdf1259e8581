/** Small compositions that everyone needs. Inside `scope` their temporaries are freed at once, or with the tape when one is open. */
import { add, reshape } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { normalizeAxis } from '../../base/shape.js'
import { ones, scope, type Tensor } from '../../tensor/index.js'
import { mul, scaleShift } from '../arithmetic.js'
import { sum } from '../reduce.js'
import { reciprocal, sqrt } from '../smooth.js'

export function square(x: Tensor): Tensor {
  return mul(x, x)
}

/** x to the power n, an integer in [-64, 64], by repeated squaring. */
export function pow(x: Tensor, n: number): Tensor {
  if (!Number.isInteger(n) || Math.abs(n) > 64)
    throw new OptionError('ERR_OPTION', `pow: n must be an integer in [-64, 64], got ${n} (x: ${x})`)
  return scope(() => {
    if (n === 0) return ones(x.shape, x.dtype)
    let result: Tensor | undefined
    for (let base = x, e = Math.abs(n); ; base = mul(base, base)) {
      if (e % 2 === 1) result = result ? mul(result, base) : base
      e = Math.floor(e / 2)
      if (e === 0) break
    }
    // The power 1 is x itself: a result must be a tensor of its own.
    return n < 0 ? reciprocal(result!) : result === x ? reshape(x, x.shape) : result!
  })
}

/** Sum of products of all elements, a scalar. */
export function dot(a: Tensor, b: Tensor): Tensor {
  if (!a.sameShape(b)) throw new ShapeError('ERR_SHAPE', `dot: shapes must be equal, got ${a} and ${b}`)
  return scope(() => sum(mul(a, b)))
}

/** Euclidean norm over `axes` ([] = all). Its gradient at exactly 0 is NaN. */
export function norm(x: Tensor, axes: readonly number[] = [], keepDims = false): Tensor {
  return scope(() => sqrt(sum(mul(x, x), axes, keepDims)))
}

/** Element-wise mean of tensors of one shape. */
export function average(list: readonly Tensor[]): Tensor {
  if (list.length === 0) throw new ShapeError('ERR_SHAPE', 'average: the list must not be empty')
  return scope(() =>
    scaleShift(
      list.reduce((a, b) => add(a, b)),
      1 / list.length,
    ),
  )
}

/** Dimensions `start` to `end` (inclusive) as one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.rank === 0) return reshape(x, [1])
  const a = normalizeAxis('flatten', start, x.rank)
  const b = normalizeAxis('flatten', end, x.rank)
  if (a > b) throw new ShapeError('ERR_SHAPE', `flatten: start must not be behind end, got ${start} and ${end} (x: ${x})`)
  return reshape(x, [...x.shape.slice(0, a), x.shape.slice(a, b + 1).reduce((n, d) => n * d, 1), ...x.shape.slice(b + 1)])
}

/** The same values, constant to every tape. */
export function stopGradient(x: Tensor): Tensor {
  return x.alias()
}
