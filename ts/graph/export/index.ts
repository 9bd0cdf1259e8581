/**
 * From a model of any kind to ONNX: traced on an example (trace.ts), each op as ONNX nodes (the tables of rules), weights as constants that stay as small
 * as they are (weights.ts). With dynamic sizes the model is traced a second time on larger inputs; what differs follows the sizes of the inputs.
 */
import { ownValue } from '../../base/own.js'
import { OptionError, ShapeError, UnsupportedError } from '../../base/errors.js'
import type { DType } from '../../base/dtype.js'
import { VERSION } from '../../base/version.js'
import type { Dim, ElementType, OnnxModel, OnnxNode, ValueInfo } from '../../formats/onnx/index.js'
import type { Model, ModuleInput } from '../../nn/index.js'
import { scope, Tensor, tensor } from '../../tensor/index.js'
import type { Graph } from '../graph.js'
import { graphOf } from '../module.js'
import { isValue, trace, type TracedValue } from '../trace.js'
import { followsValues, writtenGraph } from './as-graph.js'
import { OnnxBuilder } from './builder.js'
import { ExportContext, varying, type Target } from './context.js'
import { exampleInput, type Sizes } from './example.js'
import { plainRules, type Rule } from './ops.js'
import { Pair } from './pair.js'
import { productRules } from './products.js'
import { quantizeEarly } from './quantize-early.js'
import { recurrentRules } from './recurrent.js'
import { WeightEmitter, type StoredFloat } from './weights.js'

export { exampleInput, type Example } from './example.js'
export type { StoredFloat } from './weights.js'

const rules: Readonly<Record<string, Rule>> = { ...plainRules, ...productRules, ...recurrentRules }

/** What runtimes take: `ort` onnxruntime with its own operators, `web` the same in the browser, `onnx` only the standard's operators. */
export const exportProfiles = { ort: { matMulNBits: true }, web: { matMulNBits: true }, onnx: { matMulNBits: false } } as const
export type ExportProfile = keyof typeof exportProfiles

export interface ExportOptions {
  /** An input to trace the model on; its dtypes and sizes become those of the file. Default: what the model's description says it takes. */
  readonly example?: ModuleInput
  /**
   * Sizes that may differ from run to run, by input and dimension: `{ ids: { 0: 'batch', 1: 'tokens' } }`. Equal names are equal sizes. Default: the first
   * dimension of every input, as 'batch'.
   */
  readonly dynamic?: Readonly<Record<string, Readonly<Record<number, string>>>>
  /**
   * Largest sizes by name, where the model has tables by position that it makes itself (sinusoids): the file holds them up to there. Default: what the
   * model's description says, if it takes its input from there.
   */
  readonly longest?: Readonly<Record<string, number>>
  /** Sizes that an imported graph leaves open and the file shall not, by name: `{ height: 224, width: 224 }`. Without `example`. */
  readonly sizes?: Sizes
  /** Default 'ort'. */
  readonly profile?: ExportProfile
  /** Floats of weights: 'f16' halves the file; they are computed with in f32. Default 'f32'. */
  readonly floats?: StoredFloat
  /** Quantize inputs of quantized layers while running (integer products), where no calibrated input says how. Default false. */
  readonly dynamicQuantization?: boolean
  /** Integer inputs (token ids) as i64, which other tools expect, or i32. Default 'i64'. */
  readonly integers?: 'i64' | 'i32'
  /** Other names for inputs in the file, by their names in the model: `{ ids: 'input_ids' }`. A model with one unnamed input calls it x. */
  readonly names?: Readonly<Record<string, string>>
  /** Float inputs that the file takes as i64 (masks of transformers). */
  readonly asIntegers?: readonly string[]
  /** Name of the result, where the model has one. Default: what the model calls it (imported models), or 'output'. */
  readonly output?: string
}

/**
 * The model as an ONNX file's content. ERR_UNSUPPORTED lists every op that ONNX cannot say, or says which size does not follow from the inputs.
 *
 * @example
 * writeOnnx('model.onnx', exportOnnx(model, { example: randomNormal([1, 1, 28, 28]) }))
 */
export function exportOnnx(model: Model, options: ExportOptions = {}): OnnxModel {
  return scope(() => exported(model, options))
}

