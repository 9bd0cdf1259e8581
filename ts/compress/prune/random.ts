/**
 * Random pruning: the control that every score must beat (Blalock, Gonzalez Ortiz, Frankle, Guttag, MLSys 2020). With `like: 'magnitude'` each layer loses as many
 * weights as magnitude pruning would take from it, but at random places: the control of lottery tickets (Frankle, Carbin, ICLR 2019).
 */
import { z } from 'zod'
import type { Rng } from '../../base/rng.js'
import { magnitudes, maskOf } from './candidates.js'
import { definePruning } from './define.js'
import { pruneOptions } from './options.js'
import { bitOf } from './structure.js'

/** The scores of what is left, each in another place of the same weight. */
function shuffled(scores: Float32Array, mask: Uint8Array | null, rng: Rng): Float32Array {
  const places = Array.from(scores.keys()).filter((i) => !mask || bitOf(mask, i))
  const out = scores.slice()
  for (let i = places.length - 1; i > 0; i--) {
    const j = rng.int(i + 1)
    const [a, b] = [places[i]!, places[j]!]
    ;[out[a], out[b]] = [out[b]!, out[a]!]
  }
  return out
}

export const random = definePruning({
  name: 'prune/random',
  version: 1,
  summary: 'sets weights at random places to 0: the control of every other way to prune',
  options: pruneOptions('local', {
    /** How many of each layer: as `scope` says, or as magnitude pruning with that scope would. */
    like: z.enum(['uniform', 'magnitude']).default('uniform'),
  }),
  score: {
    of: ({ targets, context, round }) =>
      new Map(
        targets.map(({ path, leaf }) => {
          const rng = context.rng('random', round, path)
          if (context.options.like === 'magnitude') return [path, shuffled(magnitudes(leaf), maskOf(leaf), rng)]
          return [path, Float32Array.from({ length: leaf.value.size }, () => rng.uniform())]
        }),
      ),
  },
})
