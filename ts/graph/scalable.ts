/**
 * Which channels of a model may be divided by any positive numbers if what takes them is multiplied: the outputs of a linear layer, a convolution or a norm
 * (`source`), all of whose uses go through operations that commute with it (ReLU, pools, reshapes, attention weights, a product with another value, ...) into
 * inputs of linear layers and convolutions (`consumers`). Vectors that are added on the way (`shifts`, batch norms) are divided too. Found on a trace, so models
 * written by hand and imported graphs are the same. Weights that are used more than once are left out.
 */
import { normalizeAxis } from '../base/shape.js'
import type { Model } from '../nn/index.js'
import { along, broadcasted, joined, labelsAlong, ofOperand, permuted, reshaped, sliced, type Labels } from './labels.js'
import { isValue, type Trace, type TracedCall, type TracedValue } from './trace.js'

export interface ScalableSource {
  readonly kind: 'product' | 'norm'
  /** Path of the matrix, the filters or the norm's factors; its first dimension is the channels. */
  readonly weight: string
  readonly bias: string | undefined
  readonly channels: number
}

/** A layer that takes the channels; `columns`: for each of its input features which one it is, -1 for those that come from elsewhere. */
export interface ScalableConsumer {
  readonly weight: string
  readonly columns: Int32Array
  /** Runs of input channels that see each other only. */
  readonly groups: number
}

/** A vector that is added to the channels; `labels`: for each of its elements which one, -1 for none. */
export interface ScalableShift {
  readonly weight: string
  readonly labels: Int32Array
}

export interface ScalableLink {
  readonly source: ScalableSource
  readonly consumers: readonly ScalableConsumer[]
  readonly shifts: readonly ScalableShift[]
  /** Batch norms on the way, by path of the module. */
  readonly norms: readonly { readonly path: string; readonly labels: Int32Array }[]
  /** Names of the operations on the way, in order. */
  readonly through: readonly string[]
}

/** All links of a traced model, in the order of their sources. */
export function scalableLinks(model: Model, trace: Trace): ScalableLink[] {
  const facts = new TraceFacts(model, trace)
  return trace.calls.flatMap((call, i) => {
    const source = facts.sourceOf(call)
    const link = source && new Walk(facts, source).from(call, i)
    return link ? [link] : []
  })
}

/** Operations of one value that commute with positive factors of channels. */
const homogeneous: ReadonlySet<string> = new Set(['relu', 'neg', 'abs', 'copy'])
const pools: ReadonlySet<string> = new Set(['max_pool2d', 'avg_pool2d'])
const reductions: ReadonlySet<string> = new Set(['sum', 'amax', 'amin'])
const products: ReadonlySet<string> = new Set(['linear', 'conv2d', 'conv2d_grouped', 'conv2d_max_pool'])

/** Where the channels of a product's operands stand, counted from the front of a value of that rank. */
const channelAxis = (op: string, rank: number): number => (op === 'linear' ? rank - 1 : 1)

/** What the calls of a trace say about weights: which are used once, and what vectors are made of. */
export class TraceFacts {
  readonly #uses = new Map<string | TracedValue, number>()
  readonly #shared: ReadonlySet<string>
  readonly kinds = new Map<string, string>()
  readonly outputs: ReadonlySet<TracedValue>

  constructor(
    model: Model,
    readonly trace: Trace,
  ) {
    const places = new Map<unknown, string[]>()
    for (const { path, layer, module, weight } of model.weights()) {
      this.kinds.set(layer, module.kind)
      places.set(weight, [...(places.get(weight) ?? []), path])
    }
    this.#shared = new Set([...places.values()].filter((paths) => paths.length > 1).flat())
    this.outputs = new Set(trace.outputs.values())
    const use = (what: string | TracedValue): unknown => this.#uses.set(what, (this.#uses.get(what) ?? 0) + 1)
    for (const arg of trace.calls.flatMap((call) => call.args))
      if (isValue(arg)) {
        use(arg)
        if (arg.from.kind === 'weight') use(arg.from.path)
      }
  }

  /** How many arguments of calls a value is. */
  usesOf(value: TracedValue): number {
    return this.#uses.get(value) ?? 0
  }

