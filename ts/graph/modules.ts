/**
 * Finds layers in a graph and makes them children modules: nodes whose weights are constants become one node of the domain 'tersor' that names its
 * child, so that passes of ts/compress see linear, convolution, embedding, recurrent and norm layers as in a net written by hand.
 *
 * Each finder says what it takes; what no finder takes stays a node, and its floating constants are parameters of the graph itself.
 */
import { emptyTable } from '../base/own.js'
import { isDType, type DType, type RawTensor } from '../base/dtype.js'
import type { JsonObject } from '../base/json-types.js'
import { join, type ModuleSpec, type Weight } from '../nn/index.js'
import { onnxOp } from './define.js'
import { freeNames, hasSubgraphs, mapSubgraphs, subgraphs, type Graph, type GraphNode, type GraphTensor } from './graph.js'
import { HostTensor } from './host.js'
import { inferTypes } from './infer.js'
import { finders } from './finders.js'
import { removeDead } from './passes/clean.js'
import { parameterTensor } from './json.js'
import { storedBehind, type Stored } from './stored.js'

/** Bytes for a tensor; `turned`: rows of the transposed matrix, which the native side turns on the way (fromRaw). */
export interface RawValues extends RawTensor {
  readonly turned?: boolean
}
/** Floating values of a module file: read when asked for. */
export type Values = ReadonlyMap<string, () => RawValues>

/** A value of a layer: its numbers, or a weight as it is (codes, or one that a model has already). */
export type LayerValue = (() => Float32Array | RawValues) | { readonly weight: () => Weight }

/** A layer that a finder recognised at a node. */
export interface Found {
  readonly spec: ModuleSpec
  /** Values of the child's weights and state by name. */
  readonly values: Readonly<Record<string, LayerValue>>
  /** What the child sees, and what its node gives instead of the found ones. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Nodes that are part of it beside the first (the Add of a bias). */
  readonly others: readonly GraphNode[]
  /** Names of the constants in it, the weight first: they give the child its name, and the same ones mean the same child. */
  readonly constants: readonly string[]
  /** How the child's node is run; default: input to output. */
  readonly call?: JsonObject
  /** What tells layers with the same constants apart: how their input is quantized. */
  readonly key?: string
}

/** A floating constant: its numbers, and what stands behind them. */
export interface Floats extends Stored {
  readonly shape: readonly number[]
  readonly read: () => Float32Array
  /** The same as bytes, which stay in the file's memory where they are f32 there. */
  readonly raw: () => RawValues
  /** Of a transpose: the numbers that it was made of. */
  readonly rawTurned?: () => RawValues
}

export interface FinderContext {
  /** A floating constant as f32 values, or undefined. */
  readonly floats: (name: string | undefined) => Floats | undefined
  /** Any constant. */
  readonly constant: (name: string | undefined) => GraphTensor | undefined
  /** Rank of a value as far as it is known. */
  readonly rank: (name: string) => number | undefined
  /** The only node that takes this value, when it is used once and is no output. */
  readonly onlyUser: (name: string) => GraphNode | undefined
  /** The node of this graph that makes a value. */
  readonly maker: (name: string | undefined) => GraphNode | undefined
}

const floating: readonly string[] = ['f32', 'f64', 'f16', 'bf16']

/** Values of a constant as f32. */
export function f32Of(t: GraphTensor): Float32Array {
  if (t.dtype !== 'f32') return Float32Array.from(new HostTensor(t.dtype, t.shape, t).data)
  const bytes = t.read()
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}

function rawOf(t: GraphTensor): RawValues {
  return t.dtype === 'f32' ? { dtype: 'f32', shape: t.shape, data: t.read() } : raw(t.shape, f32Of(t))
}

/** Without its shape: the module's kind says that. */
const flat = (values: Float32Array | RawValues): RawValues => (values instanceof Float32Array ? raw([values.length], values) : values)

