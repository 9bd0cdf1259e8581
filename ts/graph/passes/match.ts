/**
 * What passes ask of a graph (who makes a value, who uses it, which constants are numbers), and `rewrite`, which puts nodes in the place of others.
 *
 * Contract of `rewrite`: what a match covers goes only if nothing else sees its values: no other node, no output, no subgraph. So a pass says what a
 * pattern looks like, and values that are used elsewhere are none of its business.
 */
import { ownValue } from '../../base/own.js'
import type { ValueType } from '../define.js'
import { freeNames, hasSubgraphs, mapSubgraphs, subgraphs, type Dim, type Graph, type GraphNode, type GraphTensor } from '../graph.js'
import { HostTensor } from '../host.js'
import { inferTypes } from '../infer.js'
import { isParameter } from '../json.js'

/** Nodes that stand for others: `nodes` come where `at` stood, the rest of `covers` goes. */
export interface Replacement {
  readonly at: GraphNode
  readonly covers: readonly GraphNode[]
  readonly nodes: readonly GraphNode[]
}
export type Match = (node: GraphNode, view: View) => Replacement | undefined

type Constants = ReadonlyMap<string, GraphTensor>

const floats: readonly string[] = ['f32', 'f64', 'f16', 'bf16']

/** Who makes and who takes each value of a graph, and what is seen from outside of its nodes: outputs, and what subgraphs take. */
interface Links {
  readonly makers: ReadonlyMap<string, GraphNode>
  readonly users: ReadonlyMap<string, GraphNode[]>
  readonly held: ReadonlySet<string>
}
const links = new WeakMap<Graph, Links>()

function linksOf(graph: Graph): Links {
  const known = links.get(graph)
  if (known) return known
  const makers = new Map<string, GraphNode>()
  const users = new Map<string, GraphNode[]>()
  const held = new Set(graph.outputs)
  for (const node of graph.nodes) {
    for (const name of node.outputs) if (name !== '') makers.set(name, node)
    for (const name of node.inputs) {
      const list = users.get(name)
      if (list) list.push(node)
      else users.set(name, [node])
    }
    for (const inner of subgraphs(node)) for (const name of freeNames(inner)) held.add(name)
  }
  const all = { makers, users, held }
  links.set(graph, all)
  return all
}

/** One graph (or subgraph) as a pass sees it. */
export class View {
  readonly graph: Graph
  /** Constants that matches made. */
  readonly made = new Map<string, GraphTensor>()
  readonly #types: ReadonlyMap<string, ValueType>
  readonly #constants: readonly Constants[]
  readonly #links: Links
  /** Names that were given, beside those of #types. */
  readonly #used: Set<string>

  constructor(graph: Graph, types: ReadonlyMap<string, ValueType>, outer: readonly Constants[] = [], used = new Set<string>()) {
    this.graph = graph
    this.#types = types
    this.#constants = [graph.constants, ...outer]
    this.#used = used
    this.#links = linksOf(graph)
  }

