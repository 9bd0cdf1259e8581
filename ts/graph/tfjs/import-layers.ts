/** Layers models of tfjs (Keras): layers as nodes of ONNX, in an order in which every value is made before it is used. */
import type { RawTensor } from '../../base/dtype.js'
import { UnsupportedError } from '../../base/errors.js'
import { formatError, type FormatContext } from '../../formats/limits.js'
import type { KerasLayer, KerasModel, KerasRef } from '../../formats/tfjs-layers.js'
import type { ElementType, Graph } from '../graph.js'
import { Builder, Val } from './builder.js'
import { recurrentRows } from './keras-recurrent.js'
import { layerRows, type Keras } from './keras-rows.js'
import { KerasWeights } from './keras-weights.js'

const rows = new Map([...layerRows, ...recurrentRows])
/** Layers of Keras that layers models may have. */
export const kerasLayers = (): string[] => [...rows.keys(), 'InputLayer', 'Sequential', 'Functional'].sort()

const inputs: Readonly<Record<string, ElementType>> = { float32: 'f32', int32: 'i32', bool: 'bool', float16: 'f32' }

class Importer {
  readonly #b: Builder
  readonly #keras: Keras
  constructor(
    readonly ctx: FormatContext,
    readonly model: KerasModel,
    tensors: ReadonlyMap<string, RawTensor>,
  ) {
    this.#b = new Builder(ctx.where, model.layers.length)
    this.#keras = { b: this.#b, weights: new KerasWeights(ctx, tensors), call: (layer, x) => this.#layer(layer, x) }
  }

  whole(name: string): Graph {
    this.#refuse()
    const given = this.#inputs(this.model)
    const made = this.#model(this.model, given)
    const named = new Map<string, Val>()
    const refs = this.model.sequential ? [] : this.model.outputs
    made.forEach((v, i) => {
      const base = refs[i]?.layer ?? (this.model.layers.at(-1)?.name || 'output')
      let own = base
      for (let n = 1; named.has(own); n++) own = `${base}:${n}`
      named.set(own, v)
    })
    return this.#b.graph(name, [...named])
  }

