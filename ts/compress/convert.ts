/** Conversion of weights one by one: what most passes that need no training do. */
import { sizeOf } from '../base/shape.js'
import type { Model, PlacedWeight, Weight } from '../nn/index.js'
import { scope } from '../tensor/index.js'
import type { PassContext } from './pass.js'

/** A new weight, or the reason why it stays as it is. */
export type Conversion = Weight | { readonly left: string }

export interface Converter<P> {
  /** For events: the name of the pass. */
  readonly task: string
  /** Long work without tensors; awaits `context.breathe()` every few milliseconds. */
  readonly prepare?: (target: PlacedWeight) => Promise<P>
  /** Makes the weight. Runs in a scope: temporaries are freed. */
  readonly convert: (target: PlacedWeight, prepared: P) => Conversion
  /** The weight alone decides what is made: layers that share one (a table that is also the head) share the new one. */
  readonly byWeight?: boolean
}

/** For the report, of a weight whose values are entries of tables: they were compressed before, and what is made of them shares no entries. */
export function sharedNote(weight: Weight): string | undefined {
  const leaves = weight.trainable()
  if (leaves.length === 0 || leaves.some(({ value }) => value.size >= sizeOf(weight.shape))) return undefined
  return `made of ${weight.description}: its shared values are rounded a second time`
}

/** The model with each target converted. What was made is freed when an error or the caller's signal ends it halfway. */
export async function convertWeights<O, P = undefined>(model: Model, context: PassContext<O>, converter: Converter<P>): Promise<Model> {
  const { task, prepare, convert, byWeight = false } = converter
  const changed = new Map<string, Weight>()
  const made = new Map<Weight, Weight>()
  try {
    for (const [done, target] of context.targets.entries()) {
      await context.breathe()
      const known = byWeight ? made.get(target.weight) : undefined
      const prepared = prepare && !known ? await prepare(target) : (undefined as P)
      const result = known ?? scope(() => convert(target, prepared))
      if ('left' in result) context.note(`left alone: ${result.left}`, target.path)
      else {
        changed.set(target.path, result)
        made.set(target.weight, result)
        const shared = sharedNote(target.weight)
        if (shared !== undefined) context.note(shared, target.path)
      }
      context.progress(task, done + 1, context.targets.length)
    }
  } catch (error) {
    for (const w of new Set(changed.values())) w.dispose()
    throw error
  }
  return changed.size === 0 ? model : model.withWeights(changed)
}
