/** Errors of a layer's output by the second moments of its input, for whole matrices at a time in native products. */
import { dequantizeRows, innerProduct, matmul, mul, permute, quantizeRows, rangeRows, reshape, sub, sum } from '../../ops/index.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import { gridOf, type CodeRange, type Grid } from './grid.js'

/** Runs of ceil(cols / groups) values of a row share a grid. */
export interface MatrixGrid {
  readonly groups: number
  readonly symmetric: boolean
  readonly codes: CodeRange
}

/** tr(E H E^T) for e [R, K], h [K, K]. */
export function outputErrorOf(e: Tensor, h: Tensor): number {
  return scope(() => innerProduct(e, matmul(e, h)))
}

/** The grid of each run's whole range times `share`, row-major in [R, groups]. Call inside a scope. */
export function rangeGrids(w: Tensor, { groups, symmetric, codes }: MatrixGrid, share = 1): Grid[] {
  const [lo, hi] = rangeRows(w, groups)
  const low = lo.read() as Float32Array
  const high = hi.read() as Float32Array
  return Array.from(low, (l, i) => gridOf(share * l, share * high[i]!, symmetric, codes))
}

/** The values that w [R, K] has after rounding to nearest on these grids. Call inside a scope. */
export function roundedTo(w: Tensor, grids: readonly Grid[], { groups, symmetric, codes }: MatrixGrid): Tensor {
  const shape = [w.shape[0]!, groups]
  const scale = tensor(
    Float32Array.from(grids, (g) => g.scale),
    shape,
  )
  const zero = symmetric
    ? null
    : tensor(
        Float32Array.from(grids, (g) => g.zero),
        shape,
      )
  return dequantizeRows(quantizeRows(w, scale, zero, codes.qmin, codes.qmax), scale, zero)
}

/**
 * The blocks of h on its diagonal that runs of `run` columns see: [groups, run, run], zeros behind the last column. Errors across blocks are left out: with
 * inputs of mean zero that are independent between groups there are none.
 */
export function diagonalBlocks(h: Float32Array, cols: number, groups: number): Tensor {
  const run = Math.ceil(cols / groups)
  const out = new Float32Array(groups * run * run)
  for (let g = 0; g < groups; g++)
    for (let i = 0; i < run && g * run + i < cols; i++) {
      const from = (g * run + i) * cols + g * run
      out.set(h.subarray(from, from + Math.min(run, cols - g * run)), (g * run + i) * run)
    }
  return tensor(out, [groups, run, run])
}

/** Per run of e [R, K]: its own part of tr(E H E^T), [groups, R]. `blocks` as `diagonalBlocks` gives them. */
export function blockErrors(e: Tensor, blocks: Tensor): Float32Array {
  return scope(() => {
    const [rows, cols] = e.shape as [number, number]
    const [groups, run] = blocks.shape as [number, number, number]
    const wide = cols === groups * run ? e : padded(e, groups * run)
    const parts = permute(reshape(wide, [rows, groups, run]), [1, 0, 2])
    return sum(mul(matmul(parts, blocks), parts), [2]).read() as Float32Array
  })
}

function padded(e: Tensor, cols: number): Tensor {
  const [rows, have] = e.shape as [number, number]
  const out = new Float32Array(rows * cols)
  const values = e.read() as Float32Array
  for (let r = 0; r < rows; r++) out.set(values.subarray(r * have, (r + 1) * have), r * cols)
  return tensor(out, [rows, cols])
}

/** e = rounded(w) - w. Call inside a scope. */
export const roundingError = (w: Tensor, grids: readonly Grid[], at: MatrixGrid): Tensor => sub(roundedTo(w, grids, at), w)
