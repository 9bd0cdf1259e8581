/** Models of test/golden/tfjs.json, and small ones made by hand, as what `readTfjs` gives. */
import { parseJson } from '../../ts/base/json.js'
import type { DType, RawTensor } from '../../ts/base/dtype.js'
import type { TfjsModel } from '../../ts/formats/tfjs.js'
import { tensor, type Tensor } from '../../ts/tensor/index.js'

export interface PlainTensor {
  readonly shape: readonly number[]
  readonly dtype: 'float32' | 'int32' | 'bool'
  readonly data: readonly number[]
  readonly given?: boolean
}
export interface Result {
  readonly shape: readonly number[]
  readonly data: readonly (number | string)[]
}

const dtypes: Readonly<Record<string, DType>> = { float32: 'f32', int32: 'i32', bool: 'bool' }
const arrays = { float32: Float32Array, int32: Int32Array, bool: Uint8Array } as const

export function rawOf({ shape, dtype, data }: PlainTensor): RawTensor {
  const array = new arrays[dtype](data)
  return { dtype: dtypes[dtype]!, shape, data: new Uint8Array(array.buffer) }
}
export const tensorOf = ({ shape, dtype, data }: PlainTensor): Tensor => tensor(new arrays[dtype](data), shape, dtypes[dtype])

export function tfjsModel(topology: unknown, weights: Readonly<Record<string, PlainTensor>>, signature?: unknown): TfjsModel {
  return {
    kind: 'model',
    topology: parseJson(JSON.stringify(topology)),
    signature: signature === undefined ? undefined : parseJson(JSON.stringify(signature)),
    tensors: new Map(Object.entries(weights).map(([name, t]) => [name, rawOf(t)])),
  }
}
