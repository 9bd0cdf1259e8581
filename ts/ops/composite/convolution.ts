/**
 * Convolutions as users call them: one and two dimensions, groups, dilation, padding of each side or 'same', and the transposed forms. All are
 * cross-correlations, as everywhere in the field. The plain case runs on the op `conv2d`, the others on `conv2d_grouped`.
 */
import { add, reshape } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { conv2dPlain, pair, type Pair } from '../conv2d.js'
import { conv2dGrouped, conv2dGroupedGradInput } from '../conv2d-grouped.js'

/**
 * Zeros around an image: a size for all sides, one for height and one for width, or `[[top, bottom], [left, right]]`. 'same' gives
 * ceil(H / stride) rows and as many columns; of an odd number of zeros the larger half goes to the bottom and the right.
 */
export type Padding2d =
  Pair | readonly [height: readonly [top: number, bottom: number], width: readonly [left: number, right: number]] | 'same'
/** Zeros at both ends of a sequence: the same number, `[left, right]`, 'same', or 'causal' (all on the left: a value sees no later one). */
export type Padding1d = number | readonly [left: number, right: number] | 'same' | 'causal'

export interface Conv2dOptions {
  readonly stride?: Pair
  readonly padding?: Padding2d
  /** Distance between taps; 1 is dense. */
  readonly dilation?: Pair
  /** Input and output channels are cut in as many runs that see each other only; C groups are a depthwise convolution. */
  readonly groups?: number
}

export interface Conv1dOptions {
  readonly stride?: number
  readonly padding?: Padding1d
  readonly dilation?: number
  readonly groups?: number
}

const isSize = (n: unknown, least: number): n is number => Number.isInteger(n) && (n as number) >= least && (n as number) < 2 ** 24

function checkedPair(where: string, name: string, p: Pair, least: number): readonly [number, number] {
  const [h, w] = pair(p)
  if (!isSize(h, least) || !isSize(w, least))
    throw new OptionError('ERR_OPTION', `${where}: ${name} must be integers in [${least}, 2^24), got ${JSON.stringify(p)}`)
  return [h, w]
}

/** Zeros before and after one axis. */
type Sides = readonly [before: number, after: number]

function sameSides(size: number, kernel: number, stride: number, dilation: number): Sides {
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
  return [Math.floor(total / 2), Math.ceil(total / 2)]
}

/** @internal Zeros on the four sides of an image of `size` under a kernel. */
export function sides2d(
  where: string,
  padding: Padding2d,
  size: Sides,
  kernel: Sides,
  stride: Sides,
  dilation: Sides,
): readonly [height: Sides, width: Sides] {
  if (padding === 'same')
    return [sameSides(size[0], kernel[0], stride[0], dilation[0]), sameSides(size[1], kernel[1], stride[1], dilation[1])]
  const list: readonly unknown[] = typeof padding === 'number' ? [padding, padding] : Array.isArray(padding) ? (padding as unknown[]) : []
  const sides = list.map((p) => (typeof p === 'number' ? [p, p] : p)) as unknown as readonly [Sides, Sides]
  if (sides.length !== 2 || !sides.every((s) => Array.isArray(s) && s.length === 2 && s.every((n) => isSize(n, 0))))
    throw new OptionError(
      'ERR_OPTION',
      `${where}: padding must be 'same', integers in [0, 2^24) or [[top, bottom], [left, right]], got ${JSON.stringify(padding)}`,
    )
  return sides
}

function checkImage(where: string, x: Tensor, w: Tensor): void {
  if (x.rank !== 4 || w.rank !== 4)
    throw new ShapeError('ERR_SHAPE', `${where}: x must be [B, C, H, W] and w [O, C / groups, kh, kw], got ${x} and ${w}`)
}

/**
 * x [B, C, H, W] with filters w [O, C / groups, kh, kw] and bias [O] or null -> [B, O, H', W'] with
 * H' = floor((H + top + bottom - dilation (kh - 1) - 1) / stride) + 1. Shapes that do not fit are ERR_SHAPE, other values ERR_OPTION.
 *
 * @example
 * conv2d(zeros([1, 8, 32, 32]), zeros([8, 1, 3, 3]), null, { padding: 'same', groups: 8 }).shape   // [1, 8, 32, 32]
 */
export function conv2d(x: Tensor, w: Tensor, bias: Tensor | null = null, options: Conv2dOptions = {}): Tensor {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options
  checkImage('conv2d', x, w)
  const step = checkedPair('conv2d', 'stride', stride, 1)
  const gap = checkedPair('conv2d', 'dilation', dilation, 1)
  const [height, width] = sides2d('conv2d', padding, [x.shape[2]!, x.shape[3]!], [w.shape[2]!, w.shape[3]!], step, gap)
  if (groups === 1 && gap[0] === 1 && gap[1] === 1 && height[0] === height[1] && width[0] === width[1])
    return conv2dPlain(x, w, bias, step, [height[0], width[0]])
  return conv2dGrouped(x, w, bias, step, [...height, ...width], gap, groups)
}

/** [B, C, L] as an image of one row, [B, C, 1, L]. */
function asRow(where: string, name: string, t: Tensor): Tensor {
  if (t.rank !== 3) throw new ShapeError('ERR_SHAPE', `${where}: ${name} must have three dimensions, got ${t}`)
  return reshape(t, [t.shape[0]!, t.shape[1]!, 1, t.shape[2]!])
}

