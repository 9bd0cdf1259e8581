/**
 * Only the values that are not 0, as compressed rows (CSR): values f32, or i8 with a scale per row or one for all; row offsets i32; columns u16 where
 * they fit, else i32. Linear layers multiply with the rows directly; convolutions and lookups run on a dense f32 copy that is made on
 * first use and kept (`description` says so).
 *
 * In a file: f32 as `values`, `columns`, `counts` (entries per row); i8 as `code` (entropy coded) and `scale`. The structure is checked once, on restore.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, OptionError, ShapeError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import { sizeOf, type Shape } from '../../base/shape.js'
import { csrGroup, csrLinear, csrToDense, dequantizeRows, reshape } from '../../ops/index.js'
import { callOp, fromRaw, keep, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { checkPartShape, countNonzero } from './dense.js'
import { checkPartNames, matrixShape, one, onProcessor, parseWeightConfig, partOf, percent, type Parts } from './parts.js'
import { QuantizedWeight } from './quantized.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export interface SparseParts {
  readonly shape: Shape
  /** f32 or i8 [entries]. */
  readonly values: Tensor
  /** i32 [rows + 1]. */
  readonly indptr: Tensor
  /** u16 or i32 [entries], ascending within a row. */
  readonly columns: Tensor
  /** f32 [rows] or [1]; with i8 values only. */
  readonly scale?: Tensor | null
}

export class SparseWeight implements Weight {
  readonly kind = 'sparse'
  readonly shape: Shape
  readonly values: Tensor
  readonly indptr: Tensor
  readonly columns: Tensor
  readonly scale: Tensor | null
  #dense: Tensor | undefined
  #packed: Tensor | undefined
  #codeBytes: number | undefined

  /** Takes over the tensors. Their structure must be valid: `sparseFrom` makes it so, files are checked on restore. */
  constructor({ shape, values, indptr, columns, scale = null }: SparseParts) {
    const [rows] = matrixShape('sparse', shape)
    const quantized = values.dtype === 'i8'
    const fits =
      (quantized || values.dtype === 'f32') &&
      values.rank === 1 &&
      indptr.dtype === 'i32' &&
      indptr.size === rows + 1 &&
      columns.size === values.size &&
      quantized === (scale !== null) &&
      (!scale || (scale.dtype === 'f32' && scale.rank === 1 && (scale.size === 1 || scale.size === rows)))
    if (!fits)
      throw new ShapeError(
        'ERR_SHAPE',
        `weight: sparse [${shape}] does not fit its parts (values: ${values}, indptr: ${indptr}, columns: ${columns}, scale: ${scale})`,
      )
    this.shape = [...shape]
    this.values = values
    this.indptr = indptr
    this.columns = columns
    this.scale = scale
  }

  get description(): string {
    const dense = this.shape.length > 2 || this.#dense ? ', runs dense' : ''
    return `${this.scale ? 'int8' : 'f32'} sparse ${percent(this.values.size, sizeOf(this.shape))}${dense}`
  }

  bytes(): number {
    if (this.scale) return this.scale.bytes + (this.#codeBytes ??= scope(() => onProcessor('sparse_encode', [this.#matrix()]).size))
    return this.values.bytes + this.columns.bytes + this.#rowCounts().byteLength
  }

  nonzeros(): number {
    return countNonzero(this.values)
  }

  /** [rows, cols] in the dtype of the values. */
  #matrix(): Tensor {
    return csrToDense(this.values, this.indptr, this.columns, matrixShape('sparse', this.shape)[1])
  }

  dense(): Tensor {
    const matrix = this.#matrix()
    const { scale } = this
    return reshape(scale ? dequantizeRows(matrix, scale.reshapeView([scale.size, 1]), null) : matrix, this.shape)
  }

