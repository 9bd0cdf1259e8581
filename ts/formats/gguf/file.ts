/**
 * GGUF files, read tensor by tensor. Opening reads the header (header.ts: strict) and nothing else; metadata come back with their types, so that a file
 * can be written again as it was.
 */
import type { RawTensor } from '../../base/dtype.js'
import { OptionError, UnsupportedError } from '../../base/errors.js'
import { bytesSource, openSource, type ByteSource } from '../files.js'
import { allocateTensor, formatContext, limitError, type FormatContext, type ReadOptions } from '../limits.js'
import { blockTypes, decodeBlocks, isBlockType } from './blocks.js'
import { readGgufHeader, type GgufTensorEntry } from './header.js'
import { infoOf, type GgufType, type GgufValue } from './types.js'

/** A tensor as a file holds it: blocks stay blocks. */
export interface GgufTensor {
  readonly type: GgufType
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

/** An open GGUF file: header in memory, tensors read when asked for. Close it. */
export class GgufFile {
  readonly version: number
  readonly alignment: number
  readonly metadata: ReadonlyMap<string, GgufValue>
  /** In the order of the file's header. */
  readonly tensors: ReadonlyMap<string, GgufTensorEntry>
  readonly bytes: number
  readonly #ctx: FormatContext
  readonly #source: ByteSource

  /** @internal Use `openGguf`. */
  constructor(ctx: FormatContext, source: ByteSource) {
    const header = readGgufHeader(ctx, source)
    this.#ctx = ctx
    this.#source = source
    this.version = header.version
    this.alignment = header.alignment
    this.metadata = header.metadata
    this.tensors = header.tensors
    this.bytes = source.size
  }

  /** A text of the metadata; undefined where the key is missing or no text. */
  text(key: string): string | undefined {
    const found = this.metadata.get(key)
    return found?.type === 'string' ? found.value : undefined
  }

  /** A number of the metadata, of any numeric type; undefined where the key is missing or no number. */
  number(key: string): number | undefined {
    const value = this.metadata.get(key)?.value
    return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
  }

  /** Reads one tensor; blocks (q8_0, q4_0, q4_1, q4_k, q6_k) become f32, all else keeps its type. ERR_UNSUPPORTED for other block types. */
  readTensor(name: string): RawTensor {
    const { type, shape } = this.#entry(name)
    const { dtype, block, bytes } = infoOf(type)
    if (dtype) return { dtype, shape, data: this.#bytesOf(name) }
    const where = `${this.#ctx.where}: tensor ${JSON.stringify(name.slice(0, 200))}`
    if (!isBlockType(type))
      throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: ${type} can be kept, not read (read: ${blockTypes.join(', ')})`, {
        details: { what: type, tensor: name },
      })
    const inMemory = (this.#entry(name).bytes / bytes) * block * 4
    if (inMemory > this.#ctx.limits.tensorBytes) throw limitError(where, 'tensorBytes', inMemory, this.#ctx.limits.tensorBytes)
    return { dtype: 'f32', shape, data: new Uint8Array(decodeBlocks(type, this.#bytesOf(name), where).buffer) }
  }

  /** Reads the bytes of one tensor as they are stored. */
  readStored(name: string): GgufTensor {
    const { type, shape } = this.#entry(name)
    return { type, shape, data: this.#bytesOf(name) }
  }

  readAll(): Map<string, RawTensor> {
    return new Map([...this.tensors.keys()].map((name) => [name, this.readTensor(name)]))
  }

  close(): void {
    this.#source.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #entry(name: string): GgufTensorEntry {
    const entry = this.tensors.get(name)
    if (entry) return entry
    throw new OptionError('ERR_OPTION', `${this.#ctx.where}: no tensor ${JSON.stringify(name)}`, { details: { tensor: name } })
  }

  #bytesOf(name: string): Uint8Array {
    const { offset, bytes } = this.#entry(name)
    const data = allocateTensor(this.#ctx, bytes)
    this.#source.readInto(offset, data)
    return data
  }
}

/**
 * Opens a file and reads its header.
 *
 * - damage of any kind: ERR_MODEL_FORMAT with `byteOffset`; a type that does not exist: ERR_DTYPE; big-endian, version 1 or later than 3: ERR_UNSUPPORTED
 *
 * @example
 * const file = openGguf('model.gguf')
 * file.text('general.architecture')
 * const table = file.readTensor('token_embd.weight')
 * file.close()
 */
export function openGguf(file: string, options: ReadOptions = {}): GgufFile {
  return openFrom(formatContext('gguf', file, options), openSource(file, options))
}

/** The same from memory, which must not change meanwhile. */
export function parseGguf(bytes: Uint8Array, options: ReadOptions = {}): GgufFile {
  return openFrom(formatContext('gguf', undefined, options), bytesSource(bytes))
}

function openFrom(ctx: FormatContext, source: ByteSource): GgufFile {
  try {
    return new GgufFile(ctx, source)
  } catch (error) {
    source.close()
    throw error
  }
}
