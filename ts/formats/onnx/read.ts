/**
 * Reads ONNX files: protobuf to plain data. decode.ts checks and decodes the bytes by the descriptors of the protobuf library; what the format does not
 * define is ERR_MODEL_FORMAT, what is too large ERR_LIMIT, a tensor's file outside the model's folder ERR_PATH. Large constants stay in their files
 * until they are asked for.
 */
import { emptyTable } from '../../base/own.js'
import path from 'node:path'
import type * as onnx from 'onnx-buf'
import { isTersorError } from '../../base/errors.js'
import type { BeneathOptions } from '../beneath.js'
import { readRegularFile } from '../files.js'
import { formatContext, formatError } from '../limits.js'
import { decodeProtobuf, type Decoded } from './decode.js'
import { modelSchema } from './schema.js'
import { elementType, readSparse, readTensor, utf8, type TensorContext } from './tensor.js'
import {
  noAttributes,
  type Dim,
  type OnnxAttribute,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type ValueInfo,
} from './types.js'

type AttributeProto = Decoded<onnx.AttributeProto>
type FunctionProto = Decoded<onnx.FunctionProto>
type GraphProto = Decoded<onnx.GraphProto>
type ModelProto = Decoded<onnx.ModelProto>
type NodeProto = Decoded<onnx.NodeProto>
type OperatorSetIdProto = Decoded<onnx.OperatorSetIdProto>
type TensorShapeProto = Decoded<onnx.TensorShapeProto>
type ValueInfoProto = Decoded<onnx.ValueInfoProto>

export interface OnnxReadOptions extends BeneathOptions {
  /** Where files of tensors lie, for a model from memory; `readOnnx` takes the model's own folder. */
  readonly folder?: string
}

/** Messages nest at most so deep: a subgraph in a subgraph takes three. */
const DEPTH = 100
const MESSAGES = 20_000_000

/**
 * Reads a file.
 *
 * @example
 * const { graph, opsets } = readOnnx('model.onnx')
 */
export function readOnnx(file: string, options: OnnxReadOptions = {}): OnnxModel {
  return decode(readRegularFile(file, options), file, { folder: path.dirname(file), ...options })
}

/** The same from memory. The bytes must not change while the result is in use: constants are views of them. */
export function parseOnnx(bytes: Uint8Array, options: OnnxReadOptions = {}): OnnxModel {
  return decode(bytes, undefined, options)
}

function decode(bytes: Uint8Array, file: string | undefined, options: OnnxReadOptions): OnnxModel {
  const ctx: TensorContext = { ...formatContext('onnx', file, options), folder: options.folder, options }
  if (bytes.length === 0) throw formatError(ctx, 'empty', 'the file is empty', { byteOffset: 0 })
  const proto = decodeProtobuf<onnx.ModelProto>(ctx, bytes, modelSchema, { depth: DEPTH, messages: MESSAGES })
  try {
    return model(ctx, proto, bytes.length)
  } catch (error) {
    if (isTersorError(error) || !(error instanceof RangeError)) throw error
    throw formatError(ctx, 'range', error.message)
  }
}

function model(ctx: TensorContext, proto: ModelProto, bytes: number): OnnxModel {
  if (!proto.graph) throw formatError(ctx, 'graph', 'the model has no graph')
  const irVersion = Number(proto.irVersion)
  if (!(irVersion >= 1 && irVersion < 1000)) throw formatError(ctx, 'version', `ir_version must be >= 1, got ${irVersion}`)
  // Before IR version 3 there was no list and the operators were of version 1.
  const opsets = proto.opsetImport.length === 0 && irVersion < 3 ? { '': 1 } : opsetsOf(ctx, proto.opsetImport)
  return {
    irVersion,
    producer: [proto.producerName, proto.producerVersion].filter(Boolean).join(' '),
    opsets,
    graph: graphOf(ctx, proto.graph),
    functions: proto.functions.map((f) => functionOf(ctx, f)),
    metadata: Object.fromEntries(proto.metadataProps.map(({ key, value }) => [key, value])),
    bytes,
  }
}

/** 'ai.onnx' and '' are the same domain. */
const domainOf = (domain: string): string => (domain === 'ai.onnx' ? '' : domain)

function opsetsOf(ctx: TensorContext, list: readonly OperatorSetIdProto[]): Record<string, number> {
  const out = emptyTable<number>()
  for (const { domain, version } of list) {
    const v = Number(version)
    if (!Number.isSafeInteger(v) || v < 1)
      throw formatError(ctx, 'opset', `opset version of ${JSON.stringify(domain)} must be >= 1, got ${version}`)
    out[domainOf(domain)] = v
  }
  return out
}

function functionOf(ctx: TensorContext, f: FunctionProto): OnnxFunction {
  return {
    name: f.name,
    domain: domainOf(f.domain),
    overload: f.overload,
    inputs: f.input,
    outputs: f.output,
    attributes: f.attribute,
    defaults: attributesOf(ctx, f.attributeProto, f.name),
    nodes: f.node.map((n) => nodeOf(ctx, n)),
    opsets: opsetsOf(ctx, f.opsetImport),
  }
}

