/** Products with 8-bit weights. */
import { OptionError, ShapeError } from '../base/errors.js'
import type { Activation } from '../native/ops.gen.js'
import { qgemmPack, qgemmS32, qlinear, qlinearDynamic, qmatmul, qmatmulFixed } from '../ops/index.js'
import { Tensor } from '../tensor/index.js'

/** An i8 weight [N, K] in the layout of this process's kernel. Valid in this process only: store the weight itself. */
export class PackedWeights {
  /** @internal Use packWeights. */
  constructor(
    /** N, outputs. */
    readonly rows: number,
    /** K, inputs. */
    readonly cols: number,
    readonly packed: Tensor,
  ) {}

  get bytes(): number {
    return this.packed.bytes
  }
  dispose(): void {
    this.packed.dispose()
  }
}

/** w i8 [N, K] -> the form that the products below read. K up to 8388607 (beyond it sums of columns could wrap): ERR_LIMIT. */
export function packWeights(w: Tensor): PackedWeights {
  const packed = qgemmPack(w)
  return new PackedWeights(w.shape[0]!, w.shape[1]!, packed)
}

/** What codes stand for: value = scale * (code - zero). */
export interface CodeOutput {
  readonly dtype: 'i8' | 'u8'
  readonly scale: number
  /** Code of 0. Default 0 for i8, 128 for u8. */
  readonly zero?: number
}

export interface Int8Options {
  /**
   * Step of x. For f32 x: x is taken as round(x / xScale) + xZero, limited to [0, 255]; without it each row (token) of x is quantized by its own range.
   * For codes: one step, or f32 [rows] with one for each row; required.
   */
  readonly xScale?: number | Tensor
  /** Code of 0. For f32 x in [0, 255], default 128. For codes a number (default 0) or i32 [rows]. */
  readonly xZero?: number | Tensor
  /** How rows are quantized where xScale is absent: 'symmetric' (default; s8 codes) or 'affine' (u8 codes with a zero point for each row). */
  readonly dynamic?: 'symmetric' | 'affine'
  /** f32 [N] or [1]: step of each row of the weight. */
  readonly wScale: Tensor
  /** i32 [N], in [-128, 127]: code of 0 in each row of the weight. Default 0. Not with rows quantized by their own range. */
  readonly wZero?: Tensor | null
  /** f32 [N]. */
  readonly bias?: Tensor | null
  readonly activation?: Activation
  /** f32 [..., N], added after the activation. */
  readonly residual?: Tensor | null
  /** Codes of the result instead of f32: round half to even of y * (1 / scale), plus zero, saturated. Not with rows quantized by their own range. */
  readonly output?: CodeOutput
}

/**
 * x f32, i8 or u8 [..., K] times a packed weight [N, K] -> [..., N] = activation(x w^T + bias) + residual, in f32 or as codes. The sums of products are
 * exact on every machine, for every K. A row that is quantized by its own range and holds a value that is not finite gives NaN.
 *
 * Errors: ERR_SHAPE, ERR_DTYPE; ERR_OPTION for a step that is not positive and finite, for a zero point outside the range of the codes, and for options
 * that do not belong together.
 *
 * @example
 * const w = packWeights(tensor(new Int8Array([1, 2, 3, 4]), [2, 2]))
 * matmulInt8(tensor([[1, 0.5]]), w, { xScale: 0.01, wScale: tensor([0.1, 0.2]) })   // f32[1,2] = [[0.2, 1]]
 *
 * @example
 * const w = packWeights(tensor(new Int8Array([1, 2, 3, 4]), [2, 2]))
 * matmulInt8(tensor([[127, -127]]), w, { wScale: tensor([1]) })   // f32[1,2] = [[-127, -127]]: the row's own range
 *
 * @example
 * const w = packWeights(tensor(new Int8Array([1, 2, 3, 4]), [2, 2]))
 * const codes = tensor(new Uint8Array([12, 14]), [1, 2])
 * matmulInt8(codes, w, { xScale: 0.5, xZero: 10, wScale: tensor([1]), output: { dtype: 'i8', scale: 0.5 } })   // i8[1,2] = [[10, 22]]
 */
export function matmulInt8(x: Tensor, w: PackedWeights, options: Int8Options): Tensor {
  const op = 'matmulInt8'
  checkColumns(op, x, w)
  const { xScale, xZero, dynamic, wScale, wZero = null, bias = null, activation = 'none', residual = null, output } = options
  const codes = x.dtype === 'i8' || x.dtype === 'u8'
  const wrong = (rule: string): never => {
    throw new OptionError('ERR_OPTION', `${op}: ${rule} (x: ${x})`)
  }
  if (xScale === undefined) {
    if (codes) return wrong('codes need xScale')
    if (xZero !== undefined) return wrong('xZero needs xScale')
    if (wZero || output) return wrong('wZero and output need xScale')
    return qlinearDynamic(x, w.packed, wScale, bias, residual, w.rows, dynamic !== 'affine', activation)
  }
  if (dynamic !== undefined) return wrong('dynamic and xScale exclude each other')
  const perRow = xScale instanceof Tensor
  const zeroPerRow = xZero instanceof Tensor
  if (!codes && (perRow || zeroPerRow)) return wrong('xScale and xZero of f32 x must be numbers')
  const zero = zeroPerRow ? 0 : (xZero ?? (codes ? 0 : 128))
  if (!codes && !wZero && !residual && !output) return qlinear(x, w.packed, wScale, bias, w.rows, perRow ? 1 : xScale, zero, activation)
  const { dtype, scale, zero: yZero = dtype === 'u8' ? 128 : 0 } = output ?? { dtype: 'f32' as const, scale: 1, zero: 0 }
  const rowScales = perRow ? xScale : null
  return qmatmul(
    x,
    w.packed,
    wScale,
    bias,
    residual,
    rowScales,
    zeroPerRow ? xZero : null,
    wZero,
    w.rows,
    perRow ? 1 : xScale,
    zero,
    activation,
    dtype,
    scale,
    yZero,
  )
}

