/**
 * Plain data to ONNX files. Constants go into the protobuf itself, or, from a total on that protobuf cannot hold, into one file beside it. Both are written
 * as temporaries and put in place together, the constants first.
 */
import path from 'node:path'
import { create, toBinary } from '@bufbuild/protobuf'
import type { ModelProto } from 'onnx-buf'
import { LimitError, OptionError } from '../../base/errors.js'
import { AtomicFile, type WriteOptions } from '../atomic.js'
import { modelSchema } from './schema.js'
import {
  bitsOf,
  numberOf,
  type OnnxAttribute,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type ValueInfo,
} from './types.js'

export interface OnnxWriteOptions extends WriteOptions {
  /**
   * Constants of 1 KiB and more in a file beside the model, NAME.onnx_data. Default: where they are more than 1 GiB together; protobuf ends
   * at 2 GiB.
   */
  readonly external?: boolean
}

const PROTOBUF_LIMIT = 2 ** 31 - 1
const EXTERNAL_FROM = 2 ** 30
const LARGE = 1024
/** Constants begin at multiples of it, as onnxruntime maps them. */
const ALIGN = 4096

const utf8 = (s: string): Uint8Array => new TextEncoder().encode(s)
/** A message as `create` takes it: plain objects all the way down. */
type Message = Record<string, unknown>

/** Where the elements of a constant go. */
type Place = (name: string, tensor: OnnxTensor) => Message

const inline: Place = (_name, tensor) => {
  if (tensor.strings) return { stringData: tensor.strings.map(utf8) }
  return { rawData: tensor.read() }
}

function tensorOf(name: string, tensor: OnnxTensor, place: Place): Message {
  return { dims: tensor.shape.map(BigInt), dataType: numberOf(tensor.dtype), name, ...place(name, tensor) }
}

function attributeOf(name: string, a: OnnxAttribute, place: Place): Message {
  const of = (type: number, fields: Message): Message => ({ name, type, ...fields })
  switch (a.type) {
    case 'float':
      return of(1, { f: a.value })
    case 'int':
      return of(2, { i: int64(a.value) })
    case 'string':
      return of(3, { s: utf8(a.value) })
    case 'tensor':
      return of(4, { t: tensorOf(name, a.value, inline) })
    case 'graph':
      return of(5, { g: graphOf(a.value, place) })
    case 'floats':
      return of(6, { floats: [...a.value] })
    case 'ints':
      return of(7, { ints: a.value.map(int64) })
    case 'strings':
      return of(8, { strings: a.value.map(utf8) })
    case 'tensors':
      return of(9, { tensors: a.value.map((t, i) => tensorOf(`${name}_${i}`, t, inline)) })
    case 'graphs':
      return of(10, { graphs: a.value.map((g) => graphOf(g, place)) })
    case 'type':
      return of(13, { tp: valueOf(a.value).type })
    case 'reference':
      return of(0, { refAttrName: a.value })
  }
}

/** Numbers beyond 2^53 stand for "as far as possible". */
function int64(v: number): bigint {
  if (v >= Number.MAX_SAFE_INTEGER) return 2n ** 63n - 1n
  return v <= -Number.MAX_SAFE_INTEGER ? -(2n ** 63n) : BigInt(v)
}

function nodeOf(n: OnnxNode, place: Place): Message {
  const attribute = Object.entries(n.attributes).map(([name, a]) => attributeOf(name, a, place))
  return {
    opType: n.op,
    domain: n.domain,
    name: n.name,
    input: [...n.inputs],
    output: [...n.outputs],
    attribute,
    overload: n.overload ?? '',
  }
}

function valueOf(v: ValueInfo): Message {
  if (v.kind) throw new OptionError('ERR_OPTION', `onnx: ${v.name}: inputs and outputs that are no tensors cannot be written (${v.kind})`)
  const dim = v.shape?.map((d) => ({
    value:
      d === null ? { case: undefined } : typeof d === 'number' ? { case: 'dimValue', value: BigInt(d) } : { case: 'dimParam', value: d },
  }))
  const tensorType = { elemType: v.dtype ? numberOf(v.dtype) : 0, ...(dim ? { shape: { dim } } : {}) }
  return { name: v.name, type: { value: { case: 'tensorType', value: tensorType } } }
}

function graphOf(g: OnnxGraph, place: Place): Message {
  return {
    name: g.name,
    node: g.nodes.map((n) => nodeOf(n, place)),
    initializer: [...g.initializers].map(([name, tensor]) => tensorOf(name, tensor, place)),
    input: g.inputs.map(valueOf),
    output: g.outputs.map(valueOf),
    valueInfo: g.values.map(valueOf),
  }
}