/** Layers that compute something else than with their values have no form in ONNX, and exporting the values would be another model. */
function checkExact(model: Model): void {
  const found = model
    .weights()
    .flatMap(({ path, weight }) => (weight.approximation === undefined ? [] : [{ path, why: weight.approximation }]))
  const [first] = found
  if (!first) return
  throw new UnsupportedError(
    'ERR_UNSUPPORTED',
    `export: ${first.path}: ${first.why}${found.length > 1 ? ` (and ${found.length - 1} more weights)` : ''}: ONNX has no such layers; export the model from before that pass`,
    { details: { paths: found.map(({ path }) => path) } },
  )
}

function exported(model: Model, options: ExportOptions): OnnxModel {
  checkExact(model)
  const graph = graphOf(model.root)
  if (!graph) return traced(model, options)
  if (followsValues(graph)) return asGraph(model, graph, options)
  try {
    return traced(model, options)
  } catch (cause) {
    // Sizes that a trace cannot follow, or that this net does not take, are none of the graph's concern: its own operators do.
    const ofSizes = cause instanceof ShapeError && options.example === undefined
    if (!(cause instanceof UnsupportedError) && !ofSizes) throw cause
    try {
      return asGraph(model, graph, options)
    } catch (error) {
      throw error instanceof UnsupportedError ? cause : error
    }
  }
}

/** An imported graph by its own operators (as-graph.ts). */
function asGraph(model: Model, graph: Graph, options: ExportOptions): OnnxModel {
  const { floats = 'f32', dynamicQuantization = false, sizes, example, names = {} } = options
  const opsets = Object.fromEntries(Object.entries(graph.opsets).filter(([domain]) => domain !== 'tersor'))
  if (dynamicQuantization)
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      'export: dynamicQuantization is not for graphs that are written by their own operators, because their path or sizes follow values',
    )
  // One tensor as example is the input x, as in traces.
  const alone = example instanceof Tensor && graph.inputs.length === 1 ? { [graph.inputs[0]!.name]: names.x ?? 'x' } : {}
  const own = opsets[''] ?? 1
  const given = { ...(sizes ? { sizes } : {}), names: { ...names, ...alone }, opset: own }
  // What the weights need is known when they are written: then the graph is written again, its operators brought to that version.
  for (let target = own; ;) {
    const builder = new OnnxBuilder(target)
    const written = writtenGraph(model, graph, builder, new WeightEmitter(builder, model, floats), { ...given, target })
    if (builder.opset === target)
      return { ...header(builder), opsets: { ...opsets, '': target, ...domainsOf(builder) }, graph: { ...written, name: model.info.name } }
    target = builder.opset
  }
}

const domainsOf = (builder: OnnxBuilder): Readonly<Record<string, number>> => Object.fromEntries([...builder.domains].map((d) => [d, 1]))
const header = (builder: OnnxBuilder): Omit<OnnxModel, 'graph' | 'opsets'> => ({
  irVersion: builder.opset >= 21 ? 10 : 8,
  producer: `tersor ${VERSION}`,
  functions: [],
  metadata: {},
  bytes: 0,
})

function traced(model: Model, options: ExportOptions): OnnxModel {
  const { profile = 'ort', floats = 'f32', dynamicQuantization = false } = options
  const described = options.example ? undefined : exampleInput(model, options.sizes)
  const example = options.example ?? described!.input
  const named = example instanceof Tensor ? { x: example } : example
  const dynamic = options.dynamic ?? described?.dynamic ?? batchOf(named)
  checkDynamic(named, dynamic)
  const alone = Object.keys(named).length === 1 && named.x !== undefined
  const longest = options.longest ?? described?.longest ?? {}
  const pair = tracePair(model, alone ? named.x! : example, named, dynamic, longest)
  refuseUnknown(pair)
  refuseVarying(pair)
  const builder = new OnnxBuilder(18)
  const target: Target = { ...exportProfiles[profile], dynamic: dynamicQuantization }
  const context = new ExportContext(builder, pair, new WeightEmitter(builder, model, floats), target, longest)
  const inputs = pair.a.inputs.map((value) => writeInput(context, value, dynamic, options))
  const used = neededCalls(pair)
  for (const call of pair.calls()) {
    if (!used.has(call.a) || call.a.results.every((r) => r.constant && pair.fixed(r))) continue
    const names = rules[call.op]!(context, call)
    ;(typeof names === 'string' ? [names] : names).forEach((name, i) => context.set(call.a.results[i]!, name))
  }
  const outputs = [...pair.a.outputs].map(([own, value]): ValueInfo => {
    const name = builder.name(pair.a.outputs.size === 1 ? (options.output ?? own) : own)
    builder.node('Identity', [context.name(value)], { outputs: [name] })
    return { name, dtype: value.dtype, shape: symbolic(context, value, dynamic) }
  })
  const live = alive(
    builder.nodes,
    outputs.map(({ name }) => name),
  )
  const nodes = quantizeEarly(live, (hint) => builder.name(hint))
  const read = new Set(nodes.flatMap((n) => n.inputs))
  return {
    ...header(builder),
    opsets: { '': builder.opset, ...domainsOf(builder) },
    graph: {
      name: model.info.name,
      inputs,
      outputs,
      nodes,
      initializers: new Map([...builder.initializers].filter(([name]) => read.has(name))),
      values: [],
    },
  }
}

