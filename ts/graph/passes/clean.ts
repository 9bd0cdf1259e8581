/** Dead code and Identity: what changes no value. */
import { freeNames, hasSubgraphs, mapSubgraphs, subgraphs, type Graph, type GraphNode } from '../graph.js'

/**
 * Without Identity nodes, and without Dropout, which only training would see. Law: the outputs are the same bit for bit. A node whose result is an
 * output of its graph stays where the name would be lost.
 */
export function removeIdentities(graph: Graph): Graph {
  const map = new Map<string, string>()
  const resolve = (name: string): string => map.get(name) ?? name
  const visit = (g: Graph): Graph => {
    const outputs = new Set(g.outputs)
    const nodes: GraphNode[] = []
    for (const node of g.nodes) {
      const x = resolve(node.inputs[0] ?? '')
      const plain = node.domain === '' && (node.op === 'Identity' || (node.op === 'Dropout' && node.inputs.length === 1))
      if (plain && x !== '' && !node.outputs[1] && !outputs.has(node.outputs[0]!)) {
        map.set(node.outputs[0]!, x)
        continue
      }
      const next = mapSubgraphs(node, visit)
      nodes.push(next.inputs.some((n) => map.has(n)) ? { ...next, inputs: next.inputs.map(resolve) } : next)
    }
    return { ...g, nodes, outputs: g.outputs.map(resolve) }
  }
  return visit(graph)
}

/** Without nodes and constants that no output needs. Law: the outputs are the same bit for bit. */
export function removeDead(graph: Graph): Graph {
  const needed = new Set(graph.outputs)
  const kept: GraphNode[] = []
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i]!
    if (!node.outputs.some((name) => needed.has(name))) continue
    const next = mapSubgraphs(node, removeDead)
    kept.push(next)
    for (const name of next.inputs) needed.add(name)
    if (hasSubgraphs(next)) for (const inner of subgraphs(next)) for (const name of freeNames(inner)) needed.add(name)
  }
  const constants = new Map([...graph.constants].filter(([name]) => needed.has(name)))
  return { ...graph, nodes: kept.reverse(), constants }
}
