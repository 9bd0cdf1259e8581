/**
 * Limits of what a file may ask for, and the errors of all readers. A length found in a file is compared with the bytes that are
 * there and with these limits before anything is allocated. Every limit can be raised or lowered per call.
 */
import { bytesPerElement, type DType, type RawTensor } from '../base/dtype.js'
import { LimitError, MemoryBudgetError, ModelFormatError, ShapeError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'
import type { FileIo } from './io.js'

export interface Limits {
  readonly safetensorsHeaderBytes: number
  readonly npyHeaderBytes: number
  /** model.json of a tfjs model. */
  readonly jsonBytes: number
  readonly jsonDepth: number
  readonly tensors: number
  readonly metadataKeys: number
  readonly metadataString: number
  /** Elements of an array in GGUF metadata, and how deep arrays stand inside arrays. */
  readonly metadataArray: number
  readonly arrayDepth: number
  readonly rank: number
  readonly dimension: number
  /** One tensor in memory. */
  readonly tensorBytes: number
  /** A file that is read whole (compressed idx). */
  readonly fileBytes: number
  /** All that one compressed file may expand to. */
  readonly inflatedBytes: number
  /** Expanded / compressed bytes, looked at above 16 MiB of output. */
  readonly inflateRatio: number
  readonly zipEntries: number
  /** Shard files of one model, open at the same time. */
  readonly shards: number
  /** Nodes or layers of a graph. */
  readonly graphNodes: number
}

const MiB = 2 ** 20
export const defaultLimits: Limits = {
  safetensorsHeaderBytes: 32 * MiB,
  npyHeaderBytes: 64 * 1024,
  jsonBytes: 64 * MiB,
  jsonDepth: 64,
  tensors: 1_000_000,
  metadataKeys: 100_000,
  metadataString: 16 * MiB,
  metadataArray: 16 * MiB,
  arrayDepth: 1,
  rank: 8,
  dimension: 2 ** 48,
  tensorBytes: 2 ** 32,
  fileBytes: 2 ** 31,
  inflatedBytes: 2 ** 31,
  inflateRatio: 200,
  zipEntries: 10_000,
  shards: 1000,
  graphNodes: 1_000_000,
}

export interface ReadOptions {
  readonly limits?: Partial<Limits>
  /** The file system to use; tests replace it. */
  readonly io?: FileIo
}

export function limitsOf(options: ReadOptions): Limits {
  return options.limits ? { ...defaultLimits, ...options.limits } : defaultLimits
}

/** A reader's name for itself in errors: the format and the file. */
export interface FormatContext {
  readonly format: string
  /** Begins every message: `npy 'x.npy'`. */
  readonly where: string
  readonly limits: Limits
}

export function formatContext(format: string, path: string | undefined, options: ReadOptions): FormatContext {
  return { format, where: path === undefined ? format : `${format} '${path}'`, limits: limitsOf(options) }
}

export interface FormatDetails {
  readonly byteOffset?: number
  readonly tensor?: string
  readonly section?: string
}

export function formatError(ctx: FormatContext, reason: string, message: string, details: FormatDetails = {}): ModelFormatError {
  const at = details.byteOffset === undefined ? '' : ` (byte ${details.byteOffset})`
  const tensor = details.tensor === undefined ? '' : `tensor ${JSON.stringify(details.tensor.slice(0, 200))}: `
  return new ModelFormatError('ERR_MODEL_FORMAT', `${ctx.where}: ${tensor}${message}${at}`, {
    details: { format: ctx.format, reason, ...details },
  })
}

export function limitError(where: string, limit: string, value: number, max: number): LimitError {
  return new LimitError('ERR_LIMIT', `${where}: ${limit} must be at most ${max}, got ${value}`, { details: { limit, value, max } })
}

/** Elements of a shape found in a file; every dimension must be in range, also beside a zero. */
export function countElements(ctx: FormatContext, shape: readonly number[], details: FormatDetails = {}): number {
  if (shape.length > ctx.limits.rank) throw limitError(ctx.where, 'rank', shape.length, ctx.limits.rank)
  for (const d of shape) {
    if (!Number.isSafeInteger(d) || d < 0) throw formatError(ctx, 'shape', `dimensions must be integers >= 0, got ${d}`, details)
    if (d > ctx.limits.dimension) throw limitError(ctx.where, 'dimension', d, ctx.limits.dimension)
  }
  const elements = sizeOf(shape.includes(0) ? [0] : shape)
  if (!Number.isSafeInteger(elements)) throw formatError(ctx, 'shape-overflow', `[${shape.join(', ')}] has too many elements`, details)
  return elements
}

/** Bytes of a tensor found in a file. */
export function countBytes(ctx: FormatContext, dtype: DType, shape: readonly number[], details: FormatDetails = {}): number {
  const bytes = countElements(ctx, shape, details) * bytesPerElement(dtype)
  if (!Number.isSafeInteger(bytes)) throw formatError(ctx, 'shape-overflow', `${dtype}[${shape.join(', ')}] has too many bytes`, details)
  return bytes
}

/** Memory for `bytes` bytes, or a typed error. */
function allocate(where: string, bytes: number, make = (length: number): Uint8Array => new Uint8Array(length)): Uint8Array {
  try {
    return make(bytes)
  } catch (cause) {
    throw new MemoryBudgetError('ERR_MEMORY_BUDGET', `${where}: no memory for ${bytes} bytes`, { cause, details: { requested: bytes } })
  }
}

/** With whatever the memory held before: for who writes all of it or throws it away. Clearing 28 MB takes a tenth of what loading a model of them does. */
export function allocateUnset(where: string, bytes: number): Uint8Array {
  return allocate(where, bytes, (length) => new Uint8Array(Buffer.allocUnsafeSlow(length).buffer))
}

/** Memory for one tensor of a file. */
export function allocateTensor(ctx: FormatContext, bytes: number): Uint8Array {
  if (bytes > ctx.limits.tensorBytes) throw limitError(ctx.where, 'tensorBytes', bytes, ctx.limits.tensorBytes)
  return allocate(ctx.where, bytes)
}

/** Booleans are stored as 0 and 1; any other byte is damage. */
export function checkBooleans(ctx: FormatContext, tensor: RawTensor, details: FormatDetails = {}): void {
  if (tensor.dtype !== 'bool') return
  const at = tensor.data.findIndex((v) => v > 1)
  if (at >= 0) throw formatError(ctx, 'boolean', `booleans must be 0 or 1, element ${at} is ${tensor.data[at]}`, details)
}

/** A tensor given to a writer must be consistent before the first byte is written. */
export function checkRawTensor(where: string, tensor: RawTensor): void {
  const ctx: FormatContext = { format: where, where, limits: defaultLimits }
  const bytes = countBytes(ctx, tensor.dtype, tensor.shape)
  if (tensor.data.byteLength !== bytes) {
    const what = `${tensor.dtype}[${tensor.shape.join(', ')}]`
    throw new ShapeError('ERR_SHAPE', `${where}: ${what} needs ${bytes} bytes, the data has ${tensor.data.byteLength}`)
  }
  checkBooleans(ctx, tensor)
}
