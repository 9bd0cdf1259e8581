/**
 * What a model computes, as a list: the calls of primitive ops that one run makes. Values are numbered in order of appearance, so two runs of the same
 * model on inputs of other sizes give lists that can be laid side by side (export/pair.ts).
 *
 * A weight of any kind is traced as the function that it stands for: its dense values are one value, used by the primitives that a dense weight would
 * use; a quantized input is a call `quantize_input` before them. What is computed of constants alone is traced too, and its elements are kept.
 */
import { InternalError, UnsupportedError } from '../base/errors.js'
import type { DType, RawTensor } from '../base/dtype.js'
import type { Shape } from '../base/shape.js'
import { watchCalls, type TapeNode } from '../autograd/index.js'
import { LowRankWeight, QuantizedWeight, type Model, type ModuleInput, type Weight, type WeightUse } from '../nn/index.js'
import { applyDense } from '../nn/weight/apply.js'
import { onGrid } from '../nn/weight/integer-input.js'
import { scope, Tensor, toRaw, watchReads } from '../tensor/index.js'

/** One value: an input, a constant, the dense values of a weight, or the result of a call. */
export interface TracedValue {
  readonly id: number
  readonly dtype: DType
  readonly shape: Shape
  readonly from:
    | { readonly kind: 'input'; readonly name: string }
    | { readonly kind: 'constant' }
    | { readonly kind: 'weight'; readonly path: string }
    | { readonly kind: 'call'; readonly call: TracedCall; readonly result: number }
  /** Elements, where no input takes part in them (weights excepted: theirs are in the model). */
  readonly constant?: RawTensor
}

/** A call of a primitive by name, or `quantize_input` (x, { scale, zero }). */
export interface TracedCall {
  readonly op: string
  /** Tensors stand as TracedValue. */
  readonly args: readonly unknown[]
  readonly results: TracedValue[]
}

export interface Trace {
  readonly inputs: readonly TracedValue[]
  /** By name. */
  readonly outputs: ReadonlyMap<string, TracedValue>
  readonly calls: readonly TracedCall[]
  /** Every value by its id. */
  readonly values: readonly TracedValue[]
}

/** Runs the model once in inference and notes what it does. */
export function trace(model: Model, input: ModuleInput): Trace {
  return scope(() => new Tracer(model).run(input))
}

class Tracer {
  readonly #model: Model
  readonly #values: TracedValue[] = []
  readonly #known = new Map<Tensor, TracedValue>()
  readonly #calls: TracedCall[] = []
  #muted = 0

  constructor(model: Model) {
    const weights = model.weights()
    this.#model = model.withWeights(new Map(weights.map(({ path, weight }) => [path, this.#watched(path, weight)])))
    for (const [path, t] of model.state()) this.#known.set(t, this.#add(t, { kind: 'weight', path }))
  }

  run(input: ModuleInput): Trace {
    const named = input instanceof Tensor ? { x: input } : input
    const inputs = Object.entries(named).map(([name, t]) => this.#note(t, { kind: 'input', name }))
    const results = watchCalls(
      (node) => this.#call(node),
      () =>
        watchReads(
          (t) => this.#read(t),
          () => this.#model.forwardAll(input, { wholeTables: true }),
        ),
    )
    const outputs = new Map(Object.entries(results).map(([name, t]) => [name, this.#value(t)]))
    return { inputs, outputs, calls: this.#calls, values: this.#values }
  }

  #add(t: Tensor, from: TracedValue['from'], constant?: RawTensor): TracedValue {
    const value: TracedValue = { id: this.#values.length, dtype: t.dtype, shape: [...t.shape], from, ...(constant ? { constant } : {}) }
    this.#values.push(value)
    return value
  }
  #note(t: Tensor, from: TracedValue['from'], constant?: RawTensor): TracedValue {
    const value = this.#add(t, from, constant)
    this.#known.set(t, value)
    return value
  }
  /** A tensor that no call made and no weight holds came out of the model's own code. */
  #value(t: Tensor): TracedValue {
    return this.#known.get(t) ?? this.#note(t, { kind: 'constant' }, toRaw(t))
  }

  /** What JavaScript reads of an input would be frozen into the trace. */
  #read(t: Tensor): void {
    const value = this.#known.get(t)
    if (this.#muted || !value || value.constant || value.from.kind === 'weight') return
    throw new UnsupportedError('ERR_UNSUPPORTED', `export: the model reads values that its inputs decide (${t}) outside of its ops`, {
      details: { what: 'values' },
    })
  }

  #quietly<T>(f: () => T): T {
    this.#muted++
    try {
      return f()
    } finally {
      this.#muted--
    }
  }

  /** The weight, seen by the trace. */
  #watched(path: string, inner: Weight): Weight {
    const dense = (): Tensor => {
      const t = this.#quietly(() => inner.dense())
      if (!this.#known.has(t)) this.#note(t, { kind: 'weight', path })
      return t
    }
    // Its factors are weights of their own, at paths below: the graph multiplies twice, as the layer does.
    const product =
      inner instanceof LowRankWeight
        ? new LowRankWeight(inner.shape, {
            left: this.#watched(`${path}.left`, inner.left),
            right: this.#watched(`${path}.right`, inner.right),
          })
        : undefined
    const apply = (x: Tensor, use: WeightUse): Tensor => {
      if (product) return product.apply(x, use)
      if (use.op === 'lookup') return applyDense(dense(), x, { op: 'lookup' }) // what a padding row changes is its gradient
      const input = inner instanceof QuantizedWeight ? inner.input : null
      // Ranges of rows are found while the layer runs: the graph keeps the codes of the weight and a floating input, which is more exact.
      if (!input || input === 'dynamic') return applyDense(dense(), x, use)
      const rounded = this.#quietly(() => onGrid(x, input))
      this.#record({ op: 'quantize_input', args: [this.#value(x), input], results: [] }, [rounded], false)
      return applyDense(dense(), rounded, use)
    }
    return new Proxy(inner, {
      get: (target, key) => {
        if (key === 'dense') return dense
        if (key === 'apply') return apply
        // A way of its own to run a recurrent layer is none that a graph could say: it holds the exact weights, as for linear layers.
        if (key === 'recurrent') return undefined
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
  }

  #call({ primitive, args, results }: TapeNode): void {
    if (this.#muted) return
    const traced = args.map((a) => (a instanceof Tensor ? this.#value(a) : a))
    const known = traced.every((a) => !isValue(a) || a.constant || a.from.kind === 'weight')
    this.#record({ op: primitive.name, args: traced, results: [] }, results, known)
  }

  #record(call: TracedCall, results: readonly Tensor[], known: boolean): void {
    // A primitive that is made of another one is noted after it, with the same result: the inner call stands.
    if (results.every((t) => this.#known.has(t))) return
    this.#calls.push(call)
    results.forEach((t, result) => {
      if (this.#known.has(t)) throw new InternalError('ERR_INTERNAL', `trace: ${call.op} gave a tensor that was there before`)
      call.results.push(this.#note(t, { kind: 'call', call, result }, known ? toRaw(t) : undefined))
    })
  }
}

export function isValue(a: unknown): a is TracedValue {
  return typeof a === 'object' && a !== null && 'id' in a && 'from' in a
}
