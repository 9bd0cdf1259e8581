/**
 * What a pruning pass scores weights by. A score is a number per value: the larger, the more the model needs it. It is asked for anew in every round, of the model as
 * it is then.
 */
import { NumericError } from '../../base/errors.js'
import type { Leaf, Model, PlacedWeight } from '../../nn/index.js'
import type { PassContext } from '../pass.js'

export interface Scoring<O> {
  /** As it is now. Its weights must not be changed. */
  readonly model: Model
  /** What can be pruned, with the weights of `model`. */
  readonly targets: readonly (PlacedWeight & { readonly leaf: Leaf })[]
  readonly context: PassContext<O>
  /** From 0. */
  readonly round: number
}

export type Scores = ReadonlyMap<string, Float32Array>

export interface Score<O> {
  /** Scores by path. Called outside of scopes. */
  readonly of: (at: Scoring<O>) => Scores | Promise<Scores>
  /** Why this score says nothing of a weight; such weights are left alone. */
  readonly lacks?: (target: PlacedWeight) => string | undefined
  /** The score from the values alone, where they say all: for pruning while training. */
  readonly live?: (leaf: Leaf) => Float32Array
}

/** ERR_NUMERIC with the place when a score is not finite: such numbers cannot be ranked. */
export function checkScores(where: string, scores: Scores): Scores {
  for (const [path, values] of scores) {
    const index = values.findIndex((v) => !Number.isFinite(v))
    if (index >= 0)
      throw new NumericError('ERR_NUMERIC', `${where}: the score of ${path} is ${values[index]} at index ${index}`, {
        details: { stage: where, tensor: path, index },
      })
  }
  return scores
}
