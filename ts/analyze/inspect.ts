/** What is in a model: one row per weight. */
import type { Model, WeightRole } from '../nn/index.js'
import { countNonfinite } from '../ops/index.js'
import { sizeOf } from '../base/shape.js'
import { scope } from '../tensor/index.js'

export interface WeightRow {
  readonly path: string
  readonly layer: string
  readonly role: WeightRole
  readonly kind: string
  /** "f32", "int4 group 32", "int8 sparse". */
  readonly description: string
  readonly shape: readonly number[]
  readonly parameters: number
  /** Share of zeros. */
  readonly sparsity: number
  readonly bytes: number
  /** NaN and infinities among the values. */
  readonly nonFinite: number
}

export interface Inspection {
  readonly name: string
  readonly task: string
  readonly weights: readonly WeightRow[]
  readonly total: {
    readonly parameters: number
    readonly nonzeros: number
    readonly sparsity: number
    readonly bytes: number
    readonly nonFinite: number
  }
  readonly history: readonly unknown[]
}

export function inspect(model: Model): Inspection {
  let nonzeros = 0
  const weights = model.weights().map(({ path, layer, role, weight }): WeightRow => {
    const parameters = sizeOf(weight.shape)
    const kept = weight.nonzeros()
    nonzeros += kept
    return {
      path,
      layer,
      role,
      kind: weight.kind,
      description: weight.description,
      shape: weight.shape,
      parameters,
      sparsity: parameters ? 1 - kept / parameters : 0,
      bytes: weight.bytes(),
      nonFinite: scope(() => countNonfinite(weight.dense()).item()),
    }
  })
  const total = (of: (w: WeightRow) => number): number => weights.reduce((n, w) => n + of(w), 0)
  const parameters = total((w) => w.parameters)
  return {
    name: model.info.name,
    task: model.info.task,
    weights,
    total: {
      parameters,
      nonzeros,
      sparsity: parameters ? 1 - nonzeros / parameters : 0,
      bytes: total((w) => w.bytes),
      nonFinite: total((w) => w.nonFinite),
    },
    history: model.info.history,
  }
}
