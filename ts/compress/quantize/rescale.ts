/**
 * Moves positive factors from the outputs of one layer into the layers that take them (ts/graph/scalable.ts says which): sources and all that is added on the way
 * are divided by s, consumers multiplied. In doubles; the function of the model stays what it is, up to the rounding of the new weights.
 */
import { sizeOf } from '../../base/shape.js'
import type { Dataset } from '../../data/dataset.js'
import { exampleInput } from '../../graph/export/example.js'
import { graphOf } from '../../graph/module.js'
import { scalableLinks, type ScalableConsumer, type ScalableLink } from '../../graph/scalable.js'
import { trace } from '../../graph/trace.js'
import { batchInputs } from '../../models/inputs.js'
import { DenseWeight, MaskedWeight, Model, type Module, type ModuleInput, type PlacedWeight, type Weight } from '../../nn/index.js'
import { callOp, scope, tensor, type Tensor } from '../../tensor/index.js'
import type { PassContext } from '../pass.js'
import { release } from '../release.js'
import { denseValues, valuesOf } from '../values.js'

/** Two examples of the data, or what the model's description says that it takes. Call inside a scope. */
export function someInput(model: Model, data: Dataset | undefined): ModuleInput {
  if (data) return batchInputs(model, data, data.size > 1 ? [0, 1] : [0]).x
  const { input } = exampleInput(model)
  // One unnamed input is called x there.
  return Object.keys(input).join() === 'x' && !graphOf(model.root) ? input.x! : input
}

/** Links all of whose weights can be changed: floating values, masked or not. Tables of codebooks are shared by values of many channels. */
export function linksOf(model: Model, data: Dataset | undefined): ScalableLink[] {
  const weights = new Map(model.weights().map((w) => [w.path, w.weight]))
  const free = (path: string): boolean => {
    const weight = weights.get(path)
    return (weight instanceof DenseWeight || weight instanceof MaskedWeight) && weight.value.dtype === 'f32'
  }
  const all = scope(() => scalableLinks(model, trace(model, someInput(model, data))))
  return all.filter(({ source, consumers, shifts, norms }) =>
    [
      source.weight,
      ...(source.bias === undefined ? [] : [source.bias]),
      ...consumers.map((c) => c.weight),
      ...shifts.map((s) => s.weight),
      ...norms.map((n) => `${n.path}.beta`),
    ].every(free),
  )
}

/** Largest difference of two models' outputs on an input, as a share of the largest output. */
export function difference(a: Model, b: Model, data: Dataset | undefined): number {
  return scope(() => {
    const x = someInput(a, data)
    const [before, after] = [a.forwardAll(x), b.forwardAll(x)]
    return Math.max(
      ...Object.entries(before).map(([name, t]) => {
        if (!t.dtype.startsWith('f')) return 0
        const [u, v] = [valuesOf(t), valuesOf(after[name]!)]
        let [most, off] = [0, 0]
        for (let i = 0; i < u.length; i++) {
          most = Math.max(most, Math.abs(u[i]!))
          off = Math.max(off, Math.abs(u[i]! - v[i]!))
        }
        return off === 0 ? 0 : off / most
      }),
    )
  })
}

/** More than the rounding of new weights explains: the analysis of the model was wrong somewhere. */
const TOLERANCE = 1e-4

/**
 * The rescaled model, if its outputs on two examples are those of `model` (figure "difference"); else `model` itself with a warning. `loose`: its function was
 * changed on purpose.
 */
export function checkedModel<O>(
  name: string,
  model: Model,
  rescaler: Rescaler,
  { data, figure, warn }: PassContext<O>,
  loose = false,
): Model {
  const result = rescaler.model()
  if (result === model) return model
  const off = difference(model, result, data)
  figure('difference', Number.isFinite(off) ? off : 1e308)
  if (loose || off <= TOLERANCE) return result
  release(result, [model])
  warn(`${name}: outputs would change by ${off.toExponential(1)} of the largest: nothing was rescaled`)
  return model
}

export class Rescaler {
  readonly #model: Model
  readonly #weights: ReadonlyMap<string, PlacedWeight>
  readonly #state: ReadonlyMap<string, Tensor>
  readonly #values = new Map<string, Float64Array>()

  constructor(model: Model) {
    this.#model = model
    this.#weights = new Map(model.weights().map((w) => [w.path, w]))
    this.#state = model.state()
  }

