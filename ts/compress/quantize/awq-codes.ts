/** The last step of AWQ: the grids and codes of one layer, every group of its channels, and what they cost its output. */
import type { PlacedWeight } from '../../nn/index.js'
import { quantizeRows } from '../../ops/index.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import type { Gram } from '../observe/gram.js'
import { checkFinite } from '../train/working-copy.js'
import { denseValues } from '../values.js'
import type { Reader } from './awq-search.js'
import type { Codes } from './by-gram.js'
import type { Grid } from './grid.js'
import { halfScales } from './half.js'
import { outputCodes } from './output-codes.js'
import { outputErrorOf, rangeGrids, roundingError, type MatrixGrid } from './output-error.js'

export interface LayerCodes extends Codes {
  /** Squared error of the layer's output over that of rounding to nearest on the whole ranges; at most 1. */
  readonly share: number
}

export interface LayerOptions {
  readonly scales: 'f32' | 'f16'
  /** Finds the grids; undefined: whole ranges. */
  readonly grids: ((reader: Reader, breathe: () => Promise<void>) => Promise<Grid[]>) | undefined
  readonly feedback: boolean
  readonly damping: number
  readonly breathe: () => Promise<void>
}

/** Codes of a layer's weight. Never worse for the output than rounding to nearest on whole ranges: where a search loses, these are given. */
export async function codesFor(where: string, target: PlacedWeight, gram: Gram, grid: MatrixGrid, o: LayerOptions): Promise<LayerCodes> {
  const { weight, path } = target
  scope(() => checkFinite(where, 'weight', path, weight.dense()))
  const values = denseValues(weight)
  const cols = gram.width
  const rows = values.length / cols
  const whole = scope(() => rangeGrids(tensor(values, [rows, cols]), grid))
  const found: Grid[] = o.grids ? [] : whole
  if (o.grids) for (const reader of groupsOf(values, rows, gram, grid)) found.push(...(await o.grids(reader, o.breathe))) // in the order of rows
  const stored = (grids: readonly Grid[]): { readonly grids: Grid[]; readonly halves: boolean } => {
    const exact = Float32Array.from(grids, (g) => g.scale)
    const half = o.scales === 'f16' ? halfScales(exact) : undefined
    return { grids: grids.map((g, i) => ({ scale: (half ?? exact)[i]!, zero: g.zero })), halves: half !== undefined }
  }
  const plain = stored(whole)
  const [own, baseline] = [stored(found), errorOn(values, rows, gram, grid, plain.grids)]
  const nearest = errorOn(values, rows, gram, grid, own.grids)
  const best = nearest <= baseline ? own : plain
  const scale = Float32Array.from(best.grids, (g) => g.scale)
  const zero = Float32Array.from(best.grids, (g) => g.zero)
  const shape = [rows, grid.groups] as const
  const result = { matrix: [rows, cols], shape, scale, zero: grid.symmetric ? null : zero, halves: best.halves } as const
  const least = Math.min(nearest, baseline)
  if (o.feedback) {
    const encoding = { values, rows, cols, grids: best.grids, shape, codes: grid.codes }
    const { q, share } = await outputCodes(`${where}: ${path}`, weight, encoding, scale, gram, { ...o, order: 'activation' })
    return { ...result, q, share: baseline > 0 ? (share * least) / baseline : 1 }
  }
  const q = scope(() => {
    const [s, z]: [Tensor, Tensor] = [tensor(scale, shape), tensor(zero, shape)]
    return quantizeRows(tensor(values, [rows, cols]), s, grid.symmetric ? null : z, grid.codes.qmin, grid.codes.qmax).read() as Int8Array
  })
  return { ...result, q, share: baseline > 0 ? least / baseline : 1 }
}

/** The parts of a layer that see the same channels. */
export function groupsOf(values: Float32Array, rows: number, { groups, width, products }: Gram, grid: MatrixGrid): Reader[] {
  const per = rows / groups
  return Array.from({ length: groups }, (_, g) => ({
    values: values.subarray(g * per * width, (g + 1) * per * width),
    rows: per,
    products: products.subarray(g * width * width, (g + 1) * width * width),
    grid,
  }))
}

/** Squared error of the output when values are rounded to nearest on grids [rows, groups]. */
function errorOn(values: Float32Array, rows: number, gram: Gram, grid: MatrixGrid, grids: readonly Grid[]): number {
  const per = (rows / gram.groups) * grid.groups
  return groupsOf(values, rows, gram, grid).reduce(
    (total, part, g) =>
      total +
      scope(() => {
        const w = tensor(part.values, [part.rows, gram.width])
        return outputErrorOf(roundingError(w, grids.slice(g * per, (g + 1) * per), grid), tensor(part.products, [gram.width, gram.width]))
      }),
    0,
  )
}
