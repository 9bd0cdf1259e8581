/**
 * Runs a graph eagerly, node by node, with the rows of the table. Values are freed after their last use unless somebody differentiates; results of a
 * run are the caller's.
 */
import { ownValue } from '../base/own.js'
import { isTersorError, OptionError, tersorError, UnsupportedError } from '../base/errors.js'
import { tapeStack } from '../autograd/primitive.js'
import { cast } from '../ops/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { currentScope, Scope, withScope } from '../tensor/scope.js'
import { failAt, onnxOp, SequenceValue, versionFor, type OnnxOp, type RunContext, type Value } from './define.js'
import { freeNames, hasSubgraphs, nodeLabel, subgraphs, type Graph, type GraphNode, type GraphTensor } from './graph.js'
import { hasNativeDType, HostTensor, nativeDType, toHost, toNative } from './host.js'

interface Step {
  readonly node: GraphNode
  readonly row: OnnxOp
  readonly version: number
  readonly fail: RunContext['fail']
  /** Names whose last use this step is. */
  readonly last: readonly string[]
}
interface Compiled {
  readonly steps: readonly Step[]
  readonly constants: ReadonlyMap<string, HostTensor>
}

const compiled = new WeakMap<Graph, Compiled>()

/** Every operator that the table does not have, with its nodes: all at once, so that one look says what a model needs. */
export function unsupported(graph: Graph): Map<string, string[]> {
  const found = new Map<string, string[]>()
  const visit = (g: Graph): void => {
    for (const node of g.nodes) {
      const row = onnxOp(node.domain, node.op)
      if (!row || versionFor(row, ownValue(g.opsets, node.domain) ?? 1) === undefined) {
        const key = `${node.domain === '' ? '' : `${node.domain}.`}${node.op}${row ? ` (opset ${ownValue(g.opsets, node.domain) ?? 1})` : ''}`
        found.set(key, [...(found.get(key) ?? []), node.name || node.outputs[0] || ''])
      }
      if (hasSubgraphs(node)) subgraphs(node).forEach(visit)
    }
  }
  visit(graph)
  return found
}