export type Dynamic = Readonly<Record<string, Readonly<Record<number, string>>>>

/** The first dimension of every input as 'batch'. */
export function batchOf(named: Readonly<Record<string, Tensor>>): Dynamic {
  const sized = Object.entries(named).filter(([, t]) => t.rank > 0)
  return Object.fromEntries(sized.map(([name]) => [name, { 0: 'batch' }]))
}

function checkDynamic(named: Readonly<Record<string, Tensor>>, dynamic: Dynamic): void {
  for (const [name, dims] of Object.entries(dynamic)) {
    const t = named[name]
    if (!t)
      throw new OptionError(
        'ERR_OPTION',
        `export: dynamic names the input ${JSON.stringify(name)}; the example has ${Object.keys(named).join(', ')}`,
      )
    for (const [axis, symbol] of Object.entries(dims))
      if (!(Number(axis) < t.rank) || symbol === '')
        throw new OptionError(
          'ERR_OPTION',
          `export: dynamic.${name}: dimension ${axis} (${JSON.stringify(symbol)}) must be below the rank of ${t} and have a name`,
        )
  }
}

/** One trace, or two with the dynamic sizes grown; elements of the second input are those of the first in another order. */
function tracePair(
  model: Model,
  example: ModuleInput,
  named: Readonly<Record<string, Tensor>>,
  dynamic: Dynamic,
  longest: Readonly<Record<string, number>>,
): Pair {
  const first = trace(model, example)
  const images = imageSizes(named, dynamic)
  const grown = (size: number, symbol: string, i: number): number =>
    size + GROWTH[i % GROWTH.length]! * (images.has(symbol) ? IMAGE_STEP : 1)
  const larger = otherSizes(named, dynamic, (size, symbol, i) => Math.max(longest[symbol] ?? 0, grown(size, symbol, i)))
  return larger ? new Pair(first, trace(model, example instanceof Tensor ? larger.x! : larger)) : new Pair(first)
}

/** Different for each name, so that sizes can be told apart. */
const GROWTH = [2, 3, 5, 7, 11, 13]
/** Nets that halve an image five times and add what they enlarge again to what they had take multiples of this only. */
export const IMAGE_STEP = 32

/** Names of heights and widths of images [B, C, H, W]. */
export function imageSizes(named: Readonly<Record<string, Tensor>>, dynamic: Dynamic): ReadonlySet<string> {
  const sizes = Object.entries(named).flatMap(([name, t]) =>
    t.rank === 4 ? [ownValue(dynamic, name)?.[2], ownValue(dynamic, name)?.[3]] : [],
  )
  return new Set(sizes.filter((symbol) => symbol !== undefined))
}

/** Inputs with other dynamic sizes, of the same elements in another order; undefined where all sizes are fixed. Call inside a scope. */
export function otherSizes(
  named: Readonly<Record<string, Tensor>>,
  dynamic: Dynamic,
  size: (size: number, symbol: string, index: number) => number,
): Record<string, Tensor> | undefined {
  const symbols = [...new Set(Object.values(dynamic).flatMap((dims) => Object.values(dims)))]
  if (symbols.length === 0) return undefined
  return Object.fromEntries(
    Object.entries(named).map(([name, t]) => {
      const shape = t.shape.map((d, i) => {
        const symbol = ownValue(dynamic, name)?.[i]
        return symbol === undefined ? d : size(d, symbol, symbols.indexOf(symbol))
      })
      const source = t.read()
      const data = new (source.constructor as new (n: number) => typeof source)(shape.reduce((n, d) => n * d, 1))
      for (let i = 0; i < data.length; i++) data[i] = source[source.length - 1 - (i % source.length)]!
      return [name, tensor(data, shape)]
    }),
  )
}

