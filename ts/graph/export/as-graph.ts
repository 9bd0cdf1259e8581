/**
 * An imported graph written as it stands: its operators with attributes and subgraphs, the model's weights in place of its constants, layers as the
 * operators that they came from. For graphs of which a trace shows one path only: branches, loops, and sizes that are computed from values.
 */
import { ownValue } from '../../base/own.js'
import { UnsupportedError } from '../../base/errors.js'
import type { Dim, OnnxAttribute, OnnxGraph, OnnxNode, OnnxTensor, ValueInfo } from '../../formats/onnx/index.js'
import { toRaw } from '../../tensor/index.js'
import type { Model } from '../../nn/index.js'
import { onnxOp } from '../define.js'
import { hasSubgraphs, nodeLabel, subgraphs, type Attribute, type Graph, type GraphNode } from '../graph.js'
import { isParameter } from '../json.js'
import type { OnnxBuilder } from './builder.js'
import type { Sizes } from './example.js'
import { layerNodes, type LayerPlace } from './layers.js'
import { upgradeNode } from './upgrade.js'
import type { WeightEmitter } from './weights.js'

/** Operators whose results have as many elements as the values say. */
const VALUES_SIZE: ReadonlySet<string> = new Set(['NonZero', 'NonMaxSuppression', 'Unique', 'Compress', 'Bernoulli', 'Multinomial'])
const SIZES_ONLY: ReadonlySet<string> = new Set(['Shape', 'Size'])

/** The first node whose work depends on values, not only on sizes: a trace would freeze it. */
export function followsValues(graph: Graph): GraphNode | undefined {
  const open = new Set(graph.inputs.map((v) => v.name))
  for (const node of graph.nodes) {
    if (hasSubgraphs(node)) return node
    const from = node.inputs.map((name) => open.has(name))
    if (!from.includes(true)) continue
    if (node.domain === '' && VALUES_SIZE.has(node.op)) return node
    if (onnxOp(node.domain, node.op)?.hostInputs?.some((i) => from[i])) return node
    if (node.domain !== '' || !SIZES_ONLY.has(node.op)) for (const name of node.outputs) open.add(name)
  }
  return undefined
}

export interface GraphOptions {
  readonly sizes?: Sizes
  /** Other names for inputs. */
  readonly names?: Readonly<Record<string, string>>
  /** Version of the graph's operators, and the one that the file shall have. */
  readonly opset: number
  readonly target: number
}

/** The graph of `model` with its inputs and outputs. Needs of operators (opset) and constants go to the builder, whose opset is the graph's. */
export function writtenGraph(model: Model, graph: Graph, builder: OnnxBuilder, weights: WeightEmitter, options: GraphOptions): OnnxGraph {
  return new GraphWriter(model, builder, weights, options).whole(graph)
}

class GraphWriter {
  readonly #model: Model
  readonly #builder: OnnxBuilder
  readonly #weights: WeightEmitter
  readonly #options: GraphOptions
  /** From names in the graph to names in the file, where they differ. */
  readonly #renamed = new Map<string, string>()

  constructor(model: Model, builder: OnnxBuilder, weights: WeightEmitter, options: GraphOptions) {
    this.#model = model
    this.#builder = builder
    this.#weights = weights
    this.#options = options
  }