function graphOf(ctx: TensorContext, g: GraphProto): OnnxGraph {
  const initializers = new Map<string, OnnxTensor>()
  const put = (name: string, tensor: OnnxTensor): void => {
    if (name === '') throw formatError(ctx, 'initializer', 'an initializer has no name')
    if (initializers.has(name)) throw formatError(ctx, 'duplicate', 'two initializers have this name', { tensor: name })
    initializers.set(name, tensor)
  }
  for (const t of g.initializer) put(t.name, readTensor(ctx, t))
  for (const t of g.sparseInitializer) put(t.values?.name ?? '', readSparse(ctx, t, t.values?.name ?? ''))
  return {
    name: g.name,
    inputs: g.input.map((v) => valueInfo(ctx, v)),
    outputs: g.output.map((v) => valueInfo(ctx, v)),
    nodes: g.node.map((n) => nodeOf(ctx, n)),
    initializers,
    values: g.valueInfo.map((v) => valueInfo(ctx, v)),
  }
}

function nodeOf(ctx: TensorContext, n: NodeProto): OnnxNode {
  const node = {
    op: n.opType,
    domain: domainOf(n.domain),
    name: n.name,
    inputs: n.input,
    outputs: n.output,
    attributes: n.attribute.length === 0 ? noAttributes : attributesOf(ctx, n.attribute, n.name || n.opType),
  }
  return n.overload ? { ...node, overload: n.overload } : node
}
function attributesOf(ctx: TensorContext, list: readonly AttributeProto[], of: string): Readonly<Record<string, OnnxAttribute>> {
  const out = emptyTable<OnnxAttribute>()
  for (const a of list) {
    if (a.name === '' || a.name in out)
      throw formatError(ctx, 'attribute', `node ${JSON.stringify(of)}: attribute ${JSON.stringify(a.name)} without a name or given twice`)
    out[a.name] = attributeOf(ctx, a, of)
  }
  return out
}

/** Integers beyond 2^53 mean "as far as possible" (ends of slices): they are kept as the nearest float. */
const int = (v: number | bigint): number => Number(v)

function attributeOf(ctx: TensorContext, a: AttributeProto, of: string): OnnxAttribute {
  const what = `node ${JSON.stringify(of)}: attribute ${JSON.stringify(a.name)}`
  const missing = (): never => {
    throw formatError(ctx, 'attribute', `${what} has no value of its type`)
  }
  if (a.refAttrName !== '') return { type: 'reference', value: a.refAttrName }
  const tensor = (t: AttributeProto['tensors'][number]): OnnxTensor => readTensor(ctx, t, t.name || a.name)
  switch (Number(a.type)) {
    case 1:
      return { type: 'float', value: a.f }
    case 2:
      return { type: 'int', value: int(a.i) }
    case 3:
      return { type: 'string', value: utf8(ctx, a.s, what) }
    case 4:
      return { type: 'tensor', value: a.t ? tensor(a.t) : missing() }
    case 5:
      return { type: 'graph', value: a.g ? graphOf(ctx, a.g) : missing() }
    case 6:
      return { type: 'floats', value: Array.from(a.floats) }
    case 7:
      return { type: 'ints', value: a.ints.map(int) }
    case 8:
      return { type: 'strings', value: a.strings.map((s) => utf8(ctx, s, what)) }
    case 9:
      return { type: 'tensors', value: a.tensors.map(tensor) }
    case 10:
      return { type: 'graphs', value: a.graphs.map((g) => graphOf(ctx, g)) }
    case 11:
      return { type: 'tensor', value: a.sparseTensor ? readSparse(ctx, a.sparseTensor, a.name) : missing() }
    case 13:
      return { type: 'type', value: a.tp ? valueInfo(ctx, { name: '', type: a.tp }) : missing() }
    default:
      throw formatError(ctx, 'attribute', `${what} has the unknown type ${a.type}`)
  }
}

function valueInfo(ctx: TensorContext, v: Pick<ValueInfoProto, 'name' | 'type'>): ValueInfo {
  const type = v.type?.value
  switch (type?.case) {
    case 'tensorType':
    case 'sparseTensorType': {
      const { elemType, shape } = type.value
      return {
        name: v.name,
        ...(elemType === 0 ? {} : { dtype: elementType(ctx, elemType, v.name) }),
        ...(shape ? { shape: dimsOf(ctx, shape, v.name) } : {}),
        ...(type.case === 'sparseTensorType' ? { kind: 'sparse' } : {}),
      }
    }
    case 'sequenceType':
      return { name: v.name, kind: 'sequence' }
    case 'optionalType':
      return { name: v.name, kind: 'optional' }
    case 'mapType':
      return { name: v.name, kind: 'map' }
    case undefined:
      return { name: v.name }
  }
}

function dimsOf(ctx: TensorContext, shape: TensorShapeProto, name: string): Dim[] {
  if (shape.dim.length > ctx.limits.rank)
    throw formatError(ctx, 'rank', `has ${shape.dim.length} dimensions, at most ${ctx.limits.rank} are supported`, { tensor: name })
  return shape.dim.map(({ value }) => {
    if (value.case === 'dimParam') return value.value === '' ? null : value.value
    if (value.case !== 'dimValue') return null
    const d = Number(value.value)
    // Exporters write -1 for "not known".
    if (d === -1) return null
    if (!Number.isSafeInteger(d) || d < 0)
      throw formatError(ctx, 'shape', `dimensions must be integers >= 0, got ${value.value}`, { tensor: name })
    return d
  })
}
