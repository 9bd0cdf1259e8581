/** Bit widths to choose from, and what a group of weights costs at each of them. */
import { OptionError } from '../../base/errors.js'
import type { PlacedWeight, Weight } from '../../nn/index.js'
import { innerProduct, sub } from '../../ops/index.js'
import { scope } from '../../tensor/index.js'
import { groupFacts, type WeightGroup } from './groups.js'
import type { GroupSensitivity, Sensitivities } from './types.js'

/** Stands for a weight that stays as it is. */
export const KEEP = 32

/** A target's weight in so many bits; belongs to the caller. */
export type Quantize = (target: PlacedWeight, bits: number) => Promise<Weight>

/** Distinct, rising, each 2 to 8 or 32. */
export function checkBits(where: string, bits: readonly number[]): number[] {
  const wrong = bits.find((b) => !Number.isInteger(b) || b < 2 || (b > 8 && b !== KEEP))
  if (wrong !== undefined || bits.length === 0)
    throw new OptionError('ERR_OPTION', `${where}: bits must be 2 to 8, or ${KEEP} for weights as they are; got ${wrong ?? 'none'}`)
  return [...new Set(bits)].sort((a, b) => a - b)
}

export interface Rounded {
  readonly bits: number
  readonly bytes: number
  /** ||Q(W) - W||^2; a weight that several layers share counts once. */
  readonly perturbation: number
}

export async function roundGroup(
  group: WeightGroup,
  choices: readonly number[],
  quantize: Quantize,
  breathe: () => Promise<void>,
): Promise<Rounded[]> {
  const found: Rounded[] = []
  for (const bits of choices) {
    let [bytes, perturbation] = [0, 0]
    const seen = new Set<Weight>()
    for (const target of group.targets) {
      await breathe()
      const made = bits === KEEP ? undefined : await quantize(target, bits)
      bytes += (made ?? target.weight).bytes()
      if (made && !seen.has(target.weight)) perturbation += squaredDistance(made, target.weight)
      seen.add(target.weight)
      made?.dispose()
    }
    found.push({ bits, bytes, perturbation })
  }
  return found
}

function squaredDistance(a: Weight, b: Weight): number {
  return scope(() => {
    const d = sub(a.dense(), b.dense())
    return innerProduct(d, d)
  })
}

/** By name of the group: its sensitivity, or its cost by bits. */
export type KnownSensitivities = Readonly<Record<string, number | Readonly<Record<string, number>>>>

/** Sensitivities that are known already: only bytes and distances are found. ERR_OPTION where one is missing. */
export async function knownSensitivities(
  where: string,
  groups: readonly WeightGroup[],
  choices: readonly number[],
  known: KnownSensitivities,
  quantize: Quantize,
  breathe: () => Promise<void>,
): Promise<GroupSensitivity[]> {
  checkKnown(where, groups, choices, known)
  const out: GroupSensitivity[] = []
  for (const group of groups) {
    const figure = known[group.name]!
    const rounded = await roundGroup(group, choices, quantize, breathe)
    const costs = rounded.map(({ bits, perturbation }) => (typeof figure === 'number' ? (figure * perturbation) / 2 : figure[bits]!))
    const { perturbation } = rounded[0]!
    const sensitivity = typeof figure === 'number' ? figure : perturbation > 0 ? (2 * costs[0]!) / perturbation : 0
    out.push({ ...groupFacts(group), sensitivity, choices: rounded.map((r, i) => ({ ...r, cost: costs[i]! })) })
  }
  return out
}

/** What a recipe says of them. */
export function knownFrom({ method, groups }: Pick<Sensitivities, 'method' | 'groups'>): KnownSensitivities {
  const costs = (g: GroupSensitivity): Record<string, number> => Object.fromEntries(g.choices.map(({ bits, cost }) => [String(bits), cost]))
  return Object.fromEntries(groups.map((g) => [g.name, method === 'direct' ? costs(g) : g.sensitivity]))
}

/** ERR_OPTION unless every group has its sensitivity, or a cost for each of the bits. */
export function checkKnown(where: string, groups: readonly WeightGroup[], choices: readonly number[], known: KnownSensitivities): void {
  for (const { name } of groups) {
    const figure = Object.hasOwn(known, name) ? known[name]! : undefined
    const missing = typeof figure === 'object' ? choices.find((bits) => figure[bits] === undefined) : undefined
    if (figure !== undefined && missing === undefined) continue
    throw new OptionError(
      'ERR_OPTION',
      `${where}: the sensitivities that were given have none of ${name}${figure ? ` at ${missing} bits` : ''}`,
      {
        details: { group: name },
      },
    )
  }
}
