/**
 * Batch norms behind convolutions with constant filters become part of them: w' = w s, b' = (b - mean) s + beta with s = gamma / sqrt(variance + eps)
 * per channel. Law: the outputs are the same up to rounding. For running only: statistics are no longer there to be trained.
 */
import { floatAttribute, intAttribute } from '../define.js'
import { freeNames, mapSubgraphs, subgraphs, type Graph, type GraphNode, type GraphTensor } from '../graph.js'
import { HostTensor } from '../host.js'

const numbers = (t: GraphTensor): readonly number[] => new HostTensor(t.dtype, t.shape, t).data

function f32(shape: readonly number[], values: readonly number[]): GraphTensor {
  const data = Float32Array.from(values)
  return { dtype: 'f32', shape, read: () => new Uint8Array(data.buffer) }
}

/** Nodes by the values they take; a value that is an output or is used by a subgraph has no only user. */
function onlyUsers(graph: Graph): Map<string, GraphNode | null> {
  const users = new Map<string, GraphNode | null>()
  for (const node of graph.nodes) {
    for (const name of node.inputs) users.set(name, users.has(name) ? null : node)
    for (const inner of subgraphs(node)) for (const name of freeNames(inner)) users.set(name, null)
  }
  for (const name of graph.outputs) users.set(name, null)
  return users
}

export function foldBatchNorm(graph: Graph): Graph {
  const users = onlyUsers(graph)
  const constants = new Map(graph.constants)
  const vector = (name: string | undefined, n: number): readonly number[] | undefined => {
    const t = name === undefined ? undefined : graph.constants.get(name)
    return t?.dtype === 'f32' && t.shape.length === 1 && t.shape[0] === n ? numbers(t) : undefined
  }
  const gone = new Set<GraphNode>()
  const fold = (conv: GraphNode): GraphNode | undefined => {
    const w = graph.constants.get(conv.inputs[1] ?? '')
    const norm = users.get(conv.outputs[0]!)
    if (w?.dtype !== 'f32' || norm?.op !== 'BatchNormalization' || norm.domain !== '' || norm.inputs[0] !== conv.outputs[0])
      return undefined
    if (intAttribute(norm, 'training_mode', 0) !== 0 || norm.outputs.slice(1).some(Boolean)) return undefined
    const n = w.shape[0]!
    const [gamma, beta, mean, variance] = norm.inputs.slice(1).map((name) => vector(name, n))
    const bias = conv.inputs[2] ? vector(conv.inputs[2], n) : Array<number>(n).fill(0)
    if (!gamma || !beta || !mean || !variance || !bias) return undefined
    const eps = floatAttribute(norm, 'epsilon', 1e-5)
    const scale = gamma.map((g, i) => g / Math.sqrt(variance[i]! + eps))
    const row = w.shape.slice(1).reduce((a, b) => a * b, 1)
    const name = norm.outputs[0]!
    constants.set(`${name}~weight`, f32(w.shape, numbers(w).map((v, i) => v * scale[Math.floor(i / row)]!))) // prettier-ignore
    constants.set(`${name}~bias`, f32([n], bias.map((b, i) => (b - mean[i]!) * scale[i]! + beta[i]!))) // prettier-ignore
    gone.add(norm)
    return { ...conv, inputs: [conv.inputs[0]!, `${name}~weight`, `${name}~bias`], outputs: [name] }
  }
  const nodes: GraphNode[] = []
  for (const node of graph.nodes) {
    if (gone.has(node)) continue
    const folded = node.op === 'Conv' && node.domain === '' ? fold(node) : undefined
    nodes.push(folded ?? mapSubgraphs(node, foldBatchNorm))
  }
  return { ...graph, nodes, constants }
}
