/** From sensitivities and a budget to quantized weights whose file is within it. */
import { assignBits, KEEP, type BitAssignment, type Budget, type LayerTimes, type WeightGroup } from '../../analyze/sensitivity/index.js'
import type { AssignOptions, Sensitivities } from '../../analyze/sensitivity/index.js'
import { InternalError, isTersorError, OptionError } from '../../base/errors.js'
import type { Model, PlacedWeight, QuantizedWeight, Weight } from '../../nn/index.js'

export type Rounder = (target: PlacedWeight, bits: number) => Promise<QuantizedWeight>

/** Weights by path with the bits that they were made with; those whose bits do not change are made once. */
export class RoundedWeights {
  readonly #made = new Map<string, { readonly bits: number; readonly weight: QuantizedWeight }>()

  constructor(
    private readonly groups: readonly WeightGroup[],
    private readonly round: Rounder,
  ) {}

  async set(bitsOf: (group: string) => number, breathe: () => Promise<void>): Promise<void> {
    for (const { name, targets } of this.groups)
      for (const target of targets) {
        await breathe()
        const bits = bitsOf(name)
        const now = this.#made.get(target.path)
        if (now?.bits === bits) continue
        now?.weight.dispose()
        this.#made.delete(target.path)
        if (bits !== KEEP) this.#made.set(target.path, { bits, weight: await this.round(target, bits) })
      }
  }

  /** Exchanges one for another of the same bits. */
  replace(path: string, weight: QuantizedWeight): void {
    const { bits, weight: old } = this.#made.get(path)!
    this.#made.set(path, { bits, weight })
    old.dispose()
  }

  weights(): ReadonlyMap<string, Weight> {
    return new Map([...this.#made].map(([path, { weight }]) => [path, weight]))
  }

  bitsOf(path: string): number {
    return this.#made.get(path)?.bits ?? KEEP
  }

  dispose(): void {
    for (const { weight } of this.#made.values()) weight.dispose()
    this.#made.clear()
  }
}

export interface BudgetFacts {
  readonly where: string
  readonly model: Model
  readonly groups: readonly WeightGroup[]
  readonly budget: Budget
  /** Of the file that the budget is a share of. */
  readonly sourceBytes: number
  readonly fileBytes: (model: Model) => number
  readonly breathe: () => Promise<void>
}

const bytesIn = (groups: readonly WeightGroup[], weights: ReadonlyMap<string, Weight>): number =>
  groups.reduce((n, g) => n + g.targets.reduce((m, t) => m + (weights.get(t.path) ?? t.weight).bytes(), 0), 0)

function tooSmall(where: string, what: string, smallest: number, asked: number, unit: string): OptionError {
  const shown = (v: number): string => (unit === 'ms' ? v.toPrecision(4) : String(v))
  return new OptionError(
    'ERR_OPTION',
    `${where}: the budget must be at least ${shown(smallest)} ${unit}, ${what}; got ${shown(asked)} ${unit}`,
    { details: { smallest, budget: asked, pointer: '/budget' } },
  )
}

/** Whole bytes of a file, or undefined for a budget of time. */
export function bytesOf({ kind, value }: Budget, sourceBytes: number): number | undefined {
  return kind === 'ms' ? undefined : kind === 'bytes' ? value : Math.floor(sourceBytes / value)
}

/**
 * Fails when even the fewest bits are over the budget, before anything is measured; gives the bytes of the file that are not of the targets. ERR_OPTION says
 * what is possible at least (`details.smallest`).
 */
export async function checkBudget(facts: BudgetFacts, rounded: RoundedWeights, fewest: number, times?: LayerTimes): Promise<number> {
  const { where, model, groups, budget, sourceBytes, fileBytes, breathe } = facts
  await rounded.set(() => fewest, breathe)
  const smallest = fileBytes(model.withWeights(rounded.weights()))
  const bytes = bytesOf(budget, sourceBytes)
  if (bytes !== undefined && smallest > bytes) throw tooSmall(where, `the file at ${fewest} bits everywhere`, smallest, bytes, 'bytes')
  if (times && budget.kind === 'ms') {
    const least = Object.values(times.groups).reduce((n, list) => n + Math.min(...list), times.rest)
    if (least > budget.value) throw tooSmall(where, 'the fastest choice of every layer as it was measured', least, budget.value, 'ms')
  }
  return smallest - bytesIn(groups, rounded.weights())
}

/** Assigns bits and makes the weights. The header of a file depends on the bits by some bytes: what it really has is fed back until the file fits. */
export async function fitBudget(
  facts: BudgetFacts,
  rounded: RoundedWeights,
  found: Pick<Sensitivities, 'groups'>,
  rest: number,
  options: AssignOptions & { readonly layerTimes?: LayerTimes | undefined },
): Promise<BitAssignment & { readonly fileBytes: number }> {
  const { where, model, groups, budget, sourceBytes, fileBytes, breathe } = facts
  const { layerTimes, ...assign } = options
  const bytes = bytesOf(budget, sourceBytes)
  for (let tries = 0; tries < 16; tries++) {
    const room = bytes === undefined ? budget.value - layerTimes!.rest : bytes - rest
    let chosen: BitAssignment
    try {
      chosen = assignBits(found, room, { ...assign, ...(bytes === undefined ? { times: layerTimes!.groups } : {}) })
    } catch (error) {
      // The header grew by some bytes and nothing but the fewest bits is left: they fit, that was checked.
      const fewest = found.groups[0]!.choices[0]!.bits
      if (tries === 0 || bytes === undefined || !isTersorError(error) || error.code !== 'ERR_OPTION') throw error
      chosen = assignBits(found, Math.max(room, Number(error.details.smallest)), { ...assign })
      if (Object.values(chosen.bits).some((b) => b !== fewest)) throw error
    }
    await rounded.set((name) => chosen.bits[name]!, breathe)
    const file = fileBytes(model.withWeights(rounded.weights()))
    if (bytes === undefined || file <= bytes) return { ...chosen, fileBytes: file }
    rest = Math.max(rest + 1, file - bytesIn(groups, rounded.weights()))
  }
  throw new InternalError('ERR_INTERNAL', `${where}: no assignment was found within ${bytes} bytes`)
}
