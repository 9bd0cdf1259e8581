/** Products with bf16 weights: half the bytes of f32, sums in f32. */
import { ShapeError } from '../base/errors.js'
import type { Activation } from '../native/ops.gen.js'
import { bf16Pack, linearBf16, transpose } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'

/** A weight [N, K] rounded to bf16, in the layout that the kernels read. Store the weight itself, not this. */
export class PackedBf16 {
  /** @internal Use packBf16. */
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
 * w f32 or bf16 [N, K] -> the form that matmulBf16 reads; f32 is rounded to the nearest bf16, ties to even, NaN stays NaN. With `transpose`, w is [K, N]: the
 * right operand of a matrix product.
 *
 * - a dtype other than f32 and bf16: ERR_DTYPE
 * - a rank other than 2: ERR_SHAPE
 *
 * @example
 * const w = packBf16(tensor([[1, 2], [3, 4], [5, 6]]), { transpose: true })
 * matmulBf16(tensor([[1, 0.5, 2]]), w)   // f32[1,2] = [[12.5, 16]]
 */
export function packBf16(w: Tensor, { transpose: transposed = false }: { readonly transpose?: boolean } = {}): PackedBf16 {
  if (w.rank !== 2) throw new ShapeError('ERR_SHAPE', `packBf16: w must be ${transposed ? '[K, N]' : '[N, K]'}, got ${w}`)
  const [a, b] = w.shape as readonly [number, number]
  if (!transposed) return new PackedBf16(a, b, bf16Pack(w))
  const view = transpose(w)
  try {
    return new PackedBf16(b, a, bf16Pack(view))
  } finally {
    view.dispose()
  }
}

export interface Bf16Options {
  /** f32 [N]. */
  readonly bias?: Tensor | null
  readonly activation?: Activation
  /** Of the result: f32 (default) or bf16. */
  readonly dtype?: 'f32' | 'bf16'
}

/**
 * x f32 or bf16 [..., K] times a packed weight [N, K] -> [..., N] = activation(x w^T + bias). x is rounded to bf16; products are exact and sums f32, so the
 * error against exact arithmetic on the rounded values is that of an f32 sum of K terms.
 *
 * @example
 * const w = packBf16(tensor([[1, 2], [3, 4]]))
 * matmulBf16(tensor([[1, -0.5]]), w, { bias: tensor([0.25, -2]), activation: 'relu' })   // f32[1,2] = [[0.25, 0]]
 */
export function matmulBf16(x: Tensor, w: PackedBf16, { bias = null, activation = 'none', dtype = 'f32' }: Bf16Options = {}): Tensor {
  if (x.shape[x.rank - 1] !== w.cols)
    throw new ShapeError('ERR_SHAPE', `matmulBf16: x must be [..., ${w.cols}] for weights [${w.rows},${w.cols}], got ${x}`)
  return linearBf16(x, w.packed, bias, w.rows, activation, dtype)
}
