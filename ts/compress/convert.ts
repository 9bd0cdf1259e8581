/** Conversion of weights one by one: what most passes that need no training do. */
import type { Model, PlacedWeight, Weight } from '../nn/index.js'
import { scope } from '../tensor/index.js'
import type { PassContext } from './pass.js'

/** A new weight, or the reason why it stays as it is. */
export type Conversion = Weight | { readonly left: string }

/**
 * The model with `convert` applied to each target. Runs in a scope: temporaries are freed, also when an error or the caller's signal ends
 * it halfway.
 */
export async function convertWeights<O>(
  model: Model,
  context: PassContext<O>,
  task: string,
  convert: (target: PlacedWeight) => Conversion,
): Promise<Model> {
  const changed = new Map<string, Weight>()
  try {
    for (const [done, target] of context.targets.entries()) {
      await context.breathe()
      const result = scope(() => convert(target))
      if ('left' in result) context.note(`left alone: ${result.left}`, target.path)
      else changed.set(target.path, result)
      context.progress(task, done + 1, context.targets.length)
    }
  } catch (error) {
    for (const w of changed.values()) w.dispose()
    throw error
  }
  return changed.size === 0 ? model : model.withWeights(changed)
}
