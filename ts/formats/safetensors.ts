/**
 * safetensors files: read whole or tensor by tensor, written deterministically (same tensors and metadata, same bytes).
 *
 * Reading rejects whatever the format does not define (safetensors-header.ts) before any tensor is allocated. Files written here carry a
 * checksum per section (safetensors-digest.ts), verified on reading.
 */
import { dtypeInfo, type RawTensor } from '../base/dtype.js'
import { OptionError } from '../base/errors.js'
import { isWellFormed } from '../base/json.js'
import { openBeneath, type BeneathOptions } from './beneath.js'
import { bytesSource, openSource, type ByteSource } from './files.js'
import { writeFileAtomic, type WriteOptions } from './atomic.js'
import {
  allocateTensor,
  checkBooleans,
  checkRawTensor,
  defaultLimits,
  formatContext,
  limitError,
  type FormatContext,
  type ReadOptions,
} from './limits.js'
import {
  CONTAINER_KEY,
  CONTAINER_VERSION,
  DIGEST_KEY,
  DIGEST_PREFIX,
  headerDigest,
  sha256Hex,
  verifyHeader,
  verifyTensor,
} from './safetensors-digest.js'
import { dtypeError, readHeader, type ForeignEntry, type TensorEntry } from './safetensors-header.js'

export interface SafetensorsReadOptions extends ReadOptions {
  /** `'verify'` (default) checks the checksums of files that carry them, `'require'` also refuses a file without, `'ignore'` checks none. */
  readonly checksums?: 'verify' | 'require' | 'ignore'
}

export interface SafetensorsContent {
  readonly tensors: Map<string, RawTensor>
  readonly metadata: Map<string, string>
}

/** An open safetensors file: the index is in memory, tensors are read when asked for. Close it. */
export class SafetensorsFile {
  /** In the order of the file's header. */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  /** Tensors of dtypes that Tersor has not (F8_E4M3, F8_E5M2, U32, ...): reading one is ERR_UNSUPPORTED, the others are readable. */
  readonly foreign: ReadonlyMap<string, ForeignEntry>
  /** Without the keys of the checksums. */
  readonly metadata: ReadonlyMap<string, string>
  readonly bytes: number
  readonly #ctx: FormatContext
  readonly #source: ByteSource
  readonly #digests: ReadonlyMap<string, string> | undefined

