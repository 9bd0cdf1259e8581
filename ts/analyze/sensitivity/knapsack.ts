/**
 * The multiple-choice knapsack, exactly: one option of each item, the sum of costs least, the sum of sizes within the budget. Dynamic programming over the
 * states that no other state beats in both size and cost (Nemhauser & Ullmann 1969), less those that even the continuous relaxation (Sinha & Zoltners 1979)
 * cannot bring below a solution that is known. Sizes may be any finite numbers >= 0 (bytes, milliseconds); costs any finite numbers.
 *
 * For mixed precision: items are layers, options their bit widths (HAWQ-v3, Yao et al. 2021, solves the same integer program by branch and cut).
 */
import { LimitError, NumericError, OptionError } from '../../base/errors.js'

export interface KnapsackOption {
  readonly size: number
  readonly cost: number
}

export interface KnapsackOptions {
  /** May the option `next` of an item follow the option `previous` of the item before? Default: always. */
  readonly follows?: (previous: number, next: number) => boolean
  /** Most states that are kept for one item, ERR_LIMIT beyond; default 4 million. */
  readonly maxStates?: number
}

export interface KnapsackResult {
  /** Index of the option of each item. */
  readonly picks: readonly number[]
  readonly size: number
  readonly cost: number
}

interface State {
  readonly size: number
  readonly cost: number
  readonly pick: number
  readonly from: State | undefined
}

/** A step along the lower hull of an item's options: more size for less cost. */
interface Step {
  readonly item: number
  readonly size: number
  readonly gain: number
}

type Item = readonly KnapsackOption[]

/** Smallest option; of equal ones the cheapest. */
const least = (options: Item): KnapsackOption =>
  options.reduce((a, b) => (b.size < a.size || (b.size === a.size && b.cost < a.cost) ? b : a))

/** Steps from the smallest option along the hull, the steepest first. */
function hull(options: Item, item: number): Step[] {
  const steps: Step[] = []
  for (let at = least(options); ;) {
    let best: KnapsackOption | undefined
    let slope = 0
    for (const o of options) {
      if (!(o.size > at.size && o.cost < at.cost)) continue
      const s = (at.cost - o.cost) / (o.size - at.size)
      if (s > slope || (s === slope && best && o.size > best.size)) [best, slope] = [o, s]
    }
    if (!best) return steps
    steps.push({ item, size: best.size - at.size, gain: at.cost - best.cost })
    at = best
  }
}

/** The least cost of items first, first + 1, ... in a room, were they divisible: a lower bound. */
class Relaxation {
  readonly #sizes: number[] = [0]
  readonly #gains: number[] = [0]

  constructor(
    steps: readonly Step[],
    first: number,
    readonly leastSize: number,
    readonly costAtLeast: number,
  ) {
    for (const { item, size, gain } of steps) {
      if (item < first) continue
      this.#sizes.push(this.#sizes.at(-1)! + size)
      this.#gains.push(this.#gains.at(-1)! + gain)
    }
  }

  bound(room: number): number {
    const free = room - this.leastSize
    const sizes = this.#sizes
    let [lo, hi] = [0, sizes.length - 1]
    while (lo < hi) {
      const mid = (lo + hi + 1) >> 1
      if (sizes[mid]! <= free) lo = mid
      else hi = mid - 1
    }
    const part = lo + 1 < sizes.length ? Math.max(0, free - sizes[lo]!) / (sizes[lo + 1]! - sizes[lo]!) : 0
    const gain = part > 0 ? this.#gains[lo]! + part * (this.#gains[lo + 1]! - this.#gains[lo]!) : this.#gains[lo]!
    return this.costAtLeast - gain
  }
}

/** Cost of the relaxation's whole steps that fit: an upper bound where every option may follow every other. */
function greedyCost(items: readonly Item[], steps: readonly Step[], budget: number): number {
  let room = budget - items.reduce((n, o) => n + least(o).size, 0)
  let cost = items.reduce((n, o) => n + least(o).cost, 0)
  const closed = new Set<number>()
  for (const { item, size, gain } of steps) {
    if (closed.has(item)) continue
    if (size > room) closed.add(item)
    else [room, cost] = [room - size, cost - gain]
  }
  return cost
}

