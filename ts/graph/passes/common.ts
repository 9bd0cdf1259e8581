/**
 * Values that are computed twice are computed once: equal constants, then nodes of the same operator with the same attributes and inputs. What draws numbers stays. Subgraphs
 * take what the graph around them has computed already. Law: the outputs are the same bit for bit.
 */
import { mapSubgraphs, subgraphs, type Attribute, type Graph, type GraphNode, type GraphTensor } from '../graph.js'
import { isParameter } from '../json.js'
import { drawn } from './fold.js'

/** Constants up to this many bytes are compared. */
const SMALL = 4096

function constantKey(t: GraphTensor): string | undefined {
  const size = t.shape.reduce((a, b) => a * b, 1)
  if (isParameter(t) || t.strings || size * 8 > SMALL) return undefined
  return `${t.dtype}[${t.shape.join(',')}] ${Array.from(t.read(), (b) => String.fromCharCode(b)).join('')}`
}

function attributeKey(a: Attribute): unknown {
  if (a.type === 'tensor') return constantKey(a.value)
  if (a.type === 'float' || a.type === 'floats') return [a.type, String(a.value)]
  return a.type === 'tensors' || a.type === 'graph' || a.type === 'graphs' ? undefined : [a.type, a.value]
}

function nodeKey(node: GraphNode): string | undefined {
  if (drawn.has(node.op) || subgraphs(node).length > 0) return undefined
  const attributes = Object.entries(node.attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, a]) => [name, attributeKey(a)])
  return attributes.some(([, key]) => key === undefined)
    ? undefined
    : JSON.stringify([node.domain, node.op, node.inputs, node.outputs.map((name) => name !== ''), attributes])
}

export function shareCommon(graph: Graph): Graph {
  const renamed = new Map<string, string>()
  const resolve = (name: string): string => renamed.get(name) ?? name
  const visit = (g: Graph, known: ReadonlyMap<string, readonly string[]>): Graph => {
    const seen = new Map(known)
    const outputs = new Set(g.outputs)
    const constants = new Map<string, GraphTensor>()
    for (const [name, t] of g.constants) {
      const key = outputs.has(name) ? undefined : constantKey(t)
      const first = key === undefined ? undefined : seen.get(`constant ${key}`)
      if (first) renamed.set(name, first[0]!)
      else {
        constants.set(name, t)
        if (key !== undefined) seen.set(`constant ${key}`, [name])
      }
    }
    const nodes: GraphNode[] = []
    for (const node of g.nodes) {
      const inner = mapSubgraphs(node, (sub) => visit(sub, seen))
      const next = inner.inputs.some((n) => renamed.has(n)) ? { ...inner, inputs: inner.inputs.map(resolve) } : inner
      const key = nodeKey(next)
      const first = key === undefined ? undefined : seen.get(key)
      if (first && !next.outputs.some((name) => outputs.has(name))) {
        next.outputs.forEach((name, i) => name !== '' && renamed.set(name, first[i]!))
        continue
      }
      nodes.push(next)
      if (key !== undefined && !first) seen.set(key, next.outputs)
    }
    return { ...g, nodes, constants, outputs: g.outputs.map(resolve) }
  }
  const shared = visit(graph, new Map())
  return renamed.size > 0 ? shared : graph
}
