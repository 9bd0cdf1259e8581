/** Dead code and Identity: what changes no value. */
import { freeNames, hasSubgraphs, mapSubgraphs, subgraphs, type Graph, type GraphNode } from '../graph.js'
import { numberingOf, type Numbering } from '../numbering.js'

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
    let changed = false
    for (const node of g.nodes) {
      const plain = node.domain === '' && (node.op === 'Identity' || (node.op === 'Dropout' && node.inputs.length === 1))
      if (plain && node.inputs[0] && !node.outputs[1] && !outputs.has(node.outputs[0]!)) {
        map.set(node.outputs[0]!, resolve(node.inputs[0]))
        changed = true
        continue
      }
      const mapped = mapSubgraphs(node, visit)
      const next = map.size > 0 && mapped.inputs.some((n) => map.has(n)) ? { ...mapped, inputs: mapped.inputs.map(resolve) } : mapped
      changed ||= next !== node
      nodes.push(next)
    }
    // An output of a branch may be a value of the graph around it.
    return changed || g.outputs.some((name) => map.has(name)) ? { ...g, nodes, outputs: g.outputs.map(resolve) } : g
  }
  return visit(graph)
}

/** Graphs never change: what has nothing dead keeps nothing dead. */
const alive = new WeakSet<Graph>()

/** That no node and no constant is dead: mostly so, and then no names have to be gathered. */
function allNeeded(graph: Graph, { ids, takes, from, makes }: Numbering): boolean {
  const needed = new Uint8Array(ids.size)
  for (const name of graph.outputs) needed[ids.get(name)!] = 1
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    let used = false
    for (let id = makes[i]!; id < makes[i + 1]!; id++) used ||= needed[id] === 1
    if (!used) return false
    for (let k = from[i]!; k < from[i + 1]!; k++) if (takes[k]! >= 0) needed[takes[k]!] = 1
  }
  const inputs = graph.inputs.length
  return !needed.subarray(inputs, inputs + graph.constants.size).includes(0)
}

/** Without nodes and constants that no output needs. Law: the outputs are the same bit for bit. */
export function removeDead(graph: Graph): Graph {
  if (alive.has(graph)) return graph
  const numbers = numberingOf(graph)
  if (numbers && allNeeded(graph, numbers)) {
    alive.add(graph)
    return graph
  }
  const needed = new Set(graph.outputs)
  const kept: GraphNode[] = []
  let changed = false
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i]!
    if (!node.outputs.some((name) => needed.has(name))) {
      changed = true
      continue
    }
    const next = mapSubgraphs(node, removeDead)
    changed ||= next !== node
    kept.push(next)
    for (const name of next.inputs) needed.add(name)
    if (hasSubgraphs(next)) for (const inner of subgraphs(next)) for (const name of freeNames(inner)) needed.add(name)
  }
  const constants = new Map([...graph.constants].filter(([name]) => needed.has(name)))
  const out = changed || constants.size < graph.constants.size ? { ...graph, nodes: kept.reverse(), constants } : graph
  alive.add(out)
  return out
}