  /** The node that makes a value, in this graph; with `op`: only if it is that one of ONNX's own. */
  maker(name: string | undefined, ...ops: readonly string[]): GraphNode | undefined {
    const node = name === undefined ? undefined : this.#links.makers.get(name)
    return node && (ops.length === 0 || (node.domain === '' && ops.includes(node.op))) ? node : undefined
  }
  users(name: string): readonly GraphNode[] {
    return this.#links.users.get(name) ?? []
  }
  /** The node that alone takes a value, once. */
  only(name: string | undefined, ...ops: readonly string[]): GraphNode | undefined {
    if (name === undefined || this.#links.held.has(name)) return undefined
    const list = this.users(name)
    const [node] = list
    return list.length === 1 && (ops.length === 0 || (node!.domain === '' && ops.includes(node!.op))) ? node : undefined
  }
  held(name: string): boolean {
    return this.#links.held.has(name)
  }

  /** Whether nothing outside of `covers` sees what its nodes make, results of `at` excepted. */
  closed({ at, covers }: Replacement): boolean {
    const inside = new Set(covers)
    return covers.every(
      (node) =>
        node === at ||
        node.outputs.every((name) => name === '' || (!this.#links.held.has(name) && this.users(name).every((n) => inside.has(n)))),
    )
  }

  /** A constant whose values can be read (those of parameters stand in their module). */
  constant(name: string | undefined): GraphTensor | undefined {
    if (name === undefined || name === '') return undefined
    const t = this.made.get(name) ?? this.#constants.find((list) => list.has(name))?.get(name)
    return t && !isParameter(t) ? t : undefined
  }
  isConstant(name: string): boolean {
    return this.made.has(name) || this.#constants.some((list) => list.has(name))
  }
  /** Numbers of a floating constant. */
  floats(name: string | undefined): { readonly shape: readonly number[]; readonly values: readonly number[] } | undefined {
    const t = this.constant(name)
    return t && floats.includes(t.dtype) ? { shape: t.shape, values: new HostTensor(t.dtype, t.shape, t).data } : undefined
  }
  /** The number of a floating constant with one element. */
  number(name: string | undefined): number | undefined {
    const t = this.constant(name)
    return t && t.shape.every((d) => d === 1) && floats.includes(t.dtype) ? new HostTensor(t.dtype, t.shape, t).data[0] : undefined
  }
  /** The numbers of an integer constant. */
  integers(name: string | undefined): readonly number[] | undefined {
    const t = this.constant(name)
    return t && (t.dtype === 'i64' || t.dtype === 'i32') ? new HostTensor(t.dtype, t.shape, t).data : undefined
  }

  type(name: string | undefined): ValueType {
    return (name === undefined ? undefined : this.#types.get(name)) ?? {}
  }
  shape(name: string | undefined): readonly Dim[] | undefined {
    return this.type(name).shape
  }
  rank(name: string | undefined): number | undefined {
    return this.shape(name)?.length
  }
  opset(domain = ''): number {
    return ownValue(this.graph.opsets, domain) ?? 1
  }

  /** A name that no value has. */
  fresh(hint: string): string {
    let name = hint
    for (let i = 1; this.#types.has(name) || this.#used.has(name); i++) name = `${hint}~${i}`
    this.#used.add(name)
    return name
  }
  /** Adds a constant and gives its name. */
  put(hint: string, t: GraphTensor): string {
    const name = this.fresh(hint)
    this.made.set(name, t)
    return name
  }
}

/** Whether a node of the graph, or of a graph inside, has one of these operators. */
function hasOperator(graph: Graph, ops: ReadonlySet<string>): boolean {
  return graph.nodes.some((node) => ops.has(node.op) || (hasSubgraphs(node) && subgraphs(node).some((inner) => hasOperator(inner, ops))))
}

/**
 * Every place where `match` finds its pattern, changed; subgraphs too. The graph itself where there is none. With `ops`, the
 * operators at which `match` looks further, a graph that has none of them costs one look at its nodes.
 */
export function rewrite(graph: Graph, match: Match, ops?: ReadonlySet<string>): Graph {
  if (ops && !hasOperator(graph, ops)) return graph
  const types = inferTypes(graph)
  const used = new Set<string>()
  const visit = (g: Graph, outer: readonly Constants[]): Graph => {
    const view = new View(g, types, outer, used)
    const gone = new Set<GraphNode>()
    const put = new Map<GraphNode, readonly GraphNode[]>()
    // The view shows the graph before all matches: what one drops another may not take, and the other way round.
    const dropped = new Set<string>()
    const taken = new Set<string>()
    for (const node of g.nodes) {
      if (gone.has(node)) continue
      const found = match(node, view)
      if (!found || found.covers.some((n) => gone.has(n)) || !view.closed(found)) continue
      const inputs = found.nodes.flatMap((n) => n.inputs)
      const drops = found.covers.flatMap((n) => (n === found.at ? [] : n.outputs))
      if (inputs.some((name) => dropped.has(name)) || drops.some((name) => taken.has(name))) continue
      for (const n of found.covers) gone.add(n)
      for (const name of drops) dropped.add(name)
      for (const name of inputs) taken.add(name)
      put.set(found.at, found.nodes)
    }
    let changed = put.size > 0
    const nodes = g.nodes.flatMap((node) => {
      const others = put.get(node)
      if (others) return others
      if (gone.has(node)) return []
      const next = mapSubgraphs(node, (inner) => {
        const made = visit(inner, [view.made, g.constants, ...outer])
        changed ||= made !== inner
        return made
      })
      return [changed ? next : node]
    })
    return changed ? { ...g, nodes, constants: new Map([...g.constants, ...view.made]) } : g
  }
  return visit(graph, [])
}

/** Whether a is b up to the rounding of constants in files. */
export function near(a: number | undefined, b: number, tolerance = 1e-4): boolean {
  return a !== undefined && Math.abs(a - b) <= tolerance * Math.abs(b)
}

/** A constant of f32 numbers; takes over an array of them. */
export function f32Constant(shape: readonly number[], values: ArrayLike<number>): GraphTensor {
  const data = values instanceof Float32Array ? values : Float32Array.from(values)
  return { dtype: 'f32', shape, read: () => new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }
}
export function i64Constant(values: readonly number[]): GraphTensor {
  const data = BigInt64Array.from(values, (v) => BigInt(v))
  return { dtype: 'i64', shape: [values.length], read: () => new Uint8Array(data.buffer) }
}

/** A node of Tersor's own. */
export function fusedNode(op: string, like: GraphNode, inputs: readonly string[], attributes: GraphNode['attributes'] = {}): GraphNode {
  let last = inputs.length
  while (last > 0 && inputs[last - 1] === '') last--
  return { op, domain: 'tersor', name: like.name, inputs: inputs.slice(0, last), outputs: like.outputs, attributes }
}

/** The other input of a node with two. */
export function otherInput(node: GraphNode, name: string): string | undefined {
  const [a, b] = node.inputs
  return a === name ? b : b === name ? a : undefined
}

/** Axes of a reduction: an attribute, or since opset 13 / 18 a constant input; undefined where they are not known. */
export function reducedAxes(node: GraphNode, view: View): readonly number[] | undefined {
  const a = node.attributes.axes
  if (a?.type === 'ints') return a.value
  return node.inputs[1] ? view.integers(node.inputs[1]) : undefined
}
export function keepsDims(node: GraphNode): boolean {
  const a = node.attributes.keepdims
  return a === undefined || (a.type === 'int' && a.value !== 0)
}
