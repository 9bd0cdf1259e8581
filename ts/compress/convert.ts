/** Conversion of weights one by one: what most passes that need no training do. */
import { sizeOf } from '../base/shape.js'
import { LowRankWeight, weightKind, type Model, type PlacedWeight, type Weight } from '../nn/index.js'
import { scope } from '../tensor/index.js'
import type { PassContext } from './pass.js'

/** A new weight, or the reason why it stays as it is. */
export type Conversion = Weight | { readonly left: string }

const isReason = (c: Conversion): c is { readonly left: string } => !('apply' in c)

export interface Converter<P> {
  /** For events: the name of the pass. */
  readonly task: string
  /** Long work without tensors; awaits `context.breathe()` every few milliseconds. */
  readonly prepare?: (target: PlacedWeight) => Promise<P>
  /** Makes the weight. Runs in a scope: temporaries are freed. */
  readonly convert: (target: PlacedWeight, prepared: P) => Conversion
  /** Whether the values of a matrix are all that counts, so that the factors of a low-rank weight are converted one by one. Without it such weights are left alone. */
  readonly byFactor?: boolean
}

/** For the report, of a weight whose values are entries of tables: they were compressed before, and what is made of them shares no entries. */
export function sharedNote(weight: Weight): string | undefined {
  const leaves = weight.trainable()
  if (weight instanceof LowRankWeight || leaves.length === 0 || leaves.some(({ value }) => value.size >= sizeOf(weight.shape)))
    return undefined
  return `made of ${weight.description}: its shared values are rounded a second time`
}

/** The model with each target converted. What was made is freed when an error or the caller's signal ends it halfway. */
export async function convertWeights<O, P = undefined>(model: Model, context: PassContext<O>, converter: Converter<P>): Promise<Model> {
  const { task, prepare, convert } = converter
  const changed = new Map<string, Weight>()
  const one = async (target: PlacedWeight): Promise<Conversion> => {
    const prepared = prepare ? await prepare(target) : (undefined as P)
    return scope(() => convert(target, prepared))
  }
  const byFactor = async (target: PlacedWeight, { shape, left, right }: LowRankWeight): Promise<Conversion> => {
    if (!converter.byFactor) return { left: 'it is a product of two factors, which this pass would multiply out' }
    const members: Weight[] = []
    try {
      for (const [name, weight] of Object.entries({ left, right })) {
        const result = await one({ ...target, path: `${target.path}.${name}`, weight })
        if (isReason(result)) context.note(`left alone: ${result.left}`, `${target.path}.${name}`)
        members.push(isReason(result) ? weightKind(weight.kind).restore(weight.parts(), weight.config(), weight.shape) : result)
      }
      return new LowRankWeight(shape, { left: members[0]!, right: members[1]! })
    } catch (error) {
      for (const w of members) w.dispose()
      throw error
    }
  }
  try {
    for (const [done, target] of context.targets.entries()) {
      await context.breathe()
      const result = await (target.weight instanceof LowRankWeight ? byFactor(target, target.weight) : one(target))
      if (isReason(result)) context.note(`left alone: ${result.left}`, target.path)
      else {
        changed.set(target.path, result)
        const shared = sharedNote(target.weight)
        if (shared !== undefined) context.note(shared, target.path)
      }
      context.progress(task, done + 1, context.targets.length)
    }
  } catch (error) {
    for (const w of changed.values()) w.dispose()
    throw error
  }
  return changed.size === 0 ? model : model.withWeights(changed)
}
