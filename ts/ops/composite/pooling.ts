/** Pooling as users call it: images [B, C, H, W] and sequences [B, C, L], windows with padding and ceil mode, adaptive and global. */
import { reshape, slice } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import { pair, type Pair } from '../conv2d.js'
import { matmul } from '../matmul.js'
import { inDType } from '../memory.js'
import { avgPoolOp, maxPoolOp } from '../pool2d.js'
import { amax } from '../reduce.js'
import { concat, stack } from './concat.js'
import { mean } from './moments.js'

export interface PoolOptions {
  /** Default: the kernel, so that windows do not overlap. */
  readonly stride?: Pair
  /** On each side, at most half of the kernel. It never wins a maximum; in a mean it counts as zeros unless `countPadding` is false. */
  readonly padding?: Pair
  /** Also a last window that begins inside but reaches over the end. */
  readonly ceil?: boolean
}
export interface AvgPoolOptions extends PoolOptions {
  /** Default true: the mean is taken over data and padding. false: over data only. */
  readonly countPadding?: boolean
}

/** Stride and options: a stride alone may stand for them. */
function resolve(
  kernel: Pair,
  given: Pair | PoolOptions,
): [kernel: readonly number[], stride: readonly number[], padding: readonly number[], ceil: boolean] {
  const options: PoolOptions = typeof given === 'number' || Array.isArray(given) ? { stride: given as Pair } : (given as PoolOptions)
  const { stride = kernel, padding = 0, ceil = false } = options
  return [pair(kernel), pair(stride), pair(padding), ceil]
}

/**
 * Largest element of each window (the first of equals) and its flat position in the H x W plane, i32.
 *
 * @example
 * maxPool2dWithIndex(zeros([1, 1, 4, 4]), 2)[0].shape   // [1, 1, 2, 2]
 */
export function maxPool2dWithIndex(x: Tensor, kernel: Pair, options: Pair | PoolOptions = {}): [y: Tensor, index: Tensor] {
  return maxPoolOp(x, ...resolve(kernel, options))
}

/**
 * Largest element of each window of x [B, C, H, W] -> [B, C, H', W'], H' = floor((H + 2 padding - kernel) / stride) + 1 (ceil with `ceil`).
 * `options` may be a stride. A window that does not fit is ERR_SHAPE.
 *
 * @example
 * maxPool2d(zeros([1, 64, 112, 112]), 3, { stride: 2, padding: 1 }).shape   // [1, 64, 56, 56]
 */
export function maxPool2d(x: Tensor, kernel: Pair, options: Pair | PoolOptions = {}): Tensor {
  return scope(() => maxPool2dWithIndex(x, kernel, options)[0])
}

/**
 * Mean of each window of x [B, C, H, W].
 *
 * @example
 * avgPool2d(zeros([1, 8, 7, 7]), 2, { ceil: true }).shape   // [1, 8, 4, 4]
 */
export function avgPool2d(x: Tensor, kernel: Pair, options: Pair | AvgPoolOptions = {}): Tensor {
  const counted = typeof options === 'object' && 'countPadding' in options ? (options.countPadding ?? true) : true
  return avgPoolOp(x, ...resolve(kernel, options), counted)
}

export interface Pool1dOptions {
  readonly stride?: number
  readonly padding?: number
  readonly ceil?: boolean
}
export interface AvgPool1dOptions extends Pool1dOptions {
  readonly countPadding?: boolean
}

/** Runs an operation on images of one row. */
function onRow(where: string, x: Tensor, f: (row: Tensor) => Tensor): Tensor {
  if (x.rank !== 3) throw new ShapeError('ERR_SHAPE', `${where}: x must be [B, C, L], got ${x}`)
  return scope(() => {
    const y = f(reshape(x, [x.shape[0]!, x.shape[1]!, 1, x.shape[2]!]))
    return reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!])
  })
}
const flat = ({ stride, padding = 0, ceil = false }: Pool1dOptions, kernel: number): Required<PoolOptions> => ({
  stride: [1, stride ?? kernel],
  padding: [0, padding],
  ceil,
})

/**
 * Largest element of each window of x [B, C, L].
 *
 * @example
 * maxPool1d(tensor([[[1, 3, 2, 5]]]), 2).toArray()   // [[[3, 5]]]
 */