  /** @internal Use `openSafetensors`. */
  constructor(ctx: FormatContext, source: ByteSource, checksums: 'verify' | 'require' | 'ignore') {
    const header = readHeader(ctx, source)
    this.#ctx = ctx
    this.#source = source
    this.#digests = checksums === 'ignore' ? undefined : verifyHeader(ctx, header)
    if (checksums === 'require' && !this.#digests)
      throw new OptionError('ERR_OPTION', `${ctx.where}: checksums are required, the file has none`)
    const metadata = new Map(header.metadata)
    metadata.delete(DIGEST_KEY)
    metadata.delete(CONTAINER_KEY)
    this.tensors = header.tensors
    this.foreign = header.foreign
    this.metadata = metadata
    this.bytes = source.size
  }

  /** Reads one tensor into memory of its own. */
  readTensor(name: string): RawTensor {
    const entry = this.tensors.get(name)
    const foreign = this.foreign.get(name)
    if (foreign) throw dtypeError(this.#ctx, foreign.dtype, name)
    if (!entry) throw new OptionError('ERR_OPTION', `${this.#ctx.where}: no tensor ${JSON.stringify(name)}`, { details: { tensor: name } })
    const data = allocateTensor(this.#ctx, entry.bytes)
    this.#source.readInto(entry.offset, data)
    verifyTensor(this.#ctx, entry, data, this.#digests?.get(name))
    const tensor = { dtype: entry.dtype, shape: entry.shape, data }
    checkBooleans(this.#ctx, tensor, { tensor: name })
    return tensor
  }

  /** For readers that need every tensor: one of a dtype that Tersor has not is ERR_UNSUPPORTED. */
  requireKnown(): void {
    for (const { name, dtype } of this.foreign.values()) throw dtypeError(this.#ctx, dtype, name)
  }

  /** Reads all tensors; one of a dtype that Tersor has not is ERR_UNSUPPORTED. */
  readAll(): Map<string, RawTensor> {
    return new Map([...this.tensors.keys(), ...this.foreign.keys()].map((name) => [name, this.readTensor(name)]))
  }

  close(): void {
    this.#source.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Opens a file and reads its index. */
export function openSafetensors(file: string, options: SafetensorsReadOptions = {}): SafetensorsFile {
  return openFrom(openSource(file, options), file, options)
}

/** The same for a file that another one names (a shard): it must lie beneath `folder` (beneath.ts). */
export function openSafetensorsBeneath(
  folder: string,
  name: string,
  options: SafetensorsReadOptions & BeneathOptions = {},
): SafetensorsFile {
  return openFrom(openBeneath(`safetensors '${folder}'`, folder, name, options), name, options)
}

function openFrom(source: ByteSource, file: string, options: SafetensorsReadOptions): SafetensorsFile {
  try {
    return new SafetensorsFile(formatContext('safetensors', file, options), source, options.checksums ?? 'verify')
  } catch (error) {
    source.close()
    throw error
  }
}

/** Reads a whole file. */
export function readSafetensors(file: string, options: SafetensorsReadOptions = {}): SafetensorsContent {
  const open = openSafetensors(file, options)
  try {
    return { tensors: open.readAll(), metadata: new Map(open.metadata) }
  } finally {
    open.close()
  }
}

/** The same from memory; the tensors are copies. */
export function parseSafetensors(bytes: Uint8Array, options: SafetensorsReadOptions = {}): SafetensorsContent {
  const open = new SafetensorsFile(formatContext('safetensors', undefined, options), bytesSource(bytes), options.checksums ?? 'verify')
  return { tensors: open.readAll(), metadata: new Map(open.metadata) }
}

export interface SafetensorsWriteOptions extends WriteOptions {
  readonly metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>>
  /** A checksum per section in the metadata; default true. */
  readonly checksums?: boolean
}

type NamedTensors = Iterable<readonly [string, RawTensor]>

function checkText(where: string, text: unknown): asserts text is string {
  if (typeof text !== 'string' || !isWellFormed(text)) throw new OptionError('ERR_OPTION', `${where} must be a string of valid Unicode`)
}

function headerJson(tensors: NamedTensors, options: SafetensorsWriteOptions): { json: string; data: Uint8Array[] } {
  const { metadata = {}, checksums = true } = options
  const given: (readonly [string, unknown])[] = metadata instanceof Map ? [...(metadata as Map<string, unknown>)] : Object.entries(metadata)
  const names = new Set<string>()
  const members: string[] = []
  const data: Uint8Array[] = []
  let offset = 0
  for (const [name, tensor] of tensors) {
    checkText('safetensors: a tensor name', name)
    const where = `safetensors: tensor ${JSON.stringify(name)}`
    if (name === '' || name === '__metadata__') throw new OptionError('ERR_OPTION', `${where}: this name is not allowed`)
    if (names.has(name)) throw new OptionError('ERR_OPTION', `${where}: the name was given twice`)
    checkRawTensor(where, tensor)
    names.add(name)
    data.push(tensor.data)
    const end = offset + tensor.data.byteLength
    members.push(
      `${JSON.stringify(name)}:{"dtype":"${dtypeInfo[tensor.dtype].safetensors}","shape":[${tensor.shape.join(',')}],"data_offsets":[${offset},${end}]}`,
    )
    offset = end
  }
  const digests = checksums ? data.map((bytes) => sha256Hex(bytes)) : []
  const pairs = checksums
    ? [`"${DIGEST_KEY}":"${['0'.repeat(64), ...digests].join(' ')}"`, `"${CONTAINER_KEY}":"${CONTAINER_VERSION}"`]
    : []
  for (const [key, value] of given) {
    checkText(`safetensors: metadata key ${JSON.stringify(key)}`, key)
    checkText(`safetensors: metadata ${JSON.stringify(key)}`, value)
    if (key === DIGEST_KEY || key === CONTAINER_KEY)
      throw new OptionError('ERR_OPTION', `safetensors: metadata "${key}" is written by Tersor itself`)
    pairs.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`)
  }
  if (pairs.length) members.unshift(`"__metadata__":{${pairs.join(',')}}`)
  return { json: `{${members.join(',')}}`, data }
}

/**
 * The pieces of a safetensors file: header, then each tensor's bytes as given. Tensors stand in the order given and the data begins at a
 * multiple of 8; the format allows no gaps, so give wide types first where alignment of each tensor matters.
 */
export function encodeSafetensors(tensors: NamedTensors, options: SafetensorsWriteOptions = {}): Uint8Array[] {
  const { json, data } = headerJson(tensors, options)
  const text = new TextEncoder().encode(json)
  const length = Math.ceil(text.byteLength / 8) * 8
  if (length > defaultLimits.safetensorsHeaderBytes)
    throw limitError('safetensors: the header', 'safetensorsHeaderBytes', length, defaultLimits.safetensorsHeaderBytes)
  const header = new Uint8Array(8 + length).fill(0x20)
  const view = new DataView(header.buffer)
  view.setUint32(0, length, true)
  view.setUint32(4, 0, true)
  header.set(text, 8)
  if (options.checksums ?? true) header.set(new TextEncoder().encode(headerDigest(header)), 8 + DIGEST_PREFIX.length)
  return [header, ...data]
}

/** Writes a file, crash-safe: an error leaves what was there. Gives the bytes of the file. */
export function writeSafetensors(file: string, tensors: NamedTensors, options: SafetensorsWriteOptions = {}): number {
  const pieces = encodeSafetensors(tensors, options)
  writeFileAtomic(file, pieces, options)
  return pieces.reduce((n, piece) => n + piece.byteLength, 0)
}
