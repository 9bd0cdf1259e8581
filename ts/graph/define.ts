/**
 * The table of operators: one row each. A row says since which opset versions its meaning changed, how shapes follow, and how it is computed with
 * differentiable ops. docs/guides/add-an-onnx-operator.md walks through one.
 */
import type { ErrorCode } from '../base/codes.gen.js'
import { tersorError } from '../base/errors.js'
import type { ChannelFlow, Channels, Count, Units } from '../nn/channels.js'
import type { Tensor } from '../tensor/index.js'
import { nodeLabel, type Dim, type ElementType, type Graph, type GraphNode } from './graph.js'
import { type HostTensor } from './host.js'

/** A list of values, as operators on sequences make it. */
export class SequenceValue {
  constructor(readonly items: readonly Value[]) {}
}

export type Value = Tensor | HostTensor | SequenceValue

/** What is known of a value before it is computed. */
export interface ValueType {
  readonly dtype?: ElementType
  /** undefined: not even the rank is known. */
  readonly shape?: readonly Dim[]
  /** The elements of a small integer value in row-major order, as far as they are known: sizes may be names. */
  readonly value?: readonly Dim[]
}

interface Context {
  readonly node: GraphNode
  /** The largest of the row's `since` that the model's opset has reached. */
  readonly version: number
  /** Throws with the node's name before the message. */
  readonly fail: (code: ErrorCode, message: string) => never
}

export interface InferContext extends Context {
  /** Types of a subgraph's outputs for these inputs. */
  readonly infer: (graph: Graph, inputs: readonly ValueType[]) => ValueType[]
}

export interface RunContext extends Context {
  readonly training: boolean
  /** The value as a native tensor (f32 for half floats). */
  readonly tensor: (value: Value | undefined) => Tensor
  /** The value in JavaScript. Reads a native tensor: only for what steers shapes or control flow. */
  readonly host: (value: Value | undefined) => HostTensor
  /** Runs a subgraph inside the values around its node. */
  readonly run: (graph: Graph, inputs: readonly Value[]) => Value[]
}

/** What a node is when units have gone; `put` adds a list of numbers as a constant of the node and gives its name. */
export type NodeChange = (node: GraphNode, count: Count, put: (part: string, list: readonly number[]) => string) => GraphNode

/** What a row's trait for channels works with. */
export interface ChannelContext {
  readonly node: GraphNode
  /** The largest of the row's `since` that the model's opset has reached. */
  readonly version: number
  readonly flow: ChannelFlow
  /** For reasons. */
  readonly label: string
  readonly inputs: readonly (ValueType | undefined)[]
  readonly outputs: readonly (ValueType | undefined)[]
  /** The name of input i where it is a parameter of the graph: a tensor that can be sliced. */
  readonly parameter: (i: number) => string | undefined
  /** Input 1 names sizes: the element at `axis` follows these units. False where it cannot be rewritten. */
  readonly retarget: (axis: number, units: Units) => boolean
  readonly rewrite: (change: NodeChange) => void
}
/** Channels of the outputs for those of the inputs (nn/channels.ts); axes from the front. */
export type OnnxChannels = (ctx: ChannelContext, inputs: readonly (Channels | null)[]) => readonly (Channels | null)[]

export interface OnnxOp {
  /** How channels go through; without it nothing that the operator takes can be taken away. */
  readonly channels?: OnnxChannels
  /** Versions at which the operator changed, ascending; a model with an older opset does not have it. */
  readonly since: readonly number[]
  /** Default '': ONNX's own. */
  readonly domain?: string
  /** Least and most inputs; absent trailing ones arrive as undefined. */
  readonly inputs: readonly [least: number, most: number]
  /** Inputs that are read as host values (shapes, axes, pads): constants there are never trained. */
  readonly hostInputs?: readonly number[]
  readonly infer: (ctx: InferContext, inputs: readonly (ValueType | undefined)[], node: GraphNode) => readonly ValueType[]
  /** A single value stands for the first output. Inputs are not to be disposed; temporaries are freed by the executor. */
  readonly run: (ctx: RunContext, inputs: readonly (Value | undefined)[], node: GraphNode) => Value | readonly Value[]
}

/** By domain, then by name. */
const table = new Map<string, Map<string, OnnxOp>>()

/** Adds a row. */
export function defineOnnxOp(name: string, op: OnnxOp): void {
  const { domain = '' } = op
  const rows = table.get(domain) ?? new Map<string, OnnxOp>()
  table.set(domain, rows.set(name, op))
}
export function onnxOp(domain: string, name: string): OnnxOp | undefined {
  return table.get(domain)?.get(name)
}
/** Names of all rows, for lists and tests. */
export function onnxOps(): { readonly name: string; readonly op: OnnxOp }[] {
  return [...table.values()].flatMap((rows) => [...rows].map(([name, op]) => ({ name, op })))
}

/** The version of a row that a model with this opset means; undefined: the operator does not exist there. */
export function versionFor(op: OnnxOp, opset: number): number | undefined {
  let found: number | undefined
  for (const v of op.since) if (v <= opset) found = v
  return found
}

export function failAt(node: GraphNode): Context['fail'] {
  return (code, message) => {
    throw tersorError(code, `graph: ${nodeLabel(node)}: ${message}`, { details: { node: node.name, op: node.op } })
  }
}

// Attributes. A wrong type is the file's fault and is said with the node's name.

function attribute<T>(node: GraphNode, name: string, types: readonly string[], other: T | undefined): T {
  const found = node.attributes[name]
  if (found === undefined) {
    if (other === undefined) failAt(node)('ERR_MODEL_FORMAT', `attribute ${JSON.stringify(name)} is missing`)
    return other as T
  }
  if (!types.includes(found.type))
    failAt(node)('ERR_MODEL_FORMAT', `attribute ${JSON.stringify(name)} must be ${types.join(' or ')}, got ${found.type}`)
  return found.value as T
}

/** An integer attribute; without `other` it must be there. */
export const intAttribute = (node: GraphNode, name: string, other?: number): number => attribute(node, name, ['int'], other)
export const floatAttribute = (node: GraphNode, name: string, other?: number): number => attribute(node, name, ['float', 'int'], other)
export const stringAttribute = (node: GraphNode, name: string, other?: string): string => attribute(node, name, ['string'], other)
export const graphAttribute = (node: GraphNode, name: string): Graph => attribute<Graph>(node, name, ['graph'], undefined)
export const intsAttribute = (node: GraphNode, name: string, other?: readonly number[]): readonly number[] =>
  attribute(node, name, ['ints'], other)
export const floatsAttribute = (node: GraphNode, name: string, other?: readonly number[]): readonly number[] =>
  attribute(node, name, ['floats', 'ints'], other)
/** True when the attribute is there. */
export const hasAttribute = (node: GraphNode, name: string): boolean => Object.hasOwn(node.attributes, name)
