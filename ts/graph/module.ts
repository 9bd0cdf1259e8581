/**
 * The module kind 'graph': an imported graph with the layers found in it as children. Its configuration is the graph as JSON, so a model file holds all of
 * it; what a layer is stands in its own kind. Several outputs: the first is what `forward` gives, all are in `ForwardContext.outputs`.
 */
import { ownValue } from '../base/own.js'
import { z } from 'zod'
import { ModelFormatError, OptionError } from '../base/errors.js'
import type { Json, JsonObject } from '../base/json-types.js'
import { defineModule, join, run as runModule, type ForwardContext, type Module, type ModuleInput, type ModuleSpec } from '../nn/index.js'
import { add, cast, greater, mul, permute, reshape } from '../ops/index.js'
import { tensor, type Tensor } from '../tensor/index.js'
import { defineOnnxOp, SequenceValue, stringAttribute, type RunContext, type Value } from './define.js'
import { checkSupported, runGraph, runOptions } from './executor.js'
import { checkGraph, hasSubgraphs, subgraphs, type Graph } from './graph.js'
import { HostTensor, hasNativeDType, toNative } from './host.js'
import { graphFromJson, isParameter, lazyGraphJson } from './json.js'
import './onnx/index.js'
import { graphChannels } from './module-channels.js'
import { activated } from './passes/fused.js'

const config = z.strictObject({ graph: z.custom<JsonObject>((v) => typeof v === 'object' && v !== null && !Array.isArray(v)) })
type Config = z.infer<typeof config>

interface Parsed {
  readonly graph: Graph
  readonly weights: ReadonlyMap<string, readonly number[]>
  readonly state: ReadonlyMap<string, { readonly shape: readonly number[]; readonly dtype: 'i64' }>
}

const parsed = new WeakMap<JsonObject, Parsed>()

function parse(json: JsonObject): Parsed {
  const found = parsed.get(json)
  if (found) return found
  const graph = checkGraph('graph', graphFromJson(json))
  checkSupported('graph', graph)
  return remember(json, graph)
}

function remember(json: JsonObject, graph: Graph): Parsed {
  const weights = new Map<string, readonly number[]>()
  const state = new Map<string, { readonly shape: readonly number[]; readonly dtype: 'i64' }>()
  const visit = (g: Graph): void => {
    for (const [name, t] of g.constants)
      if (isParameter(t)) {
        if (weights.has(name) || state.has(name))
          throw new ModelFormatError('ERR_MODEL_FORMAT', `graph: two parameters are named ${JSON.stringify(name)}`)
        if (t.dtype === 'f32') weights.set(name, t.shape)
        else state.set(name, { shape: t.shape, dtype: t.dtype as 'i64' })
      }
    for (const node of g.nodes) if (hasSubgraphs(node)) subgraphs(node).forEach(visit)
  }
  visit(graph)
  const out = { graph, weights, state }
  parsed.set(json, out)
  return out
}

/** The graph that a module of kind 'graph' runs, its layers as nodes of the domain 'tersor'; undefined for other kinds. */
export function graphOf(module: Module): Graph | undefined {
  return module.kind === 'graph' ? parse(module.config.graph as JsonObject).graph : undefined
}

const graphKind = defineModule<Config>({
  kind: 'graph',
  config,
  weights: (c) =>
    Object.fromEntries(
      [...parse(c.graph).weights].map(([name, shape]) => [
        name,
        { shape, role: 'vector', init: () => new Float32Array(shape.reduce((a, b) => a * b, 1)) },
      ]),
    ),
  state: (c) => Object.fromEntries([...parse(c.graph).state].map(([name, { shape, dtype }]) => [name, { shape, value: 0, dtype }])),
  forward: (m, c, input, ctx) => {
    const { graph } = parse(c.graph)
    const out = runGraph(graph, named(graph, input), {
      training: ctx.training,
      parameters: (name) => ownValue(m.weights, name)?.dense() ?? ownValue(m.state, name),
      module: (child, inputs, call) => runLayer(m, child, inputs, { call, context: ctx }),
    })
    // Lists of tensors and texts have no place among a model's results.
    const tensors = graph.outputs.flatMap((name): [string, HostTensor | Tensor][] => {
      const value = out[name]!
      return value instanceof SequenceValue || (value instanceof HostTensor && !hasNativeDType(value.dtype)) ? [] : [[name, value]]
    })
    if (tensors.length === 0) throw new OptionError('ERR_OPTION', 'graph: no output is a tensor')
    const native = ([, value]: readonly [string, HostTensor | Tensor]): Tensor => (value instanceof HostTensor ? toNative(value) : value)
    if (!ctx.outputs || ctx.path !== '') return native(tensors.find(([, value]) => !(value instanceof HostTensor)) ?? tensors[0]!)
    for (const entry of tensors) ctx.outputs.set(entry[0], native(entry))
    return ctx.outputs.get(tensors[0]![0])!
  },
  channels: (flow, c, _x, module) =>
    graphChannels(flow, parse(c.graph).graph, module, (graph) => {
      const json = lazyGraphJson(graph)
      remember(json, graph)
      return json
    }),
})