const raw = (shape: readonly number[], values: Float32Array): RawTensor => ({
  dtype: 'f32',
  shape,
  data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
})

/** Names as parts of paths: no ':' (it separates parts in files), no empty parts. */
function tidy(name: string): string {
  return name
    .replace(/[\\/]/g, '.')
    .replace(/[:\s]+/g, '_')
    .replace(/\.{2,}/g, '.')
    .replace(/^\.+|\.+$/g, '')
}

const endings = /[._](weight|kernel|w_0|filter|weights)([._](quantized|codes|q[248]))?$/i
const operators = /\.(MatMul|Gemm|Conv|ConvTranspose|Gather|LSTM|GRU|BatchNormalization|LayerNormalization|Add)(_\d+)?$/

/** Where a layer stood in the program that was exported: by its weight's name, else by its node's. */
function layerName(node: GraphNode, constant: string): string {
  const byWeight = tidy(constant)
  if (endings.test(byWeight) && !/^onnx_/.test(byWeight)) return byWeight.replace(endings, '')
  const byNode = tidy(node.name)
  return byNode.replace(operators, '') || byWeight || node.op.toLowerCase()
}

function once<K, V>(known: Map<K, V>, key: K, make: () => V): V {
  const found = known.get(key) ?? make()
  known.set(key, found)
  return found
}

export interface Modularized {
  readonly graph: Graph
  readonly children: Readonly<Record<string, ModuleSpec>>
  /** By path within the model. */
  readonly values: Values
  /** Weights that are taken as they are, by path. */
  readonly weights: ReadonlyMap<string, () => Weight>
}

/**
 * Rewrites a checked graph. Call after constant folding: what is folded is found. Nodes that stand for layers already stay as they are; `reserved` are the
 * names of these.
 */
