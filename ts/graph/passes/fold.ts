/**
 * Constant folding: nodes whose inputs are all known are computed once, at import. Law: the outputs are the same (bit for bit: the same rows of the table
 * compute them). A node whose result would be large beside its inputs (Expand, Tile) stays.
 */
import { InternalError, isTersorError } from '../../base/errors.js'
import { scope } from '../../tensor/index.js'
import { isDType } from '../../base/dtype.js'
import { intAttribute, intsAttribute, SequenceValue, type Value, type ValueType } from '../define.js'
import { constantValue, runGraph } from '../executor.js'
import { hasSubgraphs, mapSubgraphs, type Graph, type GraphNode, type GraphTensor } from '../graph.js'
import { hostInts, HostTensor, toConstant, toNative } from '../host.js'
import { followedValues, inferTypes, numbers } from '../infer.js'
import { codesOf, storedBehind, turnedStored, withStored, type Codes, type Stored } from '../stored.js'

/** Results of nodes that draw numbers differ from run to run. */
export const drawn: ReadonlySet<string> = new Set([
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
  'Multinomial',
  'Bernoulli',
  'Dropout',
])
/** Elements that a folded result may always have; beyond it at most as many as its inputs have in all. */
const SMALL = 4096

export function foldConstants(graph: Graph): Graph {
  const types = inferTypes(graph)
  const followed = followedValues(graph)
  const known = new Map<string, GraphTensor>()
  const made = new Made()
  const visit = (g: Graph): Graph => {
    for (const [name, t] of g.constants) known.set(name, t)
    const constants = new Map(g.constants)
    const nodes: GraphNode[] = []
    let changed = false
    const put = (name: string, t: GraphTensor): void => {
      known.set(name, t)
      constants.set(name, t)
    }
    for (const node of g.nodes) {
      if (hasSubgraphs(node)) {
        const next = mapSubgraphs(node, visit)
        changed ||= next !== node
        nodes.push(next)
        continue
      }
      const byValue = node.outputs.length === 1 && followed.has(node.outputs[0]!) ? valueOf(types.get(node.outputs[0]!)) : undefined
      const [first] = node.inputs
      const fixed = !first || known.has(first)
      const results = byValue
        ? [byValue]
        : !fixed
          ? undefined
          : (asStored(node, g, known) ?? made.get(node, known, () => fold(node, g, known, types)))
      if (!results) nodes.push(node)
      results?.forEach((t, i) => node.outputs[i] && put(node.outputs[i], t))
      changed ||= results !== undefined
    }
    return changed ? { ...g, nodes, constants } : g
  }
  return visit(graph)
}

/**
 * Values of codes and of weights stay where they are until somebody reads them: DequantizeLinear of constants, and what turns or reshapes such a value.
 */
function asStored(node: GraphNode, g: Graph, known: ReadonlyMap<string, GraphTensor>): GraphTensor[] | undefined {
  if (node.op !== 'DequantizeLinear' && (node.op !== 'Transpose' || node.domain !== '')) return undefined
  if (node.domain !== '' && node.domain !== 'com.microsoft') return undefined
  const inputs = node.inputs.map((name) => known.get(name))
  const [x, second] = inputs
  if (!x || !node.outputs[0]) return undefined
  const lazy = (shape: readonly number[], what: Stored): GraphTensor[] => {
    let values: WeakRef<Uint8Array> | undefined
    const read = (): Uint8Array => {
      const found = values?.deref() ?? compute(node, g, known)?.[0]?.read()
      if (!found) throw new InternalError('ERR_INTERNAL', `fold: ${node.op} of constants gave nothing`)
      values = new WeakRef(found)
      return found
    }
    return [withStored({ dtype: 'f32', shape, read }, what)]
  }
  if (node.op === 'DequantizeLinear') {
    if (!second || (node.inputs[2] && !inputs[2])) return undefined
    const codes = codesOf(node.inputs[0]!, x, second, inputs[2], intAttribute(node, 'axis', 1), intAttribute(node, 'block_size', 0))
    return codes && compatible(codes) ? lazy(x.shape, { codes }) : undefined
  }
  if (x.shape.length !== 2 || intsAttribute(node, 'perm', [1, 0]).join() !== '1,0') return undefined
  const stored = storedBehind(x)
  const shape = [...x.shape].reverse()
  if (stored?.turnedFrom) return [stored.turnedFrom]
  if (stored) return lazy(shape, turnedStored(stored))
  // Layers that take it and the constant itself share a weight (a table of words that is also the head of a language model).
  return x.dtype === 'f32' ? lazy(shape, { turnedFrom: x }) : undefined
}

