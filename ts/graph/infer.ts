/**
 * Types of all values of a graph: dtype, shape with names for sizes that only a run knows, and the elements of small integer values as far as they
 * are known, so that shapes computed by nodes (Shape -> Gather -> Concat -> Reshape) come out too.
 *
 * A shape that cannot fit is an error here already, before anything is computed.
 */
import { ownValue } from '../base/own.js'
import { failAt, onnxOp, versionFor, type InferContext, type ValueType } from './define.js'
import type { ErrorCode } from '../base/codes.gen.js'
import type { Dim, Graph, GraphNode, GraphTensor } from './graph.js'
import { HostTensor } from './host.js'
import { numberingOf, ValueTable, type Numbering } from './numbering.js'

/** Integer constants up to this size are followed by value. */
const MAX_VALUE = 64
const integers: readonly string[] = ['i64', 'i32', 'bool', 'u8', 'i8', 'u16', 'i16', 'u32', 'u64']

export function typeOfConstant(t: GraphTensor): ValueType {
  const size = t.shape.reduce((a, b) => a * b, 1)
  const follow = size <= MAX_VALUE && integers.includes(t.dtype)
  return { dtype: t.dtype, shape: t.shape, ...(follow ? { value: new HostTensor(t.dtype, t.shape, t).data } : {}) }
}

/** Known facts of both, the first winning where both say something. */
export function mergeTypes(a: ValueType, b: ValueType | undefined): ValueType {
  if (!b) return a
  const shape =
    a.shape && b.shape && a.shape.length === b.shape.length
      ? a.shape.map((d, i) => (typeof d === 'number' || (d !== null && typeof b.shape![i] !== 'number') ? d : b.shape![i]!))
      : (a.shape ?? b.shape)
  const dtype = a.dtype ?? b.dtype
  return { ...(dtype ? { dtype } : {}), ...(shape ? { shape } : {}), ...(a.value ? { value: a.value } : {}) }
}

/** Graphs never change: what was found out about one holds. */
const found = new WeakMap<Graph, ReadonlyMap<string, ValueType>>()
const followed = new WeakMap<Graph, ReadonlySet<string>>()

/** Types of every value of the graph, its subgraphs' included (their names come without a path: they are unique in a checked import). */
export function inferTypes(graph: Graph): ReadonlyMap<string, ValueType> {
  const known = found.get(graph)
  if (known) return known
  const numbers = numberingOf(graph)
  const types = numbers ? typesByNumber(graph, numbers) : new Map<string, ValueType>()
  if (types instanceof Map) walk(graph, new Map(), types)
  found.set(graph, types)
  return types
}

/** The same for a graph without subgraphs whose values have numbers. */
function typesByNumber(graph: Graph, { ids, takes, from, makes }: Numbering): ValueTable<ValueType> {
  const list: ValueType[] = []
  for (const input of graph.inputs) list.push(mergeTypes(nothing, input))
  for (const t of graph.constants.values()) list.push(typeOfConstant(t))
  const names = new Map<string, ValueType>() // of subgraphs, which are not there
  for (let i = 0; i < graph.nodes.length; i++) {
    const node = graph.nodes[i]!
    const given: (ValueType | undefined)[] = []
    for (let k = from[i]!; k < from[i + 1]!; k++) given.push(takes[k]! < 0 ? undefined : list[takes[k]!])
    const results = resultsOf(node, given, names, graph.opsets)
    let id = makes[i]!
    for (let k = 0; k < node.outputs.length; k++) {
      const name = node.outputs[k]!
      if (name !== '') list[id++] = mergeTypes(results[k] ?? nothing, graph.values.get(name))
    }
  }
  return new ValueTable(ids, list)
}

/** Names of the values whose elements are known, all or some: few, where a graph has many values. */
export function followedValues(graph: Graph): ReadonlySet<string> {
  const known = followed.get(graph)
  if (known) return known
  const names = new Set<string>()
  inferTypes(graph).forEach((type, name) => type.value && names.add(name))
  followed.set(graph, names)
  return names
}

function walk(graph: Graph, given: ReadonlyMap<string, ValueType>, types: Map<string, ValueType>): void {
  for (const input of graph.inputs) types.set(input.name, mergeTypes(given.get(input.name) ?? {}, input))
  for (const [name, t] of graph.constants) types.set(name, typeOfConstant(t))
  for (const node of graph.nodes) inferNode(node, types, graph.opsets, graph.values)
}

