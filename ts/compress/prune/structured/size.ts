/** What a model costs before and after units are gone, from its structure alone: parameters and multiply-adds. */
import { cost } from '../../../analyze/index.js'
import { isTersorError, OptionError } from '../../../base/errors.js'
import { sizeOf } from '../../../base/shape.js'
import { exampleInput, type ChannelStructure, type UnitSet } from '../../../graph/index.js'
import type { Model, Weight } from '../../../nn/index.js'
import { scope, zeros } from '../../../tensor/index.js'

export class ModelSize {
  /** Of the whole model. */
  readonly parameters: number
  /** Of one pass on one example; undefined where the model does not say what it takes. */
  readonly macs: number | undefined
  readonly #structure: ChannelStructure
  /** Each weight once. */
  readonly #weights: readonly { readonly path: string; readonly shape: readonly number[] }[]
  readonly #layers: readonly {
    readonly macs: number
    readonly weights: readonly { readonly path: string; readonly shape: readonly number[] }[]
  }[]

  constructor(model: Model, structure: ChannelStructure) {
    this.#structure = structure
    const seen = new Set<Weight>()
    const all = model.weights()
    this.#weights = all.flatMap(({ path, weight }) => (seen.has(weight) || !seen.add(weight) ? [] : [{ path, shape: [...weight.shape] }]))
    this.parameters = this.#weights.reduce((n, { shape }) => n + sizeOf(shape), 0)
    const found = layerMacs(model)
    this.macs = found && [...found.values()].reduce((a, b) => a + b, 0)
    this.#layers = [...(found ?? [])].map(([layer, macs]) => ({
      macs,
      weights: all.filter((w) => w.layer === layer && w.role !== 'vector').map(({ path, weight }) => ({ path, shape: [...weight.shape] })),
    }))
  }

  parametersAfter(removed: UnitSet): number {
    return this.#weights.reduce((n, { path, shape }) => n + this.#structure.elements(path, shape, removed), 0)
  }

  /** A layer multiplies with each element of its weights equally often: its work shrinks as they do. */
  macsAfter(removed: UnitSet): number | undefined {
    if (this.macs === undefined) return undefined
    let sum = 0
    for (const { macs, weights } of this.#layers) {
      const before = weights.reduce((n, { shape }) => n + sizeOf(shape), 0)
      const after = weights.reduce((n, { path, shape }) => n + this.#structure.elements(path, shape, removed), 0)
      sum += before === 0 ? macs : (macs * after) / before
    }
    return Math.round(sum)
  }

  /** Share of the multiply-adds that is left; ERR_OPTION where they cannot be counted. */
  macsShare(where: string, removed: UnitSet): number {
    const left = this.macsAfter(removed)
    if (left === undefined)
      throw new OptionError(
        'ERR_OPTION',
        `${where}: scratch with the budget of compute counts multiply-adds, and the model does not say what it takes; take the budget of epochs`,
        { details: { pointer: '/retrain/budget' } },
      )
    return this.macs === 0 ? 1 : left / this.macs!
  }
}

/** Multiply-adds by layer. */
function layerMacs(model: Model): Map<string, number> | undefined {
  try {
    return scope(() => {
      const { inputShape } = model.info
      const input = inputShape ? zeros([1, ...inputShape]) : exampleInput(model).input
      return new Map(cost(model, input).layers.map(({ path, macs }) => [path, macs]))
    })
  } catch (error) {
    if (isTersorError(error)) return undefined // a model that does not say what it takes
    throw error
  }
}
