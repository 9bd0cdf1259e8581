/**
 * The header of a safetensors file, read strictly (format: huggingface/safetensors README, "Format").
 *
 *   u64 N | N bytes of JSON, padded with spaces | tensor data, no holes, no overlap, up to the end of the file
 *
 * The JSON is walked with a cursor, so that a hostile header is rejected at its first wrong token and never built; a running sum of the
 * tensors' bytes rejects an "expansion bomb" (many tensors on one block) at the first tensor that cannot fit.
 */
import { dtypeInfo, dtypes, type DType } from '../base/dtype.js'
import { DTypeError, UnsupportedError } from '../base/errors.js'
import { JsonReader } from '../base/json.js'
import type { ByteSource } from './files.js'
import { countBytes, countElements, formatError, limitError, type FormatContext } from './limits.js'

export interface TensorEntry {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Offset of the first byte in the file. */
  readonly offset: number
  readonly bytes: number
}

/** A tensor of a dtype of the format that Tersor has not: its place is checked, its values are not read. */
export interface ForeignEntry extends Omit<TensorEntry, 'dtype'> {
  readonly dtype: string
}

export interface SafetensorsHeader {
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  readonly foreign: ReadonlyMap<string, ForeignEntry>
  readonly metadata: ReadonlyMap<string, string>
  /** The 8 length bytes and the JSON, as they stand in the file. */
  readonly bytes: Uint8Array
}

const dtypeByName = new Map<string, DType>(dtypes.map((d) => [dtypeInfo[d].safetensors, d]))
/** Bits of the other types of the format. */
const foreignBits = new Map<string, number>([
  ['U64', 64],
  ['U32', 32],
  ['F8_E4M3', 8],
  ['F8_E5M2', 8],
  ['F8_E4M3FNUZ', 8],
  ['F8_E5M2FNUZ', 8],
  ['F8_E8M0', 8],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['F4', 4],
  ['C64', 64],
])

/** The refusal of a dtype: of the format but not ours, or of no format. */
export function dtypeError(ctx: FormatContext, name: string, tensor: string): Error {
  const known = [...dtypeByName.keys()].join(', ')
  const message = `${ctx.where}: tensor ${JSON.stringify(tensor.slice(0, 200))}: dtype must be one of ${known}, got ${JSON.stringify(name.slice(0, 40))}`
  const details = { format: ctx.format, reason: 'dtype', tensor }
  if (foreignBits.has(name)) return new UnsupportedError('ERR_UNSUPPORTED', message, { details: { ...details, what: name } })
  return new DTypeError('ERR_DTYPE', message, { details })
}

const isOurs = (entry: TensorEntry | ForeignEntry): entry is TensorEntry => Object.hasOwn(dtypeInfo, entry.dtype)

/** Reads the fields of one tensor; the cursor stands before its object. */
function readEntry(ctx: FormatContext, json: JsonReader, name: string, dataStart: number, dataBytes: number): TensorEntry | ForeignEntry {
  let dtype: string | undefined
  let shape: number[] | undefined
  const offsets: number[] = []
  const at = json.byteOffset
  const reject = (reason: string, message: string): never => {
    throw formatError(ctx, reason, message, { byteOffset: at, tensor: name })
  }
  json.object((key) => {
    if (key === 'dtype') dtype = json.string()
    else if (key === 'shape') {
      const dims: number[] = []
      json.array(() => {
        dims.push(json.integer())
        if (dims.length > ctx.limits.rank) throw limitError(ctx.where, 'rank', dims.length, ctx.limits.rank)
      })
      shape = dims
    } else if (key === 'data_offsets')
      json.array((i) => {
        if (i > 1) reject('offsets', 'data_offsets must be two integers')
        offsets.push(json.integer())
      })
    else json.fail('key', `unknown key ${JSON.stringify(key.slice(0, 100))} in a tensor`)
  })
  const [begin, end] = offsets
  if (dtype === undefined || shape === undefined || begin === undefined || end === undefined)
    return reject('incomplete', 'a tensor needs dtype, shape and data_offsets')
  const type = dtypeByName.get(dtype)
  const bits = foreignBits.get(dtype)
  if (type === undefined && bits === undefined) throw dtypeError(ctx, dtype, name)
  if (begin > end) reject('offsets', `data_offsets must not be reversed, got [${begin}, ${end}]`)
  if (end > dataBytes) reject('offsets', `data_offsets must be within the ${dataBytes} bytes of data, got [${begin}, ${end}]`)
  const details = { byteOffset: at, tensor: name }
  const bytes = type ? countBytes(ctx, type, shape, details) : (countElements(ctx, shape, details) * bits!) / 8
  if (bytes !== end - begin)
    reject('size', `${dtype}[${shape.join(', ')}] takes ${bytes} bytes, data_offsets [${begin}, ${end}] give ${end - begin}`)
  return { name, dtype: type ?? dtype, shape, offset: dataStart + begin, bytes }
}