const nothing: ValueType = {}

/** Types of the results of one node, into `types`; `declared` adds what else is known of them. */
export function inferNode(
  node: GraphNode,
  types: Map<string, ValueType>,
  opsets: Graph['opsets'],
  declared?: ReadonlyMap<string, ValueType>,
): void {
  const given = node.inputs.map((name) => (name === '' ? undefined : (types.get(name) ?? nothing)))
  const results = resultsOf(node, given, types, opsets)
  for (let i = 0; i < node.outputs.length; i++) {
    const name = node.outputs[i]!
    if (name !== '') types.set(name, mergeTypes(results[i] ?? nothing, declared?.get(name)))
  }
}

/** `types` are those of what subgraphs see. */
function resultsOf(
  node: GraphNode,
  given: readonly (ValueType | undefined)[],
  types: Map<string, ValueType>,
  opsets: Graph['opsets'],
): readonly ValueType[] {
  const row = onnxOp(node.domain, node.op)
  const version = row && versionFor(row, ownValue(opsets, node.domain) ?? 1)
  return row && version !== undefined ? row.infer(new Inference(node, version, types), given, node) : []
}

/** A class, so that a node costs one object. */
class Inference implements InferContext {
  constructor(
    readonly node: GraphNode,
    readonly version: number,
    private readonly types: Map<string, ValueType>,
  ) {}
  fail(code: ErrorCode, message: string): never {
    return failAt(this.node)(code, message)
  }
  infer(inner: Graph, own: readonly ValueType[]): ValueType[] {
    walk(inner, new Map(inner.inputs.map((v, i) => [v.name, own[i] ?? nothing])), this.types)
    return inner.outputs.map((name) => this.types.get(name) ?? nothing)
  }
}

// Helpers for rows.

const known = (d: Dim | undefined): d is number => typeof d === 'number'

/** NumPy's rule on dimensions that may be names; two different names give an unknown size. */
export function broadcastDims(ctx: InferContext, shapes: readonly (readonly Dim[] | undefined)[]): Dim[] | undefined {
  if (shapes.some((s) => s === undefined)) return undefined
  const rank = Math.max(0, ...shapes.map((s) => s!.length))
  return Array.from({ length: rank }, (_, i) => {
    let size: Dim = 1
    for (const shape of shapes as readonly (readonly Dim[])[]) {
      const d = shape[shape.length - rank + i]
      if (d === undefined || d === 1 || d === size) continue
      if (size === 1) size = d
      else if (known(d) && known(size))
        return ctx.fail('ERR_SHAPE', `shapes ${shapes.map((s) => `[${s!.join(',')}]`).join(' and ')} do not broadcast`)
      else size = known(d) ? d : known(size) ? size : null
    }
    return size
  })
}

/** Shape and dtype of the first input. */
export const sameType: (ctx: InferContext, inputs: readonly (ValueType | undefined)[]) => ValueType[] = (_ctx, [x]) => [
  x === undefined ? nothing : x.value === undefined ? x : valueType(x.dtype, x.shape),
]

/** A type from what is known; parts that are undefined are left out. */
export function valueType(dtype: ValueType['dtype'] | undefined, shape?: readonly Dim[], value?: readonly Dim[]): ValueType {
  return { ...(dtype === undefined ? {} : { dtype }), ...(shape === undefined ? {} : { shape }), ...(value === undefined ? {} : { value }) }
}

/** All dimensions as numbers, or undefined. */
export function numbers(dims: readonly Dim[] | undefined): readonly number[] | undefined {
  return dims?.every(known) ? dims : undefined
}

/** An axis in [-rank, rank) as one in [0, rank). */
export function axisOf(ctx: { readonly fail: InferContext['fail'] }, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
    ctx.fail('ERR_SHAPE', `axis must be an integer in [${-rank}, ${rank}), got ${axis}`)
  return axis < 0 ? axis + rank : axis
}

/** Product of dimensions where all are known or some is 0. */
export function product(dims: readonly Dim[]): Dim {
  return dims.every(known) ? dims.reduce((a, b) => a * b, 1) : dims.length === 1 ? dims[0]! : null
}
