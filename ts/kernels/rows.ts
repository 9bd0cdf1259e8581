/** The inner loops of dual-module inference: exact products of selected rows, and ternary random projection. */
import { OptionError, ShapeError } from '../base/errors.js'
import { maskIndices, rowsDot, ternaryPack, ternaryProject, ternaryUnpack } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'

/**
 * Places of the ones of a bit set (u8 [ceil(size / 8)]) as i32, ascending: from a mask to the list that matmulRows takes. A mask of another length
 * is ERR_SHAPE.
 *
 * @example
 * maskToIndices(topKMask(tensor([0.3, 9, 1, 7]), 2), 4)   // i32[2] = [1, 3]
 */
export function maskToIndices(mask: Tensor, size: number): Tensor {
  return maskIndices(mask, size)
}

export interface RowsOptions {
  /** f32 [N] or [1]: step of each row; for i8 weights, which need it. */
  readonly scale?: Tensor | null
  /** f32 [N]. */
  readonly bias?: Tensor | null
  /** i32 [M + 1]: row i of x has a list of its own, index[offsets[i] .. offsets[i + 1]). */
  readonly offsets?: Tensor | null
  /** f32 [M, N]: an approximation of all outputs; the result is it, with the exact values in the selected places. */
  readonly base?: Tensor | null
}

/**
 * x f32 [M, K] times the rows `index` of w (f32 or i8 [N, K]). The memory of other rows is not read, so the time is that of the selected part.
 *
 * - without options: f32 [M, S], one column for each of the S indices
 * - with offsets: f32 [S], list after list; with base: f32 [M, N]
 *
 * Indices are i32, in [0, N) and ascending (within each list): else ERR_OPTION.
 *
 * @example
 * const w = tensor([[1, 0], [0, 1], [2, 2]])
 * const index = tensor(new Int32Array([0, 2]))
 * matmulRows(tensor([[3, 4]]), w, index)                                     // f32[1,2] = [[3, 14]]
 * matmulRows(tensor([[3, 4]]), w, index, { base: tensor([[0, 3.9, 0]]) })    // f32[1,3] = [[3, 3.9, 14]]
 */
export function matmulRows(
  x: Tensor,
  w: Tensor,
  index: Tensor,
  { scale = null, bias = null, offsets = null, base = null }: RowsOptions = {},
): Tensor {
  return rowsDot(x, w, scale, bias, index, offsets, base)
}

export interface TernaryOptions {
  /** An integer; the same one gives the same projection on every machine. */
  readonly seed: number
  /** Tells apart projections of one seed (layers, for example). Default 0. */
  readonly stream?: number
}

/**
 * A random projection from `cols` to `rows` dimensions with entries sqrt(3 / rows) * {+1, 0, -1} of probability 1/6, 2/3, 1/6 (Achlioptas 2003): squared
 * lengths are kept on average. Applied by additions only. A function of (rows, cols, seed, stream): store these, not the object.
 *
 * @example
 * const p = new TernaryProjection(64, 512, { seed: 1 })
 * p.apply(ones([3, 512])).shape   // [3, 64]
 */
export class TernaryProjection {
  readonly #packed: Tensor

  constructor(
    /** Outputs. */
    readonly rows: number,
    /** Inputs. */
    readonly cols: number,
    { seed, stream = 0 }: TernaryOptions,
  ) {
    for (const [name, value] of Object.entries({ rows, cols, seed, stream }))
      if (!Number.isSafeInteger(value)) throw new OptionError('ERR_OPTION', `TernaryProjection: ${name} must be an integer, got ${value}`)
    this.#packed = ternaryPack(rows, cols, seed, stream)
  }

  get bytes(): number {
    return this.#packed.bytes
  }
  /** What the signs are multiplied with. */
  get scale(): number {
    return Math.sqrt(3 / this.rows)
  }
  /** The signs -1, 0, 1 as i8 [rows, cols]. */
  signs(): Tensor {
    return ternaryUnpack(this.#packed, this.rows, this.cols)
  }
  /** x f32 [..., cols] -> f32 [..., rows]. Differentiable in x. */
  apply(x: Tensor): Tensor {
    if (x.shape[x.rank - 1] !== this.cols)
      throw new ShapeError('ERR_SHAPE', `TernaryProjection: x must be [..., ${this.cols}] for a projection to ${this.rows}, got ${x}`)
    return ternaryProject(x, this.#packed, this.rows)
  }
  dispose(): void {
    this.#packed.dispose()
  }
}
