/**
 * Graphs of operators as plain data: what importers make, passes change, the executor runs. Where a graph came from does not matter.
 *
 * Contract of a valid graph (`checkGraph`): every input of a node is a graph input, a constant, an output of an EARLIER node, or a value of the graph
 * around it; no value is made twice; outputs exist. '' stands for an input or output that is left out.
 */
import { ModelFormatError } from '../base/errors.js'
import type { Dim, ElementType, OnnxTensor, ValueInfo } from '../formats/onnx/index.js'

import { numberValues } from './numbering.js'

export type { Dim, ElementType, ValueInfo }
/** A constant: dtype, shape and bytes on demand. */
export type GraphTensor = OnnxTensor

export type Attribute =
  | { readonly type: 'float' | 'int'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'floats' | 'ints'; readonly value: readonly number[] }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'tensor'; readonly value: GraphTensor }
  | { readonly type: 'tensors'; readonly value: readonly GraphTensor[] }
  | { readonly type: 'graph'; readonly value: Graph }
  | { readonly type: 'graphs'; readonly value: readonly Graph[] }
  | { readonly type: 'type'; readonly value: ValueInfo }

export interface GraphNode {
  readonly op: string
  /** '' is ONNX's own. */
  readonly domain: string
  /** May be empty; `nodeLabel` gives something to call it by. */
  readonly name: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, Attribute>>
}

export interface Graph {
  readonly name: string
  readonly inputs: readonly ValueInfo[]
  readonly outputs: readonly string[]
  readonly nodes: readonly GraphNode[]
  readonly constants: ReadonlyMap<string, GraphTensor>
  /** Version of the operators by domain. */
  readonly opsets: Readonly<Record<string, number>>
  /** What is known of values beside the inputs, by name: the outputs' declarations at least. */
  readonly values: ReadonlyMap<string, ValueInfo>
}

/** Graphs in the attributes of a node (branches of If, bodies of Loop and Scan). */
export function subgraphs(node: GraphNode): Graph[] {
  const out: Graph[] = []
  for (const key in node.attributes) {
    const a = node.attributes[key]!
    if (a.type === 'graph') out.push(a.value)
    else if (a.type === 'graphs') out.push(...a.value)
  }
  return out
}

export function hasSubgraphs(node: GraphNode): boolean {
  for (const key in node.attributes) {
    const { type } = node.attributes[key]!
    if (type === 'graph' || type === 'graphs') return true
  }
  return false
}

/** A node with every subgraph replaced; the node itself where all of them stay. */
export function mapSubgraphs(node: GraphNode, f: (graph: Graph) => Graph): GraphNode {
  if (!hasSubgraphs(node)) return node
  let changed = false
  const map = (graph: Graph): Graph => {
    const next = f(graph)
    changed ||= next !== graph
    return next
  }
  const attributes = Object.fromEntries(
    Object.entries(node.attributes).map(([name, a]): [string, Attribute] => {
      if (a.type !== 'graph' && a.type !== 'graphs') return [name, a]
      return [name, a.type === 'graph' ? { type: 'graph', value: map(a.value) } : { type: 'graphs', value: a.value.map(map) }]
    }),
  )
  return changed ? { ...node, attributes } : node
}

/** `Conv "backbone/conv1"`, or by its first output. */
export function nodeLabel(node: GraphNode): string {
  const name = node.name || node.outputs.find(Boolean) || ''
  return `${node.domain === '' ? '' : `${node.domain}.`}${node.op} ${JSON.stringify(name.slice(0, 200))}`
}

/** Names that a graph takes from the graphs around it. */
export function freeNames(graph: Graph): Set<string> {
  const free = new Set<string>()
  const visit = (g: Graph, outer: Names | undefined): void => {
    const own = new Names(given(g), outer)
    for (const node of g.nodes) {
      for (const name of node.inputs) if (name !== '' && !own.has(name)) free.add(name)
      if (hasSubgraphs(node)) for (const inner of subgraphs(node)) visit(inner, own)
      for (const name of node.outputs) if (name !== '') own.add(name)
    }
    for (const name of g.outputs) if (!own.has(name)) free.add(name)
  }
  visit(graph, undefined)
  return free
}

