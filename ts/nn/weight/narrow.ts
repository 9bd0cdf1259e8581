/**
 * Floats of fewer bits: f16, bf16, tf32 (f32 with ten bits of mantissa, as NVIDIA's tensor cores read it), and the 8-bit floats of Micikevicius et al. 2022: E4M3 (largest 448,
 * no infinity) and E5M2 (largest 57344). Values = scale * float; scale is one for the tensor, one for each row, or absent.
 *
 * In memory and in a file the values stand in their own format (tf32 in 32 bits, 8-bit floats as bytes), and are expanded for each call; a session does it once. A
 * lookup expands only the rows that it needs.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, ShapeError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import { sizeOf, type Shape } from '../../base/shape.js'
import { cast, gather, gatherAlong, mul, reshape } from '../../ops/index.js'
import { fromRaw, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { checkPartShape, countNonzero } from './dense.js'
import { checkPartNames, parseWeightConfig, partOf, withTemporary } from './parts.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export const narrowFormats = ['f16', 'bf16', 'tf32', 'f8e4m3', 'f8e5m2'] as const
export type NarrowFormat = (typeof narrowFormats)[number]

/** What the tensors of a format are. */
const storage = { f16: 'f16', bf16: 'bf16', tf32: 'f32', f8e4m3: 'u8', f8e5m2: 'u8' } as const

const tables: Partial<Record<NarrowFormat, Float32Array>> = {}

/** The number of each byte of an 8-bit float; NaN where the format says so. */
function valuesOfBytes(format: 'f8e4m3' | 'f8e5m2'): Float32Array {
  return (tables[format] ??= Float32Array.from({ length: 256 }, (_, byte) => {
    const mantissa = format === 'f8e4m3' ? 3 : 2
    const exponent = (byte & 127) >> mantissa
    const part = byte & ((1 << mantissa) - 1)
    const bias = format === 'f8e4m3' ? 7 : 15
    const sign = byte > 127 ? -1 : 1
    if (format === 'f8e4m3' ? (byte & 127) === 127 : exponent === 31 && part > 0) return NaN
    if (format === 'f8e5m2' && exponent === 31) return sign * Infinity
    const fraction = part / 2 ** mantissa
    return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias))
  }))
}

export interface NarrowParts {
  readonly format: NarrowFormat
  /** Of the weight's shape: f16, bf16, f32 (tf32) or u8 (8-bit floats). */
  readonly value: Tensor
  /** f32 [1] or [rows]. */
  readonly scale?: Tensor | null
}

const configSchema = z.strictObject({ format: z.enum(narrowFormats), scale: z.enum(['tensor', 'channel']).optional() })

export class NarrowWeight implements Weight {
  readonly kind = 'narrow'
  readonly format: NarrowFormat
  readonly value: Tensor
  readonly scale: Tensor | null

  /** Takes over the tensors. */
  constructor({ format, value, scale = null }: NarrowParts) {
    if (value.dtype !== storage[format])
      throw new ShapeError('ERR_DTYPE', `weight: values of ${format} are ${storage[format]}, got ${value}`)
    if (scale && (scale.dtype !== 'f32' || scale.rank !== 1 || (scale.size !== 1 && scale.size !== value.shape[0])))
      throw new ShapeError('ERR_SHAPE', `weight: the scale of ${value} must be f32[1] or f32[${value.shape[0] ?? 1}], got ${scale}`)
    this.format = format
    this.value = value
    this.scale = scale
  }
  get shape(): Shape {
    return this.value.shape
  }
  get description(): string {
    return `${this.format}${this.scale ? (this.scale.size === 1 ? ' scaled' : ' per channel') : ''}`
  }
  bytes(): number {
    return this.value.bytes + (this.scale?.bytes ?? 0)
  }
  nonzeros(): number {
    return scope(() => countNonzero(this.dense()))
  }

  dense(): Tensor {
    return this.#expand(this.value, this.scale)
  }

  #expand(value: Tensor, scale: Tensor | null): Tensor {
    const { format } = this
    const plain =
      format === 'tf32'
        ? value
        : format === 'f16' || format === 'bf16'
          ? cast(value, 'f32')
          : reshape(gatherAlong(tensor(valuesOfBytes(format), [1, 256]), cast(reshape(value, [1, value.size]), 'i32'), 1), value.shape)
    return scale ? mul(plain, reshape(scale, [scale.size, ...value.shape.slice(1).map(() => 1)])) : plain
  }

  apply(x: Tensor, use: WeightUse): Tensor {
    if (use.op === 'lookup') return scope(() => this.#lookup(x))
    const values = this.dense()
    return withTemporary(values === this.value ? [] : [values], () => applyDense(values, x, use))
  }

  #lookup(ids: Tensor): Tensor {
    const index = reshape(ids, [ids.size])
    const scale = this.scale && (this.scale.size === 1 ? this.scale : gather(this.scale, index))
    return reshape(this.#expand(gather(this.value, index), scale), [...ids.shape, ...this.shape.slice(1)])
  }

  parts(): Record<string, RawTensor> {
    return { value: toRaw(this.value), ...(this.scale ? { scale: toRaw(this.scale) } : {}) }
  }
  config(): Json {
    return { format: this.format, ...(this.scale ? { scale: this.scale.size === 1 ? 'tensor' : 'channel' } : {}) }
  }
  trainable(): readonly Leaf[] {
    return []
  }
  dispose(): void {
    this.value.dispose()
    this.scale?.dispose()
  }
}

export const narrowKind = defineWeightKind({
  kind: 'narrow',
  restore: (parts, given, shape) => {
    const { format, scale } = parseWeightConfig('narrow', configSchema, given)
    checkPartNames('narrow', parts, ['value', ...(scale ? ['scale'] : [])])
    const value = partOf('narrow', parts, 'value', [storage[format]])
    checkPartShape('narrow', 'value', value, shape)
    if (scale) checkPartShape('narrow', 'scale', partOf('narrow', parts, 'scale', ['f32']), [scale === 'tensor' ? 1 : (shape[0] ?? 1)])
    if (sizeOf(shape) === 0) throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: a narrow weight has values, got shape [${shape}]`)
    return scope(() => new NarrowWeight({ format, value: fromRaw(value), scale: scale ? fromRaw(parts.scale!) : null }))
  },
})
