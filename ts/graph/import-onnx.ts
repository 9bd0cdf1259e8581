/**
 * An ONNX file's data as a Graph: functions are written out where they are called, Constant nodes become constants, names inside subgraphs are made
 * unique over the whole model, attributes lose their references. Then the graph is checked: order, missing operators (all at once), shapes.
 */
import { emptyTable, ownValue } from '../base/own.js'
import { LimitError, ModelFormatError, UnsupportedError } from '../base/errors.js'
import {
  noAttributes,
  type OnnxAttribute,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
} from '../formats/onnx/index.js'
import { onnxOp, versionFor } from './define.js'
import { checkSupported } from './executor.js'
import { checkGraph, type Attribute, type Graph, type GraphNode, type GraphTensor, type ValueInfo } from './graph.js'
import { inferTypes } from './infer.js'
import './onnx/index.js'

/** Opsets of ONNX's own domain whose meaning the rows know. */
const OLDEST = 7
const NEWEST = 28
/** Nodes that functions may add in all. */
const MAX_EXPANDED = 250_000
/** Functions that call functions, and subgraphs in them. */
const MAX_DEPTH = 200

type Attributes = Readonly<Record<string, OnnxAttribute>>

/** From the names of a graph or function to the names of the model. */
interface Names {
  find(name: string): string | undefined
}

class Scope implements Names {
  readonly names = new Map<string, string>()
  constructor(readonly outer?: Names) {}
  find(name: string): string | undefined {
    return this.names.get(name) ?? this.outer?.find(name)
  }
}

/** The model's own graph: nothing was named before it, so its names stay as they are. Only subgraphs and functions ask which there are. */
class RootScope implements Names {
  #names: Set<string> | undefined
  constructor(readonly graph: OnnxGraph) {}
  find(name: string): string | undefined {
    return (this.#names ??= namesOf(this.graph)).has(name) ? name : undefined
  }
}

function namesOf(g: OnnxGraph): Set<string> {
  const names = new Set<string>(g.initializers.keys())
  for (const { name } of g.inputs) names.add(name)
  for (const node of g.nodes) for (const name of node.outputs) if (name !== '') names.add(name)
  return names
}

/** Where nodes go: attributes that references stand for, the functions that are open, what the graph around collects. */
interface Place {
  readonly scope: Names
  readonly constants: Map<string, GraphTensor>
  readonly attributes: Attributes | undefined
  readonly open: readonly string[]
  readonly prefix: string
}

class Importer {
  readonly #where: string
  readonly #opsets: Readonly<Record<string, number>>
  readonly #functions = new Map<string, OnnxFunction>()
  readonly #root: RootScope
  /** Names that were made for subgraphs and functions. */
  readonly #made = new Set<string>()
  #expanded = 0
  #counter = 0

  constructor(where: string, model: OnnxModel) {
    this.#where = where
    this.#opsets = model.opsets
    this.#root = new RootScope(model.graph)
    for (const f of model.functions) this.#functions.set(functionKey(f.domain, f.name, f.overload), f)
  }

  #fail(reason: string, message: string): never {
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${this.#where}: ${message}`, { details: { format: 'onnx', reason } })
  }

  #fresh(name: string): string {
    let out = name
    while (this.#root.find(out) !== undefined || this.#made.has(out)) out = `${name}~${++this.#counter}`
    this.#made.add(out)
    return out
  }

  /** The model's own graph. */
  root(): Graph {
    const { graph } = this.#root
    return this.#graph(graph, (name) => name, { scope: this.#root, attributes: undefined, open: [], prefix: '' })
  }

  #subgraph(g: OnnxGraph, at: Omit<Place, 'constants' | 'scope'> & { readonly outer: Names }): Graph {
    const scope = new Scope(at.outer)
    const declare = (name: string): string => {
      const found = scope.names.get(name)
      if (found !== undefined) return found
      const unique = this.#fresh(at.prefix + name)
      scope.names.set(name, unique)
      return unique
    }
    return this.#graph(g, declare, { ...at, scope })
  }