/** @internal Zeros at the ends of a sequence. */
export function sides1d(where: string, padding: Padding1d, size: number, kernel: number, stride: number, dilation: number): Sides {
  if (padding === 'same') return sameSides(size, kernel, stride, dilation)
  if (padding === 'causal') return [(kernel - 1) * dilation, 0]
  const sides = typeof padding === 'number' ? ([padding, padding] as const) : padding
  if (!Array.isArray(sides) || sides.length !== 2 || !sides.every((n) => isSize(n, 0)))
    throw new OptionError(
      'ERR_OPTION',
      `${where}: padding must be 'same', 'causal', an integer in [0, 2^24) or [left, right], got ${JSON.stringify(padding)}`,
    )
  return sides
}

/**
 * x [B, C, L] with filters w [O, C / groups, k] and bias [O] or null -> [B, O, L'].
 *
 * @example
 * conv1d(zeros([2, 4, 10]), zeros([4, 1, 3]), null, { padding: 'causal', groups: 4 }).shape   // [2, 4, 10]
 */
export function conv1d(x: Tensor, w: Tensor, bias: Tensor | null = null, options: Conv1dOptions = {}): Tensor {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options
  return scope(() => {
    const [row, filters] = [asRow('conv1d', 'x', x), asRow('conv1d', 'w', w)]
    checkedPair('conv1d', 'stride', stride, 1)
    checkedPair('conv1d', 'dilation', dilation, 1)
    const ends = sides1d('conv1d', padding, x.shape[2]!, w.shape[2]!, stride, dilation)
    const y = conv2d(row, filters, bias, { stride: [1, stride], padding: [[0, 0], ends], dilation: [1, dilation], groups })
    return reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!])
  })
}

export interface ConvTranspose2dOptions extends Omit<Conv2dOptions, 'padding'> {
  /** Rows and columns that are cut off each side of the full result. */
  readonly padding?: Pair
  /** Rows and columns added at the bottom and the right, less than the stride (or the dilation). */
  readonly outputPadding?: Pair
}

/**
 * Transposed convolution, the adjoint of `conv2d` (Zeiler et al. 2010; Dumoulin, Visin 2016): x [B, C, H, W] with filters w [C, O / groups, kh, kw]
 * and bias [O] or null -> [B, O, H', W'] with H' = (H - 1) stride - 2 padding + dilation (kh - 1) + outputPadding + 1.
 *
 * @example
 * convTranspose2d(zeros([1, 3, 8, 8]), zeros([3, 6, 4, 4]), null, { stride: 2, padding: 1 }).shape   // [1, 6, 16, 16]
 */
export function convTranspose2d(x: Tensor, w: Tensor, bias: Tensor | null = null, options: ConvTranspose2dOptions = {}): Tensor {
  const where = 'convTranspose2d'
  const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1 } = options
  checkImage(where, x, w)
  const step = checkedPair(where, 'stride', stride, 1)
  const gap = checkedPair(where, 'dilation', dilation, 1)
  const cut = checkedPair(where, 'padding', padding, 0)
  const extra = checkedPair(where, 'outputPadding', outputPadding, 0)
  if (extra.some((e, i) => e >= Math.max(step[i]!, gap[i]!)))
    throw new OptionError(
      'ERR_OPTION',
      `${where}: outputPadding must be less than stride or dilation, got ${JSON.stringify(outputPadding)}`,
    )
  if (!isSize(groups, 1)) throw new OptionError('ERR_OPTION', `${where}: groups must be an integer >= 1, got ${groups}`)
  const [height, width] = ([0, 1] as const).map(
    (i) => (x.shape[2 + i]! - 1) * step[i] - 2 * cut[i] + gap[i] * (w.shape[2 + i]! - 1) + extra[i] + 1,
  ) as [number, number]
  const out = w.shape[1]! * groups
  if (height < 1 || width < 1 || x.shape[1] !== w.shape[0])
    throw new ShapeError('ERR_SHAPE', `${where}: x [B, C, H, W] and w [C, O / groups, kh, kw] do not fit together, got ${x} and ${w}`)
  if (bias && (bias.rank !== 1 || bias.size !== out)) throw new ShapeError('ERR_SHAPE', `${where}: bias must be [${out}], got ${bias}`)
  return scope(() => {
    const y = conv2dGroupedGradInput(x, w, [x.shape[0]!, out, height, width], step, [cut[0], cut[0], cut[1], cut[1]], gap, groups)
    return bias ? add(y, reshape(bias, [1, out, 1, 1])) : y
  })
}

export interface ConvTranspose1dOptions {
  readonly stride?: number
  readonly padding?: number
  readonly outputPadding?: number
  readonly dilation?: number
  readonly groups?: number
}

/**
 * The adjoint of `conv1d`: x [B, C, L] with filters w [C, O / groups, k] and bias [O] or null -> [B, O, L'].
 *
 * @example
 * convTranspose1d(zeros([1, 2, 5]), zeros([2, 3, 4]), null, { stride: 2 }).shape   // [1, 3, 12]
 */
export function convTranspose1d(x: Tensor, w: Tensor, bias: Tensor | null = null, options: ConvTranspose1dOptions = {}): Tensor {
  const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1 } = options
  return scope(() => {
    const y = convTranspose2d(asRow('convTranspose1d', 'x', x), asRow('convTranspose1d', 'w', w), bias, {
      stride: [1, stride],
      padding: [0, padding],
      outputPadding: [0, outputPadding],
      dilation: [1, dilation],
      groups,
    })
    return reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!])
  })
}
