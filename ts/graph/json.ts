/**
 * Graphs as JSON, for the headers of model files: everything but the values of parameters, which stand in the file beside it. Small constants that are not
 * trained are in the text as base64 (so NaN and infinities are exact).
 */
import { ModelFormatError } from '../base/errors.js'
import type { Json, JsonObject } from '../base/json-types.js'
import { bitsOf, elementTypes } from '../formats/onnx/index.js'
import { withoutTensors } from '../tensor/index.js'
import type { Attribute, Dim, ElementType, Graph, GraphNode, GraphTensor, ValueInfo } from './graph.js'

const fail = (what: string): never => {
  throw new ModelFormatError('ERR_MODEL_FORMAT', `graph: ${what} is not as it was written`, {
    details: { format: 'graph', reason: 'json' },
  })
}

/** A constant whose values stand elsewhere: a parameter of the module. */
export interface ParameterTensor extends GraphTensor {
  readonly parameter: true
}
export const isParameter = (t: GraphTensor): t is ParameterTensor => 'parameter' in t

export function parameterTensor(dtype: ElementType, shape: readonly number[]): ParameterTensor {
  return { dtype, shape, parameter: true, read: () => fail('a parameter without its module') }
}

function tensorJson(t: GraphTensor): JsonObject {
  const head = { dtype: t.dtype, shape: t.shape }
  if (isParameter(t)) return { ...head, parameter: true }
  return t.strings ? { ...head, strings: t.strings } : { ...head, data: base64(t.read()) }
}
const base64 = (bytes: Uint8Array): string => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(''))

function infoJson(v: ValueInfo): JsonObject {
  return {
    name: v.name,
    ...(v.dtype ? { dtype: v.dtype } : {}),
    ...(v.shape ? { shape: v.shape } : {}),
    ...(v.kind ? { kind: v.kind } : {}),
  }
}

function attributeJson(a: Attribute): JsonObject {
  switch (a.type) {
    case 'tensor':
      return { type: a.type, value: tensorJson(a.value) }
    case 'tensors':
      return { type: a.type, value: a.value.map(tensorJson) }
    case 'graph':
      return { type: a.type, value: graphToJson(a.value) }
    case 'graphs':
      return { type: a.type, value: a.value.map(graphToJson) }
    case 'type':
      return { type: a.type, value: infoJson(a.value) }
    case 'float':
    case 'floats': {
      // JSON has no infinities.
      const list = typeof a.value === 'number' ? [a.value] : a.value
      return list.every(Number.isFinite)
        ? { type: a.type, value: a.value }
        : { type: a.type, value: typeof a.value === 'number' ? String(a.value) : list.map(String) }
    }
    case 'int':
    case 'ints':
    case 'string':
    case 'strings':
      return { type: a.type, value: a.value }
  }
}

export function graphToJson(graph: Graph): JsonObject {
  return {
    name: graph.name,
    inputs: graph.inputs.map(infoJson),
    outputs: graph.outputs,
    nodes: graph.nodes.map((n) => ({
      op: n.op,
      ...(n.domain ? { domain: n.domain } : {}),
      ...(n.name ? { name: n.name } : {}),
      inputs: n.inputs,
      outputs: n.outputs,
      ...(Object.keys(n.attributes).length
        ? { attributes: Object.fromEntries(Object.entries(n.attributes).map(([k, a]) => [k, attributeJson(a)])) }
        : {}),
    })),
    constants: Object.fromEntries([...graph.constants].map(([name, t]) => [name, tensorJson(t)])),
    opsets: graph.opsets,
    values: [...graph.values.values()].map(infoJson),
  }
}

/** The same, made when something looks into it. */
export function lazyGraphJson(graph: Graph): JsonObject {
  let made: JsonObject | undefined
  const out: JsonObject = {}
  for (const key of ['name', 'inputs', 'outputs', 'nodes', 'constants', 'opsets', 'values'])
    Object.defineProperty(out, key, { enumerable: true, get: () => (made ??= graphToJson(graph))[key] })
  return withoutTensors(out)
}

// Reading: what was not written by `graphToJson` is ERR_MODEL_FORMAT.

const object = (v: Json | undefined, what: string): JsonObject =>
  typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as JsonObject) : fail(what)
