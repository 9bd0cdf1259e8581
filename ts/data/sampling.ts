/** Which samples, in which order: lists of indices that depend on nothing but labels and seed. */
import { OptionError } from '../base/errors.js'
import { Rng, shuffle, shuffleInPlace } from '../base/rng.js'

/** The indices of each class, in rising order. */
export function indicesByClass(labels: ArrayLike<number>, classes: number): Uint32Array[] {
  const lists: number[][] = Array.from({ length: classes }, () => [])
  for (let i = 0; i < labels.length; i++) lists[labels[i]!]!.push(i)
  return lists.map((list) => Uint32Array.from(list))
}

function classCount(labels: ArrayLike<number>): number {
  let most = -1
  for (let i = 0; i < labels.length; i++) most = Math.max(most, labels[i]!)
  return most + 1
}

export interface SplitOptions {
  readonly seed: number
  /** Samples of the second part: a number >= 1, or a share below 1. */
  readonly heldOut: number
  /** `'proportional'` (default) keeps the shares of the classes, `'balanced'` takes as many of each, `'none'` ignores the labels. */
  readonly stratify?: 'proportional' | 'balanced' | 'none'
}

export interface Split {
  readonly train: Uint32Array
  readonly heldOut: Uint32Array
}

/** Shares out `total` in proportion to `weights`; what is left over goes to the largest fractions, ties to the first. */
export function apportion(weights: readonly number[], total: number): number[] {
  const all = weights.reduce((a, b) => a + b, 0)
  const exact = weights.map((w) => (total * w) / all)
  const counts = exact.map(Math.floor)
  const left = total - counts.reduce((a, b) => a + b, 0)
  const order = exact.map((q, i) => ({ i, rest: q - Math.floor(q) })).sort((a, b) => b.rest - a.rest || a.i - b.i)
  for (const { i } of order.slice(0, left)) counts[i]!++
  return counts
}

/** Splits samples in two, by seed; both parts are in rising order. */
export function splitIndices(labels: ArrayLike<number>, { seed, heldOut, stratify = 'proportional' }: SplitOptions): Split {
  const n = labels.length
  const count = heldOut < 1 ? Math.round(heldOut * n) : heldOut
  if (!Number.isSafeInteger(count) || count < 0 || count > n)
    throw new OptionError('ERR_OPTION', `split: heldOut must be a share in [0, 1) or an integer in [1, ${n}], got ${heldOut}`)
  const groups = stratify === 'none' ? [Uint32Array.from({ length: n }, (_, i) => i)] : indicesByClass(labels, classCount(labels))
  const wanted =
    stratify === 'none'
      ? [count]
      : apportion(
          groups.map((g) => (stratify === 'balanced' ? 1 : g.length)),
          count,
        )
  const isHeldOut = new Uint8Array(n)
  groups.forEach((group, c) => {
    if (wanted[c]! > group.length)
      throw new OptionError('ERR_OPTION', `split: class ${c} has ${group.length} samples, ${wanted[c]} were asked for`, {
        details: { class: c },
      })
    shuffleInPlace(group, Rng.of(seed, 'split', c))
    for (const i of group.subarray(0, wanted[c])) isHeldOut[i] = 1
  })
  const all = Uint32Array.from({ length: n }, (_, i) => i)
  return { train: all.filter((i) => isHeldOut[i] === 0), heldOut: all.filter((i) => isHeldOut[i] === 1) }
}

/** `perClass` samples of every class, mixed. */
export function balancedSample(labels: ArrayLike<number>, perClass: number, seed: number): Uint32Array {
  const picked = indicesByClass(labels, classCount(labels)).flatMap((group, c) => {
    if (!Number.isSafeInteger(perClass) || perClass < 0 || perClass > group.length)
      throw new OptionError('ERR_OPTION', `balancedSample: class ${c} has ${group.length} samples, ${perClass} were asked for`)
    shuffleInPlace(group, Rng.of(seed, 'balanced', c))
    return [...group.subarray(0, perClass)]
  })
  shuffleInPlace(picked, Rng.of(seed, 'balanced'))
  return Uint32Array.from(picked)
}

/**
 * An epoch in which every class stands equally often: the largest class once, smaller ones repeated (each sample of a class is used
 * once before any is used again).
 */
export function balancedEpoch(labels: ArrayLike<number>, seed: number, epoch: number): Uint32Array {
  const groups = indicesByClass(labels, classCount(labels)).filter((g) => g.length > 0)
  const most = Math.max(0, ...groups.map((g) => g.length))
  const order = groups.flatMap((group, c) => {
    const rng = Rng.of(seed, 'balanced epoch', epoch, c)
    const list: number[] = []
    while (list.length < most) {
      shuffleInPlace(group, rng)
      list.push(...group.subarray(0, most - list.length))
    }
    return list
  })
  return Uint32Array.from(shuffle(order.length, seed, epoch), (i) => order[i]!)
}