  #graph(g: OnnxGraph, declare: (name: string) => string, at: Omit<Place, 'constants'>): Graph {
    const { scope } = at
    // Until IR version 4 initializers were inputs too: defaults. They are constants here.
    const own = g.inputs.filter((v) => !g.initializers.has(v.name))
    if (new Set(own.map((v) => v.name)).size !== own.length) this.#fail('duplicate', 'two inputs of a graph have the same name')
    const inputs = own.map((v) => ({ ...v, name: declare(v.name) }))
    const constants = new Map<string, GraphTensor>()
    for (const [name, t] of g.initializers) constants.set(declare(name), t)
    const isRoot = scope === this.#root
    if (!isRoot) for (const node of g.nodes) for (const name of node.outputs) if (name !== '') declare(name)
    const nodes: GraphNode[] = []
    const place: Place = { ...at, constants }
    for (const node of g.nodes) this.#node(node, place, nodes)
    const named = (v: ValueInfo): [string, ValueInfo][] => {
      const name = scope.find(v.name)
      return name === undefined ? [] : [[name, { ...v, name }]]
    }
    const outputs = g.outputs.map((v) =>
      isRoot ? v.name : (scope.find(v.name) ?? this.#fail('missing', `the output ${JSON.stringify(v.name)} is made by no node`)),
    )
    return {
      name: g.name,
      inputs,
      outputs,
      nodes,
      constants,
      opsets: this.#opsets,
      // That outputs are made is checked with the whole.
      values: new Map([...g.values.flatMap(named), ...(isRoot ? g.outputs.map((v) => [v.name, v] as const) : g.outputs.flatMap(named))]),
    }
  }

  #node(node: OnnxNode, place: Place, out: GraphNode[]): void {
    // Names of the model's own graph stay; whether they are there is looked at when the whole is checked.
    const isRoot = place.scope === this.#root
    const inputs = isRoot
      ? node.inputs
      : node.inputs.map((name) => (name === '' ? '' : (place.scope.find(name) ?? this.#missing(node, name))))
    const outputs = isRoot ? node.outputs : node.outputs.map((name) => (name === '' ? '' : place.scope.find(name)!))
    const f = this.#functions.size > 0 && this.#functions.get(functionKey(node.domain, node.op, node.overload ?? ''))
    if (f) return this.#call(f, node, { inputs, outputs }, place, out)
    const attributes = this.#attributes(node, place)
    const value = attributes.value
    if (node.op === 'Constant' && node.domain === '' && value?.type === 'tensor') {
      if (!outputs[0]) this.#fail('constant', `Constant ${JSON.stringify(node.name)} has no output`)
      if (place.constants.has(outputs[0])) this.#fail('duplicate', `two values are named ${JSON.stringify(node.outputs[0])}`)
      place.constants.set(outputs[0], value.value)
      return
    }
    // Most of a long graph needs no second copy.
    const same = isRoot && attributes === noAttributes && node.overload === undefined
    out.push(same ? plain(node) : { op: node.op, domain: node.domain, name: place.prefix + node.name, inputs, outputs, attributes })
  }

  #missing(node: OnnxNode, name: string): never {
    return this.#fail('missing', `${node.op} ${JSON.stringify(node.name)}: its input ${JSON.stringify(name)} does not exist`)
  }

  #attributes(node: OnnxNode, place: Place): Readonly<Record<string, Attribute>> {
    if (node.attributes === noAttributes) return noAttributes
    const out = emptyTable<Attribute>()
    for (const [name, value] of Object.entries(node.attributes)) {
      let a: OnnxAttribute | undefined = value
      if (a.type === 'reference') {
        if (!place.attributes)
          this.#fail('attribute', `${node.op} ${JSON.stringify(node.name)}: a reference to an attribute outside of a function`)
        a = ownValue(place.attributes, a.value)
        if (a === undefined) continue
        if (a.type === 'reference') this.#fail('attribute', `attribute ${JSON.stringify(name)} refers to a reference`)
      }
      const inner = (g: OnnxGraph): Graph => {
        if (place.open.length > MAX_DEPTH) this.#deep()
        return this.#subgraph(g, { attributes: place.attributes, open: [...place.open, ''], prefix: place.prefix, outer: place.scope })
      }
      out[name] =
        a.type === 'graph'
          ? { type: 'graph', value: inner(a.value) }
          : a.type === 'graphs'
            ? { type: 'graphs', value: a.value.map(inner) }
            : a
    }
    return out
  }

