/** Products with f32 weights, with bias, activation and residual in the same pass; weights may be packed once for many calls. */
import { ShapeError } from '../base/errors.js'
import type { Activation } from '../native/ops.gen.js'
import { gemmPack, linearFused, linearPacked, transpose } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'

/** A weight [N, K] in the panels of this process's kernel. Store the weight itself, not this. */
export class PackedF32 {
  /** @internal Use packF32. */
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

/**
 * w f32 [N, K] -> the form that matmulF32 reads without packing it in every call. With `transpose`, w is [K, N]: the right operand of a matrix product.
 *
 * - a dtype other than f32: ERR_DTYPE
 * - a rank other than 2: ERR_SHAPE
 *
 * @example
 * const w = packF32(tensor([[1, 2], [3, 4], [5, 6]]), { transpose: true })
 * matmulF32(tensor([[1, 0.5, 2]]), w)   // f32[1,2] = [[12.5, 16]]
 */
export function packF32(w: Tensor, { transpose: transposed = false }: { readonly transpose?: boolean } = {}): PackedF32 {
  if (w.rank !== 2) throw new ShapeError('ERR_SHAPE', `packF32: w must be ${transposed ? '[K, N]' : '[N, K]'}, got ${w}`)
  const [a, b] = w.shape as readonly [number, number]
  if (!transposed) return new PackedF32(a, b, gemmPack(w))
  const view = transpose(w)
  try {
    return new PackedF32(b, a, gemmPack(view))
  } finally {
    view.dispose()
  }
}

export interface F32Options {
  /** f32 [N]. */
  readonly bias?: Tensor | null
  readonly activation?: Activation
  /** f32 [..., N], the shape of the result; added after the activation. */
  readonly residual?: Tensor | null
}

/**
 * x f32 [..., K] times a weight [N, K] -> f32 [..., N] = activation(x w^T + bias) + residual. A weight that is a tensor is differentiated through; a packed
 * one is constant to the tape.
 *
 * - shapes that do not fit: ERR_SHAPE
 * - a dtype other than f32: ERR_DTYPE
 * - a packed weight that packF32 did not make in this process: ERR_OPTION
 *
 * @example
 * const w = tensor([[1, 2], [3, 4]])
 * matmulF32(tensor([[1, -0.5]]), w, { bias: tensor([0.25, -2]), activation: 'relu', residual: tensor([[1, 2]]) })   // f32[1,2] = [[1.25, 2]]
 */
export function matmulF32(
  x: Tensor,
  w: Tensor | PackedF32,
  { bias = null, activation = 'none', residual = null }: F32Options = {},
): Tensor {
  if (!(w instanceof PackedF32)) return linearFused(x, w, bias, residual, activation)
  if (x.shape[x.rank - 1] !== w.cols)
    throw new ShapeError('ERR_SHAPE', `matmulF32: x must be [..., ${w.cols}] for weights [${w.rows},${w.cols}], got ${x}`)
  return linearPacked(x, w.packed, bias, residual, w.rows, activation)
}
