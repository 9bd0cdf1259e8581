/** Products with 8-bit weights. */
import { OptionError, ShapeError } from '../base/errors.js'
import type { Activation } from '../native/ops.gen.js'
import { qgemmPack, qgemmS32, qlinear } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'

/** An i8 weight [N, K] in the layout of this process's kernel. Valid in this process only: store the weight itself. */
export class PackedWeights {
  /** @internal Use packWeights. */
  constructor(
    /** N, outputs. */
    readonly rows: number,
    /** K, inputs. */
    readonly cols: number,
    readonly packed: Tensor,
  ) {}

  get bytes(): number {
    return this.packed.bytes
  }
  dispose(): void {
    this.packed.dispose()
  }
}

/** w i8 [N, K] -> the form that matmulInt8 reads. K up to 65793 (beyond it 32-bit sums could wrap): ERR_LIMIT. */
export function packWeights(w: Tensor): PackedWeights {
  const packed = qgemmPack(w)
  return new PackedWeights(w.shape[0]!, w.shape[1]!, packed)
}

export interface Int8Options {
  /** Step of the activations: x is taken as round(x / xScale) + xZero, limited to [0, 255]. */
  readonly xScale: number
  /** Code of 0, in [0, 255]. Default 128. */
  readonly xZero?: number
  /** f32 [N] or [1]: step of each row of the weight. */
  readonly wScale: Tensor
  /** f32 [N]. */
  readonly bias?: Tensor | null
  readonly activation?: Activation
}

/**
 * x f32 [..., K] times a packed weight [N, K] -> f32 [..., N] = activation(x w^T + bias). The integer product is exact on every machine.
 *
 * @example
 * const w = packWeights(tensor(new Int8Array([1, 2, 3, 4]), [2, 2]))
 * matmulInt8(tensor([[1, 0.5]]), w, { xScale: 0.01, wScale: tensor([0.1, 0.2]) })   // f32[1,2] = [[0.2, 1]]
 */
export function matmulInt8(x: Tensor, w: PackedWeights, options: Int8Options): Tensor {
  if (x.shape[x.rank - 1] !== w.cols)
    throw new ShapeError('ERR_SHAPE', `matmulInt8: x must be [..., ${w.cols}] for weights [${w.rows},${w.cols}], got ${x}`)
  const { xScale, xZero = 128, wScale, bias = null, activation = 'none' } = options
  return qlinear(x, w.packed, wScale, bias, w.rows, xScale, xZero, activation)
}

/** x u8 [M, K], w i8 [N, K] -> i32 [M, N] = sum over k of (x - xZero) * w. Exact; packs on every call. */
export function matmulInt8Exact(x: Tensor, w: Tensor, xZero = 0): Tensor {
  if (!Number.isInteger(xZero)) throw new OptionError('ERR_OPTION', `matmulInt8Exact: xZero must be an integer in [0, 255], got ${xZero}`)
  return qgemmS32(x, w, xZero)
}
