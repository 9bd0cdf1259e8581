/**
 * An ONNX file as plain data. Names, order and absent things are as in the file; what operators mean is not known here (ts/graph).
 */
import type { DType } from '../../base/dtype.js'

/** Element types of ONNX by their number in the file (`TensorProto.DataType`), with the bits of one element; strings have 0. */
export const elementTypes = [
  ['undefined', 0],
  ['f32', 32],
  ['u8', 8],
  ['i8', 8],
  ['u16', 16],
  ['i16', 16],
  ['i32', 32],
  ['i64', 64],
  ['string', 0],
  ['bool', 8],
  ['f16', 16],
  ['f64', 64],
  ['u32', 32],
  ['u64', 64],
  ['c64', 64],
  ['c128', 128],
  ['bf16', 16],
  ['f8e4m3fn', 8],
  ['f8e4m3fnuz', 8],
  ['f8e5m2', 8],
  ['f8e5m2fnuz', 8],
  ['u4', 4],
  ['i4', 4],
  ['f4e2m1', 4],
  ['f8e8m0', 8],
  ['u2', 2],
  ['i2', 2],
] as const satisfies readonly (readonly [string, number])[]

export type ElementType = DType | Exclude<(typeof elementTypes)[number][0], 'undefined'>

const numbers = new Map<string, number>(elementTypes.map(([name], i) => [name, i]))
/** The number that a file has for an element type (`TensorProto.DataType`). */
export const numberOf = (dtype: ElementType): number => numbers.get(dtype)!

const bits = new Map<string, number>(elementTypes)
export function bitsOf(dtype: ElementType): number {
  return bits.get(dtype)!
}

/** A dimension: a number, a name that stands for the same number wherever it occurs, or null where nothing is said. */
export type Dim = number | string | null

export interface ValueInfo {
  readonly name: string
  /** undefined: not said, or not a tensor (see `kind`). */
  readonly dtype?: ElementType
  /** undefined: not even the rank is said. */
  readonly shape?: readonly Dim[]
  /** Default 'tensor'. */
  readonly kind?: 'sequence' | 'optional' | 'map' | 'sparse'
}

/** A constant of a file. Its bytes are read when asked for. */
export interface OnnxTensor {
  readonly dtype: ElementType
  readonly shape: readonly number[]
  /** Elements in row-major order, little-endian; 4-bit and 2-bit ones packed, the first in the low bits. */
  read(): Uint8Array
  /** Only of `string` tensors. */
  readonly strings?: readonly string[]
  /** Lies in a file of its own. */
  readonly external?: boolean
}

export type OnnxAttribute =
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'tensor'; readonly value: OnnxTensor }
  | { readonly type: 'graph'; readonly value: OnnxGraph }
  | { readonly type: 'type'; readonly value: ValueInfo }
  | { readonly type: 'floats'; readonly value: readonly number[] }
  | { readonly type: 'ints'; readonly value: readonly number[] }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'tensors'; readonly value: readonly OnnxTensor[] }
  | { readonly type: 'graphs'; readonly value: readonly OnnxGraph[] }
  /** Inside functions: the attribute of that name of the calling node. */
  | { readonly type: 'reference'; readonly value: string }

export interface OnnxNode {
  readonly op: string
  /** '' is ONNX's own. */
  readonly domain: string
  readonly name: string
  /** '' stands for an input that is left out. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, OnnxAttribute>>
  readonly overload?: string
}

/** The attributes of every node that has none. */
export const noAttributes: Readonly<Record<string, never>> = Object.freeze({})

export interface OnnxGraph {
  readonly name: string
  readonly inputs: readonly ValueInfo[]
  readonly outputs: readonly ValueInfo[]
  readonly nodes: readonly OnnxNode[]
  readonly initializers: ReadonlyMap<string, OnnxTensor>
  /** What the file says of values inside. */
  readonly values: readonly ValueInfo[]
}

export interface OnnxFunction {
  readonly name: string
  readonly domain: string
  readonly overload: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Attributes without a default. */
  readonly attributes: readonly string[]
  readonly defaults: Readonly<Record<string, OnnxAttribute>>
  readonly nodes: readonly OnnxNode[]
  readonly opsets: Readonly<Record<string, number>>
}

export interface OnnxModel {
  readonly irVersion: number
  readonly producer: string
  /** Version of the operators by domain; '' is ONNX's own. */
  readonly opsets: Readonly<Record<string, number>>
  readonly graph: OnnxGraph
  readonly functions: readonly OnnxFunction[]
  readonly metadata: Readonly<Record<string, string>>
  /** Bytes of the protobuf file itself. */
  readonly bytes: number
}
