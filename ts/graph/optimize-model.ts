/**
 * Passes for a model that holds imported graphs, for running it: layers with floating weights go back into the graph as nodes with constants, passes change it, layers
 * are found again. Weights that no pass changed are those of the model, not copies.
 */
import { emptyTable, ownValue } from '../base/own.js'
import { join, Model, type Module } from '../nn/index.js'
import type { Json, JsonObject } from '../base/json-types.js'
import { keep, scope, toRaw, type Tensor } from '../tensor/index.js'
import { mapSubgraphs, type Attribute, type Graph, type GraphNode, type GraphTensor } from './graph.js'
import { isParameter } from './json.js'
import { moduleFromGraph } from './load-onnx.js'
import { graphOf } from './module.js'
import { optimizeGraph, type OptimizeOptions, type PassResult } from './passes/index.js'
import { transposeMatrix } from './numbers.js'
import { withStored } from './stored.js'

export interface OptimizedModel {
  readonly model: Model
  /** Nodes before and after each pass, over all graphs of the model; empty where it has none. */
  readonly passes: readonly PassResult[]
  /** Frees what the model has for itself. The model that it was made from stays. */
  readonly dispose: () => void
}

const int = (value: number): Attribute => ({ type: 'int', value })
const ints = (value: readonly number[]): Attribute => ({ type: 'ints', value })

/** A constant with the values of a tensor, read when asked for. */
function constantOf(t: Tensor): GraphTensor {
  return { dtype: t.dtype, shape: [...t.shape], read: () => toRaw(t).data }
}

class Expander {
  readonly constants = new Map<string, GraphTensor>()
  /** Layers that stay as they are. */
  readonly kept = emptyTable<Module>()
  readonly #root: Module
  constructor(root: Module) {
    this.#root = root
  }

