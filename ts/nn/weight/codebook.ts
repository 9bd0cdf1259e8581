/**
 * Weight sharing (Han, Mao, Dally 2016, "Deep compression", section 3): each value is one of k numbers of a table. A table belongs to the tensor, to a row, or to a run of a
 * row. Values train through their tables: the gradient of an entry is the sum over the values that stand for it (their equation 3).
 *
 * In memory: codes i8 [rows, cols], code - 2^(bits-1) as `pack_bits` takes them; tables f32 [tables * k], all of them in a row. With `zero` the first entry of every table is
 * exactly 0 and stays so (pruned weights). Products expand the values for each call; a session does it once. A lookup expands only the rows that it needs.
 *
 * In a file: the codes in `bits` bits each, the tables as f32, or as f16 where every entry is exactly a half and `tableDtype` asks for it.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, OptionError, ShapeError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import type { Shape } from '../../base/shape.js'
import { add, cast, gather, gatherAlong, reshape } from '../../ops/index.js'
import { fromRaw, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { checkPartShape, countNonzero } from './dense.js'
import { checkPartNames, matrixShape, one, parseWeightConfig, partOf, withTemporary } from './parts.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export type CodebookLayout = 'tensor' | 'row' | 'group'

export interface CodebookParts {
  readonly shape: Shape
  /** i8 [rows, cols]: entry - 2^(bits-1). */
  readonly codes: Tensor
  /** f32 [tables * entries]. */
  readonly table: Tensor
  readonly bits: number
  readonly entries: number
  readonly layout: CodebookLayout
  /** The first entry of each table is 0 for ever. */
  readonly zero?: boolean
  readonly tableDtype?: 'f32' | 'f16'
}

const configSchema = z.strictObject({
  bits: z.int().min(2).max(8),
  entries: z.int().min(1).max(256),
  layout: z.enum(['tensor', 'row', 'group']),
  groups: z.int().positive().optional(),
  zero: z.literal(true).optional(),
})

export class CodebookWeight implements Weight {
  readonly kind = 'codebook'
  readonly shape: Shape
  readonly codes: Tensor
  readonly table: Tensor
  readonly bits: number
  readonly entries: number
  readonly layout: CodebookLayout
  readonly zero: boolean
  readonly tableDtype: 'f32' | 'f16'
  /** Of the table: 0 where the first entries are 0 for ever. */
  readonly mask: Tensor | null

  /** Takes over the tensors. */
  constructor({ shape, codes, table, bits, entries, layout, zero = false, tableDtype = 'f32' }: CodebookParts) {
    const [rows, cols] = matrixShape('codebook', shape)
    const wrong = (rule: string): never => {
      throw new ShapeError('ERR_SHAPE', `weight: codebook [${shape}] per ${layout}: ${rule} (codes: ${codes}, table: ${table})`)
    }
    if (!Number.isInteger(bits) || bits < 2 || bits > 8)
      throw new OptionError('ERR_OPTION', `weight: bits must be an integer in [2, 8], got ${bits}`)
    if (!Number.isInteger(entries) || entries < 1 || entries > 2 ** bits)
      throw new OptionError('ERR_OPTION', `weight: a table for ${bits} bits has 1 to ${2 ** bits} entries, got ${entries}`)
    if (codes.dtype !== 'i8' || codes.rank !== 2 || codes.shape[0] !== rows || codes.shape[1] !== cols)
      wrong(`codes must be i8[${rows},${cols}]`)
    const tables = table.size / entries
    const fits = layout === 'tensor' ? tables === 1 : layout === 'row' ? tables === rows : rows > 0 && tables % rows === 0 && cols % (tables / rows) === 0 // prettier-ignore
    if (table.dtype !== 'f32' || table.rank !== 1 || !Number.isInteger(tables) || !fits)
      wrong(`table must be f32[tables * ${entries}] with ${layout === 'group' ? 'equal runs of each row' : `one table per ${layout}`}`)
    this.shape = [...shape]
    this.codes = codes
    this.table = table
    this.bits = bits
    this.entries = entries
    this.layout = layout
    this.zero = zero
    this.tableDtype = tableDtype
    this.mask = zero ? zerosOf(tables, entries) : null
  }

  get tables(): number {
    return this.table.size / this.entries
  }
  get description(): string {
    const [, cols] = matrixShape('codebook', this.shape)
    const where = this.layout === 'group' ? `g${cols / (this.tables / this.shape[0]!)}` : `per ${this.layout}`
    return `codebook of ${this.entries}, ${this.bits} bits ${where}`
  }
  bytes(): number {
    return Math.ceil((this.codes.size * this.bits) / 8) + this.table.size * (this.#half() ? 2 : 4)
  }
  /** Training moves entries: what is no longer a half is stored as f32. */
  #half(): boolean {
    if (this.tableDtype === 'f32') return false
    const back = scope(() => one('cast', [one('cast', [this.table, 'f16']), 'f32']).read() as Float32Array)
    return (this.table.read() as Float32Array).every((v, i) => Object.is(v, back[i]))
  }
  nonzeros(): number {
    return scope(() => countNonzero(this.dense()))
  }

