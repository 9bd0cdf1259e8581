/** Which weights a pass works on: patterns over paths, or roles, less those to ignore. */
import { RecipeError } from '../base/errors.js'
import { globs } from '../base/glob.js'
import { suggestion } from '../base/nearest.js'
import type { Model, PlacedWeight, Weight, WeightRole } from '../nn/index.js'
import type { Where } from './pass.js'

export const roles: readonly WeightRole[] = ['matrix', 'kernel', 'table', 'vector']

/** Matches by pattern ("fc1", "blocks.*.up.weight") or by role ("@table"). */
function matcher(patterns: readonly string[]): (w: PlacedWeight) => boolean {
  const byRole = new Set(patterns.filter((p) => p.startsWith('@')).map((p) => p.slice(1)))
  const byPath = globs(patterns.filter((p) => !p.startsWith('@')))
  return (w) => byRole.has(w.role) || byPath(w.path)
}

/** The rule that a text breaks, or undefined. */
export function targetProblem(pattern: string): string | undefined {
  if (pattern.includes('\0')) return 'a pattern must not contain NUL'
  if (!pattern.startsWith('@') || (roles as readonly string[]).includes(pattern.slice(1))) return undefined
  return `unknown role ${JSON.stringify(pattern)}${suggestion(
    pattern,
    roles.map((r) => `@${r}`),
  )}`
}

/**
 * The weights of `model` that are meant. A target that fits nothing is ERR_RECIPE with the nearest path: a typing error must not silently
 * leave a layer uncompressed. A role, and `ignore`, may fit nothing (presets serve models that have no tables). A weight that several layers share is there once,
 * and not at all where one of its places is to be ignored.
 */
export function selectTargets(model: Model, where: Where, ownRoles: readonly WeightRole[], pointer = ''): PlacedWeight[] {
  const all = model.weights()
  const ignored = matcher(where.ignore ?? [])
  const spared = new Set(all.filter(ignored).map((w) => w.weight))
  if (!where.targets)
    return once(
      all.filter((w) => ownRoles.includes(w.role) && !spared.has(w.weight)),
      ownRoles,
    )
  where.targets.forEach((pattern, i) => {
    const fits = matcher([pattern])
    if (pattern.startsWith('@') || all.some(fits)) return
    throw new RecipeError(
      'ERR_RECIPE',
      `recipe ${pointer}/targets/${i}: ${JSON.stringify(pattern)} fits no weight of ${model.info.name}${suggestion(
        pattern,
        all.map((w) => w.path),
      )}`,
      {
        details: { pointer: `${pointer}/targets/${i}` },
      },
    )
  })
  const wanted = matcher(where.targets)
  return once(
    all.filter((w) => wanted(w) && !spared.has(w.weight)),
    ownRoles,
  )
}

/**
 * A weight that several layers share (a table that is also the head) is one target: at the first place that multiplies with it, of those whose role the pass is
 * for. What a pass makes of it goes to every place (`Model.withWeights`).
 */
function once(found: readonly PlacedWeight[], ownRoles: readonly WeightRole[]): PlacedWeight[] {
  const rank = ({ role }: PlacedWeight): number => (ownRoles.includes(role) ? 0 : 2) + (role === 'table' || role === 'vector' ? 1 : 0)
  const best = new Map<Weight, PlacedWeight>()
  for (const w of found) {
    const known = best.get(w.weight)
    if (!known || rank(w) < rank(known)) best.set(w.weight, w)
  }
  return found.filter((w) => best.get(w.weight) === w)
}