export interface Int8FixedOptions {
  /** Code of 0 of x. Default 0. */
  readonly xZero?: number
  /** i32 [N], in [-128, 127]. Default 0. */
  readonly wZero?: Tensor | null
  /** i32 [N], in steps of the sums. */
  readonly bias?: Tensor | null
  /** i32 [N] or [1], >= 0: the fraction multiplier / 2^31. */
  readonly multiplier: Tensor
  /** i32 [N] or [1], in [-31, 30]: the power of two. */
  readonly exponent: Tensor
  readonly dtype: 'i8' | 'u8'
  /** Code of 0 of the result. Default 0. */
  readonly yZero?: number
  /** Lowest and highest code, for an activation that clamps. Default: the range of dtype. */
  readonly lo?: number
  readonly hi?: number
}

/**
 * Codes to codes in integers only: (sums + bias) * multiplier / 2^31 * 2^exponent + yZero, rounded and saturated exactly as gemmlowp does
 * (SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT; https://github.com/google/gemmlowp, fixedpoint/fixedpoint.h).
 *
 * Errors: ERR_SHAPE, ERR_DTYPE, ERR_OPTION; ERR_LIMIT for K at which sums could pass 32 bits (from 65794 or 131072 on, with the zero point).
 *
 * @example
 * const w = packWeights(tensor(new Int8Array([1, 2, 3, 4]), [2, 2]))
 * const half = { multiplier: tensor(Int32Array.of(2 ** 30), [1]), exponent: tensor(Int32Array.of(0), [1]) }
 * matmulInt8Fixed(tensor(new Uint8Array([3, 4]), [1, 2]), w, { ...half, dtype: 'i8' })   // i8[1,2] = [[6, 13]]
 */
export function matmulInt8Fixed(x: Tensor, w: PackedWeights, options: Int8FixedOptions): Tensor {
  checkColumns('matmulInt8Fixed', x, w)
  const { xZero = 0, wZero = null, bias = null, multiplier, exponent, dtype, yZero = 0 } = options
  const { lo = dtype === 'u8' ? 0 : -128, hi = dtype === 'u8' ? 255 : 127 } = options
  return qmatmulFixed(x, w.packed, bias, multiplier, exponent, wZero, w.rows, xZero, dtype, yZero, lo, hi)
}

export interface ExactOptions {
  /** Code of 0 of x: a number (default 0) or i32 [rows]. */
  readonly xZero?: number | Tensor
  /** i32 [N], in [-128, 127]. Default 0. */
  readonly wZero?: Tensor | null
}

/**
 * x u8 or i8 [..., K], w i8 [N, K] or packed -> [..., N] = sum over k of (x - xZero) * (w - wZero), exact: i32 where every such result fits (u8 with
 * xZero 0: K up to 65793; i8 with xZero 0: K up to 131071), else i64. A plain w is packed for this one call.
 *
 * @example
 * matmulInt8Exact(tensor(new Uint8Array([255, 1]), [1, 2]), tensor(new Int8Array([-128, 3]), [1, 2]), 1)   // i32[1,1] = [[-32512]]
 */
export function matmulInt8Exact(x: Tensor, w: Tensor | PackedWeights, options: number | ExactOptions = {}): Tensor {
  const { xZero = 0, wZero = null } = typeof options === 'number' ? { xZero: options } : options
  const zeros = xZero instanceof Tensor ? xZero : null
  const zero = xZero instanceof Tensor ? 0 : xZero
  if (!Number.isInteger(zero)) throw new OptionError('ERR_OPTION', `matmulInt8Exact: xZero must be an integer, got ${zero}`)
  const packed = w instanceof PackedWeights ? w : packWeights(w)
  try {
    checkColumns('matmulInt8Exact', x, packed)
    return qgemmS32(x, packed.packed, zeros, wZero, packed.rows, zero)
  } finally {
    if (packed !== w) packed.dispose()
  }
}

function checkColumns(op: string, x: Tensor, w: PackedWeights): void {
  if (x.shape[x.rank - 1] !== w.cols)
    throw new ShapeError('ERR_SHAPE', `${op}: x must be [..., ${w.cols}] for weights [${w.rows},${w.cols}], got ${x}`)
}
