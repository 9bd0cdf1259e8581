/** An input to trace a model on, where its own description says what it takes. */
import { emptyTable, ownValue } from '../../base/own.js'
import type { DType } from '../../base/dtype.js'
import { OptionError } from '../../base/errors.js'
import type { Model } from '../../nn/index.js'
import { cast } from '../../ops/index.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'
import type { Dim, Graph } from '../graph.js'
import { hasNativeDType, nativeDType } from '../host.js'
import { graphOf } from '../module.js'

export interface Example {
  readonly input: Readonly<Record<string, Tensor>>
  /** Sizes that may differ from run to run. */
  readonly dynamic: Readonly<Record<string, Readonly<Record<number, string>>>>
  /** Where tables by position end. */
  readonly longest?: Readonly<Record<string, number>>
}

/** Kinds of roots that read token ids [batch, tokens]: the name of that input, and whether a mask goes with it. */
const readers: Readonly<Record<string, readonly [ids: string, masked: boolean]>> = {
  textEmbedding: ['ids', true],
  textClassifier: ['ids', true],
  tokenClassifier: ['ids', true],
  maskedLanguage: ['ids', true],
  causalLanguage: ['ids', true],
  useLite: ['ids', true],
  languageModel: ['x', false],
}

/** Sizes that a file leaves open: a batch, heights and widths of images, all others. */
const OPEN = { batch: 2, image: 64, other: 5 }

function drawn(shape: readonly number[]): Tensor {
  const values = Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(i))
  return tensor(values, shape)
}

/** Ones, and zeros between them in ids and masks: a file whose result does not depend on them is found by a comparison. */
function integers(dims: readonly number[], dtype: DType): Tensor {
  if (dims.length < 2) return full(dims, 1, dtype)
  const values = Int32Array.from({ length: dims.reduce((n, d) => n * d, 1) }, (_, i) => (i + 1) % 2)
  return cast(tensor(values, dims), dtype)
}

export type Sizes = Readonly<Record<string, number>>

function checkSizes(fixed: Sizes, open: ReadonlySet<string>): void {
  for (const [symbol, size] of Object.entries(fixed)) {
    if (!open.has(symbol))
      throw new OptionError(
        'ERR_OPTION',
        `export: sizes: no open size of an input is named ${JSON.stringify(symbol)}; there are: ${[...open].join(', ') || 'none'}`,
      )
    if (!(Number.isInteger(size) && size >= 1 && size < 2 ** 31))
      throw new OptionError('ERR_OPTION', `export: sizes.${symbol} must be an integer >= 1, got ${size}`)
  }
}

/** Inputs as an imported graph declares them; sizes with a name, or without any, may differ from run to run if they are not `fixed`. */
function declared(graph: Graph, fixed: Sizes): Example {
  const input = emptyTable<Tensor>()
  const dynamic = emptyTable<Record<number, string>>()
  const sizes = new Map<string, number>()
  const symbolOf = (name: string, d: Dim, i: number): string => (typeof d === 'string' ? d : i === 0 ? 'batch' : `${name}_${i}`)
  const named = graph.inputs.flatMap(
    ({ name, shape }) => shape?.flatMap((d, i) => (typeof d === 'number' ? [] : [symbolOf(name, d, i)])) ?? [],
  )
  checkSizes(fixed, new Set(named))
  for (const { name, dtype, shape } of graph.inputs) {
    if (!shape || (dtype !== undefined && !hasNativeDType(dtype)))
      throw new OptionError(
        'ERR_OPTION',
        `export: the model does not say which shape its input ${JSON.stringify(name)} has; give an example of it`,
      )
    const open: Record<number, string> = {}
    const dims = shape.map((d, i) => {
      if (typeof d === 'number') return d
      const symbol = symbolOf(name, d, i)
      const size = i === 0 ? OPEN.batch : shape.length === 4 ? OPEN.image : OPEN.other
      if (!sizes.has(symbol)) sizes.set(symbol, size)
      if (!Object.hasOwn(fixed, symbol)) open[i] = symbol
      return ownValue(fixed, symbol) ?? sizes.get(symbol)!
    })
    const native = nativeDType(dtype ?? 'f32')
    input[name] = native.startsWith('f') ? cast(drawn(dims), native) : integers(dims, native)
    dynamic[name] = open
  }
  return { input, dynamic }
}

/**
 * What the model's description says about its input: imported graphs by what their file declares, images and numbers by `inputShape`, transformers and language
 * models by their kind. `sizes` fixes open sizes of imported graphs. Call inside a scope. ERR_OPTION for models that say nothing.
 */
export function exampleInput(model: Model, sizes: Sizes = {}): Example {
  const graph = graphOf(model.root)
  if (graph) return declared(graph, sizes)
  checkSizes(sizes, new Set())
  const { inputShape } = model.info
  if (inputShape) return { input: { x: drawn([2, ...inputShape]) }, dynamic: { x: { 0: 'batch' } } }
  const reader = readers[model.root.kind]
  if (!reader)
    throw new OptionError(
      'ERR_OPTION',
      `export: a model of kind ${model.root.kind} does not say what it takes; give an example of its input`,
    )
  const [ids, masked] = reader
  const open = { 0: 'batch', 1: 'tokens' }
  const input: Record<string, Tensor> = {
    [ids]: tensor(
      Int32Array.from({ length: 10 }, (_, i) => 1 + (i % 3)),
      [2, 5],
    ),
  }
  if (masked) input.mask = full([2, 5], 1)
  if (masked && hasTypes(model)) input.types = full([2, 5], 0, 'i32')
  const { maxTokens } = model.root.config as { readonly maxTokens?: number }
  const dynamic = Object.fromEntries(Object.keys(input).map((name) => [name, open]))
  return { input, dynamic, ...(maxTokens ? { longest: { tokens: maxTokens } } : {}) }
}

function hasTypes(model: Model): boolean {
  const body = (model.root.config as { readonly body?: { readonly types?: number } }).body
  return (body?.types ?? 0) > 0
}
