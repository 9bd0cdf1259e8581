/**
 * Writes GGUF version 3, little-endian, crash-safe. Tensors may be given as functions that make their bytes when their turn comes, so that a large model is
 * never in memory as a whole. Same metadata and tensors, same bytes.
 */
import type { RawTensor } from '../../base/dtype.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { isWellFormed } from '../../base/json.js'
import { AtomicFile, type WriteOptions } from '../atomic.js'
import { defaultLimits, type FormatContext } from '../limits.js'
import type { GgufTensor } from './file.js'
import { ALIGNMENT_KEY, DEFAULT_ALIGNMENT, alignUp, ggufBytes, isAlignment } from './header.js'
import { arrayClasses, ggufTypes, ggufValueTypes, infoOf, valueBytes, type GgufArray, type GgufType, type GgufValue } from './types.js'

/** ggml keeps names in 64 bytes with the NUL at the end. */
const NAME_BYTES = 63
const MAX_RANK = 4

/** A tensor to write: its bytes, or a function that makes them. */
export interface GgufSource {
  readonly type: GgufType
  readonly shape: readonly number[]
  readonly data: Uint8Array | (() => Uint8Array)
}

export interface GgufWriteOptions extends WriteOptions {
  readonly metadata?: ReadonlyMap<string, GgufValue> | Readonly<Record<string, GgufValue>>
  /** Called behind each tensor. */
  readonly onTensor?: (name: string, done: number, total: number) => void
}

/** Grows as it is written. */
class Bytes {
  #bytes = new Uint8Array(4096)
  #view = new DataView(this.#bytes.buffer)
  length = 0

