/**
 * Channels of an imported graph: every layer says it by its kind, every other operator by its row's trait `channels`. Where units go, the graph changes with
 * them: shapes of its parameters, declared shapes of values, sizes that a Reshape names.
 */
import type { JsonObject } from '../base/json-types.js'
import type { ChannelFlow, Channels, Count, Module, Units } from '../nn/index.js'
import { onnxOp, stringAttribute, type ChannelContext } from './define.js'
import { freeNames, hasSubgraphs, nodeLabel, subgraphs, type Graph, type GraphNode, type GraphTensor } from './graph.js'
import { HostTensor } from './host.js'
import { inferTypes } from './infer.js'
import { isParameter, parameterTensor } from './json.js'
import { fromFront } from './onnx/channels.js'

/** Positions along an axis of a named value, or an element of a constant, that follow units. */
interface Follower {
  readonly name: string
  readonly axis: number
  readonly units: Units
}

export function graphChannels(flow: ChannelFlow, graph: Graph, module: Module, rebuild: (graph: Graph) => JsonObject): Channels | null {
  const types = inferTypes(graph)
  const values = new Map<string, Channels | null>()
  const sliced: Follower[] = []
  const targets: Follower[] = []
  const own: ChannelFlow = {
    ...flow,
    slice: (name, axis, units, role) => {
      sliced.push({ name, axis, units })
      flow.slice(name, axis, units, role)
    },
  }
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => values.get(name) ?? null)
    if (hasSubgraphs(node)) {
      for (const name of subgraphs(node).flatMap((g) => [...freeNames(g)]))
        flow.freeze(values.get(name) ?? null, `${nodeLabel(node)} takes it inside`)
      for (const x of inputs) flow.freeze(x, `${nodeLabel(node)} has graphs inside`)
      continue
    }
    const results = isLayer(node) ? layerChannels(flow, module, node, inputs) : operatorChannels(own, graph, node, inputs, types, targets)
    node.outputs.forEach((name, i) => values.set(name, fromFront(results[i] ?? null, types.get(name))))
  }
  for (const name of graph.outputs) flow.freeze(values.get(name) ?? null, "the model's output")
  flow.resize((count) => ({ graph: rebuild(resized(graph, values, sliced, targets, count)) }))
  return null
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
  targets: Follower[],
): readonly (Channels | null)[] {
  if (inputs.every((x) => x === null)) return []
  const label = nodeLabel(node)
  const trait = onnxOp(node.domain, node.op)?.channels
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
    retarget: (axis, units) => {
      const name = node.inputs[1] ?? ''
      const t = graph.constants.get(name)
      if (!t || isParameter(t) || t.dtype !== 'i64') return false
      if (units) targets.push({ name: node.outputs[0]!, axis, units })
      return true
    },
  }
  return trait(context, inputs)
}

/** The graph with fewer units. */
function resized(
  graph: Graph,
  values: ReadonlyMap<string, Channels | null>,
  sliced: readonly Follower[],
  targets: readonly Follower[],
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
    const target = targets.find((t) => t.name === node.outputs[0])
    if (!target) return node
    const old = graph.constants.get(node.inputs[1]!)!
    const name = `${node.outputs[0]}.shape`
    constants.set(name, withElement(old, target.axis, count(target.units)))
    return { ...node, inputs: node.inputs.map((n, i) => (i === 1 ? name : n)) }
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

function withElement(t: GraphTensor, at: number, value: number): GraphTensor {
  const list = BigInt64Array.from(new HostTensor(t.dtype, t.shape, t).data, (v, i) => BigInt(i === at ? value : v))
  return { dtype: t.dtype, shape: t.shape, read: () => new Uint8Array(list.buffer) }
}
