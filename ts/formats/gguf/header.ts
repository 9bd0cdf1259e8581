/**
 * The header of a GGUF file, read strictly (format: ggml-org/ggml, docs/gguf.md), versions 2 and 3, little-endian:
 *
 *   "GGUF" | u32 version | u64 tensors | u64 keys | keys: string, type, value | tensors: name, dims, type, offset | padding | data
 *
 * The tensors must tile the data in any order: each begins where the padding behind another one ends, nothing overlaps, nothing is left over.
 */
import { DTypeError, UnsupportedError } from '../../base/errors.js'
import type { ByteSource } from '../files.js'
import { countElements, formatError, limitError, type FormatContext } from '../limits.js'
import { ByteCursor } from './cursor.js'
import {
  arrayClasses,
  ggufTypeById,
  ggufTypes,
  ggufValueTypes,
  infoOf,
  valueBytes,
  type GgufArray,
  type GgufNumberType,
  type GgufScalar,
  type GgufType,
  type GgufValue,
  type GgufValueType,
} from './types.js'

export const ALIGNMENT_KEY = 'general.alignment'
export const DEFAULT_ALIGNMENT = 32
const MAX_ALIGNMENT = 65536

export interface GgufTensorEntry {
  readonly name: string
  readonly type: GgufType
  /** Slowest dimension first, as everywhere here; ggml counts them the other way round. */
  readonly shape: readonly number[]
  /** Offset of the first byte in the file. */
  readonly offset: number
  readonly bytes: number
}

export interface GgufHeader {
  readonly version: number
  readonly alignment: number
  readonly metadata: ReadonlyMap<string, GgufValue>
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, GgufTensorEntry>
}

export const isAlignment = (n: number): boolean => Number.isInteger(n) && n >= 8 && n <= MAX_ALIGNMENT && (n & (n - 1)) === 0
export const alignUp = (n: number, alignment: number): number => Math.ceil(n / alignment) * alignment

/** Bytes of a tensor of this type and shape; rows must be whole blocks. */
export function ggufBytes(
  ctx: FormatContext,
  type: GgufType,
  shape: readonly number[],
  details: { tensor: string; byteOffset?: number },
): number {
  const { block, bytes } = infoOf(type)
  const elements = countElements(ctx, shape, details)
  const row = shape[shape.length - 1] ?? 1
  if (row % block !== 0) throw formatError(ctx, 'block', `rows of ${type} must be a multiple of ${block}, got ${row}`, details)
  const total = (elements / block) * bytes
  if (!Number.isSafeInteger(total)) throw formatError(ctx, 'shape-overflow', `${type}[${shape.join(', ')}] has too many bytes`, details)
  return total
}

const numberReaders: Readonly<Record<Exclude<GgufNumberType, 'u64' | 'i64'>, (view: DataView, at: number) => number>> = {
  u8: (view, at) => view.getUint8(at),
  i8: (view, at) => view.getInt8(at),
  u16: (view, at) => view.getUint16(at, true),
  i16: (view, at) => view.getInt16(at, true),
  u32: (view, at) => view.getUint32(at, true),
  i32: (view, at) => view.getInt32(at, true),
  f32: (view, at) => view.getFloat32(at, true),
  f64: (view, at) => view.getFloat64(at, true),
}

function readValueType(cursor: ByteCursor, what: string): GgufValueType {
  const id = cursor.u32(`the type of ${what}`)
  return ggufValueTypes[id] ?? cursor.fail('value-type', `the type of ${what} must be in [0, ${ggufValueTypes.length}), got ${id}`)
}

function readScalar(cursor: ByteCursor, type: Exclude<GgufValueType, 'array'>, what: string): GgufScalar {
  if (type === 'string') return { type, value: cursor.string(what) }
  if (type === 'u64') return { type, value: cursor.u64(what) }
  if (type === 'i64') return { type, value: BigInt.asIntN(64, cursor.u64(what)) }
  if (type !== 'bool') return { type, value: cursor.number(valueBytes[type], numberReaders[type], what) }
  const byte = cursor.u8(what)
  if (byte > 1) cursor.fail('boolean', `${what} must be 0 or 1, got ${byte}`)
  return { type, value: byte === 1 }
}

function readArray(ctx: FormatContext, cursor: ByteCursor, what: string, depth: number): GgufArray {
  const of = readValueType(cursor, `the elements of ${what}`)
  // An array is at least its type and length, a string its length.
  const least = of === 'array' ? 12 : of === 'string' ? 8 : valueBytes[of]
  const n = cursor.count(`the length of ${what}`, least, ['metadataArray', ctx.limits.metadataArray])
  if (of === 'array') {
    if (depth >= ctx.limits.arrayDepth) throw limitError(ctx.where, 'arrayDepth', depth + 1, ctx.limits.arrayDepth)
    const value: GgufArray[] = []
    for (let i = 0; i < n; i++) value.push(readArray(ctx, cursor, what, depth + 1))
    return { type: 'array', of, value }
  }
  if (of === 'string') {
    const value: string[] = []
    for (let i = 0; i < n; i++) value.push(cursor.string(what))
    return { type: 'array', of, value }
  }
  const value = new arrayClasses[of](n)
  cursor.bytes(new Uint8Array(value.buffer), what)
  if (of === 'bool') {
    const at = (value as Uint8Array).findIndex((v) => v > 1)
    if (at >= 0) cursor.fail('boolean', `${what} must be 0 or 1, element ${at} is ${(value as Uint8Array)[at]}`)
  }
  return { type: 'array', of, value } as GgufArray
}