  /** Values of a weight or state as they are now; what is written into them becomes part of `model()`. */
  values(path: string): Float64Array {
    const known = this.#values.get(path)
    if (known) return known
    const state = this.#state.get(path)
    const values = Float64Array.from(state ? valuesOf(state) : denseValues(this.#weights.get(path)!.weight))
    this.#values.set(path, values)
    return values
  }

  at(path: string): PlacedWeight | undefined {
    return this.#weights.get(path)
  }

  /** Calls `use` with each element of a consumer's weight that a channel meets. */
  each(
    { weight, columns, groups }: ScalableConsumer,
    use: (values: Float64Array, element: number, channel: number, row: number) => void,
  ): void {
    const { shape } = this.#weights.get(weight)!.weight
    const values = this.values(weight)
    const [rows, width] = shape as [number, number]
    const taps = sizeOf(shape.slice(2))
    for (let r = 0, e = 0; r < rows; r++) {
      const first = Math.floor((r * groups) / rows) * width
      for (let j = 0; j < width; j++) {
        const channel = columns[first + j]!
        for (let t = 0; t < taps; t++, e++) if (channel >= 0) use(values, e, channel, r)
      }
    }
  }

  /** max |W| of each channel over all layers that take it. */
  columnMaxima({ source, consumers }: ScalableLink): Float64Array {
    const most = new Float64Array(source.channels)
    for (const consumer of consumers)
      this.each(consumer, (values, e, channel) => {
        most[channel] = Math.max(most[channel]!, Math.abs(values[e]!))
      })
    return most
  }

  /** max |W| of each row of the source. */
  rowMaxima({ source }: ScalableLink): Float64Array {
    const values = this.values(source.weight)
    const width = values.length / source.channels
    const most = new Float64Array(source.channels)
    for (let e = 0; e < values.length; e++) {
      const row = Math.floor(e / width)
      most[row] = Math.max(most[row]!, Math.abs(values[e]!))
    }
    return most
  }

  /** Divides the channels by s, all > 0. */
  scale({ source, consumers, shifts, norms }: ScalableLink, s: Float64Array): void {
    const divide = (path: string, factor: (element: number) => number): void => {
      const values = this.values(path)
      for (let e = 0; e < values.length; e++) values[e]! /= factor(e)
    }
    const by = (labels: Int32Array) => (e: number) => (labels[e]! < 0 ? 1 : s[labels[e]!]!)
    const width = this.values(source.weight).length / source.channels
    divide(source.weight, (e) => s[Math.floor(e / width)]!)
    if (source.bias !== undefined) divide(source.bias, (e) => s[e]!)
    for (const { weight, labels } of shifts) divide(weight, by(labels))
    // gamma (x / s - mean / s) / sigma + beta / s
    for (const { path, labels } of norms) for (const part of ['mean', 'beta']) divide(`${path}.${part}`, by(labels))
    for (const consumer of consumers)
      this.each(consumer, (values, e, channel) => {
        values[e]! *= s[channel]!
      })
  }

  /**
   * The factors of the batch norm right behind the source into its weight: what remains is a shift, and rows have the ranges that outputs have (Jacob et al. 2018,
   * section 3.2).
   */
  foldNorm({ source, norms, through }: ScalableLink): void {
    const [norm] = norms
    if (!norm || through[0] !== 'mul' || through[1] !== 'add') return
    const [gamma, mean, variance] = ['gamma', 'mean', 'variance'].map((part) => this.values(`${norm.path}.${part}`)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ]
    const { eps } = this.#weights.get(`${norm.path}.gamma`)!.module.config as { readonly eps: number }
    const weight = this.values(source.weight)
    const bias = source.bias === undefined ? undefined : this.values(source.bias)
    const width = weight.length / source.channels
    for (let i = 0; i < source.channels; i++) {
      const sigma = Math.sqrt(variance[i]! + eps)
      const factor = gamma[i]! / sigma
      for (let e = i * width; e < (i + 1) * width; e++) weight[e]! *= factor
      if (bias) bias[i]! *= factor
      mean[i]! *= factor
      gamma[i] = sigma
    }
  }

  /** The model with what was changed; everything else is shared. */
  model(): Model {
    const weights = new Map<string, Weight>()
    const states = new Map<string, Tensor>()
    for (const [path, values] of this.#values) {
      const placed = this.#weights.get(path)
      const old = placed ? denseValues(placed.weight) : valuesOf(this.#state.get(path)!)
      const next = Float32Array.from(values)
      if (next.every((v, i) => Object.is(v, old[i]))) continue
      if (placed) weights.set(path, likeKind(placed.weight, tensor(next, placed.weight.shape)))
      else states.set(path, tensor(next, this.#state.get(path)!.shape))
    }
    return withState(weights.size === 0 ? this.#model : this.#model.withWeights(weights), states)
  }
}

/** The same kind of weight with other values; a mask stays. */
function likeKind(weight: Weight, value: Tensor): Weight {
  return weight instanceof MaskedWeight ? new MaskedWeight(value, callOp('copy', [weight.mask])[0]!) : new DenseWeight(value)
}

function withState(model: Model, states: ReadonlyMap<string, Tensor>): Model {
  if (states.size === 0) return model
  const rebuild = (m: Module, path: string): Module => {
    const at = (name: string): string => (path === '' ? name : `${path}.${name}`)
    return {
      ...m,
      state: Object.fromEntries(Object.entries(m.state).map(([name, t]) => [name, states.get(at(name)) ?? t])),
      children: Object.fromEntries(Object.entries(m.children).map(([name, child]) => [name, rebuild(child, at(name))])),
    }
  }
  return new Model(rebuild(model.root, ''), model.info, model.extras)
}