const array = (v: Json | undefined, what: string): readonly Json[] => (Array.isArray(v) ? (v as readonly Json[]) : fail(what))
const string = (v: Json | undefined, what: string): string => (typeof v === 'string' ? v : fail(what))
const strings = (v: Json | undefined, what: string): string[] => array(v, what).map((s) => string(s, what))
const float = (v: Json | undefined, what: string): number => {
  if (v === 'Infinity' || v === '-Infinity' || v === 'NaN') return Number(v)
  return typeof v === 'number' ? v : fail(what)
}
const natural = (v: Json | undefined, what: string): number => (typeof v === 'number' && Number.isSafeInteger(v) && v >= 0 ? v : fail(what))

function dtypeOf(v: Json | undefined): ElementType {
  const found = elementTypes.find(([name]) => name === v)?.[0]
  return found === undefined || found === 'undefined' ? fail('a dtype') : found
}

function tensorFromJson(v: Json | undefined): GraphTensor {
  const o = object(v, 'a constant')
  const dtype = dtypeOf(o.dtype)
  const shape = array(o.shape, 'a shape').map((d) => natural(d, 'a shape'))
  if (o.parameter === true) return parameterTensor(dtype, shape)
  const size = shape.reduce((a, b) => a * b, 1)
  if (o.strings !== undefined) {
    const list = strings(o.strings, 'a constant')
    return list.length === size ? { dtype, shape, strings: list, read: () => new Uint8Array(0) } : fail('a constant')
  }
  let bytes: Uint8Array
  try {
    bytes = Uint8Array.from(atob(string(o.data, 'a constant')), (c) => c.charCodeAt(0))
  } catch {
    return fail('a constant')
  }
  return bytes.length === Math.ceil((size * bitsOf(dtype)) / 8) ? { dtype, shape, read: () => bytes } : fail('a constant')
}

function infoFromJson(v: Json | undefined): ValueInfo {
  const o = object(v, 'a value')
  const dim = (d: Json): Dim => (d === null || typeof d === 'string' ? d : natural(d, 'a shape'))
  const kinds = ['sequence', 'optional', 'map', 'sparse'] as const
  const kind = kinds.find((k) => k === o.kind)
  return {
    name: string(o.name, 'a value'),
    ...(o.dtype === undefined ? {} : { dtype: dtypeOf(o.dtype) }),
    ...(o.shape === undefined ? {} : { shape: array(o.shape, 'a shape').map(dim) }),
    ...(kind ? { kind } : {}),
  }
}

function attributeFromJson(v: Json | undefined): Attribute {
  const o = object(v, 'an attribute')
  const what = 'an attribute'
  const type = string(o.type, what) as Attribute['type']
  switch (type) {
    case 'float':
    case 'int':
      return { type, value: float(o.value, what) }
    case 'floats':
    case 'ints':
      return { type, value: array(o.value, what).map((x) => float(x, what)) }
    case 'string':
      return { type: 'string', value: string(o.value, what) }
    case 'strings':
      return { type: 'strings', value: strings(o.value, what) }
    case 'tensor':
      return { type: 'tensor', value: tensorFromJson(o.value) }
    case 'tensors':
      return { type: 'tensors', value: array(o.value, what).map(tensorFromJson) }
    case 'graph':
      return { type: 'graph', value: graphFromJson(object(o.value, what)) }
    case 'graphs':
      return { type: 'graphs', value: array(o.value, what).map((g) => graphFromJson(object(g, what))) }
    case 'type':
      return { type: 'type', value: infoFromJson(o.value) }
    default:
      return fail(what)
  }
}

function nodeFromJson(v: Json): GraphNode {
  const o = object(v, 'a node')
  return {
    op: string(o.op, 'a node'),
    domain: o.domain === undefined ? '' : string(o.domain, 'a node'),
    name: o.name === undefined ? '' : string(o.name, 'a node'),
    inputs: strings(o.inputs, 'a node'),
    outputs: strings(o.outputs, 'a node'),
    attributes: Object.fromEntries(
      Object.entries(o.attributes === undefined ? {} : object(o.attributes, 'a node')).map(([k, a]) => [k, attributeFromJson(a)]),
    ),
  }
}

export function graphFromJson(o: JsonObject): Graph {
  const values = array(o.values, 'a value').map(infoFromJson)
  return {
    name: string(o.name, 'the name'),
    inputs: array(o.inputs, 'the inputs').map(infoFromJson),
    outputs: strings(o.outputs, 'the outputs'),
    nodes: array(o.nodes, 'the nodes').map(nodeFromJson),
    constants: new Map(Object.entries(object(o.constants, 'the constants')).map(([name, t]) => [name, tensorFromJson(t)])),
    opsets: Object.fromEntries(Object.entries(object(o.opsets, 'the opsets')).map(([domain, v]) => [domain, natural(v, 'an opset')])),
    values: new Map(values.map((v) => [v.name, v])),
  }
}