const fail = (where: string, reason: string, message: string): never => {
  throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${message}`, { details: { format: 'graph', reason } })
}

/** Names of a graph and of those around it, without copies of the outer ones. */
class Names {
  readonly #own: Set<string>
  readonly #outer: Names | undefined
  constructor(own: Iterable<string>, outer?: Names) {
    this.#own = new Set(own)
    this.#outer = outer
  }
  has(name: string): boolean {
    return this.#own.has(name) || (this.#outer?.has(name) ?? false)
  }
  /** False where the graph itself has this name already. */
  add(name: string): boolean {
    const before = this.#own.size
    return this.#own.add(name).size > before
  }
}

const given = (graph: Graph): string[] => [...graph.inputs.map((v) => v.name), ...graph.constants.keys()]

/** The graph with its nodes in an order in which every value is made before it is used; ERR_MODEL_FORMAT when the graph is not valid. */
export function checkGraph(where: string, graph: Graph): Graph {
  return check(where, graph, undefined)
}

function check(where: string, graph: Graph, outer: Names | undefined): Graph {
  const asItStands = checkInOrder(where, graph, outer)
  if (asItStands) return asItStands
  const sorted = { ...graph, nodes: ordered(where, graph, outer) }
  return checkInOrder(where, sorted, outer) ?? fail(where, 'missing', 'a node takes a value that does not exist')
}

/** The names that a node takes, those that its subgraphs take included. */
const needs = (node: GraphNode): readonly string[] =>
  hasSubgraphs(node) ? [...node.inputs, ...subgraphs(node).flatMap((g) => [...freeNames(g)])] : node.inputs

/** One pass over nodes that stand in order already; undefined where one takes a value that is made later or never. */
function checkInOrder(where: string, graph: Graph, outer: Names | undefined): Graph | undefined {
  const twice = (name: string, what: string): never =>
    fail(where, 'duplicate', `${what} ${JSON.stringify(name)}: a value of this name exists already`)
  const unmade = (name: string): never => fail(where, 'missing', `the output ${JSON.stringify(name)} is made by no node`)
  if (!outer && !graph.nodes.some(hasSubgraphs)) {
    const numbers = numberValues(graph, (name, i) =>
      twice(name, i < 0 ? (graph.constants.has(name) ? 'constant' : 'input') : nodeLabel(graph.nodes[i]!)),
    )
    for (const name of numbers ? graph.outputs : []) if (!numbers!.ids.has(name)) unmade(name)
    return numbers && graph
  }
  const names = new Names([], outer)
  for (const { name } of graph.inputs) if (!names.add(name)) twice(name, 'input')
  for (const name of graph.constants.keys()) if (!names.add(name)) twice(name, 'constant')
  let nodes: GraphNode[] | undefined
  for (let i = 0; i < graph.nodes.length; i++) {
    const node = graph.nodes[i]!
    for (const name of needs(node)) if (name !== '' && !names.has(name)) return undefined
    // Subgraphs see what stands before their node.
    const next = mapSubgraphs(node, (g) => check(`${where}: ${nodeLabel(node)}`, g, names))
    for (const name of node.outputs) if (name !== '' && !names.add(name)) twice(name, nodeLabel(node))
    if (next !== node) nodes ??= graph.nodes.slice(0, i)
    nodes?.push(next)
  }
  for (const name of graph.outputs) if (!names.has(name)) unmade(name)
  return nodes ? { ...graph, nodes } : graph
}

/** Kahn's algorithm, only where the file's own order does not do. */
function ordered(where: string, graph: Graph, outer: Names | undefined): readonly GraphNode[] {
  const there = new Names(given(graph), outer)
  const makers = new Map<string, number>()
  graph.nodes.forEach((node, i) => {
    for (const name of node.outputs) if (name !== '') makers.set(name, i)
  })
  const waiting = new Int32Array(graph.nodes.length)
  const followers: number[][] = graph.nodes.map(() => [])
  graph.nodes.forEach((node, i) => {
    for (const name of new Set(needs(node))) {
      if (name === '' || there.has(name)) continue
      const maker = makers.get(name)
      if (maker === undefined) return fail(where, 'missing', `${nodeLabel(node)}: its input ${JSON.stringify(name)} does not exist`)
      waiting[i] = waiting[i]! + 1
      followers[maker]!.push(i)
    }
  })
  const ready = [...waiting.keys()].filter((i) => waiting[i] === 0)
  for (let k = 0; k < ready.length; k++)
    for (const next of followers[ready[k]!]!) if ((waiting[next] = waiting[next]! - 1) === 0) ready.push(next)
  if (ready.length < graph.nodes.length) {
    const stuck = graph.nodes[waiting.findIndex((n) => n > 0)]!
    fail(where, 'cycle', `the nodes form a cycle: ${nodeLabel(stuck)} needs its own result`)
  }
  return ready.map((i) => graph.nodes[i]!)
}
