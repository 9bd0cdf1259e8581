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

/** A tensor as bytes: what file formats give and take. Little-endian, row-major, no padding. */
export interface RawTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: Uint8Array
}
