/** Small ONNX files for tests, made with the protobuf library; onnxruntime-node as the oracle where it is installed. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf'
import {
  ModelProtoSchema,
  type AttributeProtoSchema,
  type GraphProtoSchema,
  type NodeProtoSchema,
  type TensorProtoSchema,
  type ValueInfoProtoSchema,
} from 'onnx-buf'
import { elementTypes, type ElementType } from '../../ts/formats/onnx/index.js'

export type TensorInit = MessageInitShape<typeof TensorProtoSchema>
export type NodeInit = MessageInitShape<typeof NodeProtoSchema>
export type GraphInit = MessageInitShape<typeof GraphProtoSchema>
type AttributeInit = MessageInitShape<typeof AttributeProtoSchema>

export const typeNumber = (dtype: ElementType): number => elementTypes.findIndex(([name]) => name === dtype)

/** A constant as raw_data. */
export function constant(name: string, dims: readonly number[], values: readonly number[], dtype: ElementType = 'f32'): TensorInit {
  const arrays: Partial<Record<ElementType, (v: readonly number[]) => ArrayBufferView>> = {
    f32: (v) => Float32Array.from(v),
    f64: (v) => Float64Array.from(v),
    i64: (v) => BigInt64Array.from(v.map(BigInt)),
    i32: (v) => Int32Array.from(v),
    bool: (v) => Uint8Array.from(v),
    u8: (v) => Uint8Array.from(v),
    i8: (v) => Int8Array.from(v),
  }
  const array = arrays[dtype]!(values)
  return {
    name,
    dims: dims.map(BigInt),
    dataType: typeNumber(dtype),
    rawData: new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength),
  }
}

export const random = (seed: number): ((n: number, scale?: number) => number[]) => {
  let state = seed >>> 0
  return (n, scale = 1) =>
    Array.from({ length: n }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return scale * (state / 2 ** 31 - 1)
    })
}

export function value(
  name: string,
  dims?: readonly (number | string)[],
  dtype: ElementType = 'f32',
): MessageInitShape<typeof ValueInfoProtoSchema> {
  const dim = dims?.map((d) => ({
    value: typeof d === 'string' ? { case: 'dimParam' as const, value: d } : { case: 'dimValue' as const, value: BigInt(d) },
  }))
  return { name, type: { value: { case: 'tensorType', value: { elemType: typeNumber(dtype), ...(dim ? { shape: { dim } } : {}) } } } }
}

type Plain = number | string | readonly number[] | readonly string[] | TensorInit | GraphInit
const isGraph = (v: object): v is GraphInit => 'node' in v
/** Attributes from plain values: integers are ints, other numbers floats (`floats` forces them). */
export function attributes(of: Readonly<Record<string, Plain>>, floats: readonly string[] = []): AttributeInit[] {
  return Object.entries(of).map(([name, v]): AttributeInit => {
    const float = floats.includes(name)
    if (typeof v === 'number') return Number.isInteger(v) && !float ? { name, type: 2, i: BigInt(v) } : { name, type: 1, f: v }
    if (typeof v === 'string') return { name, type: 3, s: new TextEncoder().encode(v) }
    if (Array.isArray(v)) {
      const list = v as readonly (number | string)[]
      if (typeof list[0] === 'string') return { name, type: 8, strings: list.map((s) => new TextEncoder().encode(s as string)) }
      return float || list.some((x) => !Number.isInteger(x))
        ? { name, type: 6, floats: list as number[] }
        : { name, type: 7, ints: (list as number[]).map(BigInt) }
    }
    return isGraph(v) ? { name, type: 5, g: v } : { name, type: 4, t: v as TensorInit }
  })
}

export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  of: Readonly<Record<string, Plain>> = {},
  extra: Partial<NodeInit> = {},
): NodeInit {
  return { opType, input: [...input], output: [...output], name: `${opType}_${output[0]}`, attribute: attributes(of), ...extra } as NodeInit
}

export interface ModelInit {
  readonly opset?: number
  readonly irVersion?: number
  readonly domains?: Readonly<Record<string, number>>
  readonly functions?: MessageInitShape<typeof ModelProtoSchema>['functions']
}
export function model(graph: GraphInit, { opset = 17, irVersion = 8, domains = {}, functions = [] }: ModelInit = {}): Uint8Array {
  const opsetImport = Object.entries({ '': opset, ...domains }).map(([domain, version]) => ({ domain, version: BigInt(version) }))
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, { irVersion: BigInt(irVersion), opsetImport, graph: { name: 'test', ...graph }, functions }),
  )
}

interface OrtTensor {
  readonly data: ArrayLike<number | bigint | boolean | string>
  readonly dims: readonly number[]
}
interface Ort {
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => OrtTensor
  readonly InferenceSession: {
    create(
      bytes: Uint8Array | string,
      options?: object,
    ): Promise<{ run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>; release(): Promise<void> }>
  }
}

const folder = path.join(
  process.env.TERSOR_BENCH_RIVALS ?? path.join(import.meta.dirname, '../../bench/rivals'),
  'node_modules/onnxruntime-node',
)
/** undefined where onnxruntime-node is not installed: tests that need it are skipped. */
export const ort: Ort | undefined = existsSync(folder) ? (createRequire(import.meta.url)(folder) as Ort) : undefined

export interface Fed {
  readonly type: string
  readonly data: ArrayLike<number | bigint> | readonly string[]
  readonly dims: readonly number[]
}
/** Outputs of onnxruntime, one thread, without its graph optimisations. */
export async function oracle(
  bytes: Uint8Array | string,
  feeds: Readonly<Record<string, Fed>>,
): Promise<Record<string, { dims: readonly number[]; data: number[] }>> {
  const session = await ort!.InferenceSession.create(bytes, {
    intraOpNumThreads: 1,
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  })
  const given = Object.fromEntries(Object.entries(feeds).map(([name, { type, data, dims }]) => [name, new ort!.Tensor(type, data, dims)]))
  const out = await session.run(given)
  const plain = Object.fromEntries(
    Object.entries(out).map(([name, t]) => [name, { dims: t.dims, data: Array.from(t.data as ArrayLike<number>, Number) }]),
  )
  await session.release()
  return plain
}
