/**
 * Weights of a layers model by layer and part. Converters write paths (`layer/kernel`, `model/layer/cell/kernel`, `bidirectional/forward_lstm/lstm_cell/kernel`):
 * the layer's name is a part of the path, the weight's name its last one.
 */
import type { RawTensor } from '../../base/dtype.js'
import { formatError, type FormatContext } from '../../formats/limits.js'
import { asConstant, Val } from './builder.js'

interface Entry {
  readonly name: string
  readonly path: readonly string[]
  readonly raw: RawTensor
}

export class KerasWeights {
  readonly #byLayer = new Map<string, Entry[]>()
  constructor(
    readonly ctx: FormatContext,
    tensors: ReadonlyMap<string, RawTensor>,
  ) {
    for (const [name, raw] of tensors) {
      const path = name.replace(/:\d+$/, '').split('/')
      const entry = { name, path, raw }
      for (const part of new Set(path.slice(0, -1))) {
        const list = this.#byLayer.get(part)
        if (list) list.push(entry)
        else this.#byLayer.set(part, [entry])
      }
    }
  }

  /** A wrapped layer's weights stand under the wrapper's name where they have none of their own. */
  alias(inner: string, wrapper: string): void {
    const found = this.#byLayer.get(wrapper)
    if (found && !this.#byLayer.has(inner)) this.#byLayer.set(inner, found)
  }

  /** Is there a weight of this layer with this name? */
  has(layer: string, part: string): boolean {
    return this.#find(layer, part).length > 0
  }

  #find(layer: string, part: string, within?: RegExp): Entry[] {
    const list = (this.#byLayer.get(layer) ?? []).filter((e) => e.path.at(-1) === part && (!within || e.path.some((p) => within.test(p))))
    const direct = list.filter((e) => e.path.at(-2) === layer && !within)
    return direct.length === 1 ? direct : list
  }

  /** The weight of this shape; `within` is what another part of its path must look like. */
  get(layer: string, part: string, shape: readonly (number | null)[], within?: RegExp): Val {
    const found = this.#find(layer, part, within)
    const where = `${JSON.stringify(part)} of layer ${JSON.stringify(layer.slice(0, 200))}`
    if (found.length !== 1)
      throw formatError(
        this.ctx,
        found.length === 0 ? 'missing' : 'ambiguous',
        `${found.length === 0 ? 'no' : 'more than one'} weight is ${where}`,
      )
    const { name, raw } = found[0]!
    if (raw.dtype !== 'f32' || raw.shape.length !== shape.length || shape.some((d, i) => d !== null && d !== raw.shape[i]))
      throw formatError(
        this.ctx,
        'shape',
        `${where} must be f32 [${shape.map((d) => d ?? '?').join(', ')}], got ${raw.dtype}[${raw.shape.join(', ')}]`,
        {
          tensor: name,
        },
      )
    return new Val(undefined, undefined, { name, tensor: asConstant(raw) })
  }
}
