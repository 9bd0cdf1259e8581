/** When how much goes: the rounds of a pruning, from its options. Pure arithmetic. */
import { OptionError } from '../../base/errors.js'
import { densities, densityFor, type ModelCounts } from './amount.js'
import { formOf, type PruneOptions } from './options.js'

/** To a density, or to a threshold per layer. */
export type Round = { readonly density: number } | { readonly quality: number }

/** The rounds; ERR_OPTION when what cannot be pruned is more than what may stay. */
export function roundsOf(where: string, o: PruneOptions, counts: ModelCounts): Round[] {
  const structure = formOf(o)
  if (structure.kind === 'nm') return [{ density: structure.n / structure.m }]
  if (o.quality !== undefined) return [o.quality].flat().map((q) => ({ quality: q }))
  if (o.compression !== undefined && densityFor(o.compression, counts) <= 0) {
    const rest = counts.total - counts.prunable
    throw new OptionError(
      'ERR_OPTION',
      `${where}: compression ${o.compression} leaves ${Math.floor(counts.total / o.compression)} of ${counts.total} weights, and ${rest} are not pruned; less than ${(counts.total / Math.max(1, rest)).toFixed(2)} is possible`,
      { details: { pointer: '/compression' } },
    )
  }
  return densities(o, counts).map((density) => ({ density }))
}
