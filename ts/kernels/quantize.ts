/** Codes of weight matrices with scales from their range: round to nearest, by rows and groups of columns. */
import { NumericError, OptionError } from '../base/errors.js'
import { scope, tensor, type Tensor } from '../tensor/index.js'
import { dequantizeRows, quantizeRows, rangeRows } from '../ops/index.js'

export interface QuantizeOptions {
  /** 2 to 8; default 8. */
  readonly bits?: number
  /** Runs of columns with a scale of their own; default 1. */
  readonly groups?: number
  /** Default 'symmetric': codes in [-(2^(bits-1) - 1), 2^(bits-1) - 1], no zero point. 'affine' uses all codes and maps 0 exactly. */
  readonly mode?: 'symmetric' | 'affine'
}

export interface QuantizedRows {
  /** i8 [rows, cols]. */
  readonly codes: Tensor
  /** f32 [rows, groups]. */
  readonly scale: Tensor
  /** f32 [rows, groups] of integers, or null for symmetric codes. */
  readonly zero: Tensor | null
}

/** Smallest normal f32: a scale must not be 0 or lose precision. */
const TINY = 2 ** -126

/**
 * x f32 [rows, cols] -> codes and scales. Each value is off by at most half a scale. NaN or infinity is ERR_NUMERIC.
 *
 * @example
 * const q = quantize(tensor([[0.5, -1, 0.25, 1]]), { bits: 4 })   // codes [[4, -7, 2, 7]], scale [[1/7]]
 */
export function quantize(x: Tensor, { bits = 8, groups = 1, mode = 'symmetric' }: QuantizeOptions = {}): QuantizedRows {
  if (!Number.isInteger(bits) || bits < 2 || bits > 8)
    throw new OptionError('ERR_OPTION', `quantize: bits must be an integer in [2, 8], got ${bits}`)
  if (mode !== 'symmetric' && mode !== 'affine')
    throw new OptionError('ERR_OPTION', `quantize: mode must be symmetric or affine, got ${String(mode)}`)
  const top = 2 ** (bits - 1) - 1
  return scope(() => {
    const [loTensor, hiTensor] = rangeRows(x, groups)
    const lo = loTensor.read() as Float32Array
    const hi = hiTensor.read() as Float32Array
    const scales = new Float32Array(lo.length)
    const zeros = new Float32Array(lo.length)
    for (let i = 0; i < lo.length; i++) {
      const [a, b] = [lo[i]!, hi[i]!]
      if (!Number.isFinite(a) || !Number.isFinite(b))
        throw new NumericError(
          'ERR_NUMERIC',
          `quantize: x must be finite, found ${Number.isFinite(a) ? b : a} in row ${Math.floor(i / groups)} (x: ${x})`,
        )
      if (mode === 'symmetric') {
        scales[i] = Math.max(Math.max(Math.abs(a), Math.abs(b)) / top, TINY)
      } else {
        // The range includes 0, so that 0 has a code of its own.
        const [from, to] = [Math.min(a, 0), Math.max(b, 0)]
        scales[i] = Math.max((to - from) / (2 * top + 1), TINY)
        zeros[i] = -top - 1 - Math.round(from / scales[i]!)
      }
    }
    const scale = tensor(scales, loTensor.shape)
    const zero = mode === 'affine' ? tensor(zeros, loTensor.shape) : null
    return { codes: quantizeRows(x, scale, zero, mode === 'affine' ? -top - 1 : -top, top), scale, zero }
  })
}

/** f32 [rows, cols]: (codes - zero) * scale. */
export function dequantize({ codes, scale, zero }: QuantizedRows): Tensor {
  return dequantizeRows(codes, scale, zero)
}
