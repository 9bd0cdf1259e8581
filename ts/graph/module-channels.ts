/**
 * Channels of an imported graph: every layer says it by its kind, every other operator by its row's trait `channels`. Where units go, the graph changes with
 * them: shapes of its parameters, declared shapes of values, sizes that a Reshape names, heads that a node counts. Attention whose heads are lost on the way is told.
 */
import { ownValue } from '../base/own.js'
import type { JsonObject } from '../base/json-types.js'
import type { ChannelFlow, Channels, Count, Module, Units } from '../nn/index.js'
import { intAttribute, onnxOp, stringAttribute, versionFor, type ChannelContext, type NodeChange, type ValueType } from './define.js'
import { freeNames, hasSubgraphs, nodeLabel, subgraphs, type Graph, type GraphNode, type GraphTensor } from './graph.js'
import { HostTensor } from './host.js'
import { inferTypes } from './infer.js'
import { isParameter, parameterTensor } from './json.js'
import { fromFront } from './onnx/channels.js'

/** Positions along an axis of a named value that follow units. */
interface Follower {
  readonly name: string
  readonly axis: number
  readonly units: Units
}

export function graphChannels(flow: ChannelFlow, graph: Graph, module: Module, rebuild: (graph: Graph) => JsonObject): Channels | null {
  const types = inferTypes(graph)
  const values = new Map<string, Channels | null>()
  const sliced: Follower[] = []
  const changes: Changes = new Map()
  // Why nothing is known of a value.
  const lost = new Map<string, string>()
  const reasons: string[] = []
  const own: ChannelFlow = {
    ...flow,
    freeze: (x, why) => {
      reasons.push(why)
      flow.freeze(x, why)
    },
    slice: (name, axis, units, role) => {
      sliced.push({ name, axis, units })
      flow.slice(name, axis, units, role)
    },
  }
  const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)))
  for (const node of graph.nodes) {
    reasons.length = 0
    const inputs = node.inputs.map((name) => values.get(name) ?? null)
    if (hasSubgraphs(node)) {
      for (const name of subgraphs(node).flatMap((g) => [...freeNames(g)]))
        flow.freeze(values.get(name) ?? null, `${nodeLabel(node)} takes it inside`)
      for (const x of inputs) flow.freeze(x, `${nodeLabel(node)} has graphs inside`)
      continue
    }
    const results = isLayer(node) ? layerChannels(flow, module, node, inputs) : operatorChannels(own, graph, node, inputs, types, changes)
    node.outputs.forEach((name, i) => values.set(name, fromFront(results[i] ?? null, types.get(name))))
    if (results[0]) continue
    const why = reasons[0] ?? node.inputs.map((name) => lost.get(name)).find(Boolean)
    for (const name of node.outputs) if (why !== undefined) lost.set(name, why)
    if (isAttention(node, makers)) flow.leave(node.name || node.outputs[0]!, 'head', why ?? `${nodeLabel(node)} takes what no layer makes`)
  }
  for (const name of graph.outputs) flow.freeze(values.get(name) ?? null, "the model's output")
  flow.resize((count) => ({ graph: rebuild(resized(graph, values, sliced, changes, count)) }))
  return null
}

type Changes = Map<GraphNode, NodeChange[]>

const attentions: readonly string[] = ['Attention', 'MultiHeadAttention', 'GroupQueryAttention']
const betweenWeights: readonly string[] = ['Dropout', 'Where', 'Cast', 'Mul', 'Identity']

/** Attention as one node, or the product of the weights that a Softmax makes with values. */
function isAttention(node: GraphNode, makers: ReadonlyMap<string, GraphNode>): boolean {
  if (attentions.includes(node.op)) return true
  if (node.op !== 'MatMul' && node.op !== 'FusedMatMul') return false
  const softmax = (name: string, steps: number): boolean => {
    const maker = makers.get(name)
    if (!maker || steps === 0) return false
    return maker.op === 'Softmax' || (betweenWeights.includes(maker.op) && maker.inputs.some((n) => softmax(n, steps - 1)))
  }
  return softmax(node.inputs[0] ?? '', 4)
}

const isLayer = (node: GraphNode): boolean => node.domain === 'tersor' && node.op === 'Module'