  apply(x: Tensor, use: WeightUse): Tensor {
    if (use.op === 'linear') return csrLinear(x, this.values, this.indptr, this.columns, this.scale, use.bias, this.#grouped(x))
    this.#dense ??= keep(scope(() => this.dense()))
    return applyDense(this.#dense, x, use)
  }

  /** The rows in groups, for 56 vectors or more (fewer do not use them): made on first use and kept in memory, never saved. */
  #grouped(x: Tensor): Tensor | null {
    const cols = x.shape[x.rank - 1]!
    if (x.size < 56 * cols || this.values.dtype !== 'f32' || this.columns.dtype !== 'u16') return null
    return (this.#packed ??= keep(scope(() => csrGroup(this.values, this.indptr, this.columns, cols))))
  }

  /** Entries per row, u16 where they fit. */
  #rowCounts(): Uint16Array | Int32Array {
    const offsets = this.indptr.read() as Int32Array
    const counts = Int32Array.from({ length: offsets.length - 1 }, (_, r) => offsets[r + 1]! - offsets[r]!)
    return counts.every((n) => n < 65536) ? Uint16Array.from(counts) : counts
  }

  parts(): Record<string, RawTensor> {
    return scope(() => {
      if (this.scale) return { code: toRaw(onProcessor('sparse_encode', [this.#matrix()])), scale: toRaw(this.scale) }
      return { values: toRaw(this.values), columns: toRaw(this.columns), counts: toRaw(tensor(this.#rowCounts())) }
    })
  }

  config(): Json {
    return this.scale ? { values: 'i8' } : {}
  }

  trainable(): readonly Leaf[] {
    return []
  }

  dispose(): void {
    for (const t of [this.values, this.indptr, this.columns, this.scale, this.#dense, this.#packed]) t?.dispose()
    this.#dense = undefined
    this.#packed = undefined
  }
}

/**
 * The nonzero values of a weight. Codes of a symmetric quantized weight (per tensor or channel, without quantized input) stay codes; anything else
 * is stored as f32. A quantized weight with a quantized input computes another function than a sparse one can: store it with
 * `withCoding(w, 'sparse')` instead.
 */
export function sparseFrom(w: Weight): SparseWeight {
  const [rows, cols] = matrixShape('sparse', w.shape)
  return scope(() => {
    if (w instanceof QuantizedWeight) {
      if (w.input)
        throw new OptionError(
          'ERR_OPTION',
          `weight: ${w.description} quantizes its input, which a sparse weight does not; use its coding "sparse"`,
        )
      if (!w.zero && w.layout !== 'group') {
        const [values, indptr, columns] = fromMatrix(w.q)
        return new SparseWeight({ shape: w.shape, values, indptr, columns, scale: one('copy', [w.scale.reshapeView([w.scale.size])]) })
      }
    }
    const [values, indptr, columns] = fromMatrix(reshape(w.dense(), [rows, cols]))
    return new SparseWeight({ shape: w.shape, values, indptr, columns })
  })
}

function fromMatrix(matrix: Tensor): [values: Tensor, indptr: Tensor, columns: Tensor] {
  return callOp('csr_from_dense', [matrix]) as [Tensor, Tensor, Tensor]
}

const configSchema = z.strictObject({ values: z.literal('i8').optional() })

export const sparseKind = defineWeightKind({
  kind: 'sparse',
  restore: (parts, given, shape) => {
    const quantized = parseWeightConfig('sparse', configSchema, given).values === 'i8'
    const [rows, cols] = matrixShape('sparse', shape)
    return scope(() => (quantized ? restoreCodes(parts, shape, rows, cols) : restoreFloats(parts, shape, rows, cols)))
  },
})

function restoreCodes(parts: Parts, shape: Shape, rows: number, cols: number): SparseWeight {
  checkPartNames('sparse', parts, ['code', 'scale'])
  const scale = partOf('sparse', parts, 'scale', ['f32'])
  if (scale.shape[0] !== 1) checkPartShape('sparse', 'scale', scale, [rows])
  const [values, indptr, columns] = fromMatrix(
    onProcessor('sparse_decode', [fromRaw(partOf('sparse', parts, 'code', ['u8'])), [rows, cols]]),
  )
  return new SparseWeight({ shape, values, indptr, columns, scale: fromRaw(scale) })
}

function restoreFloats(parts: Parts, shape: Shape, rows: number, cols: number): SparseWeight {
  checkPartNames('sparse', parts, ['values', 'columns', 'counts'])
  const values = partOf('sparse', parts, 'values', ['f32'])
  const columns = partOf('sparse', parts, 'columns', ['u16', 'i32'])
  const counts = partOf('sparse', parts, 'counts', ['u16', 'i32'])
  if (values.shape.length !== 1) checkPartShape('sparse', 'values', values, [sizeOf(values.shape)])
  checkPartShape('sparse', 'columns', columns, values.shape)
  checkPartShape('sparse', 'counts', counts, [rows])
  const indptr = new Int32Array(rows + 1)
  ;(fromRaw(counts).read() as Int32Array).forEach((n, r) => {
    if (n < 0 || indptr[r]! + n > values.shape[0]!)
      throw new ModelFormatError(
        'ERR_MODEL_FORMAT',
        `weight: the counts of a sparse weight exceed its ${values.shape[0]} values at row ${r}`,
      )
    indptr[r + 1] = indptr[r]! + n
  })
  const w = new SparseWeight({ shape, values: fromRaw(values), indptr: tensor(indptr), columns: fromRaw(columns) })
  one('csr_to_dense', [w.values, w.indptr, w.columns, cols]).dispose() // checks the whole structure
  return w
}