  /** The weight that a value is, perhaps in another shape; undefined also for one that has other uses. */
  weightOf(value: unknown): string | undefined {
    let v = value
    while (isValue(v) && v.from.kind === 'call' && v.from.call.op === 'reshape' && this.#uses.get(v) === 1) v = v.from.call.args[0]
    if (!isValue(v) || v.from.kind !== 'weight') return undefined
    const { path } = v.from
    return this.#uses.get(path) === 1 && !this.#shared.has(path) ? path : undefined
  }

  /** The batch norm whose statistics and factors a value is made of, alone. */
  normOf(value: TracedValue): string | undefined {
    const paths = new Set<string>()
    const seen = new Set<TracedValue>()
    const visit = (v: TracedValue): boolean => {
      if (seen.has(v)) return true
      seen.add(v)
      if (v.from.kind === 'weight') return !!paths.add(v.from.path)
      return v.from.kind === 'call' && v.from.call.args.every((a) => !isValue(a) || visit(a))
    }
    if (!visit(value)) return undefined
    const layers = new Set([...paths].map((p) => p.slice(0, Math.max(0, p.lastIndexOf('.')))))
    const [layer] = layers
    if (layer === undefined || layers.size !== 1 || this.kinds.get(layer) !== 'batchNorm') return undefined
    const own = [...paths].every((p) => this.#shared.has(p) === false)
    return own && (this.#uses.get(`${layer}.beta`) ?? 0) === 1 ? layer : undefined
  }

  sourceOf({ op, args, results }: TracedCall): (ScalableSource & { readonly labels: Labels }) | undefined {
    const norm = op === 'layer_norm' || op === 'rms_norm'
    const y = results[0]
    if (!y || (!norm && !products.has(op)) || args.slice(1).every((a) => !isValue(a))) return undefined
    const [, second, third] = args
    const weight = this.weightOf(second)
    const given = op === 'rms_norm' ? null : third
    const bias = isValue(given) ? this.weightOf(given) : undefined
    if (weight === undefined || (isValue(given) && bias === undefined)) return undefined
    const axis = channelAxis(norm ? 'linear' : op, y.shape.length)
    const channels = y.shape[axis]!
    return { kind: norm ? 'norm' : 'product', weight, bias, channels, labels: labelsAlong(y.shape, axis) }
  }
}

class Walk {
  readonly #labels = new Map<TracedValue, Labels>()
  readonly #consumers: ScalableConsumer[] = []
  readonly #shifts: ScalableShift[] = []
  readonly #norms: { path: string; labels: Int32Array }[] = []
  readonly #through: string[] = []

  constructor(
    readonly facts: TraceFacts,
    readonly source: ScalableSource & { readonly labels: Labels },
  ) {}

  from(call: TracedCall, index: number): ScalableLink | undefined {
    const { labels, ...source } = this.source
    const { trace, outputs } = this.facts
    this.#labels.set(call.results[0]!, labels)
    for (const next of trace.calls.slice(index + 1)) {
      if (!next.args.some((a) => isValue(a) && this.#labels.has(a))) continue
      const given = this.#step(next)
      if (given === undefined) return undefined
      if (given !== 'end') {
        this.#labels.set(next.results[0]!, given)
        this.#through.push(next.op)
      }
    }
    if (this.#consumers.length === 0 || [...outputs].some((v) => this.#labels.has(v))) return undefined
    return { source, consumers: this.#consumers, shifts: this.#shifts, norms: this.#norms, through: this.#through }
  }

  /** Labels of the result; 'end' behind a consumer, undefined where factors do not pass. */
  #step(call: TracedCall): Labels | 'end' | undefined {
    const { op, args, results } = call
    const [x, other] = args
    const own = isValue(x) ? this.#labels.get(x) : undefined
    const y = results[0]!
    const alone = args.filter((a) => isValue(a) && this.#labels.has(a)).length === 1
    if (homogeneous.has(op)) return own
    if (pools.has(op)) return own?.shape.slice(2).every((d) => d === 1) ? own : undefined
    if (products.has(op)) return own && alone ? this.#consumer(call, own) : undefined
    if (op === 'nonlinear') return other === 'leaky_relu' && (args[2] as number) >= 0 ? own : undefined
    if (op === 'scale_shift') return args[2] === 0 ? own : undefined
    if (op === 'reshape') return own && reshaped(own, (x as TracedValue).shape, y.shape)
    if (op === 'permute')
      return (
        own &&
        permuted(
          own,
          (other as readonly number[]).map((a) => normalizeAxis(op, a, y.shape.length)),
        )
      )
    if (op === 'slice') return own && sliced(own, other as readonly number[], args[2] as readonly number[])
    if (op === 'broadcast_to') return own && broadcasted(own, y.shape.length)
    if (op === 'concat2') return this.#concat(x as TracedValue, other as TracedValue, normalizeAxis(op, args[2] as number, y.shape.length))
    if (reductions.has(op)) return own && this.#reduced(own, call)
    if (op === 'attention') return alone ? this.#attention(args) : undefined
    if (op === 'matmul') return alone ? this.#matmul(call) : undefined
    if (op === 'mul') return alone ? this.#multiplied(call) : undefined
    if (op === 'div') return alone && own ? broadcasted(own, y.shape.length) : undefined
    if (op === 'add' || op === 'sub') return alone ? this.#shifted(call) : undefined
    return undefined
  }

  #consumer({ op, args }: TracedCall, own: Labels): 'end' | undefined {
    const x = args[0] as TracedValue
    const weight = this.facts.weightOf(args[1])
    const axis = channelAxis(op, x.shape.length)
    const columns = along(own, axis, x.shape[axis]!)
    if (weight === undefined || !columns) return undefined
    this.#consumers.push({ weight, columns, groups: op === 'conv2d_grouped' ? (args[6] as number) : 1 })
    return 'end'
  }

  #concat(a: TracedValue, b: TracedValue, axis: number): Labels | undefined {
    const none = (v: TracedValue): Labels => ({ shape: v.shape.map(() => 1), of: new Int32Array([-1]) })
    return joined(this.#labels.get(a) ?? none(a), a.shape, this.#labels.get(b) ?? none(b), b.shape, axis)
  }

  /** Sums and extremes within a channel. */
  #reduced(own: Labels, { op, args, results }: TracedCall): Labels | undefined {
    const rank = own.shape.length
    const given = args[1] as readonly number[]
    const axes = new Set(given.length === 0 ? own.shape.map((_, i) => i) : given.map((a) => normalizeAxis(op, a, rank)))
    if (own.shape.some((d, i) => d > 1 && axes.has(i))) return undefined
    return { shape: results[0]!.shape.length === rank ? own.shape : own.shape.filter((_, i) => !axes.has(i)), of: own.of }
  }

  /** Sums of values weighted by softmax; queries and keys do not pass. */
  #attention(args: readonly unknown[]): Labels | undefined {
    const v = args[2] as TracedValue
    const own = this.#labels.get(v)
    return own?.shape[v.shape.length - 2] === 1 ? own : undefined
  }

  /** A product of two values: the axis that is summed over must not be labelled. */
  #matmul({ args, results }: TracedCall): Labels | undefined {
    const first = this.#labels.has(args[0] as TracedValue)
    const v = (first ? args[0] : args[1]) as TracedValue
    const turned = Boolean(first ? args[2] : args[3])
    const rank = v.shape.length
    const wide = results[0]!.shape.length
    if (rank < 2 || wide < rank) return undefined
    const own = this.#labels.get(v)!
    const [row, column] = turned ? [rank - 1, rank - 2] : [rank - 2, rank - 1]
    if (own.shape[first ? column : row] !== 1) return undefined
    const straight = turned ? permuted(own, [...own.shape.keys()].slice(0, -2).concat(rank - 1, rank - 2)) : own
    return broadcasted(straight, wide)
  }

  /** A labelled value times another one. */
  #multiplied({ args, results }: TracedCall): Labels {
    const own = args.map((a) => this.#labels.get(a as TracedValue)).find((l) => l !== undefined)!
    return broadcasted(own, results[0]!.shape.length)
  }

  /** A labelled value plus a vector of the model that can be divided with it. */
  #shifted({ args, results }: TracedCall): Labels | undefined {
    const [a, b] = args as [TracedValue, TracedValue]
    const [own, vector] = this.#labels.has(a) ? [this.#labels.get(a)!, b] : [this.#labels.get(b)!, a]
    const wide = broadcasted(own, results[0]!.shape.length)
    const labels = ofOperand(wide, vector.shape)
    if (!labels) return undefined
    const weight = this.facts.weightOf(vector)
    if (weight !== undefined) this.#shifts.push({ weight, labels })
    else {
      const path = this.facts.normOf(vector)
      if (path === undefined) return undefined
      this.#norms.push({ path, labels })
    }
    return wide
  }
}

/** Whether nothing but ReLU (and batch norm) lies between the source and layers that take it. */
export function throughReluOnly({ through }: ScalableLink): boolean {
  return through.every((op) => op === 'relu' || op === 'mul' || op === 'add') && through.filter((op) => op === 'relu').length === 1
}