/** Scales that fit the codes: the others are an error of the node, which running it says. */
function compatible({ shape, scaleShape, axis, block }: Codes): boolean {
  if (scaleShape.length === 0) return true
  if (axis >= shape.length) return false
  return block > 0
    ? scaleShape.every((d, i) => d === (i === axis ? Math.ceil(shape[i]! / block) : shape[i]))
    : scaleShape[0] === shape[axis]
}

/**
 * Results by what they were made of: nodes that do the same to the same constants (the branches of an If often do) give one constant, so that weights made
 * of it are one weight.
 */
class Made {
  readonly #ids = new Map<GraphTensor | string, number>()
  readonly #results = new Map<string, GraphTensor[] | undefined>()

  get(node: GraphNode, known: ReadonlyMap<string, GraphTensor>, make: () => GraphTensor[] | undefined): GraphTensor[] | undefined {
    const ids: number[] = []
    for (const name of node.inputs) {
      const t = known.get(name)
      if (!t && name !== '') return undefined
      ids.push(t ? this.#idOf(t) : -1)
    }
    const attributes = Object.entries(node.attributes)
    if (ids.length === 0 || attributes.some(([, a]) => typeof a.value === 'object' && !Array.isArray(a.value))) return make()
    const key = JSON.stringify([node.domain, node.op, node.outputs.map(Boolean), ids, attributes])
    if (!this.#results.has(key)) this.#results.set(key, make())
    return this.#results.get(key)
  }

  /** Small ones (positions, axes) by their values. */
  #idOf(t: GraphTensor): number {
    const small = !t.strings && t.shape.reduce((a, b) => a * b, 1) <= 64
    const key = small ? `${t.dtype}[${t.shape.join(',')}] ${t.read().join(',')}` : t
    const id = this.#ids.get(key) ?? this.#ids.size
    this.#ids.set(key, id)
    return id
  }
}

/** An integer value that inference knows in full (Shape of a static input). */
function valueOf(type: ValueType | undefined): GraphTensor | undefined {
  const value = type?.value && numbers(type.value)
  const shape = type?.shape && numbers(type.shape)
  if (!value || !shape || type?.dtype !== 'i64' || shape.reduce((a, b) => a * b, 1) !== value.length) return undefined
  return toConstant(shape.length === 1 ? hostInts(value) : new HostTensor('i64', shape, value))
}

function fold(
  node: GraphNode,
  graph: Graph,
  known: ReadonlyMap<string, GraphTensor>,
  types: ReadonlyMap<string, ValueType>,
): GraphTensor[] | undefined {
  if (node.domain !== '' || drawn.has(node.op) || node.inputs.some((name) => name !== '' && !known.has(name))) return undefined
  const inputs = node.inputs.filter(Boolean)
  if (node.outputs.filter(Boolean).length === 0) return undefined
  const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
  const room = Math.max(
    SMALL,
    inputs.reduce((n, name) => n + size(known.get(name)!.shape), 0),
  )
  for (const name of node.outputs.filter(Boolean)) {
    const shape = types.get(name)?.shape
    const whole = shape && numbers(shape)
    if (!whole || size(whole) > room) return undefined
  }
  return compute(node, graph, known)
}

/** The values of a node whose inputs are known; undefined where it fails. */
function compute(node: GraphNode, graph: Graph, known: ReadonlyMap<string, GraphTensor>): GraphTensor[] | undefined {
  const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
  const inputs = node.inputs.filter(Boolean)
  const alone: Graph = {
    ...graph,
    inputs: [],
    outputs: node.outputs.filter(Boolean),
    nodes: [node],
    constants: new Map(inputs.map((n) => [n, known.get(n)!])),
    values: new Map(),
  }
  // Large constants are moved natively.
  const large = (name: string): Value | undefined => {
    const t = known.get(name)!
    return size(t.shape) > SMALL && isDType(t.dtype) ? toNative(constantValue(t)) : undefined
  }
  try {
    return scope(() => {
      const out = runGraph(alone, {}, { keepHost: true, parameters: large })
      const list = node.outputs.map((name) => (name === '' ? undefined : out[name]!))
      if (list.some((v) => v instanceof SequenceValue)) return undefined
      return list.map((v) => (v === undefined ? toConstant(hostInts([])) : toConstant(v as HostTensor)))
    })
  } catch (error) {
    if (isTersorError(error)) return undefined // the run says it, if the node is ever reached
    throw error
  }
}
