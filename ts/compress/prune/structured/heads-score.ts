/** The importance of attention heads by the gradient of what they say (Michel et al. 2019, section 4.1). */
import { valueAndGrad } from '../../../autograd/index.js'
import { sizeOf } from '../../../base/shape.js'
import type { ChannelGroup, GroupSlice } from '../../../graph/index.js'
import type { ForwardContext, Model, Weight, WeightUse } from '../../../nn/index.js'
import { add } from '../../../ops/index.js'
import { scope, zeros, type Tensor } from '../../../tensor/index.js'
import { valuesOf } from '../../values.js'
import { positionsOf, type ScoredModel, type UnitScores } from './scores.js'

interface GradientBatches {
  readonly batches: number
  readonly each: (see: (loss: (m: Model, more?: Partial<ForwardContext>) => Tensor) => void) => Promise<void>
}

/** A model in which zeros are added to the inputs of some weights, others each time that one is used: their gradient is that of the input. For one run. */
function probed(model: Model, probes: ReadonlyMap<string, readonly Tensor[]>): Model {
  const changed = new Map<string, Weight>()
  for (const { path, weight } of model.weights()) {
    const list = probes.get(path)
    if (!list) continue
    let uses = 0
    const apply = (x: Tensor, use: WeightUse, context?: ForwardContext): Tensor => weight.apply(add(x, list[uses++]!), use, context)
    changed.set(
      path,
      new Proxy(weight, {
        get: (target, key) => {
          if (key === 'apply') return apply
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
        },
      }),
    )
  }
  return model.withWeights(changed)
}

/** The slice of a group that reads what the heads say: columns of the output. */
const reader = (group: ChannelGroup): GroupSlice | undefined => group.slices.find((s) => s.role === 'input')

export async function contextScores(groups: readonly ChannelGroup[], at: ScoredModel, losses: GradientBatches): Promise<UnitScores> {
  const placed = new Map(at.model.weights().map((w) => [w.path, w]))
  const readers = groups.flatMap((group) => {
    const slice = reader(group)
    return slice ? [{ path: slice.path, layer: placed.get(slice.path)!.layer, positions: positionsOf(slice, group.units, at) }] : []
  })
  const out: UnitScores = new Map(readers.flatMap(({ positions }) => [...positions.keys()].map((unit): [number, number] => [unit, 0])))
  const sums = new Map<number, number>()
  let tokens = 0
  await losses.each((loss) => {
    scope(() => {
      // The first run tells what the heads say, the second one its gradient. Layers that run several times (ALBERT) say something each time.
      const layers = new Map(readers.map((r) => [r.layer, r.path]))
      const said = new Map<string, { readonly shape: readonly number[]; readonly values: Float32Array }[]>()
      const observe = (layer: string, x: Tensor): void => {
        const path = layers.get(layer)
        if (path === undefined) return
        said.set(path, [...(said.get(path) ?? []), { shape: [...x.shape], values: valuesOf(x) }])
      }
      loss(at.model, { observe })
      const probes = new Map([...said].map(([path, list]) => [path, list.map(({ shape }) => zeros(shape))]))
      const model = probed(at.model, probes)
      const all = [...probes.values()].flat()
      const { grads } = valueAndGrad(() => loss(model), all)
      const gradients = new Map(all.map((probe, i) => [probe, valuesOf(grads[i]!)]))
      ;[...said].forEach(([path, list], i) => {
        const { shape } = list[0]!
        const width = shape.at(-1)!
        const rows = sizeOf(shape) / width
        const uses = list.map(({ values }, use): [Float32Array, Float32Array] => [values, gradients.get(probes.get(path)![use]!)!])
        for (const [unit, columns] of readers.find((r) => r.path === path)!.positions)
          sums.set(unit, (sums.get(unit) ?? 0) + rowProducts(uses, rows, width, columns))
        if (i === 0) tokens += rows
      })
    })
  })
  for (const [unit, sum] of sums) out.set(unit, sum / tokens)
  return out
}

/** Sum over rows of |a . b| on some columns, a . b summed over all uses first: they share one gate. */
function rowProducts(
  uses: readonly (readonly [Float32Array, Float32Array])[],
  rows: number,
  width: number,
  columns: readonly number[],
): number {
  let sum = 0
  for (let r = 0; r < rows; r++) {
    let dot = 0
    for (const [a, b] of uses) for (const c of columns) dot += a[r * width + c]! * b[r * width + c]!
    sum += Math.abs(dot)
  }
  return sum
}
