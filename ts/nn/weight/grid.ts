/** Codes, scales and zero points of a range of values: the rules that passes and fake quantization share. */

export interface CodeRange {
  readonly qmin: number
  readonly qmax: number
}

export interface Grid {
  readonly scale: number
  readonly zero: number
}

/** Smallest normal f32: below it the division by the scale loses bits. */
const LEAST_SCALE = 1.1754943508222875e-38
/** 1.5 * 2^52: adding and subtracting it rounds a double half to even. */
const MAGIC = 6755399441055744

/** To the nearest whole number, halves to even, for |x| <= 2^51. */
export const roundEven = (x: number): number => x + MAGIC - MAGIC

/** Codes of a weight of `bits` bits. Symmetric ones leave out the lowest code at 'max', so that both signs have as many. */
export function codeRange(bits: number, symmetric: boolean, range: 'max' | 'mse'): CodeRange {
  const half = 2 ** (bits - 1)
  return { qmin: symmetric && (range === 'max' || bits === 8) ? 1 - half : -half, qmax: half - 1 }
}

/** The next f32 that can be a scale. */
export const legalScale = (scale: number): number => Math.max(Math.fround(scale), LEAST_SCALE)

/** Scale and zero point for a range that is widened to contain 0. */
export function gridOf(min: number, max: number, symmetric: boolean, codes: CodeRange): Grid {
  const lo = Math.min(min, 0)
  const hi = Math.max(max, 0)
  if (lo === 0 && hi === 0) return { scale: 1, zero: 0 }
  if (symmetric) return { scale: legalScale(Math.max(hi, -lo) / codes.qmax), zero: 0 }
  const scale = legalScale((hi - lo) / (codes.qmax - codes.qmin))
  const zero = Math.min(codes.qmax, Math.max(codes.qmin, roundEven(codes.qmin - lo / scale)))
  return { scale, zero: zero + 0 }
}