export function modularize(graph: Graph, reserved: ReadonlySet<string> = new Set()): Modularized {
  const weights = new Map<string, () => Weight>()
  const parts = new Map<string, readonly string[]>()
  const children = emptyTable<ModuleSpec>()
  const values = new Map<string, () => RawValues>()
  const names = new Map<string, string>()
  // Equal values are one function: layers that take the same constant in the same way then share a weight.
  const numbers = new Map<GraphTensor, () => Float32Array>()
  const raws = new Map<GraphTensor, () => RawValues>()
  const flats = new Map<() => Float32Array | RawValues, () => RawValues>()
  const types = inferTypes(graph)
  const outer = new Map<string, GraphTensor>()

  const ids = new Map<GraphTensor, number>()
  const idOf = (t: GraphTensor): number => {
    const id = ids.get(t) ?? ids.size
    ids.set(t, id)
    return id
  }
  const unique = (name: string, taken: (name: string) => boolean): string => {
    let out = name
    for (let i = 2; taken(out); i++) out = `${name}_${i}`
    return out
  }
  const place = (node: GraphNode, found: Found): string => {
    const key = JSON.stringify([found.spec.kind, found.constants.map((c) => idOf(outer.get(c)!)), found.spec.config, found.key ?? ''])
    const known = names.get(key)
    if (known !== undefined) return known
    const constant = found.constants[0]!
    const stands = storedBehind(outer.get(constant))?.codes?.name ?? constant
    const name = unique(layerName(node, stands), (n) => Object.hasOwn(children, n) || reserved.has(n))
    names.set(key, name)
    children[name] = found.spec
    parts.set(
      name,
      Object.keys(found.values).map((part) => join(name, part)),
    )
    for (const [part, value] of Object.entries(found.values)) {
      if (typeof value === 'function')
        values.set(
          join(name, part),
          once(flats, value, () => () => flat(value())),
        )
      else weights.set(join(name, part), value.weight)
    }
    return name
  }

  const visit = (g: Graph): Graph => {
    for (const [name, t] of g.constants) outer.set(name, t)
    // Only finders ask, and only at nodes with constants: a graph may be long and have none.
    let users: Map<string, GraphNode[]> | undefined
    let makers: Map<string, GraphNode> | undefined
    const ctx: FinderContext = {
      maker: (name) => (name === undefined ? undefined : (makers ??= makersOf(g)).get(name)),
      constant: (name) => (name === undefined || name === '' ? undefined : outer.get(name)),
      floats: (name) => {
        const t = name === undefined || name === '' ? undefined : outer.get(name)
        if (!t || !floating.includes(t.dtype)) return undefined
        const stored = storedBehind(t)
        const rawFor = (of: GraphTensor): (() => RawValues) => once(raws, of, () => () => rawOf(of))
        const rawTurned = stored?.turnedFrom && { rawTurned: rawFor(stored.turnedFrom) }
        return { shape: t.shape, read: once(numbers, t, () => () => f32Of(t)), raw: rawFor(t), ...rawTurned, ...stored }
      },
      rank: (name) => types.get(name)?.shape?.length,
      onlyUser: (name) => {
        const list = (users ??= countUsers(g)).get(name)
        return list?.length === 1 ? list[0] : undefined
      },
    }
    const gone = new Set<GraphNode>()
    const nodes: GraphNode[] = []
    let changed = false
    for (const node of g.nodes) {
      if (gone.has(node)) continue
      const found = find(node, ctx)
      if (!found) {
        const next = mapSubgraphs(node, visit)
        changed ||= next !== node
        nodes.push(next)
        continue
      }
      changed = true
      for (const other of found.others) gone.add(other)
      const child = place(node, found)
      nodes.push({
        op: 'Module',
        domain: 'tersor',
        name: child,
        inputs: found.inputs,
        outputs: found.outputs,
        attributes: {
          child: { type: 'string', value: child },
          ...(found.call ? { call: { type: 'string', value: JSON.stringify(found.call) } } : {}),
        },
      })
    }
    return changed ? { ...g, nodes } : g
  }
  const rewritten = removeDead(visit(graph))
  const used = usedChildren(rewritten)
  for (const name of Object.keys(children))
    if (!used.has(name)) {
      delete children[name]
      for (const path of parts.get(name)!) [values, weights].forEach((list) => list.delete(path))
    }
  return { graph: parameters(keepTypes(rewritten, types), { values, weights }, unique), children, values, weights }
}

/** Layers that nodes still name; a layer found later may have taken their place. */
function usedChildren(graph: Graph, into = new Set<string>()): Set<string> {
  for (const node of graph.nodes) {
    if (node.domain === 'tersor' && node.op === 'Module') into.add(node.attributes.child!.value as string)
    if (hasSubgraphs(node)) for (const inner of subgraphs(node)) usedChildren(inner, into)
  }
  return into
}

/** The layer at a node; one whose function a pass made part of it is found without, and applies it itself. */
function find(node: GraphNode, ctx: FinderContext): Found | undefined {
  if (node.domain !== 'tersor') return finders[node.domain === '' ? node.op : `${node.domain}.${node.op}`]?.(node, ctx)
  if (node.op !== 'Linear' && node.op !== 'Conv') return undefined
  const plain = { ...node, domain: '', op: node.op === 'Linear' ? 'Gemm' : 'Conv' }
  const found = finders[plain.op]!(plain, { ...ctx, onlyUser: () => undefined })
  const f = node.attributes.activation
  return found && f?.type === 'string' ? { ...found, call: { use: 'plain', activation: f.value } } : found
}

function makersOf(g: Graph): Map<string, GraphNode> {
  const makers = new Map<string, GraphNode>()
  for (const node of g.nodes) for (const name of node.outputs) if (name !== '') makers.set(name, node)
  return makers
}

