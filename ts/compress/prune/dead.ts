/** What a pruning has cut off: rows without a weight (their neurons give their bias, whatever comes in) and columns without one (nobody reads them). */
import type { Model } from '../../nn/index.js'
import { maskOf } from './candidates.js'
import { bitOf } from './structure.js'

export interface Dead {
  readonly rows: number
  readonly columns: number
}

/** Of a bit set over [rows, cols]. */
export function deadIn(mask: Uint8Array, rows: number, cols: number): Dead {
  const [row, column] = [new Uint8Array(rows), new Uint8Array(cols)]
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++)
      if (bitOf(mask, r * cols + c)) {
        row[r] = 1
        column[c] = 1
      }
  const missing = (of: Uint8Array): number => of.reduce((n, seen) => n + 1 - seen, 0)
  return { rows: missing(row), columns: missing(column) }
}

/** Remarks on layers with dead rows or columns; they can be removed without a change of the outputs (Han et al. 2015, section 3.4), biases folded on. */
export function deadNotes(model: Model, paths: readonly string[]): { readonly path: string; readonly text: string }[] {
  const leaves = model.leaves()
  return paths.flatMap((path) => {
    const leaf = leaves.get(path)!
    const mask = maskOf(leaf)
    if (!mask) return []
    const rows = leaf.value.shape[0]!
    const cols = leaf.value.size / rows
    const dead = deadIn(mask, rows, cols)
    if (dead.rows + dead.columns === 0) return []
    const text = `no weight is left in ${dead.rows} of ${rows} rows (outputs that give their bias only) and ${dead.columns} of ${cols} columns (inputs that nothing reads)`
    return [{ path, text: dead.rows === rows ? `${text}: nothing goes through this layer any more` : text }]
  })
}
