/**
 * Small floating-point formats as numbers: rounding to nearest even, and their bit patterns. Sources: IEEE 754 (f16), Micikevicius et al. 2022 (E4M3, E5M2), Noune et al.
 * 2022 (FNUZ), OCP Microscaling 1.0 (E2M1, E8M0); what lies beyond the largest value follows the tables of ONNX's Cast.
 */
import { roundHalfEven } from './numbers.js'

interface Format {
  readonly exponentBits: number
  readonly mantissaBits: number
  readonly bias: number
  /** Largest finite value. */
  readonly max: number
  /** What an overflow gives when it does not saturate. */
  readonly overflow: number
  /** Pattern of NaN; without one NaN becomes 0. */
  readonly nan?: number
  readonly infinity?: boolean
  readonly unsigned?: boolean
}

export const miniFloats = {
  f16: { exponentBits: 5, mantissaBits: 10, bias: 15, max: 65504, overflow: Infinity, nan: 0x7e00, infinity: true },
  bf16: { exponentBits: 8, mantissaBits: 7, bias: 127, max: 2 ** 127 * (2 - 2 ** -7), overflow: Infinity, nan: 0x7fc0, infinity: true },
  f8e4m3fn: { exponentBits: 4, mantissaBits: 3, bias: 7, max: 448, overflow: NaN, nan: 0x7f },
  f8e4m3fnuz: { exponentBits: 4, mantissaBits: 3, bias: 8, max: 240, overflow: NaN, nan: 0x80 },
  f8e5m2: { exponentBits: 5, mantissaBits: 2, bias: 15, max: 57344, overflow: Infinity, nan: 0x7e, infinity: true },
  f8e5m2fnuz: { exponentBits: 5, mantissaBits: 2, bias: 16, max: 57344, overflow: NaN, nan: 0x80 },
  f4e2m1: { exponentBits: 2, mantissaBits: 1, bias: 1, max: 6, overflow: 6 },
  f8e8m0: { exponentBits: 8, mantissaBits: 0, bias: 127, max: 2 ** 127, overflow: NaN, nan: 0xff, unsigned: true },
} as const satisfies Record<string, Format>

export type MiniFloat = keyof typeof miniFloats

export const isMiniFloat = (dtype: string): dtype is MiniFloat => Object.hasOwn(miniFloats, dtype)

function exponentOf(a: number): number {
  const e = Math.floor(Math.log2(a))
  return 2 ** e > a ? e - 1 : 2 ** (e + 1) <= a ? e + 1 : e
}

/** The value of the format that is nearest to x (ties to even); beyond the largest one that, or with `saturate` false infinity or NaN as the format has it. */
export function roundToFormat(dtype: MiniFloat, x: number, saturate = false): number {
  const f: Format = miniFloats[dtype]
  if (Number.isNaN(x)) return f.nan === undefined ? 0 : NaN
  if (f.unsigned && x < 0) return NaN
  const a = Math.abs(x)
  if (a === 0) return f.unsigned ? 2 ** -f.bias : f.nan === 0x80 ? 0 : x
  const least = f.unsigned ? -f.bias : 1 - f.bias
  const step = 2 ** ((a === Infinity ? 0 : Math.max(exponentOf(a), least)) - f.mantissaBits)
  // E8M0 has no mantissa: ties between powers of two go up.
  const near = f.unsigned ? Math.max(step * (a / step >= 1.5 ? 2 : 1), 2 ** least) : roundHalfEven(a / step) * step
  const y = a === Infinity || near > f.max ? (saturate ? f.max : f.overflow) : near
  return y === 0 && f.nan === 0x80 ? 0 : x < 0 ? -y : y
}

/** The number that a bit pattern stands for. */
export function fromBits(dtype: MiniFloat, pattern: number): number {
  const f: Format = miniFloats[dtype]
  if (f.unsigned) return pattern === f.nan ? NaN : 2 ** (pattern - f.bias)
  const top = 1 << (f.exponentBits + f.mantissaBits)
  const magnitude = pattern & (top - 1)
  const exponent = magnitude >> f.mantissaBits
  const fraction = (magnitude & ((1 << f.mantissaBits) - 1)) / 2 ** f.mantissaBits
  if (f.infinity) {
    if (exponent === 2 ** f.exponentBits - 1) return fraction !== 0 ? NaN : pattern & top ? -Infinity : Infinity
  } else if (f.nan === 0x80 ? pattern === 0x80 : magnitude === f.nan) return NaN
  const value = exponent === 0 ? fraction * 2 ** (1 - f.bias) : (1 + fraction) * 2 ** (exponent - f.bias)
  return pattern & top ? -value : value
}

/** The bit pattern of a value of the format (rounded first). */
export function toBits(dtype: MiniFloat, x: number): number {
  const f: Format = miniFloats[dtype]
  const y = roundToFormat(dtype, x)
  if (Number.isNaN(y)) return f.nan!
  if (f.unsigned) return exponentOf(y) + f.bias
  const top = 1 << (f.exponentBits + f.mantissaBits)
  const sign = y < 0 || Object.is(y, -0) ? top : 0
  const a = Math.abs(y)
  if (a === Infinity) return sign | ((2 ** f.exponentBits - 1) << f.mantissaBits)
  if (a === 0) return sign
  const e = Math.max(exponentOf(a), 1 - f.bias)
  const units = Math.round(a / 2 ** (e - f.mantissaBits))
  return sign | (units < 1 << f.mantissaBits ? units : ((e + f.bias) << f.mantissaBits) | (units - (1 << f.mantissaBits)))
}
