/**
 * The two searches of AWQ (Lin et al. 2023, "AWQ: Activation-aware weight quantization", sections 3.2 and 4, and the authors' code): a factor for each input channel,
 * s = mean|x|^r, and a clipped range for each group. The authors run calibration data through the layer for each candidate; the squared error of a linear layer's output is
 * tr(E H E^T) with H = sum x x^T, so H alone gives the same numbers, exactly and whatever the number of examples.
 */
import { div, mul, sub } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import type { Grid } from './grid.js'
import { blockErrors, diagonalBlocks, outputErrorOf, rangeGrids, roundedTo, roundingError, type MatrixGrid } from './output-error.js'

/** Candidates of both searches, and the smallest range: those of the authors. */
const [STEPS, SHRINK] = [20, 0.5]
/** Mean sizes below it count as it: a channel that is never on must not become infinite weights. */
const LEAST = 1e-4

/** A layer, or one group of its channels: values [rows, K] and second moments [K, K] of its input. */
export interface Reader {
  readonly values: Float32Array
  readonly rows: number
  readonly products: Float32Array
  readonly grid: MatrixGrid
}

/** One that reads the channels that are to be scaled: which of them each of its columns is, -1 for others. */
export interface ChannelReader extends Reader {
  readonly channels: Int32Array
}

/** The factors of a reader's columns. */
export const columnFactors = (scales: Float32Array, channels: Int32Array): Float32Array =>
  Float32Array.from(channels, (c) => (c < 0 ? 1 : scales[c]!))

export interface ChannelScales {
  /** One for each channel. */
  readonly scales: Float32Array
  readonly exponent: number
  /** Squared output error of rounding with these over that without (exponent 0); at most 1. */
  readonly share: number
}

/** mean|x|^r, divided by sqrt(max min). */
export function scalesFor(sizes: Float64Array, exponent: number): Float32Array {
  const s = Float64Array.from(sizes, (v) => Math.max(LEAST, Math.max(v, LEAST) ** exponent))
  let [least, most] = [Infinity, 0]
  for (const v of s) [least, most] = [Math.min(least, v), Math.max(most, v)]
  const middle = Math.sqrt(least * most)
  return Float32Array.from(s, (v) => v / middle)
}

/** The exponent of 0, 1/20, ..., 19/20 with the smallest sum of output errors over all readers. `sizes`: mean |x| of each channel. */
export async function searchScales(
  readers: readonly ChannelReader[],
  sizes: Float64Array,
  breathe: () => Promise<void>,
): Promise<ChannelScales> {
  let best: ChannelScales | undefined
  let [least, plain] = [Infinity, 0]
  for (let step = 0; step < STEPS; step++) {
    const exponent = step / STEPS
    const scales = scalesFor(sizes, exponent)
    let error = 0
    for (const { values, rows, products, grid, channels } of readers) {
      const cols = channels.length
      error += scope(() => {
        const w = tensor(values, [rows, cols])
        const s = tensor(columnFactors(scales, channels))
        const scaled = mul(w, s)
        const e = sub(div(roundedTo(scaled, rangeGrids(scaled, grid), grid), s), w)
        return outputErrorOf(e, tensor(products, [cols, cols]))
      })
      await breathe()
    }
    if (step === 0) plain = error
    if (error < least) {
      least = error
      best = { scales, exponent, share: plain > 0 ? error / plain : 1 }
    }
  }
  return best ?? { scales: scalesFor(sizes, 0), exponent: 0, share: 1 }
}

/** A grid for each run, [rows, groups]: of the whole range or of one clipped down to about half, whichever disturbs the output less by the run's own columns. */
export async function searchClips({ values, rows, products, grid }: Reader, breathe: () => Promise<void>): Promise<Grid[]> {
  const cols = values.length / rows
  const { groups } = grid
  const blocks = diagonalBlocks(products, cols, groups)
  try {
    let best: Grid[] | undefined
    const least = new Float32Array(groups * rows).fill(Infinity)
    for (let step = 0; step < STEPS * SHRINK; step++) {
      scope(() => {
        const w = tensor(values, [rows, cols])
        const grids = rangeGrids(w, grid, 1 - step / STEPS)
        const errors = blockErrors(roundingError(w, grids, grid), blocks)
        best ??= grids.slice()
        for (let g = 0; g < groups; g++)
          for (let r = 0; r < rows; r++) {
            if (!(errors[g * rows + r]! < least[g * rows + r]!)) continue
            least[g * rows + r] = errors[g * rows + r]!
            best[r * groups + g] = grids[r * groups + g]!
          }
      })
      await breathe()
    }
    return best!
  } finally {
    blocks.dispose()
  }
}
