/**
 * Protobuf bytes to plain objects, by the descriptors of the protobuf library: one strict pass with a stack of its own, so neither time nor stack grows
 * with what a file claims. Every length lies inside its message, varints are at most 10 bytes, no field number 0, no groups, wire types fit known fields
 * (packed lists too), messages nest at most `depth` deep and there are at most `messages`. Unknown fields are stepped over and a message that comes in
 * parts is put together, as protobuf demands. The result is what the library's `fromBinary` gives (a test compares them), except that
 *
 * - 64-bit integers are numbers where these are exact, else bigints; packed lists of floats are typed arrays
 * - equal texts are one string, which makes a graph's names cheap to look up
 * - `doc_string` is stepped over: nothing here reads documentation. Texts have at most `limits.metadataString` bytes
 *
 * The library's own decoder works by reflection: 5 us a node where this takes 0.5, which decides whether a graph of a million nodes loads at all.
 */
import { constants } from 'node:buffer'
import { ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf'
import { formatError, limitError, type FormatContext } from '../limits.js'
import { Texts } from './texts.js'

/** A message as this reader gives it. */
export type Decoded<T> = T extends bigint
  ? number | bigint
  : T extends Uint8Array
    ? T
    : T extends readonly (infer E)[]
      ? readonly Decoded<E>[]
      : T extends object
        ? { readonly [K in keyof T as K extends `$${string}` | 'docString' ? never : K]: Decoded<T[K]> }
        : T

type Kind = 'text' | 'skipped' | 'bytes' | 'message' | 'float' | 'double' | 'signed' | 'unsigned' | 'int32'

interface Field {
  readonly kind: Kind
  readonly name: string
  /** Allowed wire types as bits. */
  readonly wires: number
  /** Wire type of one element. */
  readonly wire: number
  readonly list: boolean
  readonly message: Type | undefined
  /** The property of the oneof that it belongs to: { case: name, value }. */
  readonly choice: string | undefined
  /** A text that no other field repeats. */
  readonly once: boolean
}
interface Type {
  readonly name: string
  readonly fields: (Field | undefined)[]
  /** Every property with its default. */
  readonly template: Record<string, unknown>
}

const kinds: Partial<Record<ScalarType, readonly [Exclude<Kind, 'skipped'>, wire: number]>> = {
  [ScalarType.STRING]: ['text', 2],
  [ScalarType.BYTES]: ['bytes', 2],
  [ScalarType.FLOAT]: ['float', 5],
  [ScalarType.DOUBLE]: ['double', 1],
  [ScalarType.INT64]: ['signed', 0],
  [ScalarType.UINT64]: ['unsigned', 0],
  [ScalarType.INT32]: ['int32', 0],
}

/** Lists that have no element yet; never written to. */
const EMPTY: readonly never[] = Object.freeze([])
const defaults: Readonly<Record<Exclude<Kind, 'skipped'>, unknown>> = {
  text: '',
  bytes: new Uint8Array(0),
  message: undefined,
  float: 0,
  double: 0,
  signed: 0,
  unsigned: 0,
  int32: 0,
}

/** Not looked up among the texts that were there before, of which a graph may have a million. */
const once: ReadonlySet<string> = new Set(['NodeProto.name'])

const known = new Map<DescMessage, Type>()
function typeOf(message: DescMessage): Type {
  const found = known.get(message)
  if (found) return found
  const type: Type = { name: message.name, fields: [], template: {} }
  known.set(message, type)
  for (const field of message.fields) {
    const list = field.fieldKind === 'list'
    const [scalar, wire] = kindOf(field)
    const kind = field.name === 'doc_string' ? 'skipped' : scalar
    const choice = field.oneof?.localName
    type.fields[field.number] = {
      kind,
      wire,
      list,
      name: field.localName,
      wires: (1 << wire) | (list && wire !== 2 ? 1 << 2 : 0),
      message: field.message && typeOf(field.message),
      choice,
      once: once.has(`${message.name}.${field.name}`),
    }
    if (kind === 'skipped') continue
    if (choice === undefined) type.template[field.localName] = list ? EMPTY : defaults[kind]
    else type.template[choice] = NO_CHOICE
  }
  return type
}
const NO_CHOICE = Object.freeze({ case: undefined })

function kindOf(field: DescField): (typeof kinds)[ScalarType] & object {
  if (field.message) return ['message', 2]
  const scalar =
    field.fieldKind === 'scalar'
      ? field.scalar
      : field.fieldKind === 'list' && field.listKind === 'scalar'
        ? field.scalar
        : ScalarType.INT32
  return kinds[scalar] ?? ['int32', 0]
}

const MAX_LENGTH = 2 ** 31
/** 2^28: varints are gathered in parts of four bytes. */
const PART = 2 ** 28

type Value = Record<string, unknown>

class Decoder {
  readonly #ctx: FormatContext
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #texts: Texts
  readonly #ends: number[] = []
  readonly #types: Type[] = []
  readonly #values: Value[] = []
  #at = 0

  constructor(ctx: FormatContext, bytes: Uint8Array) {
    this.#ctx = ctx
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#texts = new Texts(bytes)
  }

  #fail(reason: string, message: string, at: number): never {
    const section = this.#types.map((o) => o.name).join('/')
    throw formatError(this.#ctx, reason, `protobuf: ${message}`, { byteOffset: at, section })
  }

  run(root: Type, limits: { readonly depth: number; readonly messages: number }): Value {
    const out = { ...root.template }
    const [ends, types, values, bytes] = [this.#ends, this.#types, this.#values, this.#bytes]
    let [end, type, value, messages] = [bytes.length, root, out, 0]
    ends.push(end)
    types.push(type)
    values.push(value)
    for (;;) {
      if (this.#at === end) {
        ends.pop()
        types.pop()
        values.pop()
        if (types.length === 0) return out
        end = ends[ends.length - 1]!
        type = types[types.length - 1]!
        value = values[values.length - 1]!
        continue
      }
      const start = this.#at
      const first = bytes[start]!
      let tag = first
      if (first < 128) this.#at++
      else tag = this.#varint(end)
      const wire = tag & 7
      const number = Math.floor(tag / 8)
      if (number === 0 || number >= 2 ** 29) this.#fail('field', `field number ${number}`, start)
      const field = type.fields[number]
      if (field !== undefined && ((field.wires >> wire) & 1) === 0)
        this.#fail('wire-type', `field ${number} of ${type.name} has wire type ${wire}`, start)
      if (wire === 2) {
        const length = bytes[this.#at]! < 128 && this.#at < end ? bytes[this.#at++]! : this.#varint(end)
        const from = this.#at
        if (length > MAX_LENGTH || from + length > end)
          this.#fail('truncated', `field ${number} of ${length} bytes runs past the end of its message`, start)
        if (field?.message === undefined) {
          this.#at = from + length
          if (field) this.#delimited(field, value, from, from + length)
          continue
        }
        if (types.length >= limits.depth) this.#fail('depth', `messages nest deeper than ${limits.depth}`, start)
        if (++messages > limits.messages) throw limitError(this.#ctx.where, 'messages', messages, limits.messages)
        value = inner(field, field.message, value)
        type = field.message
        end = from + length
        ends.push(end)
        types.push(type)
        values.push(value)
      } else if (wire === 0) {
        if (field) put(field, value, this.#number(field.kind, end))
        else this.#varint(end)
      } else if (wire === 1 || wire === 5) {
        const size = wire === 1 ? 8 : 4
        const from = this.#at
        if (from + size > end) this.#fail('truncated', `field ${number} runs past the end of its message`, start)
        if (field) put(field, value, wire === 1 ? this.#view.getFloat64(from, true) : this.#view.getFloat32(from, true))
        this.#at = from + size
      } else this.#fail('wire-type', wire === 3 || wire === 4 ? 'groups are not used in ONNX' : `wire type ${wire}`, start)
    }
  }

  /** Value of a varint below 2^53; larger ones come as Infinity. */
  #varint(end: number): number {
    const start = this.#at
    let value = 0
    for (let i = 0, scale = 1; i < 10; i++, scale *= 128) {
      if (this.#at >= end) this.#fail('truncated', 'a number runs past the end', start)
      const byte = this.#bytes[this.#at++]!
      value += (byte & 127) * scale
      if (byte < 128) return value > Number.MAX_SAFE_INTEGER ? Infinity : value
    }
    return this.#fail('varint', 'a number has more than 10 bytes', start)
  }

  #number(kind: Kind, end: number): number | bigint {
    const start = this.#at
    const parts = [0, 0, 0] as [number, number, number]
    for (let i = 0; ; i++) {
      if (i === 10) this.#fail('varint', 'a number has more than 10 bytes', start)
      if (this.#at >= end) this.#fail('truncated', 'a number runs past the end', start)
      const byte = this.#bytes[this.#at++]!
      parts[i >> 2]! |= (byte & 127) << (7 * (i & 3))
      if (byte < 128) break
    }
    const [low, mid, high] = parts
    if (kind === 'int32') return low | (mid << 28) | 0
    if (high === 0 && mid < 2 ** 25) return low + mid * PART
    const bits = (BigInt(high) << 56n) | (BigInt(mid) << 28n) | BigInt(low)
    const whole = kind === 'signed' ? BigInt.asIntN(64, bits) : BigInt.asUintN(64, bits)
    const near = Number(whole)
    return Number.isSafeInteger(near) ? near : whole
  }

  /** A text has at least as many bytes as the string has units: what is no longer than a string may be becomes one. */
  #text(field: Field, from: number, to: number): string {
    const most = Math.min(this.#ctx.limits.metadataString, constants.MAX_STRING_LENGTH)
    if (to - from > most) throw limitError(this.#ctx.where, 'metadataString', to - from, most)
    return field.once ? this.#texts.readOnce(from, to) : this.#texts.read(from, to)
  }

  /** A text, bytes, or a packed list. */
  #delimited(field: Field, value: Value, from: number, to: number): void {
    const { kind } = field
    if (kind === 'skipped') return
    if (kind === 'text') return put(field, value, this.#text(field, from, to))
    if (kind === 'bytes') return put(field, value, this.#bytes.subarray(from, to))
    const size = kind === 'float' ? 4 : kind === 'double' ? 8 : 0
    if (size > 0) {
      if ((to - from) % size !== 0) this.#fail('truncated', `a list of ${to - from} bytes does not hold elements of ${size}`, from)
      const array = kind === 'float' ? new Float32Array((to - from) / size) : new Float64Array((to - from) / size)
      new Uint8Array(array.buffer).set(this.#bytes.subarray(from, to))
      if (value[field.name] === EMPTY) value[field.name] = array
      else for (const v of array) put(field, value, v)
      return
    }
    this.#at = from
    while (this.#at < to) put(field, value, this.#number(kind, to))
  }
}

/** The message that a field's bytes go into: a new one, or one that has come in part. */
function inner(field: Field, type: Type, value: Value): Value {
  const { name, choice, list } = field
  if (choice !== undefined) {
    const chosen = value[choice] as { readonly case: string | undefined; readonly value?: Value }
    if (chosen.case === name) return chosen.value!
    const made = { ...type.template }
    value[choice] = { case: name, value: made }
    return made
  }
  const there = list ? undefined : (value[name] as Value | undefined)
  if (there !== undefined) return there
  const made = { ...type.template }
  if (list) put(field, value, made)
  else value[name] = made
  return made
}

function put(field: Field, value: Value, v: unknown): void {
  const { name, choice } = field
  if (choice !== undefined) value[choice] = { case: name, value: v }
  else if (!field.list) value[name] = v
  else {
    const list = value[name] as readonly unknown[] | Float32Array
    if (list === EMPTY) value[name] = [v]
    else if (Array.isArray(list)) (list as unknown[]).push(v)
    else value[name] = [...list, v]
  }
}

/** ERR_MODEL_FORMAT (with the byte) for what is no such message, ERR_LIMIT for too many messages and for texts that are too long. */
export function decodeProtobuf<T>(
  ctx: FormatContext,
  bytes: Uint8Array,
  schema: DescMessage,
  limits: { readonly depth: number; readonly messages: number },
): Decoded<T> {
  return new Decoder(ctx, bytes).run(typeOf(schema), limits) as Decoded<T>
}
