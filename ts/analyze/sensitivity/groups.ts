/** Which weights get their bits together: each by itself, or all that lie below a path that a pattern matches (the layers of an encoder). */
import { OptionError } from '../../base/errors.js'
import { glob } from '../../base/glob.js'
import type { Model, PlacedWeight } from '../../nn/index.js'
import { sizeOf } from '../../base/shape.js'

export interface WeightGroup {
  /** Path of the one weight, or the path that the pattern matched: "blocks.0". */
  readonly name: string
  readonly targets: readonly PlacedWeight[]
  /** Paths of the trainable leaves: what derivatives are taken for. One that several layers share is there once. */
  readonly leaves: readonly string[]
  readonly parameters: number
}

/** Can be rounded: floating values in rows, which one leaf holds. */
export function canBeRounded({ weight }: PlacedWeight): boolean {
  return weight.trainable().length > 0 && weight.kind !== 'low-rank' && weight.shape.length >= 2 && sizeOf(weight.shape) > 0
}

/** The shortest path above or at `path` that the pattern matches. */
function matched(pattern: (path: string) => boolean, path: string): string | undefined {
  const parts = path.split('.')
  for (let n = 1; n <= parts.length; n++) {
    const above = parts.slice(0, n).join('.')
    if (pattern(above)) return above
  }
  return undefined
}

/**
 * The targets that can be rounded, in groups, in the order of the model. A weight that several layers share belongs to the group of the first.
 * A pattern that fits no target is ERR_OPTION, so is a model without anything to round.
 */
export function weightGroups(where: string, model: Model, targets: readonly PlacedWeight[], patterns: readonly string[]): WeightGroup[] {
  const fit = targets.filter(canBeRounded)
  if (fit.length === 0) throw new OptionError('ERR_OPTION', `${where}: ${model.info.name} has no floating matrix, kernel or table to round`)
  const tests = patterns.map(glob)
  const unused = tests.findIndex((test) => !fit.some(({ path }) => test(path)))
  if (unused >= 0)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: the group ${JSON.stringify(patterns[unused])} fits no weight; there are ${fit.map(({ path }) => path).join(', ')}`,
    )
  const leafOf = new Map<unknown, string>()
  for (const { path, weight } of model.weights()) if (!leafOf.has(weight)) leafOf.set(weight, path)
  const groups = new Map<string, PlacedWeight[]>()
  const groupOf = new Map<unknown, string>()
  for (const target of fit) {
    const own = tests.map((test) => matched(test, target.path)).find((name) => name !== undefined)
    const name = groupOf.get(target.weight) ?? own ?? target.path
    groupOf.set(target.weight, name)
    groups.set(name, [...(groups.get(name) ?? []), target])
  }
  return [...groups].map(([name, members]) => {
    const weights = [...new Set(members.map(({ weight }) => weight))]
    return {
      name,
      targets: members,
      leaves: weights.map((w) => leafOf.get(w)!),
      parameters: weights.reduce((n, w) => n + sizeOf(w.shape), 0),
    }
  })
}

/** For tables and files. */
export function groupFacts({ name, targets, parameters }: WeightGroup): {
  name: string
  paths: string[]
  parameters: number
  bytes: number
} {
  return { name, paths: targets.map(({ path }) => path), parameters, bytes: targets.reduce((n, { weight }) => n + weight.bytes(), 0) }
}