  graph(g: Graph): Graph {
    const own = new Map<string, GraphTensor>()
    for (const [name, t] of g.constants) own.set(name, isParameter(t) ? this.#parameter(name) : t)
    const nodes = g.nodes.flatMap((node) => {
      if (node.domain !== 'tersor' || node.op !== 'Module') return [mapSubgraphs(node, (inner) => this.graph(inner))]
      const made = this.#layer(node, own)
      if (made) return made
      const name = node.attributes.child!.value as string
      this.kept[name] = this.#root.children[name]!
      return [node]
    })
    return { ...g, nodes, constants: own }
  }

  #parameter(name: string): GraphTensor {
    const weight = ownValue(this.#root.weights, name)
    if (!weight) return constantOf(this.#root.state[name]!)
    const t: GraphTensor = { dtype: 'f32', shape: [...weight.shape], read: () => toRaw(weight.dense()).data }
    return withStored(t, { weight: { of: weight, turned: false } })
  }

  /** A layer as nodes; undefined where it has codes, or is more than a product or a batch norm. */
  #layer(node: GraphNode, constants: Map<string, GraphTensor>): GraphNode[] | undefined {
    const name = node.attributes.child!.value as string
    const child = ownValue(this.#root.children, name)
    const call = JSON.parse((node.attributes.call?.value as string | undefined) ?? '{"use":"plain"}') as JsonObject
    if (!child || call.use !== 'plain' || call.activation !== undefined) return undefined
    const dense = Object.values(child.weights).every((w) => w.kind === 'dense' && w.dense().dtype === 'f32')
    if (!dense || !Object.hasOwn(expansions, child.kind)) return undefined
    const put = (part: string, turned = false): string => {
      const path = join(name, turned ? `${part}.turned` : part)
      const weight = child.weights[part]
      if (!weight) {
        constants.set(path, constantOf(child.state[part]!))
        return path
      }
      const [rows, cols] = weight.shape as [number, number]
      const bytes = (): Uint8Array => toRaw(weight.dense()).data
      const read = (): Uint8Array => {
        if (!turned) return bytes()
        const b = bytes()
        const values = transposeMatrix(new Float32Array(b.buffer, b.byteOffset, b.byteLength / 4), rows, cols)
        return new Uint8Array(values.buffer)
      }
      const shape = turned ? [cols, rows] : [...weight.shape]
      constants.set(path, withStored({ dtype: 'f32', shape, read }, { weight: { of: weight, turned } }))
      return path
    }
    return expansions[child.kind]!(node, name, child, put)
  }
}

type Expansion = (node: GraphNode, name: string, child: Module, put: (part: string, turned?: boolean) => string) => GraphNode[]

const pads = (padding: Json): Readonly<Record<string, Attribute>> => {
  if (typeof padding === 'string') return { auto_pad: { type: 'string', value: 'SAME_UPPER' } }
  if (typeof padding === 'number') return { pads: ints([padding, padding]) }
  const list = padding as readonly (number | readonly [number, number])[]
  const sides = list.map((p) => (typeof p === 'number' ? [p, p] : p)) as [number, number][]
  return { pads: ints([...sides.map((s) => s[0]), ...sides.map((s) => s[1])]) }
}

const convolution: Expansion = (node, name, child, put) => {
  const { kernel, stride, dilation, groups, padding } = child.config as Record<string, Json>
  const list = (v: Json | undefined): number[] => (typeof v === 'number' ? [v] : [...(v as readonly number[])])
  // conv1d gives [before, after] where conv2d gives [height, width].
  const sides = child.kind === 'conv1d' && Array.isArray(padding) ? [padding as unknown as [number, number]] : padding
  return [
    {
      op: 'Conv',
      domain: '',
      name,
      inputs: [node.inputs[0]!, put('weight'), ...(child.weights.bias ? [put('bias')] : [])],
      outputs: node.outputs,
      attributes: {
        kernel_shape: ints(list(kernel)),
        strides: ints(list(stride)),
        dilations: ints(list(dilation)),
        group: int(groups as number),
        ...pads(sides as Json),
      },
    },
  ]
}

const expansions: Readonly<Record<string, Expansion>> = {
  conv1d: convolution,
  conv2d: convolution,
  linear: (node, name, child, put) => {
    const weight = put('weight', true)
    const product = { op: 'MatMul', domain: '', name, inputs: [node.inputs[0]!, weight], attributes: {} }
    if (!child.weights.bias) return [{ ...product, outputs: node.outputs }]
    const y = `${node.outputs[0]!}~product`
    return [
      { ...product, outputs: [y] },
      { op: 'Add', domain: '', name: '', inputs: [y, put('bias')], outputs: node.outputs, attributes: {} },
    ]
  },
  batchNorm: (node, name, child, put) => [
    {
      op: 'BatchNormalization',
      domain: '',
      name,
      inputs: [node.inputs[0]!, ...['gamma', 'beta', 'mean', 'variance'].map((part) => put(part))],
      outputs: node.outputs,
      attributes: {
        epsilon: { type: 'float', value: child.config.eps as number },
        momentum: { type: 'float', value: 1 - (child.config.momentum as number) },
      },
    },
  ],
}

/**
 * The model with every imported graph in it optimized for running (`optimizeGraph`), sharing the weights that passes leave as they are. Weights that passes make (batch
 * norms folded into convolutions) are copies: what is written into the model later, they do not see. A model without imported graphs comes back itself.
 */
export function optimizeModel(model: Model, options: OptimizeOptions = {}): OptimizedModel {
  const results = new Map<string, PassResult>()
  const onPass = (p: PassResult): void => {
    const before = results.get(p.name)
    results.set(p.name, before ? { name: p.name, before: before.before + p.before, after: before.after + p.after } : p)
    options.onPass?.(p)
  }
  const visit = (module: Module): Module => {
    const graph = graphOf(module)
    if (graph) {
      const expander = new Expander(module)
      const open = expander.graph(graph)
      return moduleFromGraph(optimizeGraph(open, { ...options, onPass }), expander.kept)
    }
    const entries = Object.entries(module.children).map(([name, child]): [string, Module] => [name, visit(child)])
    return entries.every(([name, child]) => child === module.children[name]) ? module : { ...module, children: Object.fromEntries(entries) }
  }
  const [weights, states] = [new Set(model.weights().map((w) => w.weight)), new Set(model.state().values())]
  return scope(() => {
    const root = visit(model.root)
    if (root === model.root) return { model, passes: [], dispose: () => undefined }
    const made = new Model(root, model.info, model.extras)
    const own = {
      weights: made.weights().flatMap(({ weight }) => (weights.has(weight) ? [] : [weight])),
      states: [...made.state().values()].filter((t) => !states.has(t)),
    }
    keep(own)
    const dispose = (): void => [...own.weights, ...own.states].forEach((t) => t.dispose())
    return { model: made, passes: [...results.values()], dispose }
  })
}