  whole(graph: Graph): OnnxGraph {
    this.#reserve(graph)
    const { sizes = {}, names = {} } = this.#options
    const fixed = (name: string, d: Dim, i: number): Dim => {
      const symbol = typeof d === 'string' ? d : i === 0 ? 'batch' : `${name}_${i}`
      return typeof d === 'number' ? d : (ownValue(sizes, symbol) ?? d)
    }
    const inputs = graph.inputs.map((v): ValueInfo => {
      const name = ownValue(names, v.name) ?? v.name
      this.#renamed.set(v.name, name)
      return { ...v, name, ...(v.shape ? { shape: v.shape.map((d, i) => fixed(v.name, d, i)) } : {}) }
    })
    const { nodes } = this.#builder
    this.#constants(graph)
    // Lists and texts have no place among a model's results.
    const outputs = this.#body(graph, nodes).filter((v) => !v.kind && v.dtype !== 'string')
    return { name: graph.name, inputs, outputs, nodes, initializers: this.#builder.initializers, values: [] }
  }

  /** Names of values stay as they are: what is made up must be others. Parameters are written on use, under their own names where these are free. */
  #reserve(graph: Graph): void {
    for (const { name } of graph.inputs) this.#builder.name(name)
    for (const [name, t] of graph.constants) if (!isParameter(t)) this.#builder.name(name)
    for (const node of graph.nodes) {
      for (const name of node.outputs) if (name !== '') this.#builder.name(name)
      subgraphs(node).forEach((g) => this.#reserve(g))
    }
  }

  /** Constants of subgraphs too stand in the outermost graph, where every graph sees them. */
  #constants(graph: Graph): void {
    for (const [name, t] of graph.constants) {
      if (!isParameter(t)) this.#builder.initializers.set(name, t)
      else this.#renamed.set(name, t.dtype === 'f32' ? this.#weights.dense(name) : this.#state(name))
    }
    for (const node of graph.nodes) subgraphs(node).forEach((g) => this.#constants(g))
  }

  #state(name: string): string {
    const raw = toRaw(this.#model.state().get(name)!)
    return this.#builder.tensor(name, { dtype: raw.dtype, shape: raw.shape, read: () => raw.data })
  }

  #name(name: string): string {
    return this.#renamed.get(name) ?? name
  }

  /** Nodes go to `list`; the outputs as the file declares them. */
  #body(graph: Graph, list: OnnxNode[]): ValueInfo[] {
    const made = new Set<string>()
    for (const node of graph.nodes) {
      this.#node(node, list)
      for (const name of node.outputs) made.add(name)
    }
    return graph.outputs.map((own): ValueInfo => {
      const info = { ...graph.values.get(own), name: own }
      if (made.has(own)) return info
      // What the graph hands through: an output must be made by a node of its own.
      const name = this.#builder.name(own)
      list.push({ op: 'Identity', domain: '', name, inputs: [this.#name(own)], outputs: [name], attributes: {} })
      return { ...info, name }
    })
  }

  #node(node: GraphNode, list: OnnxNode[]): void {
    const inputs = node.inputs.map((name) => this.#name(name))
    if (node.domain !== 'tersor') {
      const attributes = Object.fromEntries(Object.entries(node.attributes).map(([name, a]) => [name, this.#attribute(a)]))
      const { opset, target } = this.#options
      list.push(...upgradeNode({ ...node, inputs, attributes }, opset, target, this.#builder))
      return
    }
    const child = node.attributes.child?.value
    const module = typeof child === 'string' ? ownValue(this.#model.root.children, child) : undefined
    if (!module)
      throw new UnsupportedError('ERR_UNSUPPORTED', `export: ${nodeLabel(node)} is no operator of ONNX; export the model as it was loaded`)
    const place: LayerPlace = {
      builder: this.#builder,
      weights: this.#weights,
      path: child as string,
      put: (made) => void list.push(made),
    }
    layerNodes(place, module, { ...node, inputs })
  }

  #attribute(a: Attribute): OnnxAttribute {
    if (a.type === 'graph') return { type: 'graph', value: this.#inner(a.value) }
    if (a.type === 'graphs') return { type: 'graphs', value: a.value.map((g) => this.#inner(g)) }
    return a
  }

  #inner(graph: Graph): OnnxGraph {
    const nodes: OnnxNode[] = []
    const outputs = this.#body(graph, nodes)
    return { name: graph.name || 'body', inputs: graph.inputs, outputs, nodes, initializers: new Map<string, OnnxTensor>(), values: [] }
  }
}