/** The tensors must tile the data: no overlap, no hole, nothing behind the last. */
function checkTiling(ctx: FormatContext, entries: Iterable<Omit<TensorEntry, 'dtype'>>, dataStart: number, size: number): void {
  const sorted = [...entries].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)
  let end = dataStart
  for (const { name, offset, bytes } of sorted) {
    const details = { byteOffset: offset, tensor: name }
    if (offset < end) throw formatError(ctx, 'overlap', `the data overlaps that of another tensor by ${end - offset} bytes`, details)
    if (offset > end) throw formatError(ctx, 'hole', `${offset - end} bytes before the data belong to no tensor`, details)
    end = offset + bytes
  }
  if (end !== size) throw formatError(ctx, 'trailing', `${size - end} bytes after the last tensor`, { byteOffset: end })
}

export function readHeader(ctx: FormatContext, source: ByteSource): SafetensorsHeader {
  const { size } = source
  if (size < 10) throw formatError(ctx, 'truncated', `a safetensors file has at least 10 bytes, this has ${size}`, { byteOffset: size })
  const prefix = source.read(0, 9)
  const view = new DataView(prefix.buffer)
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32
  const max = ctx.limits.safetensorsHeaderBytes
  if (length > size - 8)
    throw formatError(ctx, 'truncated', `the header of ${length} bytes ends behind the file of ${size}`, { byteOffset: 0 })
  if (length > max) throw limitError(ctx.where, 'safetensorsHeaderBytes', length, max)
  if (length < 2 || prefix[8] !== 0x7b) throw formatError(ctx, 'syntax', 'the header must begin with "{"', { byteOffset: 8 })

  const bytes = source.read(0, 8 + length)
  const json = new JsonReader(bytes.subarray(8), {
    where: ctx.where,
    format: ctx.format,
    byteOffset: 8,
    maxDepth: ctx.limits.jsonDepth,
    maxString: ctx.limits.metadataString,
    maxItems: 16 * ctx.limits.tensors,
  })
  const dataStart = 8 + length
  const tensors = new Map<string, TensorEntry>()
  const foreign = new Map<string, ForeignEntry>()
  let metadata: Map<string, string> | undefined
  let sum = 0
  json.object(
    (name) => {
      if (name === '__metadata__') return void (metadata = readMetadata(ctx, json))
      if (name === '') json.fail('name', 'a tensor must have a name')
      const entry = readEntry(ctx, json, name, dataStart, size - dataStart)
      sum += entry.bytes
      if (sum > size - dataStart)
        throw formatError(ctx, 'overlap', `the tensors so far claim ${sum} bytes of ${size - dataStart}: they overlap`, {
          byteOffset: json.byteOffset,
          tensor: name,
        })
      if (isOurs(entry)) tensors.set(name, entry)
      else foreign.set(name, entry)
      const count = tensors.size + foreign.size
      if (count > ctx.limits.tensors) throw limitError(ctx.where, 'tensors', count, ctx.limits.tensors)
    },
    { has: (key) => tensors.has(key) || foreign.has(key) || (key === '__metadata__' && metadata !== undefined) },
  )
  json.end('spaces')
  checkTiling(ctx, [...tensors.values(), ...foreign.values()], dataStart, size)
  return { tensors, foreign, metadata: metadata ?? new Map(), bytes }
}

function readMetadata(ctx: FormatContext, json: JsonReader): Map<string, string> {
  const metadata = new Map<string, string>()
  json.object((key) => {
    metadata.set(key, json.string('a string (metadata values are strings)'))
    if (metadata.size > ctx.limits.metadataKeys) throw limitError(ctx.where, 'metadataKeys', metadata.size, ctx.limits.metadataKeys)
  }, metadata)
  return metadata
}
