/**
 * Constants of ONNX files: raw_data, every typed field, and files of their own. Whatever the storage, its length is checked against dtype and shape
 * when the file is opened; bytes are made when asked for.
 */
import type * as onnx from 'onnx-buf'
import { PathSecurityError } from '../../base/errors.js'
import { openBeneath, type BeneathOptions } from '../beneath.js'
import { allocateTensor, checkBooleans, countElements, formatError, type FormatContext } from '../limits.js'
import type { Decoded } from './decode.js'
import { bitsOf, elementTypes, type ElementType, type OnnxTensor } from './types.js'

type SparseTensorProto = Decoded<onnx.SparseTensorProto>
type TensorProto = Decoded<onnx.TensorProto>

export interface TensorContext extends FormatContext {
  /** Folder beneath which files of tensors lie; undefined: there is none (a model from memory). */
  readonly folder: string | undefined
  readonly options: BeneathOptions
}

const text = new TextDecoder('utf-8', { fatal: true })
/** Bytes of a `string` element or attribute. */
export function utf8(ctx: FormatContext, bytes: Uint8Array, what: string): string {
  try {
    return text.decode(bytes)
  } catch {
    throw formatError(ctx, 'utf8', `${what} is not valid UTF-8`)
  }
}

export function elementType(ctx: FormatContext, number: number, name: string): ElementType {
  const found = elementTypes[number]?.[0]
  if (found === undefined || found === 'undefined') throw formatError(ctx, 'dtype', `unknown element type ${number}`, { tensor: name })
  return found
}

/** Dimensions as numbers; one beyond 2^53 cannot be meant. */
export function dimensions(ctx: FormatContext, dims: readonly (number | bigint)[], name: string): number[] {
  const shape = dims.map(Number)
  countElements(ctx, shape, { tensor: name })
  return shape
}

/** The typed field that holds elements of a dtype when raw_data does not. */
const typedFields: Readonly<Partial<Record<ElementType, 'floatData' | 'int64Data' | 'doubleData' | 'uint64Data'>>> = {
  f32: 'floatData',
  c64: 'floatData',
  i64: 'int64Data',
  f64: 'doubleData',
  c128: 'doubleData',
  u32: 'uint64Data',
  u64: 'uint64Data',
}

/** Values of a typed field as little-endian elements of `bits` bits. */
function pack(dtype: ElementType, values: readonly (number | bigint)[], out: Uint8Array): void {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength)
  const write: Partial<Record<ElementType, (i: number, v: number | bigint) => void>> = {
    f32: (i, v) => view.setFloat32(4 * i, Number(v), true),
    c64: (i, v) => view.setFloat32(4 * i, Number(v), true),
    f64: (i, v) => view.setFloat64(8 * i, Number(v), true),
    c128: (i, v) => view.setFloat64(8 * i, Number(v), true),
    i64: (i, v) => view.setBigInt64(8 * i, BigInt(v), true),
    u64: (i, v) => view.setBigUint64(8 * i, BigInt(v), true),
    u32: (i, v) => view.setUint32(4 * i, Number(v), true),
    i32: (i, v) => view.setInt32(4 * i, Number(v), true),
  }
  const narrow = bitsOf(dtype) === 16 ? (i: number, v: number | bigint): void => view.setUint16(2 * i, Number(v) & 0xffff, true) : undefined
  const put = write[dtype] ?? narrow ?? ((i: number, v: number | bigint): void => view.setUint8(i, Number(v) & 0xff))
  values.forEach((v, i) => put(i, v))
}

const asBytes = (a: Float32Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)

export function readTensor(ctx: TensorContext, proto: TensorProto, name = proto.name): OnnxTensor {
  const details = { tensor: name }
  const dtype = elementType(ctx, proto.dataType, name)
  const shape = dimensions(ctx, proto.dims, name)
  const elements = countElements(ctx, shape, details)
  if (proto.segment) throw formatError(ctx, 'segment', 'segments of tensors are not defined', details)
  const lists = [proto.floatData, proto.int32Data, proto.int64Data, proto.doubleData, proto.uint64Data, proto.stringData] as const
  const filled = lists.filter((list) => list.length > 0).length + (proto.rawData.length > 0 ? 1 : 0)
  const external = Number(proto.dataLocation) === 1
  if (filled > (external ? 0 : 1)) throw formatError(ctx, 'storage', 'the elements are stored twice', details)
  if (!external && proto.externalData.length > 0) throw formatError(ctx, 'storage', 'external data without data_location EXTERNAL', details)
  if (dtype === 'string') {
    if (external || proto.rawData.length > 0 || proto.stringData.length !== elements)
      throw formatError(ctx, 'size', `needs ${elements} strings, the file has ${proto.stringData.length}`, details)
    const strings = proto.stringData.map((s) => utf8(ctx, s, `a string of ${name}`))
    return { dtype, shape, strings, read: () => new Uint8Array(0) }
  }
  const bytes = Math.ceil((elements * bitsOf(dtype)) / 8)
  if (external) return externalTensor(ctx, proto, name, { dtype, shape, bytes })
  const finish = (data: Uint8Array): Uint8Array => {
    if (dtype === 'bool') checkBooleans(ctx, { dtype, shape, data }, details)
    return data
  }
  const field = typedFields[dtype] ?? 'int32Data'
  const typed = proto[field] as readonly (number | bigint)[]
  if (filled === 1 && typed.length > 0) {
    const perByte = bitsOf(dtype) < 8
    const expected = dtype === 'c64' || dtype === 'c128' ? 2 * elements : perByte ? bytes : elements
    if (typed.length !== expected) throw formatError(ctx, 'size', `needs ${expected} values, ${field} has ${typed.length}`, details)
    return {
      dtype,
      shape,
      read: () => {
        if (dtype === 'f32' && (typed as unknown) instanceof Float32Array) return asBytes(typed as unknown as Float32Array)
        const out = allocateTensor(ctx, bytes)
        pack(dtype, typed, out)
        return finish(out)
      },
    }
  }
  if (proto.rawData.length !== bytes)
    throw formatError(
      ctx,
      'size',
      `needs ${bytes} bytes, the file has ${filled === 1 && proto.rawData.length === 0 ? 'another field' : proto.rawData.length}`,
      details,
    )
  return { dtype, shape, read: () => finish(proto.rawData) }
}