/** The spec of a checked graph; `children` as `modularize` found them. Its JSON is made when it is asked for, by a file or a copy. */
export function graphModule(graph: Graph, children: Readonly<Record<string, ModuleSpec>>): ModuleSpec {
  const json = lazyGraphJson(graph)
  remember(json, graph)
  return graphKind({ graph: json }, children)
}

function named(graph: Graph, input: ModuleInput): Readonly<Record<string, Tensor>> {
  if (!('handle' in input)) return input
  if (graph.inputs.length !== 1)
    throw new OptionError('ERR_OPTION', `graph: takes the named inputs ${graph.inputs.map((v) => v.name).join(', ')}, got one tensor`)
  return { [graph.inputs[0]!.name]: input as Tensor }
}

interface Layer {
  readonly call: RunContext
  readonly context: ForwardContext
}

/** How a layer's node is run, by what its finder said (`call.use`). */
const uses: Readonly<
  Record<
    string,
    (
      run: (x: ModuleInput, extra?: Partial<ForwardContext>) => Tensor,
      inputs: readonly (Value | undefined)[],
      layer: Layer,
      how: JsonObject,
      path: string,
    ) => readonly Value[]
  >
> = {
  plain: (run, [x], { call }, how) => [activated(call, run(call.tensor(x)), typeof how.activation === 'string' ? how.activation : '')],
  lookup: (run, [x], { call }, how) => {
    const index = cast(call.tensor(x), 'i32')
    // ONNX counts negative positions from the end.
    const below = greater(tensor(new Int32Array([0]), []), index)
    return [run(add(index, mul(below, tensor(new Int32Array([Number(how.rows)]), []))))]
  },
  recurrent: (run, [x, lengths, h0, c0], { call }, how, path) => {
    const carried = new Map<string, Tensor>()
    const put = (name: string, v: Value | undefined): void => void (v !== undefined && carried.set(join(path, name), call.tensor(v)))
    put('h', h0)
    put('c', c0)
    const [hidden, directions] = [Number(how.hidden), Number(how.directions)]
    const batchFirst = permute(call.tensor(x), [1, 0, 2])
    const y = run(lengths === undefined ? batchFirst : { x: batchFirst, lengths: cast(call.tensor(lengths), 'i32') }, { carried })
    const [b, t] = y.shape as [number, number, number]
    const sides = permute(reshape(y, [b, t, directions, hidden]), [1, 2, 0, 3])
    return [sides, carried.get(join(path, 'h'))!, ...(carried.has(join(path, 'c')) ? [carried.get(join(path, 'c'))!] : [])]
  },
}

function runLayer(m: Module, name: string, inputs: readonly (Value | undefined)[], layer: Layer): readonly Value[] {
  const { context, call } = layer
  const child = ownValue(m.children, name)
  if (!child) throw new ModelFormatError('ERR_MODEL_FORMAT', `graph: no layer named ${JSON.stringify(name)}`)
  const path = join(context.path, name)
  const run = (x: ModuleInput, extra: Partial<ForwardContext> = {}): Tensor => runModule(child, x, { ...context, ...extra, path })
  const how = JSON.parse(stringAttribute(call.node, 'call', '{"use":"plain"}')) as Json
  const use = typeof how === 'object' && how !== null && !Array.isArray(how) ? (how as JsonObject) : {}
  const kind = typeof use.use === 'string' && Object.hasOwn(uses, use.use) ? uses[use.use] : undefined
  if (!kind) return call.fail('ERR_MODEL_FORMAT', 'unknown way to run a layer')
  return kind(run, inputs, layer, use, path)
}

defineOnnxOp('Module', {
  domain: 'tersor',
  since: [1],
  inputs: [1, 8],
  infer: () => [],
  run: (ctx, inputs, node) => {
    const run = runOptions.get(ctx)?.module
    return run ? run(stringAttribute(node, 'child'), inputs, ctx) : ctx.fail('ERR_OPTION', 'a layer is run by its module')
  },
})
