/** Products with weights of 2, 3, 4 or 8 bits in groups; activations stay in f32. */
import { ShapeError } from '../base/errors.js'
import type { Activation } from '../native/ops.gen.js'
import { wgemm, wgemmPack, wgemmUnpack } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import type { QuantizedRows } from './quantize.js'

/** A quantized weight [N, K] in the layout of this process's kernel. Valid in this process only: store codes and scales. */
export class PackedGroups {
  /** @internal Use packGroups. */
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
  /** The weight as f32 [N, K]. */
  unpack(): Tensor {
    return wgemmUnpack(this.packed, this.rows, this.cols)
  }
  dispose(): void {
    this.packed.dispose()
  }
}

/**
 * Codes i8 [N, K] with scale and zero f32 [N, groups] (or [N, 1], [1, 1]) -> the form that matmulGroups reads; the weight is (codes - zero) * scale.
 *
 * - bits other than 2, 3, 4 and 8, or a code outside [-2^(bits-1), 2^(bits-1)): ERR_OPTION
 * - groups that do not divide K: ERR_SHAPE
 * - a scale that is 0, not finite, or of a size outside [2^-126, 2^64]; a zero beyond 2^20: ERR_NUMERIC
 *
 * @example
 * const q = quantize(tensor([[0.7, -0.7, 7, 0]]), { bits: 4, groups: 2 })   // scale [[0.1, 1]]
 * const w = packGroups(q, 4)
 * matmulGroups(tensor([[1, 2, 3, 4]]), w)   // f32[1,1] = [[20.3]]
 */
export function packGroups({ codes, scale, zero }: QuantizedRows, bits: number): PackedGroups {
  const packed = wgemmPack(codes, scale, zero, bits)
  return new PackedGroups(codes.shape[0]!, codes.shape[1]!, packed)
}

export interface GroupsOptions {
  /** f32 [N]. */
  readonly bias?: Tensor | null
  readonly activation?: Activation
  /** f32 [..., N], added after the activation. */
  readonly residual?: Tensor | null
}

/**
 * x f32 [..., K] times a packed weight [N, K] -> f32 [..., N] = activation(x w^T + bias) + residual, as accurate as a sum in f32: x is taken in blocks of at
 * most 128 values with 24 bits relative to the largest of the block. Differentiable in x, bias and residual.
 *
 * @example
 * const w = packGroups(quantize(tensor([[1, -1], [0.5, 1]]), { bits: 8 }), 8)
 * matmulGroups(tensor([[3, 2]]), w, { bias: tensor([-2, 0]), activation: 'relu' })   // about [[0, 3.5]]
 */
export function matmulGroups(
  x: Tensor,
  w: PackedGroups,
  { bias = null, activation = 'none', residual = null }: GroupsOptions = {},
): Tensor {
  if (x.shape[x.rank - 1] !== w.cols)
    throw new ShapeError('ERR_SHAPE', `matmulGroups: x must be [..., ${w.cols}] for weights [${w.rows},${w.cols}], got ${x}`)
  return wgemm(x, w.packed, bias, residual, w.rows, activation)
}
