/** Sparse matrices in compressed rows. */
import { DTypeError, ModelFormatError, OptionError, ShapeError } from '../base/errors.js'
import type { Shape } from '../base/shape.js'
import { bitmaskToDense, cast, copy, csrFromDense, csrGroup, csrLinear, csrMultiply, csrToDense, mul, reshape } from '../ops/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { storedForm, type BitmaskMatrix, type SparseOptions } from './sparse-matrix.js'

export interface CsrParts {
  /** f32 or i8 [nnz], row after row. */
  readonly values: Tensor
  /** i32 [rows + 1]: where each row begins, then nnz. */
  readonly indptr: Tensor
  /** u16 or i32 [nnz], ascending in each row. */
  readonly columns: Tensor
  /** f32 [rows] or [1]; needed for i8 values. */
  readonly scale?: Tensor | null
}

export interface CsrOptions extends SparseOptions {
  readonly index?: 'u16' | 'i32'
}

export class CsrMatrix {
  readonly values: Tensor
  readonly indptr: Tensor
  readonly columns: Tensor
  readonly scale: Tensor | null
  readonly shape: Shape
  #packed: Tensor | undefined

  /** Takes over the tensors. Checks them (see validate) unless `trusted`. */
  constructor(parts: CsrParts, cols: number, { trusted = false }: { trusted?: boolean } = {}) {
    this.values = parts.values
    this.indptr = parts.indptr
    this.columns = parts.columns
    this.scale = parts.scale ?? null
    this.shape = [this.indptr.size - 1, cols]
    if (!trusted) this.validate()
  }

  /** The elements of w f32 or i8 [rows, cols] that are not zero. i8 needs a scale (f32 [rows] or [1]), which the matrix takes over. */
  static fromDense(w: Tensor, scale: Tensor | null = null): CsrMatrix {
    return scope(() => {
      const [values, indptr, columns] = csrFromDense(w)
      return new CsrMatrix({ values, indptr, columns, scale }, w.shape[1]!)
    })
  }

  /**
   * w f32 or i8 [rows, cols] as `values` (see SparseOptions) with `index` of 16 or 32 bits. Default: 16 bits where the columns fit; 'u16' for more than 65536 columns is
   * ERR_OPTION.
   *
   * @example
   * const w = CsrMatrix.from(tensor([[0, 2], [1, 0]]), { values: 'i8' })
   * w.matmul(tensor([[3, 4]]))   // f32[1,2] = [[8, 3]]
   */
  static from(w: Tensor, { index, ...options }: CsrOptions = {}): CsrMatrix {
    if (index !== undefined && index !== 'u16' && index !== 'i32')
      throw new OptionError('ERR_OPTION', `CsrMatrix.from: index must be u16 or i32, got ${String(index)}`)
    return scope(() => {
      const form = storedForm('CsrMatrix.from', w, options)
      const [values, indptr, columns] = csrFromDense(form.w)
      if (index === 'u16' && columns.dtype !== 'u16')
        throw new OptionError('ERR_OPTION', `CsrMatrix.from: index u16 reaches 65536 columns, got ${w}`)
      const wide = index === 'i32' ? cast(columns, 'i32') : columns
      return new CsrMatrix({ values, indptr, columns: wide, scale: form.scale }, w.shape[1]!, { trusted: true })
    })
  }

  /**
   * The same matrix in compressed rows; w stays as it is. A bit mask is smaller and wins for one to three vectors at half of the values; from four vectors on it is decoded
   * in every call, which takes more than half of the time where few values are left (at 90 % zeros and 16 vectors 2.3 to 2.7 times CSR's): convert once instead.
   *
   * @example
   * CsrMatrix.fromBitmask(BitmaskMatrix.from(tensor([[0, 2], [1, 0]]))).matmul(tensor([[3, 4]]))   // f32[1,2] = [[8, 3]]
   */
  static fromBitmask(w: BitmaskMatrix): CsrMatrix {
    return scope(() => {
      const [values, indptr, columns] = csrFromDense(bitmaskToDense(w.values, w.indptr, w.bits, w.shape[1]!))
      return new CsrMatrix({ values, indptr, columns, scale: w.scale && copy(w.scale) }, w.shape[1]!, { trusted: true })
    })
  }

  get nnz(): number {
    return this.values.size
  }
  /** Share of the elements that are stored. */
  get density(): number {
    return this.nnz / Math.max(1, this.shape[0]! * this.shape[1]!)
  }
  /** Bytes of all arrays (without what pack makes). */
  get bytes(): number {
    return this.values.bytes + this.indptr.bytes + this.columns.bytes + (this.scale?.bytes ?? 0)
  }

  /**
   * Packs the rows in groups that share loads of x (ops.csrGroup): from then on products with 56 vectors and more use them. It takes about as long as two products with
   * 128 vectors, and as many bytes again as the values and a part of the columns; its tensor lives as the tensors of the matrix do. Nothing happens where it does not
   * pay: int8 values, 32-bit columns, less than 8 % of values, no AVX-512.
   *
   * @example
   * const w = CsrMatrix.from(tensor([[0, 2], [1, 0]])).pack()
   * w.matmul(tensor([[3, 4]]))   // f32[1,2] = [[8, 3]]
   */
  pack(): this {
    if (this.values.dtype === 'f32' && this.columns.dtype === 'u16')
      this.#packed ??= csrGroup(this.values, this.indptr, this.columns, this.shape[1]!)
    return this
  }
  /** What `pack` made, or null. */
  get packed(): Tensor | null {
    return this.#packed ?? null
  }