function layerChannels(
  flow: ChannelFlow,
  module: Module,
  node: GraphNode,
  inputs: readonly (Channels | null)[],
): readonly (Channels | null)[] {
  const name = stringAttribute(node, 'child')
  const { use = 'plain' } = JSON.parse(stringAttribute(node, 'call', '{"use":"plain"}')) as { readonly use?: string }
  const [x = null, ...others] = inputs
  for (const other of others) flow.freeze(other, `${nodeLabel(node)} takes it as a state`)
  if (use !== 'recurrent') return [flow.child(name, x)]
  // [T, B, C] there, [T, D, B, H] and last states [D, B, H] here; all directions have the same units.
  const y = flow.child(name, x && { ...x, axis: x.axis === 2 ? -1 : x.axis })
  if (!y) return []
  const { hidden = y.units.length } = module.children[name]!.config as { readonly hidden?: number }
  const units = y.units.slice(0, hidden)
  if (node.inputs.slice(2).some(Boolean)) flow.freeze(units, `${nodeLabel(node)} begins with a state that is given`)
  return [
    { axis: 3, rank: 4, units },
    { axis: 2, rank: 3, units },
    { axis: 2, rank: 3, units },
  ]
}

function operatorChannels(
  flow: ChannelFlow,
  graph: Graph,
  node: GraphNode,
  inputs: readonly (Channels | null)[],
  types: ReturnType<typeof inferTypes>,
  changes: Changes,
): readonly (Channels | null)[] {
  if (inputs.every((x) => x === null)) return []
  const label = nodeLabel(node)
  const row = onnxOp(node.domain, node.op)
  const trait = row?.channels
  if (!trait) {
    for (const x of inputs) flow.freeze(x, `${label}: the operator does not say how channels go through it`)
    return []
  }
  const context: ChannelContext = {
    node,
    flow,
    label,
    inputs: node.inputs.map((name) => (name === '' ? undefined : types.get(name))),
    outputs: node.outputs.map((name) => types.get(name)),
    parameter: (i) => {
      const t = graph.constants.get(node.inputs[i] ?? '')
      return t && isParameter(t) ? node.inputs[i] : undefined
    },
    version: versionFor(row, ownValue(graph.opsets, node.domain) ?? 1) ?? 1,
    retarget: (axis, units) => {
      const name = node.inputs[1] ?? ''
      const list = sizesOf(graph.constants.get(name)) ?? knownSizes(node, types.get(node.inputs[0]!), types.get(name))
      if (!list) return false
      context.rewrite((old, count, put) => {
        const shape = put('shape', list.with(axis, count(units)))
        return { ...old, inputs: old.inputs.map((n, i) => (i === 1 ? shape : n)) }
      })
      return true
    },
    rewrite: (change) => changes.set(node, [...(changes.get(node) ?? []), change]),
  }
  return trait(context, inputs)
}

/** The numbers of a constant list of sizes. */
function sizesOf(t: GraphTensor | undefined): number[] | undefined {
  return t && !isParameter(t) && t.dtype === 'i64' ? [...new HostTensor(t.dtype, t.shape, t).data] : undefined
}

/** Sizes that the graph computes, as a Reshape may name them too: those of its input by 0, and one that is not known by -1. */
function knownSizes(node: GraphNode, from: ValueType | undefined, target: ValueType | undefined): number[] | undefined {
  if (!target?.value || intAttribute(node, 'allowzero', 0) !== 0) return undefined
  const list = target.value.map((d, i) => (typeof d === 'number' ? d : d !== null && d === from?.shape?.[i] ? 0 : -1))
  return list.filter((d) => d === -1).length <= 1 ? list : undefined
}

/** The graph with fewer units. */
function resized(
  graph: Graph,
  values: ReadonlyMap<string, Channels | null>,
  sliced: readonly Follower[],
  changes: Changes,
  count: Count,
): Graph {
  const constants = new Map(graph.constants)
  for (const { name, axis, units } of sliced) {
    const t = constants.get(name)!
    constants.set(
      name,
      parameterTensor(
        t.dtype,
        t.shape.map((d, i) => (i === axis ? count(units) : d)),
      ),
    )
  }
  const nodes = graph.nodes.map((node) => {
    const put = (part: string, list: readonly number[]): string => {
      const name = `${node.outputs[0]!}.${part}`
      const data = BigInt64Array.from(list, BigInt)
      constants.set(name, { dtype: 'i64', shape: [list.length], read: () => new Uint8Array(data.buffer) })
      return name
    }
    return (changes.get(node) ?? []).reduce((at, change) => change(at, count, put), node)
  })
  const declared = new Map(
    [...graph.values].map(([name, info]) => {
      const x = values.get(name)
      if (!x || x.runs || !info.shape) return [name, info]
      return [name, { ...info, shape: info.shape.map((d, i) => (i === x.axis && d === x.units.length ? count(x.units) : d)) }]
    }),
  )
  return { ...graph, nodes, constants, values: declared }
}
