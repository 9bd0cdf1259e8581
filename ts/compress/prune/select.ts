/**
 * Which weights stay: exactly as many as asked for, those with the largest scores, ties by position. A weight that is already pruned never
 * comes back: its score lies below every other.
 */
import { topkMask } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { keptAt } from './amount.js'

export type Scope = 'local' | 'global'

/** Scores of one weight and, where it has been pruned before, its mask. */
export interface Candidate {
  readonly path: string
  /** >= 0. */
  readonly scores: Float32Array
  readonly mask: Uint8Array | null
}

const PRUNED = -1

export function countBits(mask: Uint8Array): number {
  let n = 0
  for (let byte of mask) for (; byte; byte &= byte - 1) n++
  return n
}

const survivors = (c: Candidate): number => (c.mask ? countBits(c.mask) : c.scores.length)

/** Puts scores into `out` from `at` on, with pruned positions below all others. */
function place(c: Candidate, out: Float32Array, at: number): void {
  out.set(c.scores, at)
  if (!c.mask) return
  for (let i = 0; i < c.scores.length; i++) if (!((c.mask[i >> 3]! >> (i & 7)) & 1)) out[at + i] = PRUNED
}

function best(scores: Float32Array, k: number): Uint8Array {
  return scope(() => topkMask(tensor(scores), k).read()) as Uint8Array
}

/** Base of a density: all weights, or those that were there when an iterative pruning began. */
export type BaseOf = (c: Candidate) => number

/**
 * New masks by path at `density`. local: in each weight as large a share; global: over all together. `base` gives the number that density
 * refers to.
 */
export function selectMasks(candidates: readonly Candidate[], by: Scope, density: number, base: BaseOf): Map<string, Uint8Array> {
  if (by === 'local')
    return new Map(
      candidates.map((c) => {
        const scores = new Float32Array(c.scores.length)
        place(c, scores, 0)
        return [c.path, best(scores, Math.min(survivors(c), keptAt(base(c), density)))]
      }),
    )
  // All scores in one row. Each weight begins at a whole byte of the mask, so that its part can be cut out; the gaps score lowest.
  const room = (c: Candidate): number => Math.ceil(c.scores.length / 8) * 8
  const all = new Float32Array(candidates.reduce((n, c) => n + room(c), 0)).fill(-Infinity)
  let at = 0
  for (const c of candidates) {
    place(c, all, at)
    at += room(c)
  }
  const total = candidates.reduce((n, c) => n + base(c), 0)
  const left = candidates.reduce((n, c) => n + survivors(c), 0)
  const mask = best(all, Math.min(left, keptAt(total, density)))
  at = 0
  return new Map(
    candidates.map((c) => {
      const own = mask.slice(at / 8, (at + room(c)) / 8)
      at += room(c)
      return [c.path, own]
    }),
  )
}