function readMetadata(ctx: FormatContext, cursor: ByteCursor, count: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>()
  for (let i = 0; i < count; i++) {
    const key = cursor.string('a key')
    if (key === '') cursor.fail('name', 'a key must have a name')
    const what = `metadata ${JSON.stringify(key.slice(0, 100))}`
    if (metadata.has(key)) cursor.fail('duplicate', `${what}: the key stands twice`)
    const type = readValueType(cursor, what)
    metadata.set(key, type === 'array' ? readArray(ctx, cursor, what, 0) : readScalar(cursor, type, what))
  }
  return metadata
}

interface Declared {
  readonly name: string
  readonly type: GgufType
  readonly shape: readonly number[]
  readonly relative: bigint
  readonly byteOffset: number
}

function readDeclared(ctx: FormatContext, cursor: ByteCursor): Declared {
  const byteOffset = cursor.offset
  const name = cursor.string('the name of a tensor')
  if (name === '') cursor.fail('name', 'a tensor must have a name')
  const at = { tensor: name, byteOffset }
  const rank = cursor.u32('the number of dimensions')
  if (rank > ctx.limits.rank) throw limitError(ctx.where, 'rank', rank, ctx.limits.rank)
  const shape: number[] = []
  for (let i = 0; i < rank; i++) {
    const dim = cursor.u64('a dimension')
    if (dim > BigInt(Number.MAX_SAFE_INTEGER)) throw formatError(ctx, 'shape', `a dimension is ${dim}`, at)
    shape.unshift(Number(dim))
  }
  const id = cursor.u32('the type of a tensor')
  const type = ggufTypeById.get(id)
  if (type === undefined) {
    const message = `${ctx.where}: tensor ${JSON.stringify(name.slice(0, 200))}: ${id} is no type of a tensor (known: ${Object.keys(ggufTypes).join(', ')})`
    throw new DTypeError('ERR_DTYPE', message, { details: { format: ctx.format, reason: 'dtype', ...at } })
  }
  return { name, type, shape, relative: cursor.u64('the offset of a tensor'), byteOffset }
}

/** Where the tensors lie; they must tile the data up to the end of the file. */
function place(
  ctx: FormatContext,
  declared: readonly Declared[],
  headerEnd: number,
  alignment: number,
  size: number,
): Map<string, GgufTensorEntry> {
  const start = alignUp(headerEnd, alignment)
  const tensors = new Map<string, GgufTensorEntry>()
  for (const { name, type, shape, relative, byteOffset } of declared) {
    const at = { tensor: name, byteOffset }
    const bytes = ggufBytes(ctx, type, shape, at)
    if (relative % BigInt(alignment) !== 0n) throw formatError(ctx, 'alignment', `offset ${relative} is no multiple of ${alignment}`, at)
    if (relative + BigInt(bytes) > BigInt(Math.max(0, size - start)))
      throw formatError(ctx, 'offsets', `${bytes} bytes at ${relative} lie outside the ${Math.max(0, size - start)} bytes of data`, at)
    tensors.set(name, { name, type, shape, offset: start + Number(relative), bytes })
  }
  let end = start
  for (const { name, offset, bytes } of [...tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    const at = { tensor: name, byteOffset: offset }
    if (offset < end) throw formatError(ctx, 'overlap', `the data overlaps that of another tensor by ${end - offset} bytes`, at)
    if (offset > alignUp(end, alignment)) throw formatError(ctx, 'hole', `${offset - end} bytes before the data belong to no tensor`, at)
    end = offset + bytes
  }
  if (size > alignUp(end, alignment)) throw formatError(ctx, 'trailing', `${size - end} bytes after the last tensor`, { byteOffset: end })
  return tensors
}

function readVersion(ctx: FormatContext, cursor: ByteCursor): number {
  for (const byte of Buffer.from('GGUF')) if (cursor.u8('the magic') !== byte) cursor.fail('magic', 'the file must begin with "GGUF"')
  const version = cursor.u32('the version')
  if (version === 2 || version === 3) return version
  const bigEndian = version !== 0 && version % 2 ** 16 === 0
  if (version === 0) cursor.fail('version', 'version 0 was never a format')
  const what = bigEndian ? 'big-endian GGUF' : `GGUF version ${version}`
  throw new UnsupportedError('ERR_UNSUPPORTED', `${ctx.where}: ${what} is not read (only versions 2 and 3, little-endian)`, {
    details: { format: ctx.format, what, byteOffset: 4 },
  })
}

export function readGgufHeader(ctx: FormatContext, source: ByteSource): GgufHeader {
  const cursor = new ByteCursor(ctx, source)
  const version = readVersion(ctx, cursor)
  // A tensor is at least the length of its name, a byte of it, rank, type and offset; a key its length, a byte, type and value.
  const tensorCount = cursor.count('the number of tensors', 25, ['tensors', ctx.limits.tensors])
  const keyCount = cursor.count('the number of keys', 14, ['metadataKeys', ctx.limits.metadataKeys])
  const metadata = readMetadata(ctx, cursor, keyCount)
  const declared: Declared[] = []
  const names = new Set<string>()
  for (let i = 0; i < tensorCount; i++) {
    const tensor = readDeclared(ctx, cursor)
    if (names.has(tensor.name))
      throw formatError(ctx, 'duplicate', 'the name stands twice', { tensor: tensor.name, byteOffset: tensor.byteOffset })
    names.add(tensor.name)
    declared.push(tensor)
  }
  const given = metadata.get(ALIGNMENT_KEY)
  if (given && (given.type !== 'u32' || !isAlignment(given.value)))
    cursor.fail('alignment', `${ALIGNMENT_KEY} must be u32 and a power of two in [8, ${MAX_ALIGNMENT}]`)
  const alignment = given?.type === 'u32' ? given.value : DEFAULT_ALIGNMENT
  return { version, alignment, metadata, tensors: place(ctx, declared, cursor.offset, alignment, source.size) }
}