function functionOf(f: OnnxFunction): Message {
  return {
    name: f.name,
    domain: f.domain,
    overload: f.overload,
    input: [...f.inputs],
    output: [...f.outputs],
    attribute: [...f.attributes],
    attributeProto: Object.entries(f.defaults).map(([name, a]) => attributeOf(name, a, inline)),
    node: f.nodes.map((n) => nodeOf(n, inline)),
    opsetImport: opsetsOf(f.opsets),
  }
}

const opsetsOf = (opsets: Readonly<Record<string, number>>): Message[] =>
  Object.entries(opsets).map(([domain, version]) => ({ domain, version: BigInt(version) }))

function modelOf(model: OnnxModel, place: Place): ModelProto {
  const [producerName = '', producerVersion = ''] = model.producer.split(' ')
  return create(modelSchema, {
    irVersion: BigInt(model.irVersion),
    producerName,
    producerVersion,
    opsetImport: opsetsOf(model.opsets),
    graph: graphOf(model.graph, place),
    functions: model.functions.map(functionOf),
    metadataProps: Object.entries(model.metadata).map(([key, value]) => ({ key, value })),
  })
}

/** Bytes of the constants of a graph and its subgraphs. */
export function constantBytes(g: OnnxGraph): number {
  let bytes = 0
  for (const t of g.initializers.values()) bytes += bytesOf(t)
  for (const n of g.nodes)
    for (const a of Object.values(n.attributes)) {
      if (a.type === 'tensor') bytes += bytesOf(a.value)
      else if (a.type === 'graph') bytes += constantBytes(a.value)
      else if (a.type === 'graphs') for (const sub of a.value) bytes += constantBytes(sub)
    }
  return bytes
}
const bytesOf = (t: OnnxTensor): number => Math.ceil((t.shape.reduce((n, d) => n * d, 1) * bitsOf(t.dtype)) / 8)

/** Whether `writeOnnx` puts constants beside the file unless told otherwise. */
export function wantsExternal(model: OnnxModel): boolean {
  return constantBytes(model.graph) > EXTERNAL_FROM
}

/**
 * The bytes of an ONNX file with everything in it. More than 2 GiB: ERR_LIMIT; `writeOnnx` puts constants beside the file then.
 *
 * @example
 * const bytes = encodeOnnx(readOnnx('model.onnx'))
 */
export function encodeOnnx(model: OnnxModel): Uint8Array {
  const bytes = constantBytes(model.graph)
  if (bytes > PROTOBUF_LIMIT)
    throw new LimitError(
      'ERR_LIMIT',
      `onnx: ${bytes} bytes of constants do not fit in a protobuf file of 2 GiB; write them beside it (external: true)`,
      {
        details: { limit: 'protobuf', value: bytes, max: PROTOBUF_LIMIT },
      },
    )
  return toBinary(modelSchema, modelOf(model, inline))
}

/**
 * Writes a model, crash-safe. Answers the paths of what was written: the model, and the file with its constants where there is one.
 *
 * @example
 * writeOnnx('small.onnx', model)            // ['small.onnx']
 */
export function writeOnnx(file: string, model: OnnxModel, options: OnnxWriteOptions = {}): string[] {
  const external = options.external ?? wantsExternal(model)
  if (!external) {
    const bytes = encodeOnnx(model)
    const target = new AtomicFile(file, options)
    return commit([target], () => target.write(bytes))
  }
  const beside = `${file}_data`
  const location = path.basename(beside)
  const data = new AtomicFile(beside, options)
  const files = [data]
  const zeros = new Uint8Array(ALIGN)
  const place: Place = (name, tensor) => {
    const length = bytesOf(tensor)
    if (length < LARGE || tensor.strings) return inline(name, tensor)
    data.write(zeros.subarray(0, (ALIGN - (data.position % ALIGN)) % ALIGN))
    const offset = data.position
    data.write(tensor.read())
    const entry = (key: string, value: string | number): Message => ({ key, value: String(value) })
    return { dataLocation: 1, externalData: [entry('location', location), entry('offset', offset), entry('length', length)] }
  }
  return commit(files, () => {
    const bytes = toBinary(modelSchema, modelOf(model, place))
    const target = new AtomicFile(file, options)
    files.push(target)
    target.write(bytes)
  })
}

/** Puts the files in place in order; after an error before the first one stands, everything is as it was. */
function commit(files: readonly AtomicFile[], write: () => void): string[] {
  try {
    write()
    for (const file of files) file.commit()
  } finally {
    for (const file of files) file.abort()
  }
  return files.map((file) => file.path).reverse()
}
