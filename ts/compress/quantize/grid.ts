/**
 * Scales and zero points for runs of values, in plain arithmetic.
 *
 * symmetric   q = round(x / s), 0 stands at code 0
 * affine      q = round(x / s) + z with a whole z, so that 0 is exact here too; the range always contains 0
 *
 * range 'max': the range of the values, nothing is clipped and |x - Q(x)| <= s / 2.
 * range 'mse': the scale with the smallest squared error, found on a grid of clipped ranges and refined by least squares; pays at few bits.
 * With an importance for each column, 'mse' counts squared errors by it: with the mean square of a layer's inputs this is the clipping search of AWQ (Lin et al.
 * 2023, section 4) for independent inputs.
 */

import { codeRange, gridOf, legalScale as legal, roundEven, type CodeRange, type Grid } from '../../nn/index.js'

export { codeRange, gridOf, type CodeRange, type Grid }

/** A run of values, and what an error of each counts (undefined: all the same). */
interface Run {
  readonly values: Float32Array
  readonly from: number
  readonly to: number
  /** Of values[from], values[from + 1], ... */
  readonly importance?: Float32Array | undefined
}

/** Squared error of quantizing a run. */
function squaredError({ values, from, to, importance }: Run, { scale, zero }: Grid, { qmin, qmax }: CodeRange): number {
  const lo = qmin - zero
  const hi = qmax - zero
  const inverse = 1 / scale
  let sum = 0
  for (let i = from; i < to; i++) {
    const x = values[i]!
    const t = x * inverse
    const e = x - scale * roundEven(t < lo ? lo : t > hi ? hi : t)
    sum += importance ? e * e * importance[i - from]! : e * e
  }
  return sum
}

/** The scale that fits the codes of `grid` best: argmin of sum (x - s (q - z))^2. */
function leastSquares({ values, from, to, importance }: Run, { scale, zero }: Grid, { qmin, qmax }: CodeRange): number {
  const lo = qmin - zero
  const hi = qmax - zero
  let xq = 0
  let qq = 0
  for (let i = from; i < to; i++) {
    const t = values[i]! / scale
    const q = roundEven(t < lo ? lo : t > hi ? hi : t)
    const counts = importance ? importance[i - from]! : 1
    xq += counts * values[i]! * q
    qq += counts * q * q
  }
  return qq > 0 ? xq / qq : scale
}

/** Shares of the range that are tried: down to about a third. Moving both ends on their own costs 6x and gained nothing on real weights. */
const SHARES = Array.from({ length: 32 }, (_, i) => 1 - 0.02 * (i + 1))

/** Values between two places where other work may run. */
const PIECE = 32768

/** The grid with the smallest squared error, starting from that of the whole range. Yields now and then when the run is long. */
function* searchGrid(
  run: Run,
  { min, max }: { readonly min: number; readonly max: number },
  { symmetric, codes }: GridRules,
): Generator<void, Grid> {
  let best = gridOf(min, max, symmetric, codes)
  let least = squaredError(run, best, codes)
  const consider = (grid: Grid): boolean => {
    const e = squaredError(run, grid, codes)
    if (!(e < least)) return false
    least = e
    best = grid
    return true
  }
  if (least === 0) return best
  for (const share of SHARES) {
    consider(gridOf(min * share, max * share, symmetric, codes))
    if (run.to - run.from > PIECE) yield
  }
  for (let i = 0; i < 4; i++) if (!consider({ scale: legal(leastSquares(run, best, codes)), zero: best.zero })) break
  return best
}

export interface RunLayout {
  readonly rows: number
  readonly cols: number
  /** Runs per row: cols is cut into pieces of ceil(cols / groups). One scale for everything: rows and groups as 0. */
  readonly layout: 'tensor' | 'channel' | 'group'
  readonly groups: number
}

/** Number of groups of at most `size` values, as equal as whole numbers allow, none empty. */
export function groupCount(cols: number, size: number): number {
  return Math.max(1, Math.ceil(cols / size))
}

export interface GridRules {
  readonly symmetric: boolean
  readonly codes: CodeRange
  readonly mode: 'max' | 'mse'
  /** For 'mse': what a squared error of column c of row r counts, at [floor(r G / rows) * cols + c] of G * cols numbers. */
  readonly importance?: Float32Array | undefined
}

/** One grid per run, in row-major order of [rows, groups]. Lets other work run in between. */
export async function gridsOf(values: Float32Array, at: RunLayout, rules: GridRules, breathe: () => Promise<void>): Promise<Grid[]> {
  const work = allGrids(values, at, rules)
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
    await breathe()
  }
}

function* allGrids(values: Float32Array, at: RunLayout, rules: GridRules): Generator<void, Grid[]> {
  const rows = at.layout === 'tensor' ? 1 : at.rows
  const width = at.layout === 'tensor' ? values.length : at.cols
  const run = at.layout === 'group' ? Math.ceil(width / at.groups) : width
  const out: Grid[] = []
  let since = 0
  for (let r = 0; r < rows; r++)
    for (let from = r * width; from < (r + 1) * width; from += run) {
      const to = Math.min(from + run, (r + 1) * width)
      const range = rangeOf(values, from, to)
      out.push(
        rules.mode === 'max'
          ? gridOf(range.min, range.max, rules.symmetric, rules.codes)
          : yield* searchGrid({ values, from, to, importance: importanceOf(rules, at, r, from - r * width, to - from) }, range, rules),
      )
      since += to - from
      if (since < PIECE) continue
      since = 0
      yield
    }
  return out
}

/** Of `size` values of row r from column `col`. */
function importanceOf({ importance }: GridRules, at: RunLayout, r: number, col: number, size: number): Float32Array | undefined {
  if (!importance) return undefined
  const groupRows = (at.rows * at.cols) / importance.length
  if (at.layout === 'tensor') {
    const all = new Float32Array(size)
    for (let row = 0; row < at.rows; row++) {
      const from = Math.floor(row / groupRows) * at.cols
      all.set(importance.subarray(from, from + at.cols), row * at.cols)
    }
    return all
  }
  const group = Math.floor(r / groupRows)
  return importance.subarray(group * at.cols + col, group * at.cols + col + size)
}

/** Range of values[from .. to), widened to contain 0. */
function rangeOf(values: Float32Array, from: number, to: number): { min: number; max: number } {
  let min = 0
  let max = 0
  for (let i = from; i < to; i++) {
    if (values[i]! < min) min = values[i]!
    if (values[i]! > max) max = values[i]!
  }
  return { min, max }
}