  #deep(): never {
    throw new LimitError('ERR_LIMIT', `${this.#where}: functions and subgraphs nest deeper than ${MAX_DEPTH}`, {
      details: { limit: 'depth', value: MAX_DEPTH + 1, max: MAX_DEPTH },
    })
  }

  #call(
    f: OnnxFunction,
    node: OnnxNode,
    io: { inputs: readonly string[]; outputs: readonly string[] },
    place: Place,
    out: GraphNode[],
  ): void {
    const key = functionKey(f.domain, f.name, f.overload)
    if (place.open.includes(key)) this.#fail('recursion', `the function ${JSON.stringify(key)} calls itself`)
    if (place.open.length > MAX_DEPTH) this.#deep()
    this.#expanded += f.nodes.length + 1
    if (this.#expanded > MAX_EXPANDED)
      throw new LimitError('ERR_LIMIT', `${this.#where}: functions expand to more than ${MAX_EXPANDED} nodes`, {
        details: { limit: 'nodes', value: this.#expanded, max: MAX_EXPANDED },
      })
    if (io.inputs.length > f.inputs.length || io.outputs.length > f.outputs.length)
      this.#fail(
        'function',
        `${node.op} ${JSON.stringify(node.name)}: the function takes ${f.inputs.length} inputs and gives ${f.outputs.length} outputs`,
      )
    this.#checkOpsets(f)
    const scope = new Scope()
    const prefix = `${place.prefix}${node.name || node.op}/`
    f.inputs.forEach((name, i) => scope.names.set(name, io.inputs[i] ?? ''))
    const passed: [string, string][] = []
    f.outputs.forEach((name, i) => {
      const outer = io.outputs[i] || this.#fresh(prefix + name)
      if (f.inputs.includes(name)) passed.push([scope.names.get(name)!, outer])
      else scope.names.set(name, outer)
    })
    for (const n of f.nodes)
      for (const name of n.outputs) if (name !== '' && !scope.names.has(name)) scope.names.set(name, this.#fresh(prefix + name))
    const attributes = Object.assign(emptyTable<OnnxAttribute>(), f.defaults)
    for (const name in node.attributes) {
      const a = node.attributes[name]!
      const value = a.type === 'reference' ? place.attributes && ownValue(place.attributes, a.value) : a
      if (value) attributes[name] = value
    }
    const inner: Place = { scope, constants: place.constants, attributes, open: [...place.open, key], prefix }
    for (const n of f.nodes) this.#node(n, inner, out)
    for (const [from, to] of passed)
      out.push({ op: 'Identity', domain: '', name: `${prefix}Identity`, inputs: [from], outputs: [to], attributes: {} })
  }

  /** A function may be written for other versions of its operators: fine as long as they mean the same. */
  #checkOpsets(f: OnnxFunction): void {
    for (const n of f.nodes) {
      const row = onnxOp(n.domain, n.op)
      const [own, model] = [ownValue(f.opsets, n.domain), ownValue(this.#opsets, n.domain)]
      if (row && own !== undefined && model !== undefined && versionFor(row, own) !== versionFor(row, model))
        throw new UnsupportedError(
          'ERR_UNSUPPORTED',
          `${this.#where}: function ${JSON.stringify(f.name)} uses ${n.op} of opset ${own}, the model is of opset ${model}`,
          {
            details: { what: 'function opset' },
          },
        )
    }
  }
}

/** A node without attributes, which an ONNX file and a graph write alike. */
const plain = (node: OnnxNode): GraphNode => node as GraphNode

const functionKey = (domain: string, name: string, overload: string): string => `${domain}:${name}${overload === '' ? '' : `:${overload}`}`

export interface ImportOptions {
  /** Begins every message. Default 'onnx'. */
  readonly where?: string
}

/**
 * The graph of an ONNX model, checked and in order.
 *
 * - not valid (cycle, missing value, duplicate, recursive function): ERR_MODEL_FORMAT; shapes that cannot fit: ERR_SHAPE
 * - operators without a row, opsets outside 7 to 28: ERR_UNSUPPORTED with the list of all of them; functions that expand without end: ERR_LIMIT
 *
 * @example
 * const graph = graphFromOnnx(readOnnx('model.onnx'))
 * const { y } = runGraph(graph, { x: ones([1, 3, 224, 224]) })
 */
export function graphFromOnnx(model: OnnxModel, options: ImportOptions = {}): Graph {
  const where = options.where ?? 'onnx'
  const opset = model.opsets['']
  const needed = opset ?? (model.graph.nodes.some((n) => n.domain === '') ? 1 : NEWEST)
  if (needed < OLDEST || needed > NEWEST)
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: opset ${needed}: ${OLDEST} to ${NEWEST} are supported`, {
      details: { what: `opset ${needed}` },
    })
  const importer = new Importer(where, model)
  const graph = checkGraph(where, importer.root())
  checkSupported(where, graph)
  inferTypes(graph)
  return graph
}