export function maxPool1d(x: Tensor, kernel: number, options: Pool1dOptions = {}): Tensor {
  return onRow('maxPool1d', x, (row) => maxPool2d(row, [1, kernel], flat(options, kernel)))
}

/**
 * Mean of each window of x [B, C, L].
 *
 * @example
 * avgPool1d(tensor([[[1, 3, 2, 5]]]), 2).toArray()   // [[[2, 3.5]]]
 */
export function avgPool1d(x: Tensor, kernel: number, options: AvgPool1dOptions = {}): Tensor {
  const { countPadding = true } = options
  return onRow('avgPool1d', x, (row) => avgPool2d(row, [1, kernel], { ...flat(options, kernel), countPadding }))
}

function checkAdaptive(where: string, x: Tensor, size: Pair): readonly [number, number] {
  const [h, w] = pair(size)
  if (![h, w].every((n) => Number.isInteger(n) && n > 0 && n < 2 ** 24))
    throw new OptionError('ERR_OPTION', `${where}: size must be positive integers, got ${JSON.stringify(size)}`)
  if (x.rank !== 4 || x.shape[2] === 0 || x.shape[3] === 0)
    throw new ShapeError('ERR_SHAPE', `${where}: x must be [B, C, H, W] with H, W >= 1, got ${x}`)
  return [h, w]
}

/** Windows that cut `size` in n parts: [floor(i size / n), ceil((i + 1) size / n)). */
const windows = (size: number, n: number): readonly (readonly [begin: number, end: number])[] =>
  Array.from({ length: n }, (_, i) => [Math.floor((i * size) / n), Math.ceil(((i + 1) * size) / n)] as const)

/** [n, size] with the mean of window i in row i. */
function averaging(size: number, n: number, like: Tensor): Tensor {
  const data = new Float64Array(n * size)
  windows(size, n).forEach(([a, b], i) => data.fill(1 / (b - a), i * size + a, i * size + b))
  return inDType(tensor(data, [n, size]), like.dtype)
}

/**
 * Mean over windows that cut x [B, C, H, W] in `size` parts, also where they do not divide it -> [B, C, size, size].
 *
 * @example
 * adaptiveAvgPool2d(zeros([2, 512, 7, 7]), 1).shape   // [2, 512, 1, 1]
 */
export function adaptiveAvgPool2d(x: Tensor, size: Pair): Tensor {
  const [h, w] = checkAdaptive('adaptiveAvgPool2d', x, size)
  const [height, width] = [x.shape[2]!, x.shape[3]!]
  if (h === 1 && w === 1) return scope(() => mean(x, [2, 3], true))
  if (height % h === 0 && width % w === 0) return avgPool2d(x, [height / h, width / w])
  return scope(() => matmul(matmul(averaging(height, h, x), x), averaging(width, w, x), false, true))
}

/**
 * Largest element of the windows of `adaptiveAvgPool2d`.
 *
 * @example
 * adaptiveMaxPool2d(zeros([2, 16, 5, 7]), [2, 3]).shape   // [2, 16, 2, 3]
 */
export function adaptiveMaxPool2d(x: Tensor, size: Pair): Tensor {
  const [h, w] = checkAdaptive('adaptiveMaxPool2d', x, size)
  const [b, c, height, width] = x.shape as [number, number, number, number]
  if (height % h === 0 && width % w === 0) return maxPool2d(x, [height / h, width / w])
  return scope(() =>
    concat(
      windows(height, h)
        .map(([top, bottom]) =>
          stack(
            windows(width, w).map(([left, right]) => amax(slice(x, [0, 0, top, left], [b, c, bottom - top, right - left]), [2, 3])),
            -1,
          ),
        )
        .map((row) => reshape(row, [b, c, 1, w])),
      2,
    ),
  )
}

/** Mean of each channel of x [B, C, ...] -> [B, C]. */
export function globalAvgPool(x: Tensor): Tensor {
  return mean(x, spatial('globalAvgPool', x))
}

/** Largest element of each channel of x [B, C, ...] -> [B, C]. */
export function globalMaxPool(x: Tensor): Tensor {
  return amax(x, spatial('globalMaxPool', x))
}

function spatial(where: string, x: Tensor): readonly number[] {
  if (x.rank < 3) throw new ShapeError('ERR_SHAPE', `${where}: x must be [B, C, ...] with at least one more dimension, got ${x}`)
  return x.shape.slice(2).map((_, i) => i + 2)
}