/** Nodes by the values that they take; uses by subgraphs and as outputs count as two, so that nobody is the only user. */
function countUsers(g: Graph): Map<string, GraphNode[]> {
  const users = new Map<string, GraphNode[]>()
  const add = (name: string, ...nodes: readonly GraphNode[]): void => {
    const list = users.get(name)
    if (list) list.push(...nodes)
    else users.set(name, [...nodes])
  }
  for (const node of g.nodes) {
    for (const name of node.inputs) if (name !== '') add(name, node)
    for (const inner of subgraphs(node)) for (const name of freeNames(inner)) add(name, node, node)
  }
  const end = g.nodes.at(-1)
  if (end) for (const name of g.outputs) add(name, end, end)
  return users
}

/** What children give is known from the graph before: it is kept as a declaration. */
function keepTypes(graph: Graph, types: ReturnType<typeof inferTypes>): Graph {
  const visit = (g: Graph): Graph => {
    const values = new Map(g.values)
    const nodes = g.nodes.map((node) => {
      if (node.domain === 'tersor')
        for (const name of node.outputs) {
          const type = types.get(name)
          if (type) values.set(name, { name, ...(type.dtype ? { dtype: type.dtype } : {}), ...(type.shape ? { shape: type.shape } : {}) })
        }
      return mapSubgraphs(node, visit)
    })
    return { ...g, nodes, values, opsets: { ...g.opsets, tersor: 1 } }
  }
  return hasTersor(graph) ? visit(graph) : graph
}

const hasTersor = (g: Graph): boolean =>
  g.nodes.some((node) => node.domain === 'tersor' || (hasSubgraphs(node) && subgraphs(node).some(hasTersor)))
const hasConstants = (g: Graph): boolean =>
  g.constants.size > 0 || g.nodes.some((node) => hasSubgraphs(node) && subgraphs(node).some(hasConstants))

/**
 * Constants that nodes still use: floating ones with more than one element become parameters, large integer ones state; the rest, and what is only
 * read as shapes, scales or axes, stays in the graph.
 */
function parameters(
  graph: Graph,
  { values, weights }: { readonly values: Map<string, () => RawValues>; readonly weights: Map<string, () => Weight> },
  unique: (name: string, taken: (name: string) => boolean) => string,
): Graph {
  if (!hasConstants(graph)) return graph
  const used = new Map<string, boolean>() // name -> used as data
  const see = (g: Graph): void => {
    for (const node of g.nodes) {
      const host = onnxOp(node.domain, node.op)?.hostInputs ?? []
      node.inputs.forEach((name, i) => used.set(name, (used.get(name) ?? false) || !host.includes(i)))
      subgraphs(node).forEach(see)
    }
    for (const name of g.outputs) used.set(name, true)
  }
  see(graph)
  const rename = new Map<string, string>()
  const visit = (g: Graph): Graph => {
    const constants = new Map<string, GraphTensor>()
    for (const [name, t] of g.constants) {
      const data = used.get(name)
      if (data === undefined) continue
      const size = t.shape.reduce((a, b) => a * b, 1)
      const isFloat = floating.includes(t.dtype)
      if (!data || t.strings || (isFloat ? size <= 1 : size <= 64 || !isDType(t.dtype))) {
        constants.set(name, t)
        continue
      }
      const path = unique(tidy(name) || 'constant', (n) => values.has(n) || weights.has(n))
      rename.set(name, path)
      const dtype = isFloat ? 'f32' : t.dtype
      const known = storedBehind(t)?.weight
      if (known && !known.turned) weights.set(path, () => known.of)
      values.set(path, () => (isFloat ? rawOf(t) : { dtype: dtype as DType, shape: t.shape, data: t.read() }))
      constants.set(path, parameterTensor(dtype, t.shape))
    }
    const to = (name: string): string => rename.get(name) ?? name
    const nodes = g.nodes.map((node) => {
      const next = mapSubgraphs(node, visit)
      return next.inputs.some((n) => rename.has(n)) ? { ...next, inputs: next.inputs.map(to) } : next
    })
    return { ...g, nodes, constants, outputs: g.outputs.map(to) }
  }
  return visit(graph)
}
