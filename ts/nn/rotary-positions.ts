/** Angles of rotary positions (Su et al. 2021): feature pair i of R / 2 turns by p theta^(-2i / R) / divisor_i at position p. */
import { z } from 'zod'
import { tensor, type Tensor } from '../tensor/index.js'

/**
 * How a model reaches further than it was trained: `linear` divides every angle by `factor` (Chen et al. 2023), `llama3` only those of long waves (Llama 3.1),
 * `divisors` one by one (GGUF).
 */
export const rotaryScaling = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('linear'), factor: z.number().positive() }),
  z
    .strictObject({
      type: z.literal('llama3'),
      factor: z.number().positive(),
      lowFrequency: z.number().positive(),
      highFrequency: z.number().positive(),
      /** Positions that the model was trained on first. */
      positions: z.int().positive(),
    })
    .refine((s) => s.lowFrequency < s.highFrequency, { error: 'must be below highFrequency', path: ['lowFrequency'] }),
  z.strictObject({ type: z.literal('divisors'), values: z.array(z.number().positive()).max(4096) }),
])
export type RotaryScaling = z.infer<typeof rotaryScaling>

export interface RotaryAngles {
  /** R: features that turn. */
  readonly width: number
  readonly theta: number
  readonly scaling: RotaryScaling | null
}

/** What each of the R / 2 angles is divided by. */
export function rotaryDivisors({ width, theta, scaling }: RotaryAngles): number[] {
  return Array.from({ length: width / 2 }, (_, i) => {
    if (!scaling) return 1
    if (scaling.type === 'linear') return scaling.factor
    if (scaling.type === 'divisors') return scaling.values[i]!
    const { factor, lowFrequency, highFrequency, positions } = scaling
    const turns = (positions * theta ** ((-2 * i) / width)) / (2 * Math.PI)
    if (turns > highFrequency) return 1
    if (turns < lowFrequency) return factor
    const share = (turns - lowFrequency) / (highFrequency - lowFrequency)
    return 1 / ((1 - share) / factor + share)
  })
}

/** cos and sin f32 [tokens, 1, R / 2] of positions first, first + 1, ...; angles are computed in double precision. Call inside a scope. */
export function rotaryTables(angles: RotaryAngles, first: number, tokens: number): { readonly cos: Tensor; readonly sin: Tensor } {
  const half = angles.width / 2
  const rates = rotaryDivisors(angles).map((d, i) => angles.theta ** ((-2 * i) / angles.width) / d)
  const [cos, sin] = [new Float32Array(tokens * half), new Float32Array(tokens * half)]
  for (let p = 0; p < tokens; p++)
    for (let i = 0; i < half; i++) {
      cos[p * half + i] = Math.cos((first + p) * rates[i]!)
      sin[p * half + i] = Math.sin((first + p) * rates[i]!)
    }
  return { cos: tensor(cos, [tokens, 1, half]), sin: tensor(sin, [tokens, 1, half]) }
}
