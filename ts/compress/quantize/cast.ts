/**
 * Weights as floats of fewer bits: f16, bf16, tf32 and the 8-bit floats E4M3 and E5M2 (Micikevicius et al. 2022, "FP8 formats for deep learning"). Rounding is to the nearest,
 * ties to even; what lies beyond the largest value becomes that value, counted in a warning. 8-bit floats have a scale for the tensor or for each row that puts the largest
 * value at the largest float; without one small weights fall into the subnormals.
 */
import { z } from 'zod'
import { NarrowWeight, narrowFormats, type NarrowFormat } from '../../nn/index.js'
import { cast as castTo, clip } from '../../ops/index.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import { miniFloats, toBits } from '../../graph/minifloat.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'
import { checkFinite } from '../train/working-copy.js'
import { denseValues } from '../values.js'

const NAME = 'quantize/cast'

const options = z
  .strictObject({
    format: z.enum(narrowFormats).default('bf16'),
    /** Of 8-bit floats; default: one for the tensor. */
    scale: z.enum(['none', 'tensor', 'channel']).optional(),
  })
  .refine((o) => o.scale === undefined || o.scale === 'none' || o.format.startsWith('f8'), {
    error: 'is for 8-bit floats: the others have range enough',
    path: ['scale'],
  })

/** Largest finite value of each format. */
const largest: Readonly<Record<NarrowFormat, number>> = {
  f16: miniFloats.f16.max,
  bf16: miniFloats.bf16.max,
  tf32: 2 ** 127 * (2 - 2 ** -10),
  f8e4m3: miniFloats.f8e4m3fn.max,
  f8e5m2: miniFloats.f8e5m2.max,
}

interface Prepared {
  readonly values: Float32Array | Uint8Array
  readonly scale: Float32Array | null
  readonly shape: readonly number[]
}

export const cast = definePass({
  name: NAME,
  version: 1,
  summary: 'stores weights as f16, bf16, tf32 or 8-bit floats',
  options,
  roles: ['matrix', 'kernel', 'table'],
  apply: (model, context) => {
    const { format, scale: wanted } = context.options
    const eight = format === 'f8e4m3' || format === 'f8e5m2'
    const most = largest[format]
    let clamped = 0
    return convertWeights(model, context, {
      task: NAME,
      byFactor: true,
      prepare: async ({ weight, path }): Promise<Prepared | string> => {
        if (weight.trainable().length === 0) return `${weight.description} is no floating weight`
        scope(() => checkFinite(NAME, 'weight', path, weight.dense()))
        const values = denseValues(weight)
        const rows = weight.shape[0] ?? 1
        const scale = eight && (wanted ?? 'tensor') !== 'none' ? scalesOf(values, wanted === 'channel' ? rows : 1, most) : null
        const over = scale ? 0 : values.reduce((n, v) => n + (Math.abs(v) > most ? 1 : 0), 0)
        if (over > 0)
          context.warn(`${NAME}: ${over} of ${values.length} values of ${path} lie beyond ${most}, the largest ${format}, and became it`)
        clamped += over
        context.figure('clamped', clamped)
        if (format === 'tf32') return { values: tf32(values), scale, shape: weight.shape }
        if (!eight) return { values, scale, shape: weight.shape }
        const bytes = await bytesOf(format, values, scale, most, context.breathe)
        const lost = bytes.reduce((n, b, i) => n + ((b & 127) === 0 && values[i] !== 0 ? 1 : 0), 0)
        if (lost > 0) context.note(`${lost} of ${values.length} values became 0`, path)
        return { values: bytes, scale, shape: weight.shape }
      },
      convert: (_target, found) => {
        if (typeof found === 'string') return { left: found }
        const given = tensor(found.values, found.shape)
        const value: Tensor = format === 'f16' || format === 'bf16' ? castTo(clip(given, -most, most), format) : given
        return new NarrowWeight({ format, value, scale: found.scale && tensor(found.scale) })
      },
    })
  },
})

/** One factor for each of `count` equal parts: its largest value over the largest float. */
function scalesOf(values: Float32Array, count: number, most: number): Float32Array {
  const size = values.length / count
  return Float32Array.from({ length: count }, (_, r) => {
    let top = 0
    for (let i = r * size; i < (r + 1) * size; i++) top = Math.max(top, Math.abs(values[i]!))
    return Math.max(top / most, 1.1754943508222875e-38)
  })
}

/** f32 rounded to ten bits of mantissa. */
export function tf32(values: Float32Array): Float32Array {
  const out = Float32Array.from(values)
  const bits = new Uint32Array(out.buffer)
  const top = new Uint32Array(Float32Array.of(largest.tf32).buffer)[0]!
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i]! & 0x7fffffff
    const sign = bits[i]! & 0x80000000
    const near = (magnitude + 0xfff + ((magnitude >>> 13) & 1)) & 0xffffe000
    bits[i] = (sign | Math.min(near >>> 0, top)) >>> 0
  }
  return out
}

async function bytesOf(
  format: 'f8e4m3' | 'f8e5m2',
  values: Float32Array,
  scale: Float32Array | null,
  most: number,
  breathe: () => Promise<void>,
): Promise<Uint8Array> {
  const out = new Uint8Array(values.length)
  const size = scale ? values.length / scale.length : values.length
  const kind = format === 'f8e4m3' ? 'f8e4m3fn' : 'f8e5m2'
  for (let i = 0; i < values.length; i++) {
    const x = scale ? values[i]! / scale[Math.floor(i / size)]! : values[i]!
    out[i] = toBits(kind, Math.min(most, Math.max(-most, x)))
    if (i % 65536 === 65535) await breathe()
  }
  return out
}
