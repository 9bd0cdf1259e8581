/**
 * Bits for each layer under a budget, by sensitivities: the exact optimum (HAWQ-v3's integer program with HAWQ-v2's costs), and two controls that spend the same
 * budget by the same rule on wrong figures: those of the layers in reverse order of sensitivity (Q-BERT's control), and in random order.
 */
import { OptionError } from '../../base/errors.js'
import { Rng, shuffleInPlace } from '../../base/rng.js'
import { knapsack } from './knapsack.js'
import type { GroupSensitivity, Sensitivities } from './types.js'

export const rules = ['optimal', 'reversed', 'random'] as const
export type AssignmentRule = (typeof rules)[number]

export interface AssignOptions {
  readonly rule?: AssignmentRule
  /** Never fewer bits for a more sensitive group; default false. */
  readonly monotone?: boolean
  /** Of the random control. */
  readonly seed?: number
  /** Milliseconds of each group by its choices, in their order: then the budget is in milliseconds. */
  readonly times?: Readonly<Record<string, readonly number[]>>
}

export interface BitAssignment {
  /** By name of the group. */
  readonly bits: Readonly<Record<string, number>>
  /** Of all groups, in a file. */
  readonly bytes: number
  /** Of all groups, where times were given. */
  readonly ms?: number
  /** By how much the loss rises by the true figures, whatever the rule. */
  readonly cost: number
}

/** Costs of a group's choices as if its sensitivity were another: they scale with it. */
function costsAs(group: GroupSensitivity, sensitivity: number): number[] {
  if (group.sensitivity === sensitivity) return group.choices.map(({ cost }) => cost)
  return group.choices.map(({ perturbation }) => (sensitivity * perturbation) / 2)
}

/** The sensitivity that each group is taken to have. */
function believed(groups: readonly GroupSensitivity[], rule: AssignmentRule, seed: number): number[] {
  const own = groups.map((g) => g.sensitivity)
  if (rule === 'optimal') return own
  if (rule === 'random') {
    const mixed = [...own]
    shuffleInPlace(mixed, Rng.of(seed, 'bit assignment'))
    return mixed
  }
  const order = own.map((_, i) => i).sort((a, b) => own[a]! - own[b]! || a - b)
  const out = [...own]
  order.forEach((g, rank) => (out[g] = own[order[order.length - 1 - rank]!]!))
  return out
}

/**
 * The assignment of least cost whose bytes (or milliseconds) are within the budget.
 *
 * - a budget below the smallest assignment: ERR_OPTION with `details.smallest`
 *
 * @example
 * const s = sensitivities(model, data, { quantize })
 * const { bits } = assignBits(await s, 40_000)   // { fc1.weight: 2, fc2.weight: 4 }
 */
export function assignBits({ groups }: Pick<Sensitivities, 'groups'>, budget: number, options: AssignOptions = {}): BitAssignment {
  const { rule = 'optimal', monotone = false, seed = 0, times } = options
  if (!rules.includes(rule)) throw new OptionError('ERR_OPTION', `assignBits: rule must be one of ${rules.join(', ')}, got ${rule}`)
  const sensitivity = believed(groups, rule, seed)
  const order = groups.map((_, i) => i)
  if (monotone) order.sort((a, b) => sensitivity[b]! - sensitivity[a]! || a - b)
  const sizeOf = (g: GroupSensitivity, b: number): number => {
    if (!times) return g.choices[b]!.bytes
    const ms = times[g.name]?.[b]
    if (ms === undefined) throw new OptionError('ERR_OPTION', `assignBits: no time was given for ${g.choices[b]!.bits} bits of ${g.name}`)
    return ms
  }
  const items = order.map((i) => {
    const costs = costsAs(groups[i]!, sensitivity[i]!)
    return groups[i]!.choices.map((_, b) => ({ size: sizeOf(groups[i]!, b), cost: costs[b]! }))
  })
  const follows = monotone ? monotoneIn(order.map((i) => groups[i]!)) : undefined
  const { picks, size } = knapsack(items, budget, follows ? { follows } : {})
  const chosen = order.map((i, at) => ({ group: groups[i]!, choice: groups[i]!.choices[picks[at]!]! }))
  const bitsOf = new Map(chosen.map(({ group, choice }) => [group.name, choice.bits]))
  return {
    bits: Object.fromEntries(groups.map(({ name }) => [name, bitsOf.get(name)!])),
    bytes: chosen.reduce((n, { choice }) => n + choice.bytes, 0),
    ...(times ? { ms: size } : {}),
    cost: chosen.reduce((n, { choice }) => n + choice.cost, 0),
  }
}

/** Choices by rising bits, the same ones for every group: bits must not rise from a group to a less sensitive one. */
function monotoneIn(groups: readonly GroupSensitivity[]): (previous: number, next: number) => boolean {
  const bits = groups[0]!.choices.map((c) => c.bits)
  const odd = groups.find((g) => g.choices.some((c, i) => c.bits !== bits[i]))
  if (odd)
    throw new OptionError('ERR_OPTION', `assignBits: monotone bits need the same choices for all groups; those of ${odd.name} differ`)
  return (previous, next) => bits[next]! <= bits[previous]!
}
