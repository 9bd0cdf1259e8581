/** From the values of a weight to codes, scales and zero points. */
import { sizeOf } from '../../base/shape.js'
import type { QuantizedLayout, Weight } from '../../nn/index.js'
import { quantizeRows } from '../../ops/index.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import { checkFinite } from '../train/working-copy.js'
import { denseValues } from '../values.js'
import { codeRange, gridsOf, groupCount, type CodeRange, type Grid } from './grid.js'

export interface EncodeOptions {
  readonly bits: number
  readonly symmetric: boolean
  readonly layout: QuantizedLayout
  readonly groupSize: number
  readonly range: 'max' | 'mse'
  /** Of layout 'rows': how many runs of rows there are at least. */
  readonly rowGroups?: number
  /** See `GridRules`. */
  readonly importance?: Float32Array
}

/** A weight's values with the grids that were found for them. */
export interface Encoding {
  readonly values: Float32Array
  readonly rows: number
  readonly cols: number
  readonly grids: readonly Grid[]
  /** Shape of scales and zero points. */
  readonly shape: readonly [number, number]
  readonly codes: CodeRange
  /** Rows that share a grid: each has its own copy in `grids`. */
  readonly rowsPerScale?: number
}

/** The long part: no tensors stay. ERR_NUMERIC names the first value that is not finite. */
export async function findGrids(where: string, path: string, w: Weight, o: EncodeOptions, breathe: () => Promise<void>): Promise<Encoding> {
  scope(() => checkFinite(where, 'weight', path, w.dense()))
  const values = denseValues(w)
  const rows = w.shape[0]!
  const cols = sizeOf(w.shape.slice(1))
  const groups = o.layout === 'group' ? groupCount(cols, o.groupSize) : 1
  const codes = codeRange(o.bits, o.symmetric, o.range)
  const rowsPerScale = o.layout === 'rows' ? rows / equalRuns(rows, o.rowGroups ?? 128) : 1
  // A run of whole rows is one long row.
  const grids = await gridsOf(
    values,
    { rows: rows / rowsPerScale, cols: cols * rowsPerScale, layout: o.layout === 'rows' ? 'channel' : o.layout, groups },
    { symmetric: o.symmetric, codes, mode: o.range, importance: o.importance },
    breathe,
  )
  const own = rowsPerScale === 1 ? grids : Array.from({ length: rows }, (_, r) => grids[Math.floor(r / rowsPerScale)]!)
  return { values, rows, cols, grids: own, shape: [o.layout === 'tensor' ? 1 : rows, groups], codes, rowsPerScale }
}

/** The smallest number of equal runs of rows that is at least `wanted`, or a run for every row. */
function equalRuns(rows: number, wanted: number): number {
  let runs = Math.min(wanted, Math.max(1, rows))
  while (rows % runs !== 0) runs++
  return runs
}

/** The codes at these scales (those of the grids, or rounded ones). Call inside a scope. */
export function encode(
  { values, rows, cols, grids, shape, codes }: Encoding,
  scales: Float32Array,
  symmetric: boolean,
): { q: Tensor; scale: Tensor; zero: Tensor | null } {
  const scale = tensor(scales, shape)
  const zero = symmetric
    ? null
    : tensor(
        Float32Array.from(grids, (g) => g.zero),
        shape,
      )
  return { q: quantizeRows(tensor(values, [rows, cols]), scale, zero, codes.qmin, codes.qmax), scale, zero }
}

export function scalesOf({ grids }: Encoding): Float32Array {
  return Float32Array.from(grids, (g) => g.scale)
}