  #room(n: number): number {
    const at = this.length
    if (at + n > this.#bytes.byteLength) {
      const grown = new Uint8Array(Math.max(2 * this.#bytes.byteLength, at + n))
      grown.set(this.#bytes)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    this.length += n
    return at
  }

  put(bytes: Uint8Array): void {
    const at = this.#room(bytes.byteLength) // may replace #bytes
    this.#bytes.set(bytes, at)
  }

  u32(n: number): void {
    const at = this.#room(4)
    this.#view.setUint32(at, n, true)
  }

  u64(n: bigint): void {
    const at = this.#room(8)
    this.#view.setBigUint64(at, BigInt.asUintN(64, n), true)
  }

  text(text: string): void {
    const bytes = Buffer.from(text, 'utf8')
    this.u64(BigInt(bytes.byteLength))
    this.put(bytes)
  }

  taken(): Uint8Array {
    return this.#bytes.subarray(0, this.length)
  }
}

const invalid = (where: string, rule: string): OptionError => new OptionError('ERR_OPTION', `${where} ${rule}`)

function checkText(where: string, text: unknown): asserts text is string {
  if (typeof text !== 'string' || !isWellFormed(text)) throw invalid(where, 'must be a string of valid Unicode')
}

function putArray(out: Bytes, where: string, array: GgufArray, depth: number): void {
  const { of, value } = array
  const type = ggufValueTypes.indexOf(of)
  if (type < 0) throw invalid(where, `has elements of no type of GGUF: ${JSON.stringify(of)}`)
  out.u32(type)
  out.u64(BigInt(value.length))
  if (of === 'array') {
    if (depth >= defaultLimits.arrayDepth) throw invalid(where, 'has arrays that are nested too deeply')
    for (const inner of value) putArray(out, where, inner, depth + 1)
  } else if (of === 'string')
    for (const text of value) {
      checkText(where, text)
      out.text(text)
    }
  else {
    if (!(value instanceof arrayClasses[of])) throw invalid(where, `must be a ${arrayClasses[of].name}`)
    out.put(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  }
}

const ranges: Readonly<Record<string, readonly [lo: number, hi: number]>> = {
  u8: [0, 255],
  i8: [-128, 127],
  u16: [0, 65535],
  i16: [-32768, 32767],
  u32: [0, 2 ** 32 - 1],
  i32: [-(2 ** 31), 2 ** 31 - 1],
}

function putValue(out: Bytes, where: string, given: GgufValue): void {
  const type = ggufValueTypes.indexOf(given.type)
  if (type < 0) throw invalid(where, `has no type of GGUF: ${JSON.stringify(given.type)}`)
  out.u32(type)
  if (given.type === 'array') return putArray(out, where, given, 0)
  if (given.type === 'string') {
    checkText(where, given.value)
    return out.text(given.value)
  }
  if (given.type === 'bool') {
    if (typeof given.value !== 'boolean') throw invalid(where, 'must be a boolean')
    return out.put(Uint8Array.of(given.value ? 1 : 0))
  }
  if (given.type === 'u64' || given.type === 'i64') {
    const { type: wide, value } = given
    const fits = typeof value === 'bigint' && value === (wide === 'u64' ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value))
    if (!fits) throw invalid(where, `must be a bigint in the range of ${given.type}`)
    return out.u64(given.value)
  }
  const range = ranges[given.type]
  const ok =
    typeof given.value === 'number' && (!range || (Number.isInteger(given.value) && given.value >= range[0] && given.value <= range[1]))
  if (!ok) throw invalid(where, `must be a number in the range of ${given.type}, got ${String(given.value)}`)
  out.put(new Uint8Array(arrayClasses[given.type].of(given.value).buffer, 0, valueBytes[given.type]))
}

type NamedTensors = Iterable<readonly [string, GgufSource | GgufTensor | RawTensor]>

interface Planned extends GgufSource {
  readonly name: string
  readonly bytes: number
}

/** A tensor of plain numbers has the GGUF type of its dtype's name. */
function asSource(where: string, tensor: GgufSource | RawTensor): GgufSource {
  if ('type' in tensor) {
    if (Object.hasOwn(ggufTypes, tensor.type)) return tensor
    throw invalid(where, `has no type of GGUF: ${JSON.stringify(tensor.type)}`)
  }
  if (!Object.hasOwn(ggufTypes, tensor.dtype))
    throw invalid(where, `has dtype ${tensor.dtype}, which GGUF has not (it has f64, f32, f16, bf16, i64, i32, i16, i8)`)
  return { type: tensor.dtype as GgufType, shape: tensor.shape, data: tensor.data }
}

function plan(tensors: NamedTensors): Planned[] {
  const names = new Set<string>()
  return [...tensors].map(([name, tensor]) => {
    checkText('gguf: a tensor name', name)
    const where = `gguf: tensor ${JSON.stringify(name.slice(0, 200))}`
    const length = Buffer.byteLength(name)
    if (length === 0 || length > NAME_BYTES) throw invalid(where, `must have a name of 1 to ${NAME_BYTES} bytes`)
    if (names.has(name)) throw invalid(where, 'was given twice')
    names.add(name)
    const source = asSource(where, tensor)
    if (source.shape.length > MAX_RANK)
      throw new ShapeError('ERR_SHAPE', `${where} must have at most ${MAX_RANK} dimensions, got [${source.shape.join(', ')}]`)
    const { block } = infoOf(source.type)
    const row = source.shape[source.shape.length - 1] ?? 1
    if (row % block !== 0) throw new ShapeError('ERR_SHAPE', `${where}: rows of ${source.type} must be a multiple of ${block}, got ${row}`)
    const ctx: FormatContext = { format: 'gguf', where, limits: defaultLimits }
    return { name, ...source, bytes: ggufBytes(ctx, source.type, source.shape, { tensor: name }) }
  })
}

function header(planned: readonly Planned[], options: GgufWriteOptions): { bytes: Uint8Array; alignment: number } {
  const given = options.metadata ?? {}
  const metadata: (readonly [string, GgufValue])[] = given instanceof Map ? [...(given as Map<string, GgufValue>)] : Object.entries(given)
  const aligned = metadata.find(([key]) => key === ALIGNMENT_KEY)?.[1]
  if (aligned && (aligned.type !== 'u32' || !isAlignment(aligned.value)))
    throw invalid(`gguf: metadata "${ALIGNMENT_KEY}"`, 'must be u32 and a power of two in [8, 65536]')
  const alignment = aligned?.type === 'u32' ? aligned.value : DEFAULT_ALIGNMENT
  const out = new Bytes()
  out.put(Buffer.from('GGUF'))
  out.u32(3)
  out.u64(BigInt(planned.length))
  out.u64(BigInt(metadata.length))
  for (const [key, value] of metadata) {
    checkText('gguf: a metadata key', key)
    if (key === '') throw invalid('gguf: a metadata key', 'must not be empty')
    out.text(key)
    putValue(out, `gguf: metadata ${JSON.stringify(key.slice(0, 200))}`, value)
  }
  let offset = 0
  for (const { name, shape, type, bytes } of planned) {
    out.text(name)
    out.u32(shape.length)
    for (const dim of [...shape].reverse()) out.u64(BigInt(dim))
    out.u32(infoOf(type).id)
    out.u64(BigInt(offset))
    offset = alignUp(offset + bytes, alignment)
  }
  out.put(new Uint8Array(alignUp(out.length, alignment) - out.length))
  return { bytes: out.taken(), alignment }
}

/** The pieces of a file one after the other. */
function* pieces(tensors: NamedTensors, options: GgufWriteOptions): Generator<Uint8Array> {
  const planned = plan(tensors)
  const { bytes, alignment } = header(planned, options)
  yield bytes
  for (const [i, { name, type, shape, data, bytes: wanted }] of planned.entries()) {
    const made = typeof data === 'function' ? data() : data
    if (made.byteLength !== wanted) {
      const what = `${type}[${shape.join(', ')}]`
      throw new ShapeError(
        'ERR_SHAPE',
        `gguf: tensor ${JSON.stringify(name)}: ${what} needs ${wanted} bytes, the data has ${made.byteLength}`,
      )
    }
    yield made
    yield new Uint8Array(alignUp(wanted, alignment) - wanted)
    options.onTensor?.(name, i + 1, planned.length)
  }
}

/** The bytes of a file, in memory. */
export function encodeGguf(tensors: NamedTensors, options: GgufWriteOptions = {}): Uint8Array {
  const out = new Bytes()
  for (const piece of pieces(tensors, options)) out.put(piece)
  return out.taken().slice()
}

/**
 * Writes a file, crash-safe: an error leaves what was there. Gives the bytes of the file.
 *
 * - names that ggml cannot hold, types that GGUF has not: ERR_OPTION; shapes that do not fit type or data: ERR_SHAPE
 *
 * @example
 * const metadata = { 'general.architecture': { type: 'string', value: 'mine' } }
 * writeGguf('x.gguf', [['table', { type: 'q8_0', shape: [2, 32], data: new Uint8Array(68) }]], { metadata })
 */
export function writeGguf(file: string, tensors: NamedTensors, options: GgufWriteOptions = {}): number {
  const out = new AtomicFile(file, options)
  try {
    for (const piece of pieces(tensors, options)) out.write(piece)
    const { position } = out
    out.commit()
    return position
  } finally {
    out.abort()
  }
}