const memoryMarker = '*/_ORT_MEM_ADDR_/*'

function externalTensor(
  ctx: TensorContext,
  proto: TensorProto,
  name: string,
  of: { readonly dtype: ElementType; readonly shape: readonly number[]; readonly bytes: number },
): OnnxTensor {
  const details = { tensor: name }
  const entries = new Map<string, string>()
  for (const { key, value } of proto.externalData) {
    if (!['location', 'offset', 'length', 'checksum', 'basepath'].includes(key) || entries.has(key))
      throw formatError(ctx, 'external', `unknown or repeated external data key ${JSON.stringify(key.slice(0, 100))}`, details)
    entries.set(key, value)
  }
  const number = (key: string, other: number): number => {
    const value = entries.get(key)
    if (value === undefined) return other
    const n = /^\d{1,16}$/.test(value) ? Number(value) : NaN
    if (!Number.isSafeInteger(n))
      throw formatError(ctx, 'external', `${key} must be an integer >= 0, got ${JSON.stringify(value.slice(0, 100))}`, details)
    return n
  }
  const location = entries.get('location') ?? ''
  const where = `${ctx.where}: tensor ${JSON.stringify(name.slice(0, 200))}`
  const { folder, options } = ctx
  if (folder === undefined || location.startsWith(memoryMarker))
    throw new PathSecurityError(
      'ERR_PATH',
      `${where}: external data ${JSON.stringify(location.slice(0, 200))} is not a file beneath the model`,
      {
        details: { name: location },
      },
    )
  const offset = number('offset', 0)
  const { bytes, dtype, shape } = of
  const source = openBeneath(where, folder, location, options)
  source.close()
  const length = number('length', bytes)
  if (length !== bytes) throw formatError(ctx, 'size', `needs ${bytes} bytes, its external data has ${length}`, details)
  if (offset + bytes > source.size)
    throw formatError(
      ctx,
      'external',
      `bytes ${offset} to ${offset + bytes} lie behind the end of ${JSON.stringify(location)} (${source.size} bytes)`,
      details,
    )
  const read = (): Uint8Array => {
    const out = allocateTensor(ctx, bytes)
    const file = openBeneath(where, folder, location, options)
    try {
      file.readInto(offset, out)
    } finally {
      file.close()
    }
    if (dtype === 'bool') checkBooleans(ctx, { dtype, shape, data: out }, details)
    return out
  }
  return { dtype, shape, read, external: true }
}

/** A sparse initializer as the dense tensor that it stands for. */
export function readSparse(ctx: TensorContext, proto: SparseTensorProto, name: string): OnnxTensor {
  const details = { tensor: name }
  if (!proto.values || !proto.indices) throw formatError(ctx, 'sparse', 'a sparse tensor needs values and indices', details)
  const values = readTensor(ctx, proto.values, name)
  const indices = readTensor(ctx, proto.indices, name)
  const shape = dimensions(ctx, proto.dims, name)
  const elements = countElements(ctx, shape, details)
  const count = values.shape[0] ?? 0
  const size = bitsOf(values.dtype) / 8
  const linear = indices.shape.length === 1
  if (
    values.shape.length !== 1 ||
    indices.dtype !== 'i64' ||
    indices.shape[0] !== count ||
    (!linear && indices.shape[1] !== shape.length) ||
    indices.shape.length > 2 ||
    size < 1
  )
    throw formatError(ctx, 'sparse', 'values must be [n] and indices i64 [n] or [n, rank]', details)
  const read = (): Uint8Array => {
    const out = allocateTensor(ctx, elements * size)
    const from = values.read()
    const raw = indices.read()
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
    for (let i = 0; i < count; i++) {
      let at = 0
      if (linear) at = Number(view.getBigInt64(8 * i, true))
      else
        shape.forEach((d, axis) => {
          const k = Number(view.getBigInt64(8 * (i * shape.length + axis), true))
          at = k < 0 || k >= d ? NaN : at * d + k
        })
      if (!(at >= 0 && at < elements)) throw formatError(ctx, 'sparse', `index ${i} lies outside`, details)
      out.set(from.subarray(i * size, (i + 1) * size), at * size)
    }
    return out
  }
  return { dtype: values.dtype, shape, read }
}
