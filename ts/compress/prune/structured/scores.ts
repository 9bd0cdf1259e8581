/**
 * Importance of units. A score of a unit is made of the slices that make it; `groups` and `before` say where these are in the model at hand.
 *
 *   l1, l2    sum |w|, sqrt(sum w^2) of the filters             Li et al. 2017, section 3.1
 *   taylor    mean over batches of |sum w dL/dw|                Molchanov et al. 2017, eq. 4, on the weights of 2019, section 3.1
 *   gamma     |gamma| of the batch norms behind                 Liu et al. 2017 (network slimming), section 3
 *   random    a control
 */
import { valueAndGrad } from '../../../autograd/index.js'
import { sizeOf } from '../../../base/shape.js'
import type { Rng } from '../../../base/rng.js'
import type { ChannelGroup, ChannelStructure, GroupSlice, UnitSet } from '../../../graph/index.js'
import type { Model, Weight } from '../../../nn/index.js'
import { distinctLeaves } from '../../../nn/index.js'
import { scope, type Tensor } from '../../../tensor/index.js'
import { denseValues, valuesOf } from '../../values.js'

/** A model that may have lost units already. */
export interface ScoredModel {
  readonly model: Model
  readonly structure: ChannelStructure
  /** Units that its tensors do not have any more. */
  readonly before: UnitSet
}

export type Reduce = 'mean' | 'sum' | 'max'
/** Scores by unit. */
export type UnitScores = Map<number, number>

/** f summed over all elements at each position along an axis. */
export function sumsAlong(values: Float32Array, shape: readonly number[], axis: number, f: (v: number, i: number) => number): Float64Array {
  const inner = sizeOf(shape.slice(axis + 1))
  const n = shape[axis]!
  const out = new Float64Array(n)
  for (let i = 0; i < values.length; i++) {
    const position = Math.floor(i / inner) % n
    out[position] = out[position]! + f(values[i]!, i)
  }
  return out
}

/** Positions of each unit of a slice in the tensors at hand. */
export function positionsOf(
  slice: GroupSlice,
  units: readonly number[],
  { structure, before }: ScoredModel,
): Map<number, readonly number[]> {
  const ranks = structure.ranks(slice.path, slice.axis, before)
  return new Map(units.map((unit, i) => [unit, slice.positions[i]!.map((p) => ranks[p]!).filter((p) => p >= 0)]))
}

/** A figure per unit and slice, reduced over the slices of each unit. `at` gives the figure of one slice's positions, `end` finishes it. */
function perSlice(
  groups: readonly ChannelGroup[],
  at: ScoredModel,
  role: GroupSlice['role'],
  reduce: Reduce,
  figure: (values: Float32Array, shape: readonly number[], axis: number) => Float64Array,
  end: (sum: number) => number = (x) => x,
): UnitScores {
  const weights = new Map<string, Weight>(at.model.weights().map((w) => [w.path, w.weight]))
  const out: UnitScores = new Map()
  for (const group of groups) {
    const lists = new Map<number, number[]>()
    for (const slice of group.slices.filter((s) => s.role === role)) {
      const w = weights.get(slice.path)
      if (!w) continue
      const sums = figure(denseValues(w), w.shape, slice.axis)
      for (const [unit, positions] of positionsOf(slice, group.units, at)) {
        const value = end(positions.reduce((n, p) => n + sums[p]!, 0))
        const list = lists.get(unit)
        if (list) list.push(value)
        else lists.set(unit, [value])
      }
    }
    for (const [unit, list] of lists) out.set(unit, reduced(list, reduce))
  }
  return out
}

export function reduced(list: readonly number[], how: Reduce): number {
  const sum = list.reduce((a, b) => a + b, 0)
  return how === 'sum' ? sum : how === 'mean' ? sum / list.length : Math.max(...list)
}

export const l1Scores = (groups: readonly ChannelGroup[], at: ScoredModel, reduce: Reduce): UnitScores =>
  perSlice(groups, at, 'filter', reduce, (values, shape, axis) => sumsAlong(values, shape, axis, Math.abs))

export const l2Scores = (groups: readonly ChannelGroup[], at: ScoredModel, reduce: Reduce): UnitScores =>
  perSlice(groups, at, 'filter', reduce, (values, shape, axis) => sumsAlong(values, shape, axis, (v) => v * v), Math.sqrt)

/** Units without a batch norm have no score. */
export const gammaScores = (groups: readonly ChannelGroup[], at: ScoredModel, reduce: Reduce): UnitScores =>
  perSlice(groups, at, 'scale', reduce, (values, shape, axis) => sumsAlong(values, shape, axis, Math.abs))

export const randomScores = (groups: readonly ChannelGroup[], rng: Rng): UnitScores =>
  new Map(groups.flatMap((g) => g.units.map((unit): [number, number] => [unit, rng.uniform()])))

/** Losses of some batches, one after the other; `loss` runs the model that it is given. */
export interface LossBatches {
  readonly batches: number
  readonly each: (see: (loss: (model: Model) => Tensor) => void) => Promise<void>
}

/** First-order Taylor: how much the loss changes, to first order, when a unit's filters become 0. */
export async function taylorScores(groups: readonly ChannelGroup[], at: ScoredModel, losses: LossBatches): Promise<UnitScores> {
  const leaves = distinctLeaves(at.model)
  // A weight that layers share has its leaf under the first of their paths.
  const first = new Map([...leaves].map(([path, { value }]) => [value, path]))
  const leafOf = new Map(at.model.weights().map(({ path, weight }) => [path, first.get(weight.trainable()[0]?.value as Tensor)]))
  const slices = groups.map((group) =>
    group.slices
      .filter((s) => s.role === 'filter' && leafOf.get(s.path))
      .map((slice) => ({ slice, leaf: leafOf.get(slice.path)!, positions: positionsOf(slice, group.units, at) })),
  )
  const out: UnitScores = new Map()
  const paths = [...new Set(slices.flat().map((s) => s.leaf))]
  await losses.each((loss) => {
    scope(() => {
      const { grads } = valueAndGrad(
        () => loss(at.model),
        paths.map((path) => leaves.get(path)!.value),
      )
      const gradients = new Map(paths.map((path, i) => [path, valuesOf(grads[i]!)]))
      const values = new Map(paths.map((path) => [path, valuesOf(leaves.get(path)!.value)]))
      groups.forEach((group, g) => {
        const sums = new Map<number, number>()
        for (const { slice, leaf, positions } of slices[g]!) {
          const dw = gradients.get(leaf)!
          const along = sumsAlong(values.get(leaf)!, leaves.get(leaf)!.value.shape, slice.axis, (v, i) => v * dw[i]!)
          for (const [unit, at] of positions) sums.set(unit, (sums.get(unit) ?? 0) + at.reduce((n, p) => n + along[p]!, 0))
        }
        for (const [unit, sum] of sums) out.set(unit, (out.get(unit) ?? 0) + Math.abs(sum) / losses.batches)
      })
    })
  })
  return out
}
