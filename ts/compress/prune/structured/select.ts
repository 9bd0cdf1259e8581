/** Which units go: pure arithmetic over scores. Ties go to the lower number; no group is emptied. */
import { OptionError } from '../../../base/errors.js'
import type { Normalizer } from './options.js'

/** The units of a group that are still there. */
export interface Scored {
  readonly name: string
  /** Units when the pass began. */
  readonly initial: number
  readonly units: readonly number[]
  /** One per unit, >= 0. */
  readonly scores: readonly number[]
}

export interface Rule {
  readonly scope: 'local' | 'global'
  readonly roundTo: number
  readonly limit: number
  readonly normalize: Normalizer
}

/** Units of a group that stay at least. */
export function least(initial: number, { roundTo, limit }: Pick<Rule, 'roundTo' | 'limit'>): number {
  return Math.min(initial, roundUp(Math.max(1, Math.ceil(initial * (1 - limit) - 1e-9)), roundTo))
}

function roundUp(n: number, to: number): number {
  return Math.ceil(n / to) * to
}

/** Units that stay of `initial` at a share to remove, by local choice; never more are removed than was asked for. */
export function keptLocally(initial: number, share: number, roundTo: number): number {
  return Math.min(initial, roundUp(Math.round(initial * (1 - share)), roundTo))
}

/** ERR_OPTION where a share would leave nothing of a group. */
export function checkShare(where: string, name: string, unit: string, initial: number, share: number): void {
  if (Math.round(initial * (1 - share)) >= 1) return
  throw new OptionError(
    'ERR_OPTION',
    `${where}: ratio ${share} would remove all ${initial} ${unit}s of ${name}; give at most ${((initial - 1) / initial).toFixed(4)}, or ignore it`,
    { details: { pointer: '/ratio', group: name } },
  )
}

const ascending = (scores: readonly number[]): number[] => scores.map((_, i) => i).sort((a, b) => scores[a]! - scores[b]! || a - b)

/** The units to remove for a share of all units that were there at the beginning (those that are gone already counted). */
export function selectUnits(groups: readonly Scored[], share: number, rule: Rule): Set<number> {
  const removed = new Set<number>()
  if (rule.scope === 'local') {
    for (const { initial, units, scores } of groups) {
      const stay = Math.max(1, keptLocally(initial, share, rule.roundTo))
      for (const i of ascending(scores).slice(0, Math.max(0, units.length - stay))) removed.add(units[i]!)
    }
    return removed
  }
  const all = groups.flatMap((group) => {
    const norm = normOf(group.scores, rule.normalize)
    return group.units.map((unit, i) => ({ group, unit, score: group.scores[i]! / norm }))
  })
  const total = groups.reduce((n, g) => n + g.initial, 0)
  let wanted = all.length - Math.round(total * (1 - share))
  const left = new Map(groups.map((g) => [g, g.units.length]))
  const order = all.map((_, i) => i).sort((a, b) => all[a]!.score - all[b]!.score || a - b)
  const taken: number[] = []
  for (const i of order) {
    if (wanted <= 0) break
    const { group } = all[i]!
    if (left.get(group)! <= least(group.initial, rule)) continue
    left.set(group, left.get(group)! - 1)
    taken.push(i)
    wanted--
  }
  // What stays becomes a multiple: the best of those taken come back.
  for (const i of taken.reverse()) {
    const { group, unit } = all[i]!
    if (left.get(group)! % rule.roundTo !== 0 && left.get(group)! < group.units.length) left.set(group, left.get(group)! + 1)
    else removed.add(unit)
  }
  return removed
}

function normOf(scores: readonly number[], how: Normalizer): number {
  const sum = (f: (x: number) => number): number => scores.reduce((n, x) => n + f(x), 0)
  const norms: Readonly<Record<Normalizer, () => number>> = {
    none: () => 1,
    mean: () => sum((x) => x) / scores.length,
    max: () => Math.max(...scores),
    // The 1e-20 of Michel et al.'s code.
    l2: () => Math.sqrt(sum((x) => x * x)) + 1e-20,
  }
  return norms[how]() || 1
}

/**
 * The smallest share whose choice leaves at most `goal` of the cost, by bisection; `left` gives the share of the cost that a choice leaves. ERR_OPTION where
 * the goal is out of reach.
 */
export function shareFor(
  where: string,
  what: string,
  goal: number,
  select: (share: number) => ReadonlySet<number>,
  left: (removed: ReadonlySet<number>) => number,
): number {
  const most = left(select(1))
  if (most > goal)
    throw new OptionError('ERR_OPTION', `${where}: ${what} ${goal} is out of reach: with all that may go ${most.toFixed(4)} is left`, {
      details: { pointer: `/${what}`, reachable: most },
    })
  let [low, high] = [0, 1]
  for (let i = 0; i < 24 && high - low > 1e-6; i++) {
    const middle = (low + high) / 2
    if (left(select(middle)) <= goal) high = middle
    else low = middle
  }
  return high
}
