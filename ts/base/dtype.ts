/** Element types and their JavaScript arrays; native/base/dtype.def is the list. */
import { dtypeInfo, type DType } from './dtypes.gen.js'
import { DTypeError } from './errors.js'

export { dtypeInfo, dtypes, type DType } from './dtypes.gen.js'

export type TypedArray = Float64Array | Float32Array | BigInt64Array | Int32Array | Int16Array | Uint16Array | Int8Array | Uint8Array

export type FloatDType = 'f64' | 'f32'

export function bytesPerElement(dtype: DType): number {
  return dtypeInfo[dtype].bytes
}

export function isDType(name: string): name is DType {
  return Object.hasOwn(dtypeInfo, name)
}

export function checkDType(where: string, name: unknown): asserts name is DType {
  if (typeof name !== 'string' || !isDType(name))
    throw new DTypeError('ERR_DTYPE', `${where}: unknown dtype ${JSON.stringify(name)}; known: ${Object.keys(dtypeInfo).join(', ')}`)
}

/**
 * The class of a typed array by name. Not its constructor: a Buffer is a Uint8Array, and arrays of another realm (a vm context, a test runner's sandbox)
 * have classes of their own.
 */
export function arrayClass(data: ArrayBufferView): string {
  return String((data as { readonly [Symbol.toStringTag]?: unknown })[Symbol.toStringTag])
}

/** The dtype that a typed array brings when nothing else is said; by {@link arrayClass}. */
export const dtypeOfArray: ReadonlyMap<string, DType> = new Map(
  (['f64', 'f32', 'i64', 'i32', 'i16', 'u16', 'i8', 'u8'] as const).map((dtype) => [dtypeInfo[dtype].array.name, dtype]),
)

/** A tensor as bytes: what file formats give and take. Little-endian, row-major, no padding. */
export interface RawTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: Uint8Array
}