function check(items: readonly Item[], budget: number): void {
  if (items.length === 0 || items.some((o) => o.length === 0))
    throw new OptionError('ERR_OPTION', 'knapsack: needs at least one item, and an option for each')
  if (Number.isNaN(budget)) throw new OptionError('ERR_OPTION', 'knapsack: the budget must be a number, got NaN')
  items.forEach((options, i) => {
    for (const { size, cost } of options)
      if (!Number.isFinite(size) || size < 0 || !Number.isFinite(cost))
        throw new NumericError('ERR_NUMERIC', `knapsack: item ${i} has an option of size ${size} and cost ${cost}`, {
          details: { index: i },
        })
  })
}

/** States that no other state of the list beats: sizes rise, costs fall. */
function undominated(states: State[]): State[] {
  states.sort((a, b) => a.size - b.size || a.cost - b.cost)
  const kept: State[] = []
  for (const s of states) if (kept.length === 0 || s.cost < kept.at(-1)!.cost) kept.push(s)
  return kept
}

/**
 * Solves it. Of solutions of equal cost the smallest.
 *
 * - the smallest choice is above the budget: ERR_OPTION with `details.smallest`
 * - no items, an item without options, a budget that is NaN: ERR_OPTION; sizes or costs that are not finite: ERR_NUMERIC
 *
 * @example
 * knapsack([[{ size: 1, cost: 9 }, { size: 2, cost: 4 }], [{ size: 1, cost: 3 }, { size: 2, cost: 1 }]], 3).picks // [1, 0]
 */
export function knapsack(items: readonly Item[], budget: number, { follows, maxStates = 4e6 }: KnapsackOptions = {}): KnapsackResult {
  check(items, budget)
  const steps = items.flatMap(hull).sort((a, b) => b.gain / b.size - a.gain / a.size || a.item - b.item)
  const tails = items.map(least)
  let leastSize = tails.reduce((n, o) => n + o.size, 0)
  let costAtLeast = tails.reduce((n, o) => n + o.cost, 0)
  // Sums of floats in another order differ in their last bits: neither the budget nor the bound may turn on them.
  const slack = 1e-12 * items.reduce((n, o) => n + Math.max(...o.map(({ cost }) => Math.abs(cost))), 0)
  const limit = budget + (Number.isFinite(budget) ? 1e-12 * Math.abs(budget) : 0)
  const ceiling = (follows || leastSize > limit ? Infinity : greedyCost(items, steps, budget)) + slack
  // One list where everything may follow; else one for each option of the item before.
  let lists: State[][] = [[{ size: 0, cost: 0, pick: -1, from: undefined }]]
  let lastPicks: number[] = [-1]
  for (const [i, options] of items.entries()) {
    leastSize -= tails[i]!.size
    costAtLeast -= tails[i]!.cost
    const rest = new Relaxation(steps, i + 1, Math.max(0, leastSize), costAtLeast)
    const reach = (pick: number): State[] => {
      const { size, cost } = options[pick]!
      return lists.flatMap((list, l) =>
        follows && lastPicks[l]! >= 0 && !follows(lastPicks[l]!, pick)
          ? []
          : list.flatMap((from) => {
              const next = { size: from.size + size, cost: from.cost + cost, pick, from }
              if (next.size + rest.leastSize > limit) return []
              return next.cost + rest.bound(limit - next.size) > ceiling ? [] : [next]
            }),
      )
    }
    const reached = options.map((_, pick) => reach(pick))
    lists = (follows ? reached : [reached.flat()]).map(undominated)
    lastPicks = follows ? options.map((_, pick) => pick) : [-1]
    const states = lists.reduce((n, list) => n + list.length, 0)
    if (states > maxStates)
      throw new LimitError('ERR_LIMIT', `knapsack: ${states} states after item ${i} of ${items.length}, at most ${maxStates} are kept`)
  }
  const ends = lists.flat().sort((a, b) => a.cost - b.cost || a.size - b.size)
  if (ends.length === 0) throw tooSmall(items, budget, follows)
  const end = ends[0]!
  const picks: number[] = []
  for (let s: State | undefined = end; s?.from; s = s.from) picks.unshift(s.pick)
  return { picks, size: end.size, cost: end.cost }
}

function tooSmall(items: readonly Item[], budget: number, follows?: KnapsackOptions['follows']): OptionError {
  const free = items.map((options) => options.map(({ size }) => ({ size, cost: size })))
  const smallest = follows ? knapsack(free, Infinity, { follows }).size : free.reduce((n, o) => n + least(o).size, 0)
  return new OptionError('ERR_OPTION', `knapsack: the budget must be at least ${smallest}, the smallest choice, got ${budget}`, {
    details: { smallest, budget },
  })
}
