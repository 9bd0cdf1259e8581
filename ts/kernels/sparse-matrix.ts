/** Sparse matrices in blocks, with a bit set, and 2:4: the formats beside compressed rows (csr-matrix.ts). docs/performance/spmm.md says which is fast when. */
import { DTypeError, OptionError, ShapeError } from '../base/errors.js'
import type { Shape } from '../base/shape.js'
import {
  bitmaskFromDense,
  bitmaskLinear,
  bitmaskToDense,
  bsrFromDense,
  bsrLinear,
  bsrToDense,
  cast,
  countNonzero,
  maskApply,
  mul,
  nmFromDense,
  nmLinear,
  nmToDense,
  reshape,
} from '../ops/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { quantize } from './quantize.js'

export interface SparseOptions {
  /** What is stored: 'f32' (default), or 'i8': the rows are quantized, one scale each. A w in i8 stays i8 and needs `scale`. */
  readonly values?: 'f32' | 'i8'
  /** f32 [rows] or [1]: step of a w in i8; the matrix takes it over. */
  readonly scale?: Tensor | null
  /** u8 bit set over w: elements whose bit is 0 are left out. */
  readonly mask?: Tensor | null
}

/** @internal The matrix to store and its scale, as the options say. */
export function storedForm(
  where: string,
  w: Tensor,
  { values, scale = null, mask = null }: SparseOptions,
): { w: Tensor; scale: Tensor | null } {
  if (values !== undefined && values !== 'f32' && values !== 'i8')
    throw new OptionError('ERR_OPTION', `${where}: values must be f32 or i8, got ${String(values)}`)
  if (w.dtype === 'i8' ? values === 'f32' || !scale : scale)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: a scale goes with a w in i8, and with nothing else (w: ${w}, values: ${values ?? 'default'}, scale: ${scale})`,
    )
  if (w.dtype !== 'f32' && w.dtype !== 'i8') throw new DTypeError('ERR_DTYPE', `${where}: w must be f32 or i8, got ${w}`)
  if (mask && w.dtype === 'i8') w = cast(maskApply(cast(w, 'f32'), mask), 'i8')
  else if (mask) w = maskApply(w, mask)
  if (w.dtype === 'i8' || values !== 'i8') return { w, scale }
  const { codes, scale: steps } = quantize(w)
  return { w: codes, scale: reshape(steps, [steps.size]) }
}

/** Rows of a weight [rows, cols]; y = x W^T is `matmul`. */
abstract class SparseMatrix {
  /** @internal */
  constructor(
    readonly shape: Shape,
    readonly values: Tensor,
    /** f32 [rows] or [1] for i8 values, else null. */
    readonly scale: Tensor | null,
  ) {}

  protected abstract index(): readonly Tensor[]
  protected abstract stored(): Tensor
  /** x f32 [..., cols] -> f32 [..., rows] = x W^T + bias [rows]. Differentiable in x and bias. */
  abstract matmul(x: Tensor, bias?: Tensor | null): Tensor

  /** The blocks, bytes and groups of a row may reach beyond its last column: the native side cannot see that x is too wide or narrow. */
  protected checkInput(x: Tensor): void {
    if (x.shape[x.rank - 1] !== this.shape[1])
      throw new ShapeError('ERR_SHAPE', `${this.constructor.name}.matmul: x must be [..., ${this.shape[1]}], got ${x}`)
  }

  /** Bytes of all arrays. */
  get bytes(): number {
    return [this.values, ...this.index()].reduce((n, t) => n + t.bytes, this.scale?.bytes ?? 0)
  }
  /** Elements that differ from 0. */
  get nnz(): number {
    return scope(() => countNonzero(this.values).item())
  }
  /** Share of the elements that differ from 0. */
  get density(): number {
    return this.nnz / Math.max(1, this.shape[0]! * this.shape[1]!)
  }
  /** f32 [rows, cols] with the scale applied. Checks the whole structure: ERR_MODEL_FORMAT where it is damaged. */
  toDense(): Tensor {
    return scope(() => {
      const w = this.stored()
      const real = w.dtype === 'f32' ? w : cast(w, 'f32')
      return this.scale ? mul(real, reshape(this.scale, [this.scale.size, 1])) : real
    })
  }
  /** Throws ERR_DTYPE, ERR_SHAPE, ERR_OPTION or ERR_MODEL_FORMAT unless the arrays form a matrix. Takes as long as toDense. */
  validate(): void {
    scope(() => this.toDense().dispose())
  }
  /** Frees the arrays. */
  dispose(): void {
    for (const t of [this.values, ...this.index(), this.scale]) t?.dispose()
  }
}

export interface BlockParts {
  /** f32 or i8 [16 * blocks]: block after block, row-major. */
  readonly values: Tensor
  /** i32 [block rows + 1]. */
  readonly indptr: Tensor
  /** u16 [blocks], ascending in each block row. */
  readonly columns: Tensor
  readonly scale?: Tensor | null
}
export type BlockSize = readonly [rows: number, cols: number]
export interface QuantizedInput {
  /** Step of the activations: x is taken as round(x / xScale) + xZero, limited to [0, 255], and the product is exact in integers. i8 values only. */
  readonly xScale?: number
  /** Code of 0, in [0, 255]. Default 128. */
  readonly xZero?: number
}

/**
 * Blocked compressed rows (BSR): only blocks with a nonzero, of 1x16, 4x4 or 16x1 elements. With many rows of x, 4x4 and 16x1 blocks in f32 run at the speed of dense
 * products on what is left; i8 values with a quantized x use the integer dot product.
 *
 * @example
 * const w = BlockMatrix.from(tensor([[1, 2, 0, 0, 0], [0, 0, 0, 0, 0]]), [4, 4])   // one block
 * w.matmul(tensor([[3, 4, 5, 6, 7]]))   // f32[1,2] = [[11, 0]]
 */
export class BlockMatrix extends SparseMatrix {
  readonly indptr: Tensor
  readonly columns: Tensor
  readonly block: BlockSize

  /** Takes over the tensors. Checks them unless `trusted`. */
  constructor(parts: BlockParts, shape: Shape, block: BlockSize, { trusted = false }: { trusted?: boolean } = {}) {
    super([shape[0]!, shape[1]!], parts.values, parts.scale ?? null)
    this.indptr = parts.indptr
    this.columns = parts.columns
    this.block = [block[0], block[1]]
    if (!trusted) this.validate()
  }

  /** w f32 or i8 [rows, cols]. Another block than 1x16, 4x4 or 16x1: ERR_OPTION; more than 65536 block columns: ERR_LIMIT. */
  static from(w: Tensor, block: BlockSize, options: SparseOptions = {}): BlockMatrix {
    return scope(() => {
      const form = storedForm('BlockMatrix.from', w, options)
      const [values, indptr, columns] = bsrFromDense(form.w, block[0], block[1])
      return new BlockMatrix({ values, indptr, columns, scale: form.scale }, w.shape, block, { trusted: true })
    })
  }

  protected index(): readonly Tensor[] {
    return [this.indptr, this.columns]
  }
  protected stored(): Tensor {
    return bsrToDense(this.values, this.indptr, this.columns, this.shape[0]!, this.shape[1]!, ...this.block)
  }
  /** Share of the blocks that are stored. */
  get blockDensity(): number {
    return this.columns.size / Math.max(1, Math.ceil(this.shape[0]! / this.block[0]) * Math.ceil(this.shape[1]! / this.block[1]))
  }
  matmul(x: Tensor, bias: Tensor | null = null, { xScale = 0, xZero = 128 }: QuantizedInput = {}): Tensor {
    this.checkInput(x)
    const { values, indptr, columns, scale, shape, block } = this
    return bsrLinear(x, values, indptr, columns, scale, bias, shape[0]!, block[0], block[1], xScale, xZero)
  }
}

export interface BitmaskParts {
  /** f32 or i8 [nnz], row after row. */
  readonly values: Tensor
  /** i32 [rows + 1]: where each row begins, then nnz. */
  readonly indptr: Tensor
  /** u8 [rows, ceil(cols / 8)], least significant bit first. */
  readonly bits: Tensor
  readonly scale?: Tensor | null
}

/**
 * A bit per element and the values that are not 0. The smallest format from 50 to about 90 % zeros in f32, and the fastest for one row of x at 50 to 70 %.
 *
 * @example
 * const w = BitmaskMatrix.from(tensor([[0, 2], [1, 0]]))
 * w.matmul(tensor([[3, 4]]))   // f32[1,2] = [[8, 3]]
 */
export class BitmaskMatrix extends SparseMatrix {
  readonly indptr: Tensor
  readonly bits: Tensor

  /** Takes over the tensors. Checks them unless `trusted`. */
  constructor(parts: BitmaskParts, cols: number, { trusted = false }: { trusted?: boolean } = {}) {
    super([parts.indptr.size - 1, cols], parts.values, parts.scale ?? null)
    this.indptr = parts.indptr
    this.bits = parts.bits
    if (!trusted) this.validate()
  }

  /** w f32 or i8 [rows, cols]; more than 65536 columns: ERR_LIMIT. */
  static from(w: Tensor, options: SparseOptions = {}): BitmaskMatrix {
    return scope(() => {
      const form = storedForm('BitmaskMatrix.from', w, options)
      const [values, indptr, bits] = bitmaskFromDense(form.w)
      return new BitmaskMatrix({ values, indptr, bits, scale: form.scale }, w.shape[1]!, { trusted: true })
    })
  }

  protected index(): readonly Tensor[] {
    return [this.indptr, this.bits]
  }
  protected stored(): Tensor {
    return bitmaskToDense(this.values, this.indptr, this.bits, this.shape[1]!)
  }
  matmul(x: Tensor, bias: Tensor | null = null): Tensor {
    this.checkInput(x)
    return bitmaskLinear(x, this.values, this.indptr, this.bits, this.scale, bias)
  }
}

export interface NmParts {
  /** f32 or i8 [rows, 2 * groups], groups = ceil(cols / 4). */
  readonly values: Tensor
  /** u8 [rows, ceil(groups / 2)]: four bits a group, two for the place of each value. */
  readonly indices: Tensor
  readonly scale?: Tensor | null
}

/**
 * 2:4: two values of each four columns, and where they stand in two bits each. Half of the values and 1/16 of the dense f32 bytes for the places; no row offsets.
 *
 * @example
 * const w = NmMatrix.from(tensor([[0, 2, 0, 3], [1, 0, 0, 0]]))
 * w.matmul(tensor([[1, 2, 3, 4]]))   // f32[1,2] = [[16, 1]]
 */
export class NmMatrix extends SparseMatrix {
  readonly n = 2
  readonly m = 4
  readonly indices: Tensor

  /** Takes over the tensors. Checks them unless `trusted`. */
  constructor(parts: NmParts, cols: number, { trusted = false }: { trusted?: boolean } = {}) {
    super([parts.values.shape[0]!, cols], parts.values, parts.scale ?? null)
    this.indices = parts.indices
    if (!trusted) this.validate()
  }

  /** w f32 or i8 [rows, cols] with at most two nonzeros in each four columns: else ERR_DATA, which names the first such place. */
  static from(w: Tensor, options: SparseOptions = {}): NmMatrix {
    return scope(() => {
      const form = storedForm('NmMatrix.from', w, options)
      const [values, indices] = nmFromDense(form.w)
      return new NmMatrix({ values, indices, scale: form.scale }, w.shape[1]!, { trusted: true })
    })
  }

  protected index(): readonly Tensor[] {
    return [this.indices]
  }
  protected stored(): Tensor {
    return nmToDense(this.values, this.indices, this.shape[1]!)
  }
  matmul(x: Tensor, bias: Tensor | null = null): Tensor {
    this.checkInput(x)
    return nmLinear(x, this.values, this.indices, this.scale, bias)
  }
}