  /** Layers without a row, all at once; masks, which change what later layers see, are not followed. */
  #refuse(): void {
    const found = new Map<string, string[]>()
    let masked: KerasLayer | undefined
    let steps: KerasLayer | undefined
    const visit = (layer: KerasLayer): void => {
      if (layer.model) return layer.model.layers.forEach(visit)
      layer.inner.forEach(visit)
      if (layer.className !== 'InputLayer' && !rows.has(layer.className))
        found.set(layer.className, [...(found.get(layer.className) ?? []), layer.name])
      if (layer.className === 'Embedding' && layer.bool('mask_zero', false)) masked = layer
      if (recurrentRows.has(layer.className) || layer.className === 'GlobalAveragePooling1D') steps = layer
    }
    this.model.layers.forEach(visit)
    if (masked && steps) masked.unsupported(`mask_zero in front of ${steps.label}`)
    if (found.size === 0) return
    const text = [...found].map(([name, list]) => `${name.slice(0, 60)} (${list.length}: ${list.slice(0, 3).map((n) => JSON.stringify(n.slice(0, 100))).join(', ')})`) // prettier-ignore
    throw new UnsupportedError('ERR_UNSUPPORTED', `${this.ctx.where}: layers that are not supported: ${text.join('; ')}`, {
      details: { what: 'layers', operators: Object.fromEntries(found) },
    })
  }

  #input(name: string, layer: KerasLayer, dtype: string): Val {
    const raw = layer.raw('batch_input_shape') ?? layer.raw('batch_shape')
    if (!Array.isArray(raw)) return layer.fail('config', 'has no "batch_input_shape"')
    if (raw.length > this.ctx.limits.rank) layer.fail('config', `${raw.length} dimensions`)
    const shape = raw.map((d) => {
      const ok = d === null || (typeof d === 'number' && Number.isInteger(d) && d >= 0 && d <= this.ctx.limits.dimension)
      return ok ? d : layer.fail('config', 'sizes must be null or integers >= 0')
    })
    const own = inputs[dtype] ?? layer.unsupported(`inputs of type ${JSON.stringify(dtype.slice(0, 20))}`)
    const b = this.#b
    b.input({ name, dtype: own, shape })
    b.at = `${name}/integers`
    return new Val(own === 'i32' ? b.op('Cast', [name], { to: 7 }) : name)
  }

  #inputs(model: KerasModel): Val[] {
    if (!model.sequential)
      return model.inputs.map((ref) => {
        const layer = model.layers.find((l) => l.name === ref.layer)
        if (layer?.className !== 'InputLayer')
          throw formatError(this.ctx, 'inputs', `the input ${JSON.stringify(ref.layer.slice(0, 200))} is no InputLayer`)
        return this.#input(layer.name, layer, layer.string('dtype', 'float32'))
      })
    let first = model.layers[0]
    if (!first) throw formatError(this.ctx, 'inputs', 'the model has no layers')
    const name = first.className === 'InputLayer' ? first.name : 'input'
    while (first.model?.layers[0] && !Array.isArray(first.raw('batch_input_shape'))) first = first.model.layers[0]
    const dtype =
      first.className === 'Embedding' ? 'int32' : first.className === 'InputLayer' ? first.string('dtype', 'float32') : 'float32'
    return [this.#input(name, first, dtype)]
  }

  #model(model: KerasModel, given: readonly Val[]): readonly Val[] {
    if (model.sequential) {
      let x = given
      for (const layer of model.layers) if (layer.className !== 'InputLayer') x = this.#layer(layer, x)
      return x
    }
    if (given.length !== model.inputs.length)
      throw formatError(
        this.ctx,
        'inputs',
        `model ${JSON.stringify(model.name.slice(0, 200))} takes ${model.inputs.length} inputs, got ${given.length}`,
      )
    const layers = new Map(model.layers.map((l) => [l.name, l]))
    const made = new Map<string, readonly Val[]>()
    const key = (ref: KerasRef): string => `${ref.call} ${ref.layer}`
    model.inputs.forEach((ref, i) => made.set(key({ ...ref, call: 0 }), [given[i]!]))
    const firstCall = callOffset(model)
    const callsOf = (ref: KerasRef): readonly KerasRef[] => {
      const layer = layers.get(ref.layer)
      // A model that was called before it became a layer counts those calls too.
      const found = layer?.calls[ref.call] ?? layer?.calls[ref.call - (firstCall.get(ref.layer) ?? 0)]
      if (!layer || !found)
        throw formatError(this.ctx, 'missing', `call ${ref.call} of the layer ${JSON.stringify(ref.layer.slice(0, 200))} does not exist`)
      return found
    }
    const state = new Set<string>()
    for (const root of model.outputs) {
      const stack: { ref: KerasRef; inputs: readonly KerasRef[]; next: number }[] = []
      const open = (ref: KerasRef): void => {
        if (made.has(key(ref))) return
        if (state.has(key(ref)))
          throw formatError(this.ctx, 'cycle', `the layers form a cycle through ${JSON.stringify(ref.layer.slice(0, 200))}`)
        state.add(key(ref))
        stack.push({ ref, inputs: callsOf(ref), next: 0 })
      }
      open(root)
      while (stack.length > 0) {
        const top = stack.at(-1)!
        const next = top.inputs[top.next++]
        if (next) {
          open(next)
          continue
        }
        stack.pop()
        const layer = layers.get(top.ref.layer)!
        if (layer.className === 'InputLayer') throw formatError(this.ctx, 'inputs', `${layer.label} is not among the inputs of its model`)
        made.set(
          key(top.ref),
          this.#layer(layer, top.inputs.map((ref) => this.#result(made.get(key(ref))!, ref))), // prettier-ignore
        )
      }
    }
    return model.outputs.map((ref) => this.#result(made.get(key(ref))!, ref))
  }

  #result(values: readonly Val[], ref: KerasRef): Val {
    const found = values[ref.index]
    if (!found) throw formatError(this.ctx, 'missing', `the layer ${JSON.stringify(ref.layer.slice(0, 200))} gives no result ${ref.index}`)
    return found
  }

  #layer(layer: KerasLayer, x: readonly Val[]): readonly Val[] {
    if (x.length === 0) layer.fail('inputs', 'has no input')
    if (layer.model) return this.#model(layer.model, x)
    this.#b.at = layer.name
    const row = rows.get(layer.className) ?? layer.fail('config', 'is no layer that can be called')
    const y = row(this.#keras, layer, x)
    return y instanceof Val ? [y] : y
  }
}

/** By layer: the smallest call that anything refers to, where calls are counted from a number above 0. */
function callOffset(model: KerasModel): Map<string, number> {
  const least = new Map<string, number>()
  const see = (ref: KerasRef): void => void least.set(ref.layer, Math.min(ref.call, least.get(ref.layer) ?? Infinity))
  for (const layer of model.layers) for (const call of layer.calls) call.forEach(see)
  model.outputs.forEach(see)
  return least
}

/** The graph of a layers model and its weights. Errors: ERR_MODEL_FORMAT, ERR_UNSUPPORTED, ERR_SHAPE, ERR_LIMIT. */
export function graphOfKerasModel(ctx: FormatContext, model: KerasModel, tensors: ReadonlyMap<string, RawTensor>, name: string): Graph {
  return new Importer(ctx, model, tensors).whole(name)
}
