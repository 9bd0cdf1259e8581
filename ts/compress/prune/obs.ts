/**
 * Optimal Brain Surgeon, layer by layer (Hassibi, Stork 1992; Frantar, Singh, Alistarh, NeurIPS 2022): each row loses its weights one after the other, always the one whose
 * removal the others can make up for best, and they do. Exact where SparseGPT decides once per column, and dearer: K^3 operations per row of K columns.
 */
import { z } from 'zod'
import { NumericError } from '../../base/errors.js'
import { errorOf } from '../quantize/feedback.js'
import { keptAt } from './amount.js'
import type { Columns, Pruned } from './columns.js'
import { defineFitted, keepOf, type Keep } from './fitted.js'
import { cholesky, inverse, refit, removalOrder } from './surgeon.js'

interface Problem extends Columns {
  /** Damped second moments [cols, cols]. */
  readonly h: Float64Array
  readonly keep: Keep
  /** As many of each row, or where they cost least over all rows. */
  readonly by: 'row' | 'local'
}

/** What goes of each row, in its order. */
async function removals(where: string, p: Problem, breathe: () => Promise<void>): Promise<number[][]> {
  const { values, alive, rows, cols, h, keep } = p
  const factor = cholesky(h, cols)
  if (!factor) throw new NumericError('ERR_NUMERIC', `${where}: the second moments of the layer's input cannot be factored`)
  const inverted = inverse(factor, cols)
  const local = p.by === 'local' && 'density' in keep
  const may = (q: number, left: Uint8Array): boolean => {
    if ('density' in keep) return true
    const from = q - (q % keep.m)
    let count = 0
    for (let i = from; i < Math.min(cols, from + keep.m); i++) count += left[i]!
    return count > keep.n
  }
  const found: { readonly order: number[]; readonly costs: number[] }[] = []
  for (let r = 0; r < rows; r++) {
    const own = alive.subarray(r * cols, (r + 1) * cols)
    const present = own.reduce((n, a) => n + a, 0)
    const most = local || 'm' in keep ? cols : Math.max(0, present - keptAt(cols, keep.density))
    found.push(removalOrder(values.subarray(r * cols, (r + 1) * cols), inverted, own, most, may))
    await breathe()
  }
  if (!local) return found.map(({ order }) => order)
  return cheapest(found, alive.reduce((n, a) => n + a, 0) - keptAt(rows * cols, keep.density))
}

/** `wanted` removals: the cheapest next one of any row, again and again. Ties go to the lower row. */
function cheapest(found: readonly { readonly order: number[]; readonly costs: number[] }[], wanted: number): number[][] {
  const counts = found.map(() => 0)
  for (let left = wanted; left > 0; left--) {
    let best = -1
    let least = Infinity
    found.forEach(({ costs }, r) => {
      const cost = costs[counts[r]!] ?? Infinity
      if (cost < least) [best, least] = [r, cost]
    })
    if (best < 0) break
    counts[best]!++
  }
  return found.map(({ order }, r) => order.slice(0, counts[r]))
}

async function surgeon(where: string, p: Problem, breathe: () => Promise<void>): Promise<Pruned> {
  const { values, alive, rows, cols, h, products } = p
  const q = new Float32Array(rows * cols)
  const kept = alive.slice()
  const orders = await removals(where, p, breathe)
  for (const [r, order] of orders.entries()) {
    for (const i of order) kept[r * cols + i] = 0
    const left = Array.from({ length: cols }, (_, i) => i).filter((i) => kept[r * cols + i])
    q.set(refit(values.subarray(r * cols, (r + 1) * cols), h, left), r * cols)
    await breathe()
  }
  const error = values.map((v, i) => v - q[i]!)
  const masked = values.map((v, i) => (kept[i] ? 0 : v))
  return { q, kept, error: errorOf(error, rows, cols, products), masked: errorOf(masked, rows, cols, products) }
}

export const obs = defineFitted({
  name: 'prune/obs',
  summary: 'sets weights to 0 one by one and fits the others anew to the outputs of layers; no training',
  own: {
    /** 'row': as many of each row; 'local': where they cost least over the whole weight. */
    scope: z.enum(['row', 'local']).default('row'),
    /** Wider weights are left alone: the work grows with the third power of their columns. */
    maxColumns: z.int().positive().max(65_536).default(1024),
  },
  limit: (cols, { maxColumns }) =>
    cols > (maxColumns as number)
      ? `${cols} columns are more than maxColumns ${maxColumns as number}; prune/sparsegpt is for wide layers`
      : undefined,
  prune: (where, part, o, breathe) => {
    const { cols, products } = part
    let mean = 0
    for (let i = 0; i < cols; i++) mean += products[i * cols + i]! / cols
    const h = Float64Array.from(products, (v, i) => v + (i % (cols + 1) === 0 ? o.damping * (mean || 1) : 0))
    return surgeon(where, { ...part, h, keep: keepOf(o), by: o.scope as 'row' | 'local' }, breathe)
  },
})
