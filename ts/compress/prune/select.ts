/**
 * Which weights stay: exactly as many as asked for, those with the largest scores, ties by position. A weight that is already pruned never
 * comes back: its score lies below every other.
 */
import { topkMask, topkMaskRows } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { apportion, keptAt } from './amount.js'
import { bitOf, bitsWhere, blockScores, blocksOf, nmBits, type Structure } from './structure.js'

/** 'local': the same share of each weight; 'row': of each row of each weight; 'global': over all of them together. */
export const scopes = ['local', 'global', 'row'] as const
export type Scope = (typeof scopes)[number]

/** Scores of one weight and, where it has been pruned before, its mask. */
export interface Candidate {
  readonly path: string
  /** Finite. */
  readonly scores: Float32Array
  readonly mask: Uint8Array | null
  /** Of the weight as a matrix; default 1. */
  readonly rows?: number
}

export function countBits(mask: Uint8Array): number {
  let n = 0
  for (let byte of mask) for (; byte; byte &= byte - 1) n++
  return n
}

export const survivors = (c: Candidate): number => (c.mask ? countBits(c.mask) : c.scores.length)

/** Puts scores into `out` from `at` on, with pruned positions below all others. */
function place(c: Candidate, out: Float32Array, at: number): void {
  out.set(c.scores, at)
  if (!c.mask) return
  for (let i = 0; i < c.scores.length; i++) if (!bitOf(c.mask, i)) out[at + i] = -Infinity
}

function placed(c: Candidate): Float32Array {
  const scores = new Float32Array(c.scores.length)
  place(c, scores, 0)
  return scores
}

function best(scores: Float32Array, k: number): Uint8Array {
  return scope(() => topkMask(tensor(scores), k).read()) as Uint8Array
}

/** What is in both; a mask never grows. */
function within(mask: Uint8Array, before: Uint8Array | null): Uint8Array {
  return before ? mask.map((byte, i) => byte & before[i]!) : mask
}

/** Base of a density: all weights, or those that were there when an iterative pruning began. */
export type BaseOf = (c: Candidate) => number

/** Masks of exactly `kept(c)` weights of each candidate (fewer where fewer are left). */
export function keepLocal(candidates: readonly Candidate[], kept: (c: Candidate, i: number) => number): Map<string, Uint8Array> {
  return new Map(candidates.map((c, i) => [c.path, best(placed(c), Math.min(survivors(c), kept(c, i)))]))
}

/** Masks of exactly `kept` weights of all candidates together (fewer where fewer are left). */
export function keepGlobal(candidates: readonly Candidate[], kept: number): Map<string, Uint8Array> {
  // All scores in one row. Each weight begins at a whole byte of the mask, so that its part can be cut out; the gaps score lowest.
  const room = (c: Candidate): number => Math.ceil(c.scores.length / 8) * 8
  const all = new Float32Array(candidates.reduce((n, c) => n + room(c), 0)).fill(-Infinity)
  let at = 0
  for (const c of candidates) {
    place(c, all, at)
    at += room(c)
  }
  const left = candidates.reduce((n, c) => n + survivors(c), 0)
  const mask = best(all, Math.min(left, kept))
  at = 0
  return new Map(
    candidates.map((c) => {
      const own = mask.slice(at / 8, (at + room(c)) / 8)
      at += room(c)
      return [c.path, own]
    }),
  )
}

/** Masks of exactly `kept(c)` weights of each row. */
function keepRows(candidates: readonly Candidate[], kept: (c: Candidate) => number): Map<string, Uint8Array> {
  return new Map(
    candidates.map((c) => {
      const rows = c.rows ?? 1
      const cols = c.scores.length / rows
      const mask = scope(() => topkMaskRows(tensor(placed(c), [rows, cols]), Math.min(cols, kept(c)), false).read())
      return [c.path, within(mask as Uint8Array, c.mask)]
    }),
  )
}

/**
 * New masks by path at `density`. local: in each weight as large a share; row: in each row; global: over all together. `base` gives the number that
 * density refers to. `exact`: what local scopes keep adds up to what all keep together (no rounding of its own in every weight).
 */
export function selectMasks(
  candidates: readonly Candidate[],
  by: Scope,
  density: number,
  base: BaseOf,
  exact = false,
): Map<string, Uint8Array> {
  if (by === 'row') return keepRows(candidates, (c) => keptAt(base(c) / (c.rows ?? 1), density))
  if (by === 'global')
    return keepGlobal(
      candidates,
      keptAt(
        candidates.reduce((n, c) => n + base(c), 0),
        density,
      ),
    )
  if (!exact) return keepLocal(candidates, (c) => keptAt(base(c), density))
  const counts = apportion(candidates.map(base), density)
  return keepLocal(candidates, (_c, i) => counts[i]!)
}

/** The same for a structure. Blocks are kept to the nearest whole block; N:M says itself how many stay. */
export function selectStructured(
  candidates: readonly Candidate[],
  how: { readonly scope: Scope; readonly structure: Structure; readonly exact?: boolean },
  density: number,
  base: BaseOf,
): Map<string, Uint8Array> {
  const { scope: by, structure, exact = false } = how
  if (structure.kind === 'weight') return selectMasks(candidates, by, density, base, exact)
  if (structure.kind === 'nm')
    return new Map(candidates.map((c) => [c.path, within(nmBits(placed(c), c.rows ?? 1, structure.n, structure.m), c.mask)]))
  const layouts = new Map(
    candidates.map((c) => {
      const rows = c.rows ?? 1
      return [c.path, blocksOf(rows, c.scores.length / rows, structure)] as const
    }),
  )
  const units = candidates.map((c): Candidate => {
    const blocks = layouts.get(c.path)!
    const scores = blockScores(c.scores, c.mask, blocks)
    const alive = bitsWhere(scores.length, (i) => scores[i]! > -Infinity)
    return { path: c.path, scores, mask: alive, rows: blocks.down }
  })
  const shares = new Map(candidates.map((c) => [c.path, base(c) / Math.max(1, c.scores.length)]))
  const chosen = selectMasks(units, by, density, (u) => u.scores.length * shares.get(u.path)!, exact)
  return new Map(
    candidates.map((c) => {
      const blocks = layouts.get(c.path)!
      const kept = chosen.get(c.path)!
      return [
        c.path,
        within(
          bitsWhere(c.scores.length, (i) => bitOf(kept, blocks.of(i)) === 1),
          c.mask,
        ),
      ]
    }),
  )
}

/** Han et al. 2015: what is above `quality` standard deviations of the weights that are left stays, layer by layer. Of magnitudes. */
export function selectAbove(
  candidates: readonly Candidate[],
  quality: number,
  deviation: (c: Candidate) => number,
): Map<string, Uint8Array> {
  return new Map(
    candidates.map((c) => {
      const threshold = quality * deviation(c)
      return [
        c.path,
        within(
          bitsWhere(c.scores.length, (i) => c.scores[i]! >= threshold),
          c.mask,
        ),
      ]
    }),
  )
}
