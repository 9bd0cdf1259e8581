/**
 * Values that live in JavaScript: integers, booleans and strings that steer shapes (Shape -> Gather -> Concat -> Reshape), and small constants. They
 * become native tensors only where an operator takes them as data, so a run with given input shapes is a fixed list of native calls.
 */
import { dtypeInfo, isDType, type DType } from '../base/dtype.js'
import { DTypeError, NumericError, ShapeError } from '../base/errors.js'
import { sizeOf, type Shape } from '../base/shape.js'
import { fromRaw, tensor, toRaw, type Tensor } from '../tensor/index.js'
import { bitsOf } from '../formats/onnx/index.js'
import type { ElementType, GraphTensor } from './graph.js'
import { fromBits, type MiniFloat } from './minifloat.js'

/**
 * A tensor in JavaScript: row-major numbers (booleans are 0 and 1), or strings. Integers are exact up to 2^53; beyond it only +-2^63 exists, which
 * files use for "to the end".
 */
export class HostTensor {
  readonly dtype: ElementType
  readonly shape: Shape
  #data: readonly number[] | undefined
  readonly strings: readonly string[] | undefined
  readonly #source: GraphTensor | undefined
  /** The same values as a native tensor that somebody else owns. */
  readonly native: Tensor | undefined

  constructor(
    dtype: ElementType,
    shape: Shape,
    data: readonly number[] | GraphTensor,
    extra: { strings?: readonly string[]; native?: Tensor } = {},
  ) {
    this.dtype = dtype
    this.shape = shape
    if (Array.isArray(data)) {
      this.#data = data as readonly number[]
      checkIntegers(dtype, this.#data)
      const size = extra.strings ? extra.strings.length : this.#data.length
      if (size !== sizeOf(shape)) throw new ShapeError('ERR_SHAPE', `host value: [${shape}] needs ${sizeOf(shape)} elements, got ${size}`)
    } else this.#source = data as GraphTensor
    this.strings = extra.strings
    this.native = extra.native
  }

  get data(): readonly number[] {
    return (this.#data ??= decode(this.#source!))
  }
  get size(): number {
    return sizeOf(this.shape)
  }
  get rank(): number {
    return this.shape.length
  }
  /** Where the values come from when they are those of a constant. */
  get source(): GraphTensor | undefined {
    return this.#source
  }
  toString(): string {
    return `${this.dtype}[${this.shape.join(',')}]`
  }
}

function checkIntegers(dtype: ElementType, data: readonly number[]): void {
  if (dtype !== 'i64' && dtype !== 'u64') return
  for (const v of data)
    if (!Number.isSafeInteger(v) && Math.abs(v) !== 2 ** 63 && v !== 2 ** 64)
      throw new NumericError('ERR_NUMERIC', `host value: ${dtype} numbers are exact up to 2^53 here, got ${v}`)
}

/** A list of sizes, axes or positions: i64 [n]. */
export function hostInts(values: readonly number[], dtype: ElementType = 'i64'): HostTensor {
  return new HostTensor(dtype, [values.length], values)
}
export function hostScalar(value: number, dtype: ElementType = 'i64'): HostTensor {
  return new HostTensor(dtype, [], [value])
}
export function hostStrings(strings: readonly string[], shape: Shape): HostTensor {
  return new HostTensor('string', shape, [], { strings })
}

type Reader = (view: DataView, i: number) => number
const bitsAt = (view: DataView, i: number, bits: 2 | 4): number => {
  const per = 8 / bits
  return (view.getUint8(Math.floor(i / per)) >> (bits * (i % per))) & (2 ** bits - 1)
}
const signed = (v: number, bits: number): number => (v << (32 - bits)) >> (32 - bits)
const byte =
  (dtype: MiniFloat): Reader =>
  (v, i) =>
    fromBits(dtype, v.getUint8(i))

/** Element i of a constant, by dtype. */
const readers: Readonly<Partial<Record<ElementType, Reader>>> = {
  f32: (v, i) => v.getFloat32(4 * i, true),
  f64: (v, i) => v.getFloat64(8 * i, true),
  f16: (v, i) => fromBits('f16', v.getUint16(2 * i, true)),
  bf16: (v, i) => fromBits('bf16', v.getUint16(2 * i, true)),
  i64: (v, i) => Number(v.getBigInt64(8 * i, true)),
  u64: (v, i) => Number(v.getBigUint64(8 * i, true)),
  i32: (v, i) => v.getInt32(4 * i, true),
  u32: (v, i) => v.getUint32(4 * i, true),
  i16: (v, i) => v.getInt16(2 * i, true),
  u16: (v, i) => v.getUint16(2 * i, true),
  i8: (v, i) => v.getInt8(i),
  u8: (v, i) => v.getUint8(i),
  bool: (v, i) => v.getUint8(i),
  u4: (v, i) => bitsAt(v, i, 4),
  i4: (v, i) => signed(bitsAt(v, i, 4), 4),
  u2: (v, i) => bitsAt(v, i, 2),
  i2: (v, i) => signed(bitsAt(v, i, 2), 2),
  f8e4m3fn: byte('f8e4m3fn'),
  f8e4m3fnuz: byte('f8e4m3fnuz'),
  f8e5m2: byte('f8e5m2'),
  f8e5m2fnuz: byte('f8e5m2fnuz'),
  f8e8m0: byte('f8e8m0'),
  f4e2m1: (v, i) => fromBits('f4e2m1', bitsAt(v, i, 4)),
}

/** Numbers of a constant. */
function decode(t: GraphTensor): number[] {
  const read = readers[t.dtype]
  if (!read) throw new DTypeError('ERR_DTYPE', `constant: elements of type ${t.dtype} are not supported`)
  const bytes = t.read()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const out = Array.from({ length: sizeOf(t.shape) }, (_, i) => read(view, i))
  checkIntegers(t.dtype, out)
  return out
}

const halves: readonly ElementType[] = ['f16', 'bf16']
const substitutes: Partial<Record<ElementType, DType>> = { u32: 'i64', u64: 'i64', i4: 'i8', u4: 'u8', i2: 'i8', u2: 'u8' }

export const hasNativeDType = (dtype: ElementType): boolean => isDType(dtype) || Object.hasOwn(substitutes, dtype)

/** Native dtype in which values of an element type are computed: half floats as f32, integers without a native type as i64, 4-bit ones as bytes. */
export function nativeDType(dtype: ElementType): DType {
  if (halves.includes(dtype)) return 'f32'
  if (isDType(dtype)) return dtype
  const found = substitutes[dtype]
  if (found === undefined) throw new DTypeError('ERR_DTYPE', `values of type ${dtype} have no native tensor`)
  return found
}

/** Saturated: 2^63 stands for the largest. */
const toInt64 = (v: number): bigint => (v >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(v))

/** A native tensor of the values: those of `native` where it is there. */
export function toNative(value: HostTensor): Tensor {
  if (value.native) return value.native
  const dtype = nativeDType(value.dtype)
  if (value.source && value.dtype === dtype) return fromRaw({ dtype, shape: value.shape, data: value.source.read() })
  const array = new dtypeInfo[dtype].array(value.size)
  value.data.forEach((v, i) => {
    array[i] = array instanceof BigInt64Array ? toInt64(v) : v
  })
  return tensor(array, value.shape, dtype)
}

/** The values of a native tensor. Reading them makes the rest of a run depend on values, not only on shapes. */
export function toHost(t: Tensor): HostTensor {
  if (halves.includes(t.dtype))
    return new HostTensor(
      t.dtype,
      t.shape,
      Array.from(t.read() as Uint16Array, (bits) => fromBits(t.dtype as 'f16' | 'bf16', bits)),
    )
  return new HostTensor(t.dtype, t.shape, Array.from(t.read() as Float32Array, Number))
}

/** The element as it stands in a file. */
const writers: Readonly<Partial<Record<ElementType, (view: DataView, i: number, v: number) => void>>> = {
  f32: (d, i, v) => d.setFloat32(4 * i, v, true),
  f64: (d, i, v) => d.setFloat64(8 * i, v, true),
  i64: (d, i, v) => d.setBigInt64(8 * i, toInt64(v), true),
  u64: (d, i, v) => d.setBigUint64(8 * i, BigInt.asUintN(64, BigInt(v)), true),
  i32: (d, i, v) => d.setInt32(4 * i, v, true),
  u32: (d, i, v) => d.setUint32(4 * i, v, true),
  i16: (d, i, v) => d.setInt16(2 * i, v, true),
  u16: (d, i, v) => d.setUint16(2 * i, v, true),
  i8: (d, i, v) => d.setInt8(i, v),
  u8: (d, i, v) => d.setUint8(i, v),
  bool: (d, i, v) => d.setUint8(i, v),
}

/** A value as a constant of a graph. Half floats, which compute as f32, stay f32; 4-bit numbers become bytes. */
export function toConstant(value: HostTensor | Tensor): GraphTensor {
  if (!(value instanceof HostTensor)) {
    const raw = toRaw(value)
    return { dtype: raw.dtype, shape: [...raw.shape], read: () => raw.data }
  }
  if (value.source) return value.source
  const shape = [...value.shape]
  if (value.strings) return { dtype: 'string', shape, strings: value.strings, read: () => new Uint8Array(0) }
  const dtype = writers[value.dtype] ? value.dtype : nativeDType(value.dtype)
  const bytes = new Uint8Array((value.size * bitsOf(dtype)) / 8)
  const view = new DataView(bytes.buffer)
  const write = writers[dtype]!
  value.data.forEach((v, i) => write(view, i, v))
  return { dtype, shape, read: () => bytes }
}