  /** Throws ERR_DTYPE, ERR_SHAPE or ERR_MODEL_FORMAT unless the arrays form a matrix of this shape with ascending columns. Linear in nnz. */
  validate(): void {
    const { values, indptr, columns, scale } = this
    const [rows, cols] = this.shape as [number, number]
    if (!['f32', 'i8'].includes(values.dtype) || indptr.dtype !== 'i32' || !['u16', 'i32'].includes(columns.dtype))
      throw new DTypeError(
        'ERR_DTYPE',
        `CsrMatrix: values are f32 or i8, indptr i32, columns u16 or i32, got ${values}, ${indptr}, ${columns}`,
      )
    if (values.rank !== 1 || indptr.rank !== 1 || columns.rank !== 1 || indptr.size < 1 || columns.size !== values.size)
      throw new ShapeError(
        'ERR_SHAPE',
        `CsrMatrix: values and columns are [nnz], indptr is [rows + 1], got ${values}, ${columns}, ${indptr}`,
      )
    if (!Number.isInteger(cols) || cols < 0 || cols > 2 ** 31 - 1)
      throw new ShapeError('ERR_SHAPE', `CsrMatrix: cols must be an integer in [0, 2^31), got ${cols}`)
    if (values.dtype === 'i8' && !scale) throw new DTypeError('ERR_DTYPE', 'CsrMatrix: i8 values need a scale')
    if (scale && (scale.dtype !== 'f32' || scale.rank !== 1 || (scale.size !== 1 && scale.size !== rows)))
      throw new ShapeError('ERR_SHAPE', `CsrMatrix: scale must be f32 [${rows}] or [1], got ${scale}`)
    const start = indptr.read() as Int32Array
    const column = columns.read() as Int32Array | Uint16Array
    const wrong = (rule: string): ModelFormatError =>
      new ModelFormatError('ERR_MODEL_FORMAT', `CsrMatrix: ${rule} (shape: [${rows},${cols}])`)
    if (start[0] !== 0 || start[rows] !== column.length)
      throw wrong(`indptr must run from 0 to nnz ${column.length}, got ${start[0]} to ${start[rows]}`)
    for (let r = 0; r < rows; r++) {
      const [from, to] = [start[r]!, start[r + 1]!]
      // to <= nnz: a later fall back to nnz must not hide a row that reads past the end.
      if (to < from || to > column.length)
        throw wrong(`indptr must not fall and stay within nnz ${column.length}, got ${from} then ${to} at row ${r}`)
      for (let i = from, before = -1; i < to; i++) {
        const c = column[i]!
        if (c <= before || c >= cols) throw wrong(`columns must ascend within [0, ${cols}), got ${before} then ${c} in row ${r}`)
        before = c
      }
    }
  }

  /** x f32 [..., cols] -> f32 [..., rows] = x W^T + bias [rows]. */
  matmul(x: Tensor, bias: Tensor | null = null): Tensor {
    if (x.shape[x.rank - 1] !== this.shape[1])
      throw new ShapeError('ERR_SHAPE', `CsrMatrix.matmul: x must be [..., ${this.shape[1]}], got ${x}`)
    return csrLinear(x, this.values, this.indptr, this.columns, this.scale, bias, this.packed)
  }

  /**
   * x f32 [cols, N] -> f32 [rows, N] = W x + bias [rows]: activations stored as columns (channels first). The same sums as `matmul` without the two transposes,
   * which pays most where W is very sparse. ERR_SHAPE for another x. Differentiable in x and bias.
   *
   * @example
   * const w = CsrMatrix.from(tensor([[0, 2], [1, 0]]))
   * w.multiply(tensor([[3, 4, 5], [6, 7, 8]]))   // f32[2,3] = [[12, 14, 16], [3, 4, 5]]
   */
  multiply(x: Tensor, bias: Tensor | null = null): Tensor {
    if (x.rank !== 2 || x.shape[0] !== this.shape[1])
      throw new ShapeError('ERR_SHAPE', `CsrMatrix.multiply: x must be [${this.shape[1]}, N], got ${x}`)
    return csrMultiply(this.values, this.indptr, this.columns, x, this.scale, bias, this.packed)
  }

  /** f32 [rows, cols] with the scale applied. */
  toDense(): Tensor {
    return scope(() => {
      const w = csrToDense(this.values, this.indptr, this.columns, this.shape[1]!)
      const real = w.dtype === 'f32' ? w : cast(w, 'f32')
      return this.scale ? mul(real, reshape(this.scale, [this.scale.size, 1])) : real
    })
  }

  /** Frees the arrays. */
  dispose(): void {
    for (const t of [this.values, this.indptr, this.columns, this.scale, this.#packed]) t?.dispose()
    this.#packed = undefined
  }
}
