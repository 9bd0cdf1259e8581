/**
 * Pruning with a weight update, column by column (SparseGPT; Frantar, Alistarh, ICML 2023, algorithm 1): what a removal does to the layer's output is taken back by
 * the columns that follow. Same form as rounding with feedback (../quantize/feedback.ts): with H = U^T U, columns in the order of the factor, last first,
 *
 *   the error is |E U^T|^2, E = W - Q; once columns c > a are done the best value of column a is x_a = w_a + sum_{c > a} e_c U_ac / U_aa,
 *   and removing it costs (x_a U_aa)^2.
 *
 * Which weights of a block go is decided when the columns before it are done, by that cost.
 */
import { topkMask } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { corrections, dampedFactor, errorOf, orderOf } from '../quantize/feedback.js'
import { keptAt } from './amount.js'
import { bitOf } from './structure.js'

export interface Columns {
  /** [rows, cols]. */
  readonly values: Float32Array
  readonly rows: number
  readonly cols: number
  /** 1: may stay. What was pruned before never comes back. */
  readonly alive: Uint8Array
  /** Sum of x x^T over the layer's inputs, [cols, cols]. */
  readonly products: Float32Array
}

export interface ColumnOptions {
  /** Share that stays; or n of every m neighbours of a row. */
  readonly keep: { readonly density: number } | { readonly n: number; readonly m: number }
  /** Share of the mean of H's diagonal that is added to it. */
  readonly damping: number
  /** Columns whose weights are compared with each other. */
  readonly block: number
}

export interface Pruned {
  /** [rows, cols]: 0 where a weight was removed. */
  readonly q: Float32Array
  /** 1: stays. */
  readonly kept: Uint8Array
  /** Squared error of the outputs, and that of removing the same weights without an update. */
  readonly error: number
  readonly masked: number
}

/** One group of a layer. The number of weights that stay is exact over the group. */
export async function pruneColumns(where: string, w: Columns, o: ColumnOptions, breathe: () => Promise<void>): Promise<Pruned> {
  const { rows, cols, values, alive } = w
  const order = orderOf(w.products, cols, 'given')
  const { u } = await dampedFactor(where, w.products, order, o.damping, breathe)
  const group = 'm' in o.keep ? o.keep.m : o.block
  const block = 'm' in o.keep ? Math.max(1, Math.floor(o.block / o.keep.m)) * o.keep.m : o.block
  const [q, kept, errors] = [new Float32Array(rows * cols), new Uint8Array(rows * cols), new Float32Array(rows * cols)]
  let given = 0
  for (let end = cols; end > 0; end -= block) {
    const from = Math.max(0, end - block)
    const earlier = corrections(u, errors, { from, end, cols, rows })
    for (let high = end; high > from; high -= group) {
      const low = Math.max(from, high - group)
      // Before anything of it is removed: the values that the columns have now, and what removing each would cost.
      const now = provisional({ w, u, order, errors, earlier, from, end, low, high })
      given += choose(w, o.keep, { u, order, low, high, now, given }, kept)
      for (let a = high - 1; a >= low; a--) {
        const column = order[a]!
        const wanted = wantedOf({ w, u, errors, earlier, from, end, a })
        for (let r = 0; r < rows; r++) {
          const at = r * cols + column
          const x = kept[at] ? values[at]! + wanted[r]! / u[a * cols + a]! : 0
          q[at] = x
          errors[a * rows + r] = values[at]! - q[at]
        }
      }
    }
    await breathe()
  }
  const masked = values.map((v, i) => (kept[i] && alive[i] ? 0 : v))
  const left = values.map((v, i) => v - q[i]!)
  return { q, kept, error: errorOf(left, rows, cols, w.products), masked: errorOf(masked, rows, cols, w.products) }
}

interface Around {
  readonly w: Columns
  readonly u: Float32Array
  readonly errors: Float32Array
  readonly earlier: Float32Array | undefined
  readonly from: number
  readonly end: number
}

/** sum_{c > a} U_ac e_c per row, where `errors` holds those of this block from `a + 1` on. */
function wantedOf({ w: { rows, cols }, u, errors, earlier, from, end, a }: Around & { readonly a: number }): Float64Array {
  const wanted = new Float64Array(rows)
  if (earlier) for (let r = 0; r < rows; r++) wanted[r] = earlier[(a - from) * rows + r]!
  for (let c = a + 1; c < end; c++) {
    const factor = u[a * cols + c]!
    if (factor === 0) continue
    const at = c * rows
    for (let r = 0; r < rows; r++) wanted[r]! += factor * errors[at + r]!
  }
  return wanted
}

/** Values of columns low .. high - 1 if none of them were removed, [high - low, rows]: each then takes back what the ones before it left. */
function provisional(of: Around & { readonly order: Uint32Array; readonly low: number; readonly high: number }): Float32Array {
  const { w, u, order, errors, low, high } = of
  const { rows, cols, values, alive } = w
  const now = new Float32Array((high - low) * rows)
  for (let a = high - 1; a >= low; a--) {
    const wanted = wantedOf({ ...of, a })
    for (let r = 0; r < rows; r++) {
      const at = r * cols + order[a]!
      // What was pruned before is no column that can take anything back.
      const x = alive[at] ? values[at]! + wanted[r]! / u[a * cols + a]! : 0
      now[(a - low) * rows + r] = x
      errors[a * rows + r] = values[at]! - x
    }
  }
  return now
}

interface Choice {
  readonly u: Float32Array
  readonly order: Uint32Array
  readonly low: number
  readonly high: number
  readonly now: Float32Array
  /** Weights kept so far. */
  readonly given: number
}

/** Marks what stays of the columns; gives their number. */
function choose({ rows, cols, alive }: Columns, keep: ColumnOptions['keep'], c: Choice, kept: Uint8Array): number {
  const { u, order, low, high, now, given } = c
  const wide = high - low
  // Ties go to the lower column: the last in the order of the factor.
  const placeOf = (r: number, k: number): number => r * cols + order[high - 1 - k]!
  const cost = (r: number, k: number): number => {
    const a = high - 1 - k
    return alive[placeOf(r, k)] ? (now[(a - low) * rows + r]! * u[a * cols + a]!) ** 2 : -Infinity
  }
  let count = 0
  const take = (r: number, k: number): void => {
    if (!alive[placeOf(r, k)]) return
    kept[placeOf(r, k)] = 1
    count++
  }
  if ('m' in keep) {
    const costs = new Float64Array(wide)
    for (let r = 0; r < rows; r++) {
      for (let k = 0; k < wide; k++) costs[k] = cost(r, k)
      const best = Array.from(costs.keys()).sort((a, b) => costs[b]! - costs[a]! || a - b)
      for (const k of best.slice(0, keep.n)) take(r, k)
    }
    return count
  }
  const costs = new Float32Array(rows * wide)
  for (let r = 0; r < rows; r++) for (let k = 0; k < wide; k++) costs[r * wide + k] = cost(r, k)
  const done = cols - high
  const wanted = Math.min(
    keptAt(rows * (done + wide), keep.density) - given,
    costs.reduce((n, v) => n + (v > -Infinity ? 1 : 0), 0),
  )
  const mask = scope(() => topkMask(tensor(costs), Math.max(0, wanted)).read()) as Uint8Array
  for (let i = 0; i < costs.length; i++) if (bitOf(mask, i)) take(Math.floor(i / wide), i % wide)
  return count
}
