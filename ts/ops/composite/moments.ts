/** Mean and variance over axes ([] = all). */
import { ShapeError } from '../../base/errors.js'
import { normalizeAxis } from '../../base/shape.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { mul, scaleShift, sub } from '../arithmetic.js'
import { sum } from '../reduce.js'

function count(where: string, x: Tensor, axes: readonly number[]): number {
  const n = axes.length === 0 ? x.size : axes.reduce((m, a) => m * x.shape[normalizeAxis(where, a, x.rank)]!, 1)
  if (n === 0) throw new ShapeError('ERR_SHAPE', `${where}: there is nothing to average in ${x} over axes [${axes}]`)
  return n
}

export function mean(x: Tensor, axes: readonly number[] = [], keepDims = false): Tensor {
  const n = count('mean', x, axes)
  return scope(() => scaleShift(sum(x, axes, keepDims), 1 / n))
}

/** Mean squared distance from the mean; `correction` 1 divides by n - 1. */
export function variance(
  x: Tensor,
  axes: readonly number[] = [],
  { keepDims = false, correction = 0 }: { keepDims?: boolean; correction?: number } = {},
): Tensor {
  const n = count('variance', x, axes)
  if (!(correction >= 0 && correction < n))
    throw new ShapeError('ERR_SHAPE', `variance: correction must be in [0, ${n}), got ${correction} (x: ${x})`)
  return scope(() => {
    const centred = sub(x, mean(x, axes, true))
    return scaleShift(sum(mul(centred, centred), axes, keepDims), 1 / (n - correction))
  })
}
