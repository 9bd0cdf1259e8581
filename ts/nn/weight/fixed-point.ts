/**
 * Arithmetic of integers alone, as in gemmlowp (Jacob et al. 2018, section 2.2): a real factor M > 0 is multiplier / 2^31 * 2^exponent with a multiplier of 31 bits,
 * M0 in [0.5, 1). The kernels of `qmatmulFixed` compute the same for products; here it is for sums and for single numbers.
 */
import { OptionError } from '../../base/errors.js'

const MIN = -(2 ** 31)
const MAX = 2 ** 31 - 1

export interface FixedPoint {
  /** In [2^30, 2^31), 0 for the factor 0. */
  readonly multiplier: number
  /** In [-31, 30]. */
  readonly exponent: number
}

/**
 * The closest fixed-point factor; factors below 2^-32 become 0.
 *
 * - not finite, below 0, or 2^30 and more: ERR_OPTION
 *
 * @example
 * import { fixedPoint } from 'tersor/nn'
 * fixedPoint(0.75)   // { multiplier: 1610612736, exponent: 0 }
 */
export function fixedPoint(factor: number): FixedPoint {
  if (!(factor >= 0 && factor < 2 ** 30)) throw new OptionError('ERR_OPTION', `fixedPoint: the factor must be in [0, 2^30), got ${factor}`)
  if (factor < 2 ** -32) return { multiplier: 0, exponent: 0 }
  let exponent = Math.floor(Math.log2(factor)) + 1
  while (factor / 2 ** exponent >= 1) exponent++
  while (factor / 2 ** exponent < 0.5) exponent--
  let multiplier = Math.round((factor / 2 ** exponent) * 2 ** 31)
  if (multiplier === 2 ** 31) {
    multiplier /= 2
    exponent++
  }
  return exponent < -31 ? { multiplier: 0, exponent: 0 } : { multiplier, exponent }
}

/**
 * SaturatingRoundingDoublingHighMul: a b / 2^31 of two i32 to the nearest integer, halves upwards as in gemmlowp; -2^31 times itself gives 2^31 - 1.
 *
 * @example
 * import { doublingHighMul } from 'tersor/nn'
 * doublingHighMul(-(2 ** 31), -(2 ** 31))   // 2147483647
 */
export function doublingHighMul(a: number, b: number): number {
  if (a === MIN && b === MIN) return MAX
  // a b = q 2^31 + rest with an exact rest: the product itself does not fit a double.
  const high = a * (b >> 16)
  const q = Math.floor(high / 2 ** 15)
  const rest = (high - q * 2 ** 15) * 2 ** 16 + a * (b & 0xffff)
  return q + Math.floor((rest + 2 ** 30) / 2 ** 31)
}

/** x / 2^bits, halves away from 0; bits in [0, 31]. */
export function roundingShift(x: number, bits: number): number {
  const size = Math.floor(Math.abs(x) / 2 ** bits + 0.5)
  return x < 0 ? 0 - size : size
}

/** x times the factor, x an i32: saturating shift to the left, high product, rounding shift to the right. */
export function rescale(x: number, { multiplier, exponent }: FixedPoint): number {
  const shifted = exponent > 0 ? Math.min(MAX, Math.max(MIN, x * 2 ** exponent)) : x
  const product = doublingHighMul(shifted, multiplier)
  return exponent < 0 ? roundingShift(product, -exponent) : product
}
