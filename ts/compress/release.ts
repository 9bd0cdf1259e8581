/** Memory of models that share weights: frees what a model has and no model that is still needed has. */
import type { Model } from '../nn/index.js'

export function release(old: Model, kept: readonly Model[]): void {
  const weights = new Set(kept.flatMap((m) => m.weights().map(({ weight }) => weight)))
  const states = new Set(kept.flatMap((m) => [...m.state().values()]))
  for (const { weight } of old.weights()) if (!weights.has(weight)) weight.dispose()
  for (const t of old.state().values()) if (!states.has(t)) t.dispose()
}

/** Runs `work`, which still has a use for `made`; where it throws (a checkpoint that cannot be written), what `made` has and `kept` has not is freed. */
export function owning<T>(made: Model, kept: Model, work: () => T): T {
  try {
    return work()
  } catch (error) {
    release(made, [kept])
    throw error
  }
}
