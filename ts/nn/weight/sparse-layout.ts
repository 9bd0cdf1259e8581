/**
 * Values that are not 0 in the layouts beside compressed rows: a bit per element, blocks of 1x16, 4x4 or 16x1, and 2:4. Values are f32, or i8 with a scale per row or one
 * for all. Linear layers multiply with the native kernel of the layout (docs/performance/spmm.md says which is fast when); convolutions and lookups run on a dense f32 copy
 * that is made on first use and kept (`description` says so). The structure is checked once, on restore.
 */
import { z } from 'zod'
import type { DType, RawTensor } from '../../base/dtype.js'
import { ModelFormatError, OptionError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import { sizeOf, type Shape } from '../../base/shape.js'
import {
  bitmaskFromDense,
  bitmaskLinear,
  bitmaskToDense,
  bsrFromDense,
  bsrLinear,
  bsrToDense,
  cast,
  dequantizeRows,
  nmFromDense,
  nmLinear,
  nmToDense,
  reshape,
} from '../../ops/index.js'
import { fromRaw, keep, scope, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { checkPartShape, countNonzero } from './dense.js'
import { checkPartNames, matrixShape, one, parseWeightConfig, partOf, percent } from './parts.js'
import { QuantizedWeight } from './quantized.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export const sparseLayouts = ['bitmask', '1x16', '4x4', '16x1', '2:4'] as const
export type SparseLayout = (typeof sparseLayouts)[number]

type Index = readonly Tensor[]

interface LayoutRow {
  /** Parts beside `values`, and their types. */
  readonly index: Readonly<Record<string, DType>>
  readonly from: (w: Tensor) => readonly Tensor[]
  readonly dense: (values: Tensor, index: Index, rows: number, cols: number) => Tensor
  readonly linear: (x: Tensor, values: Tensor, index: Index, scale: Tensor | null, bias: Tensor | null, rows: number) => Tensor
}

const blocks = (r: number, c: number): LayoutRow => ({
  index: { indptr: 'i32', columns: 'u16' },
  from: (w) => bsrFromDense(w, r, c),
  dense: (values, [indptr, columns], rows, cols) => bsrToDense(values, indptr!, columns!, rows, cols, r, c),
  linear: (x, values, [indptr, columns], scale, bias, rows) => bsrLinear(x, values, indptr!, columns!, scale, bias, rows, r, c, 0, 128),
})

const layouts: Readonly<Record<SparseLayout, LayoutRow>> = {
  bitmask: {
    index: { indptr: 'i32', bits: 'u8' },
    from: (w) => bitmaskFromDense(w),
    dense: (values, [indptr, bits], _rows, cols) => bitmaskToDense(values, indptr!, bits!, cols),
    linear: (x, values, [indptr, bits], scale, bias) => bitmaskLinear(x, values, indptr!, bits!, scale, bias),
  },
  '1x16': blocks(1, 16),
  '4x4': blocks(4, 4),
  '16x1': blocks(16, 1),
  '2:4': {
    index: { indices: 'u8' },
    from: (w) => nmFromDense(w),
    dense: (values, [indices], _rows, cols) => nmToDense(values, indices!, cols),
    linear: (x, values, [indices], scale, bias) => nmLinear(x, values, indices!, scale, bias),
  },
}

interface LayoutParts {
  readonly layout: SparseLayout
  readonly shape: Shape
  /** f32 or i8. */
  readonly values: Tensor
  /** As the layout has them. */
  readonly index: Index
  /** f32 [rows] or [1]; with i8 values only. */
  readonly scale: Tensor | null
}

export class SparseLayoutWeight implements Weight {
  readonly kind = 'sparse-layout'
  readonly shape: Shape
  readonly layout: SparseLayout
  readonly values: Tensor
  readonly scale: Tensor | null
  readonly index: Index
  #dense: Tensor | undefined

  /** Takes over the tensors. Their structure must be valid: `sparseLayoutFrom` makes it so, files are checked on restore. */
  constructor({ layout, shape, values, index, scale }: LayoutParts) {
    this.layout = layout
    this.shape = [...shape]
    this.values = values
    this.index = index
    this.scale = scale
  }

  get description(): string {
    const dense = this.shape.length > 2 || this.#dense ? ', runs dense' : ''
    return `${this.scale ? 'int8' : 'f32'} ${this.layout} ${percent(this.nonzeros(), sizeOf(this.shape))}${dense}`
  }

  bytes(): number {
    return [this.values, ...this.index].reduce((n, t) => n + t.bytes, this.scale?.bytes ?? 0)
  }

  nonzeros(): number {
    return countNonzero(this.values)
  }

  dense(): Tensor {
    const [rows, cols] = matrixShape(this.kind, this.shape)
    const matrix = layouts[this.layout].dense(this.values, this.index, rows, cols)
    const { scale } = this
    return reshape(scale ? dequantizeRows(matrix, scale.reshapeView([scale.size, 1]), null) : matrix, this.shape)
  }

  apply(x: Tensor, use: WeightUse): Tensor {
    if (use.op === 'linear') return layouts[this.layout].linear(x, this.values, this.index, this.scale, use.bias, this.shape[0]!)
    this.#dense ??= keep(scope(() => this.dense()))
    return applyDense(this.#dense, x, use)
  }

  parts(): Record<string, RawTensor> {
    const names = Object.keys(layouts[this.layout].index)
    return {
      values: toRaw(this.values),
      ...Object.fromEntries(this.index.map((t, i) => [names[i]!, toRaw(t)])),
      ...(this.scale ? { scale: toRaw(this.scale) } : {}),
    }
  }

  config(): Json {
    return { layout: this.layout, ...(this.scale ? { values: 'i8' } : {}) }
  }

  trainable(): readonly Leaf[] {
    return []
  }

  dispose(): void {
    for (const t of [this.values, ...this.index, this.scale, this.#dense]) t?.dispose()
    this.#dense = undefined
  }
}

/**
 * The nonzero values of a weight in a layout. Codes of a symmetric quantized weight (per tensor or channel, without quantized input) stay codes; anything else is stored
 * as f32.
 *
 * - '2:4' of a weight with more than two nonzeros in four neighbours: ERR_DATA with the place; a quantized input: ERR_OPTION
 */
export function sparseLayoutFrom(w: Weight, layout: SparseLayout): SparseLayoutWeight {
  const [rows, cols] = matrixShape('sparse-layout', w.shape)
  return scope(() => {
    if (w instanceof QuantizedWeight && w.input)
      throw new OptionError(
        'ERR_OPTION',
        `weight: ${w.description} quantizes its input, which a sparse weight does not; use its coding "sparse"`,
      )
    const codes = w instanceof QuantizedWeight && !w.zero && w.layout !== 'group' ? w : undefined
    const [values, ...index] = layouts[layout].from(codes ? codes.q : asF32(reshape(w.dense(), [rows, cols])))
    const scale = codes ? one('copy', [codes.scale.reshapeView([codes.scale.size])]) : null
    return new SparseLayoutWeight({ layout, shape: w.shape, values: values!, index, scale })
  })
}

const asF32 = (t: Tensor): Tensor => (t.dtype === 'f32' ? t : cast(t, 'f32'))

const configSchema = z.strictObject({ layout: z.enum(sparseLayouts), values: z.literal('i8').optional() })

export const sparseLayoutKind = defineWeightKind({
  kind: 'sparse-layout',
  restore: (parts, given, shape) => {
    const { layout, values: stored = 'f32' } = parseWeightConfig('sparse-layout', configSchema, given)
    const [rows, cols] = matrixShape('sparse-layout', shape)
    const { index, dense } = layouts[layout]
    const quantized = stored === 'i8'
    checkPartNames('sparse-layout', parts, ['values', ...Object.keys(index), ...(quantized ? ['scale'] : [])])
    return scope(() => {
      const values = fromRaw(partOf('sparse-layout', parts, 'values', [stored]))
      const made = Object.entries(index).map(([name, dtype]) => fromRaw(partOf('sparse-layout', parts, name, [dtype])))
      const scale = quantized ? partOf('sparse-layout', parts, 'scale', ['f32']) : null
      if (scale) checkPartShape('sparse-layout', 'scale', scale, [scale.shape[0] === 1 ? 1 : rows])
      const matrix = dense(values, made, rows, cols) // checks the whole structure
      if (matrix.shape[0] !== rows || matrix.shape[1] !== cols)
        throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: the parts of a sparse-layout weight [${shape}] form [${matrix.shape}]`)
      return new SparseLayoutWeight({ layout, shape, values, index: made, scale: scale && fromRaw(scale) })
    })
  },
})