function refuseUnknown(pair: Pair): void {
  const unknown = [...new Set(pair.calls().map((call) => call.op))].filter((op) => !Object.hasOwn(rules, op))
  if (unknown.length)
    throw new UnsupportedError('ERR_UNSUPPORTED', `export: ONNX has no form for ${unknown.join(', ')}`, {
      details: { what: unknown.join(', ') },
    })
}

/** Ops whose rules take numbers that follow sizes. */
const SIZED_NUMBERS: ReadonlySet<string> = new Set(['clip', 'clip_ste', 'scale_shift'])
const SIZED_LISTS: ReadonlySet<string> = new Set([
  'reshape',
  'broadcast_to',
  'slice',
  'pad_slice',
  'conv2d_grad_input',
  'conv2d_grouped_grad_input',
  'max_pool2d',
  'avg_pool2d',
])

/** Any other number that differs between the runs would be frozen at that of the first. */
function refuseVarying(pair: Pair): void {
  for (const { op, a, b } of pair.calls())
    a.args.forEach((x, i) => {
      const y = b.args[i]
      const list = Array.isArray(x)
      if (isValue(x) || (list ? SIZED_LISTS : SIZED_NUMBERS).has(op) || JSON.stringify(x) === JSON.stringify(y)) return
      throw varying(`an argument of ${op}`, x, y)
    })
}

/** Calls that the outputs depend on. */
function neededCalls(pair: Pair): Set<unknown> {
  const needed = new Set<unknown>()
  const wanted = new Set([...pair.a.outputs.values()].map(({ id }) => id))
  for (let i = pair.a.calls.length - 1; i >= 0; i--) {
    const call = pair.a.calls[i]!
    if (!call.results.some((r) => wanted.has(r.id))) continue
    needed.add(call)
    for (const arg of call.args) if (typeof arg === 'object' && arg !== null && 'from' in arg) wanted.add((arg as TracedValue).id)
  }
  return needed
}

function writeInput(
  c: ExportContext,
  value: TracedValue,
  dynamic: Dynamic,
  { integers = 'i64', names = {}, asIntegers = [] }: ExportOptions,
): ValueInfo {
  const own = (value.from as { readonly name: string }).name
  const name = c.builder.name(ownValue(names, own) ?? own)
  const shape: Dim[] = value.shape.map((d, i) => ownValue(dynamic, own)?.[i] ?? d)
  const counted = asIntegers.includes(own)
  const wide = counted || (value.dtype === 'i32' && integers === 'i64')
  c.set(value, wide ? c.builder.cast(name, counted ? 'f32' : 'i32') : name)
  c.sources.push(value)
  return { name, dtype: wide ? 'i64' : elementOf(value.dtype), shape }
}
const elementOf = (dtype: DType): ElementType => dtype

/** The output's shape, with the names of sizes that it takes over unchanged. */
function symbolic(c: ExportContext, value: TracedValue, dynamic: Dynamic): Dim[] {
  const sizes = c.pair.a.inputs.flatMap((input) => {
    const { name } = input.from as { readonly name: string }
    return c.pair.shape(input).map((d, i) => ({ d, symbol: ownValue(dynamic, name)?.[i] }))
  })
  return c.pair
    .shape(value)
    .map((d) => (d[0] === d[1] ? d[0] : (sizes.find((s) => s.symbol && s.d[0] === d[0] && s.d[1] === d[1])?.symbol ?? null)))
}

/** Nodes that the outputs depend on, in order. */
function alive(nodes: readonly OnnxNode[], outputs: readonly string[]): OnnxNode[] {
  const wanted = new Set(outputs)
  const kept: OnnxNode[] = []
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!
    if (!node.outputs.some((name) => wanted.has(name))) continue
    kept.push(node)
    for (const name of node.inputs) wanted.add(name)
  }
  return kept.reverse()
}
