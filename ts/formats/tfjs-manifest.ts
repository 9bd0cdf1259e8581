/**
 * The weights manifest of a TensorFlow.js model.json (tensorflow/tfjs, tfjs-core/src/io/types.ts: WeightsManifestConfig): groups of
 * shard files, and per weight its name, shape, dtype and, for a quantised one, how it is stored.
 */
import { bytesPerElement, type DType } from '../base/dtype.js'
import { DTypeError, UnsupportedError } from '../base/errors.js'
import type { JsonObject, JsonValue } from '../base/json.js'
import { countElements, formatError, limitError, type FormatContext } from './limits.js'

export type Storage =
  | { readonly kind: 'plain' }
  | { readonly kind: 'half' }
  | { readonly kind: 'affine'; readonly codeBytes: 1 | 2; readonly scale: number; readonly min: number }

export interface WeightEntry {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly storage: Storage
  /** Bytes in the shards. */
  readonly stored: number
}

export interface WeightGroup {
  readonly paths: readonly string[]
  readonly weights: readonly WeightEntry[]
}

const dtypeByName = new Map<unknown, DType>([
  ['float32', 'f32'],
  ['int32', 'i32'],
  ['bool', 'bool'],
  ['uint8', 'u8'],
])

export function member(ctx: FormatContext, object: JsonObject, key: string, where: string): JsonValue {
  const value = object.get(key)
  if (value === undefined) throw formatError(ctx, 'incomplete', `${where} has no "${key}"`)
  return value
}

export function asObject(ctx: FormatContext, value: JsonValue, where: string): JsonObject {
  if (!(value instanceof Map)) throw formatError(ctx, 'type', `${where} must be an object`)
  return value
}

export function asArray(ctx: FormatContext, value: JsonValue, where: string): JsonValue[] {
  if (!Array.isArray(value)) throw formatError(ctx, 'type', `${where} must be an array`)
  return value
}

export function asString(ctx: FormatContext, value: JsonValue, where: string): string {
  if (typeof value !== 'string' || value === '') throw formatError(ctx, 'type', `${where} must be a non-empty string`)
  return value
}

function asFinite(ctx: FormatContext, value: JsonValue, where: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw formatError(ctx, 'type', `${where} must be a finite number`)
  return value
}

function asDType(ctx: FormatContext, value: JsonValue, name: string): DType {
  const dtype = dtypeByName.get(value)
  if (dtype !== undefined) return dtype
  const message = `${ctx.where}: tensor ${JSON.stringify(name.slice(0, 200))}: dtype must be one of float32, int32, bool, uint8, got ${JSON.stringify(value)?.slice(0, 40)}`
  if (value === 'string' || value === 'complex64')
    throw new UnsupportedError('ERR_UNSUPPORTED', message, { details: { what: `dtype ${value}`, tensor: name } })
  throw new DTypeError('ERR_DTYPE', message, { details: { format: ctx.format, reason: 'dtype', tensor: name } })
}

function readStorage(ctx: FormatContext, value: JsonValue | undefined, dtype: DType, name: string): Storage {
  if (value === undefined) return { kind: 'plain' }
  const where = `the quantization of ${JSON.stringify(name.slice(0, 200))}`
  const quantization = asObject(ctx, value, where)
  const stored = member(ctx, quantization, 'dtype', where)
  if (stored === 'float16' && dtype === 'f32') return { kind: 'half' }
  if ((stored !== 'uint8' && stored !== 'uint16') || (dtype !== 'f32' && dtype !== 'i32'))
    throw formatError(ctx, 'quantization', `${where}: ${dtype} stored as ${JSON.stringify(stored)?.slice(0, 40)} is not defined`, {
      tensor: name,
    })
  return {
    kind: 'affine',
    codeBytes: stored === 'uint8' ? 1 : 2,
    scale: asFinite(ctx, member(ctx, quantization, 'scale', where), `${where}: scale`),
    min: asFinite(ctx, member(ctx, quantization, 'min', where), `${where}: min`),
  }
}

function readWeight(ctx: FormatContext, value: JsonValue): WeightEntry {
  const weight = asObject(ctx, value, 'a weight')
  const name = asString(ctx, member(ctx, weight, 'name', 'a weight'), 'the name of a weight')
  const dtype = asDType(ctx, member(ctx, weight, 'dtype', `weight ${JSON.stringify(name.slice(0, 200))}`), name)
  const dims = asArray(ctx, member(ctx, weight, 'shape', `weight ${JSON.stringify(name.slice(0, 200))}`), 'a shape')
  const shape = dims.map((d) => asFinite(ctx, d, 'a dimension'))
  const storage = readStorage(ctx, weight.get('quantization'), dtype, name)
  const elements = countElements(ctx, shape, { tensor: name })
  const width = storage.kind === 'plain' ? bytesPerElement(dtype) : storage.kind === 'half' ? 2 : storage.codeBytes
  const inMemory = elements * bytesPerElement(dtype)
  if (inMemory > ctx.limits.tensorBytes) throw limitError(ctx.where, 'tensorBytes', inMemory, ctx.limits.tensorBytes)
  return { name, dtype, shape, storage, stored: elements * width }
}

export function readManifest(ctx: FormatContext, value: JsonValue): WeightGroup[] {
  const names = new Set<string>()
  return asArray(ctx, value, 'weightsManifest').map((item) => {
    const group = asObject(ctx, item, 'a group of weightsManifest')
    const paths = asArray(ctx, member(ctx, group, 'paths', 'a group'), 'paths').map((p) => asString(ctx, p, 'a shard name'))
    const weights = asArray(ctx, member(ctx, group, 'weights', 'a group'), 'weights').map((w) => readWeight(ctx, w))
    for (const { name } of weights) {
      if (names.has(name)) throw formatError(ctx, 'duplicate', 'the name stands twice', { tensor: name })
      names.add(name)
    }
    if (names.size > ctx.limits.tensors) throw limitError(ctx.where, 'tensors', names.size, ctx.limits.tensors)
    return { paths, weights }
  })
}