  dense(): Tensor {
    return reshape(this.#values(this.codes, reshape(this.table, [this.tables, this.entries])), this.shape)
  }

  /** Values of codes whose elements fall evenly on the rows of `tables`. */
  #values(codes: Tensor, tables: Tensor): Tensor {
    const index = add(
      cast(reshape(codes, [tables.shape[0]!, codes.size / Math.max(1, tables.shape[0]!)]), 'i32'),
      tensor(new Int32Array([2 ** (this.bits - 1)]), []),
    )
    return gatherAlong(tables, index, 1)
  }

  apply(x: Tensor, use: WeightUse): Tensor {
    if (use.op === 'lookup') return scope(() => this.#lookup(x))
    const values = this.dense()
    return withTemporary([values], () => applyDense(values, x, use))
  }

  #lookup(ids: Tensor): Tensor {
    const index = reshape(ids, [ids.size])
    const [rows] = matrixShape('codebook', this.shape)
    const all = reshape(this.table, [this.tables, this.entries])
    const own = this.layout === 'tensor' ? all : reshape(gather(reshape(this.table, [rows, this.table.size / rows]), index), [(ids.size * this.tables) / rows, this.entries]) // prettier-ignore
    return reshape(this.#values(gather(this.codes, index), own), [...ids.shape, ...this.shape.slice(1)])
  }

  parts(): Record<string, RawTensor> {
    return scope(() => ({
      codes: toRaw(one('pack_bits', [this.codes, this.bits])),
      table: toRaw(this.#half() ? one('cast', [this.table, 'f16']) : this.table),
    }))
  }

  config(): Json {
    return {
      bits: this.bits,
      entries: this.entries,
      layout: this.layout,
      ...(this.layout === 'group' ? { groups: this.tables / this.shape[0]! } : {}),
      ...(this.zero ? { zero: true } : {}),
    }
  }

  trainable(): readonly Leaf[] {
    return [{ value: this.table, mask: this.mask }]
  }

  dispose(): void {
    for (const t of [this.codes, this.table, this.mask]) t?.dispose()
  }
}

/** Ones everywhere but at the first entry of each table. */
function zerosOf(tables: number, entries: number): Tensor {
  const bits = new Uint8Array(Math.ceil((tables * entries) / 8))
  for (let i = 0; i < tables * entries; i++) if (i % entries !== 0) bits[i >> 3]! |= 1 << (i & 7)
  return tensor(bits)
}

export const codebookKind = defineWeightKind({
  kind: 'codebook',
  restore: (parts, given, shape) => {
    const { bits, entries, layout, groups = 1, zero = false } = parseWeightConfig('codebook', configSchema, given)
    checkPartNames('codebook', parts, ['codes', 'table'])
    const [rows, cols] = matrixShape('codebook', shape)
    const raw = partOf('codebook', parts, 'codes', ['u8'])
    checkPartShape('codebook', 'codes', raw, [Math.ceil((rows * cols * bits) / 8)])
    const rawTable = partOf('codebook', parts, 'table', ['f32', 'f16'])
    checkPartShape('codebook', 'table', rawTable, [(layout === 'tensor' ? 1 : layout === 'row' ? rows : rows * groups) * entries])
    if (groups > 1 && (layout !== 'group' || cols % groups !== 0))
      throw new ModelFormatError(
        'ERR_MODEL_FORMAT',
        `weight: ${groups} tables per row do not fit a codebook weight [${shape}] per ${layout}`,
      )
    return scope(() => {
      const codes = one('unpack_bits', [fromRaw(raw), bits, rows * cols]).reshapeView([rows, cols])
      const wrong = (codes.read() as Int8Array).find((v) => v + 2 ** (bits - 1) >= entries)
      if (wrong !== undefined)
        throw new ModelFormatError(
          'ERR_MODEL_FORMAT',
          `weight: codes of a table of ${entries} entries must be below it, got ${wrong + 2 ** (bits - 1)}`,
        )
      const stored = fromRaw(rawTable)
      const table = rawTable.dtype === 'f16' ? one('cast', [stored, 'f32']) : stored
      if (zero && (table.read() as Float32Array).some((v, i) => i % entries === 0 && v !== 0))
        throw new ModelFormatError('ERR_MODEL_FORMAT', 'weight: the first entry of each table of this codebook weight must be 0')
      return new CodebookWeight({ shape, codes, table, bits, entries, layout, zero, tableDtype: rawTable.dtype as 'f32' | 'f16' })
    })
  },
})