/** ERR_UNSUPPORTED with the list of `unsupported`, or nothing. */
export function checkSupported(where: string, graph: Graph): void {
  const found = unsupported(graph)
  if (found.size === 0) return
  const list = [...found].map(([op, nodes]) => {
    const some = nodes.slice(0, 3).map((name) => JSON.stringify(name.slice(0, 100)))
    return `${op} (${nodes.length} node${nodes.length === 1 ? '' : 's'}: ${some.join(', ')}${nodes.length > 3 ? ', ...' : ''})`
  })
  throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: operators that are not supported: ${list.join('; ')}`, {
    details: { what: 'operators', operators: Object.fromEntries(found) },
  })
}

function compile(graph: Graph): Compiled {
  const found = compiled.get(graph)
  if (found) return found
  checkSupported('graph', graph)
  const lastUse = new Map<string, number>()
  graph.nodes.forEach((node, i) => {
    for (const name of node.outputs) lastUse.set(name, i)
    for (const name of node.inputs) lastUse.set(name, i)
    if (hasSubgraphs(node)) for (const inner of subgraphs(node)) for (const name of freeNames(inner)) lastUse.set(name, i)
  })
  for (const name of ['', ...graph.outputs]) lastUse.delete(name)
  const last: string[][] = graph.nodes.map(() => [])
  for (const [name, i] of lastUse) last[i]!.push(name)
  const steps = graph.nodes.map((node, i): Step => {
    const row = onnxOp(node.domain, node.op)!
    const [least, most] = row.inputs
    const given = node.inputs.length
    const fail = failAt(node)
    if (given > most || node.inputs.slice(0, least).some((name) => name === '') || given < least)
      fail('ERR_MODEL_FORMAT', `takes ${least === most ? least : `${least} to ${most}`} inputs, got ${node.inputs.filter(Boolean).length}`)
    return { node, row, version: versionFor(row, ownValue(graph.opsets, node.domain) ?? 1)!, fail, last: last[i]! }
  })
  const constants = new Map([...graph.constants].map(([name, t]) => [name, constantValue(t)]))
  const result = { steps, constants }
  compiled.set(graph, result)
  return result
}

/** A constant as a value. */
export function constantValue(t: GraphTensor, native?: Tensor): HostTensor {
  return new HostTensor(t.dtype, t.shape, t.strings ? [] : t, {
    ...(t.strings ? { strings: t.strings } : {}),
    ...(native ? { native } : {}),
  })
}

/** Values of a scope and of those around it. */
class Environment {
  readonly #own = new Map<string, Value>()
  readonly #outer: Environment | undefined
  constructor(outer?: Environment) {
    this.#outer = outer
  }
  get(name: string): Value | undefined {
    return this.#own.get(name) ?? this.#outer?.get(name)
  }
  set(name: string, value: Value): void {
    this.#own.set(name, value)
  }
  own(): Iterable<Value> {
    return this.#own.values()
  }
  delete(name: string): Value | undefined {
    const value = this.#own.get(name)
    this.#own.delete(name)
    return value
  }
}

export interface RunOptions {
  readonly training?: boolean
  /** Values that stand for constants of these names (in subgraphs too): parameters that are trained. */
  readonly parameters?: (name: string) => Value | undefined
  /** Runs nodes of the domain 'tersor' that stand for a child module. */
  readonly module?: (name: string, inputs: readonly (Value | undefined)[], ctx: RunContext) => Value | readonly Value[]
  /** Host values stay in JavaScript instead of becoming tensors. */
  readonly keepHost?: boolean
  /** Sees each node's values as they are made. */
  readonly watch?: (node: GraphNode, outputs: readonly Value[]) => void
}

/** @internal The options of the run that a row belongs to. */
export const runOptions = new WeakMap<RunContext, RunOptions>()

class Run {
  readonly #options: RunOptions
  /** How many names hold each tensor. */
  readonly #holders = new Map<Tensor, number>()
  constructor(options: RunOptions) {
    this.#options = options
  }

  graph(graph: Graph, inputs: readonly Value[], outer?: Environment): Value[] {
    const { steps, constants } = compile(graph)
    const env = new Environment(outer)
    graph.inputs.forEach((v, i) => this.#hold(env, v.name, inputs[i]!))
    for (const [name, value] of constants) this.#hold(env, name, this.#options.parameters?.(name) ?? value)
    for (const step of steps) this.#step(step, env)
    const results = graph.outputs.map((name) => env.get(name)!)
    if (outer) this.#leave(env, results)
    return results
  }

  #step({ node, row, version, fail, last }: Step, env: Environment): void {
    const inputs = node.inputs.map((name) => (name === '' ? undefined : env.get(name)))
    const context: RunContext = {
      node,
      version,
      fail,
      training: this.#options.training ?? false,
      tensor: (v) => asTensor(fail, v),
      host: (v) => asHost(fail, v),
      run: (inner, own) => this.graph(inner, own, env),
    }
    runOptions.set(context, this.#options)
    let made: Value | readonly Value[]
    try {
      made = scope(() => {
        const result = row.run(context, inputs, node)
        return result instanceof SequenceValue ? ([result] as const) : result
      })
    } catch (error) {
      throw located(node, error)
    }
    const outputs = Array.isArray(made) ? (made as readonly Value[]) : [made as Value]
    node.outputs.forEach((name, i) => {
      if (name === '') return
      const value = outputs[i]
      if (value === undefined) fail('ERR_UNSUPPORTED', `gives no output ${i} (${JSON.stringify(name)})`)
      this.#hold(env, name, value!)
    })
    this.#options.watch?.(node, outputs)
    for (const v of outputs) if (isTensor(v) && !this.#holders.has(v)) this.#free(v)
    for (const name of last) this.#drop(env.delete(name))
  }

  #hold(env: Environment, name: string, value: Value): void {
    env.set(name, value)
    for (const t of tensorsOf(value)) this.#holders.set(t, (this.#holders.get(t) ?? 0) + 1)
  }
  #drop(value: Value | undefined): void {
    if (value === undefined) return
    for (const t of tensorsOf(value)) {
      const left = (this.#holders.get(t) ?? 0) - 1
      if (left > 0) this.#holders.set(t, left)
      else {
        this.#holders.delete(t)
        this.#free(t)
      }
    }
  }
  /** The end of a subgraph: only its results stay. */
  #leave(env: Environment, results: readonly Value[]): void {
    const kept = new Set(results.flatMap(tensorsOf))
    for (const value of env.own())
      for (const t of tensorsOf(value)) {
        const left = (this.#holders.get(t) ?? 0) - 1
        if (left > 0) this.#holders.set(t, left)
        else {
          this.#holders.delete(t)
          if (!kept.has(t)) this.#free(t)
        }
      }
  }
  /** Only what this run made: inputs and weights belong to others, what an observer kept does too. */
  #free(t: Tensor): void {
    const own = currentScope()
    if (tapeStack.depth > 0 || !own?.has(t)) return
    own.delete(t)
    t.dispose()
  }
}

const isTensor = (v: Value): v is Tensor => !(v instanceof HostTensor) && !(v instanceof SequenceValue)
function tensorsOf(v: Value): Tensor[] {
  return v instanceof SequenceValue ? v.items.flatMap(tensorsOf) : v instanceof HostTensor ? [] : [v]
}

function asTensor(fail: RunContext['fail'], v: Value | undefined): Tensor {
  if (v === undefined || v instanceof SequenceValue) return fail('ERR_MODEL_FORMAT', `needs a tensor, got ${v ? 'a sequence' : 'nothing'}`)
  const t = v instanceof HostTensor ? toNative(v) : v
  return t.dtype === 'f16' || t.dtype === 'bf16' ? cast(t, 'f32') : t
}
function asHost(fail: RunContext['fail'], v: Value | undefined): HostTensor {
  if (v === undefined || v instanceof SequenceValue) return fail('ERR_MODEL_FORMAT', `needs a tensor, got ${v ? 'a sequence' : 'nothing'}`)
  return v instanceof HostTensor ? v : toHost(v)
}

/** The node's name before what an op says; the code stays. */
function located(node: GraphNode, error: unknown): unknown {
  if (!isTersorError(error) || error.message.startsWith('graph: ')) return error
  return tersorError(error.code, `graph: ${nodeLabel(node)}: ${error.message}`, {
    cause: error,
    details: { ...error.details, node: node.name, op: node.op },
  })
}

/**
 * Runs a graph on named inputs; gives its outputs by name (strings and sequences as they are, everything else as tensors).
 *
 * - an input missing, unknown, of another rank or size than declared: ERR_SHAPE, ERR_OPTION; an operator without a row: ERR_UNSUPPORTED
 */
export function runGraph(graph: Graph, inputs: Readonly<Record<string, Value>>, options: RunOptions = {}): Record<string, Value> {
  const given = graph.inputs.map((info): Value => {
    const value = inputs[info.name]
    if (value === undefined)
      throw new OptionError('ERR_OPTION', `graph: input ${JSON.stringify(info.name)} is missing; given: ${Object.keys(inputs).join(', ')}`)
    return checkInput(info, value)
  })
  for (const name of Object.keys(inputs))
    if (!graph.inputs.some((v) => v.name === name))
      throw new OptionError('ERR_OPTION', `graph: no input ${JSON.stringify(name)}; it has ${graph.inputs.map((v) => v.name).join(', ')}`)
  return withScope(new Scope(), () => {
    const run = new Run(options)
    const results = run.graph(graph, given)
    return Object.fromEntries(graph.outputs.map((name, i) => [name, options.keepHost ? results[i]! : native(results[i]!)]))
  })
}

/** Host numbers as a tensor of their own where their type has one; a value that is an input or a weight is the caller's already. */
function native(v: Value): Value {
  return v instanceof HostTensor && hasNativeDType(v.dtype) ? toNative(v) : v
}

function checkInput(info: Graph['inputs'][number], value: Value): Value {
  if (value instanceof SequenceValue) return value
  const { shape, dtype } = info
  const fits = !shape || (shape.length === value.shape.length && shape.every((d, i) => typeof d !== 'number' || d === value.shape[i]))
  if (!fits)
    throw tersorError(
      'ERR_SHAPE',
      `graph: input ${JSON.stringify(info.name)} must be [${shape.map((d) => d ?? '?').join(', ')}], got ${value}`,
    )
  if (dtype === undefined || dtype === value.dtype || dtype === 'string') return value
  if (value instanceof HostTensor) return new HostTensor(dtype, value.shape, value.data)
  const wanted = nativeDType(dtype)
  return value.dtype === wanted ? value : cast(value, wanted)
}
