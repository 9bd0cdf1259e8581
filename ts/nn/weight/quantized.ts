/**
 * Integer codes with scales: value = scale * (q - zero), one scale for the tensor, for each row (output channel), or for each run of
 * ceil(cols / groups) values of a row.
 *
 * Layout 'rows' (Q-BERT, Shen et al. 2020, section 3.2): equal runs of rows, that is of output neurons, share one. Files hold one for each run; in memory every row has its own
 * copy, and nothing else knows.
 *
 * In memory q is i8 [rows, cols], scale f32 [rows, groups], [rows, 1] or [1, 1], zero f32 of the same shape or absent (symmetric). With `input` (the
 * calibrated range of the layer's input; symmetric, per tensor or per channel only) linear and conv2d run on 8-bit integers end to end; the layout
 * that the kernel wants is made on first use and kept. With `input: 'dynamic'` linear layers do the same with a range of its own for each row of the input (u8 with
 * a zero point), found in the call; convolutions stay floating. Without, linear runs on the codes themselves (in the kernel's layout, made on first use and kept) where
 * the groups divide the columns; else, and for conv2d, the values are expanded for each call and freed after it. A lookup expands only the rows that it needs.
 *
 * In a file: `q` packed to `bits` bits each, or `code` (coding "sparse": entropy coded, smaller where many codes are 0); `scale` as f32, or as f16
 * where every scale is exactly a half; `zero` packed like q where it fits, else f32.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, NumericError, OptionError, ShapeError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import type { Shape } from '../../base/shape.js'
import {
  dequantizeRows,
  gather,
  pair,
  qconv2d,
  qconv2dPack,
  qgemmPack,
  qlinear,
  qlinearDynamic,
  reshape,
  wgemm,
  wgemmPack,
} from '../../ops/index.js'
import { sides2d } from '../../ops/composite/convolution.js'
import { fromRaw, keep, scope, tensor, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { checkPartShape, countNonzero } from './dense.js'
import { onGrid, plainInput, within } from './integer-input.js'
import { checkPartNames, matrixShape, one, onProcessor, parseWeightConfig, partOf, withTemporary, type Parts } from './parts.js'
import { defineWeightKind, type InputQuantization, type Leaf, type Weight, type WeightUse } from './weight.js'

export type QuantizedLayout = 'tensor' | 'channel' | 'group' | 'rows'

export interface QuantizedParts {
  readonly shape: Shape
  readonly q: Tensor
  readonly scale: Tensor
  readonly zero?: Tensor | null
  readonly bits: number
  readonly layout: QuantizedLayout
  /** Of layout 'rows': how many rows share a scale; it divides them. */
  readonly rowsPerScale?: number
  readonly input?: InputQuantization | 'dynamic' | null
  /** How the scales stand in a file. 'f16' demands that each is exactly a half. */
  readonly scaleDtype?: 'f32' | 'f16'
  /** How the codes stand in a file. */
  readonly coding?: 'packed' | 'sparse'
}

const configSchema = z.strictObject({
  bits: z.int().min(2).max(8),
  layout: z.enum(['tensor', 'channel', 'group', 'rows']),
  groups: z.int().positive().optional(),
  rowsPerScale: z.int().positive().optional(),
  affine: z.literal(true).optional(),
  input: z
    .union([
      z.strictObject({
        scale: z.number().positive(),
        zero: z.int().min(0).max(255),
        limits: z.tuple([z.int().min(0), z.int().max(255)]).optional(),
      }),
      z.literal('dynamic'),
    ])
    .optional(),
  coding: z.literal('sparse').optional(),
})

export class QuantizedWeight implements Weight {
  readonly kind = 'quantized'
  readonly shape: Shape
  readonly q: Tensor
  readonly scale: Tensor
  readonly zero: Tensor | null
  readonly bits: number
  readonly layout: QuantizedLayout
  readonly rowsPerScale: number
  readonly input: InputQuantization | 'dynamic' | null
  readonly scaleDtype: 'f32' | 'f16'
  readonly coding: 'packed' | 'sparse'
  #packed: Tensor | undefined
  #filters: Tensor | undefined
  #onCodes: boolean | undefined
  #codeBytes: number | undefined

  /** Takes over the tensors. */
  constructor(parts: QuantizedParts) {
    const { shape, q, scale, zero = null, bits, layout, rowsPerScale = 1, input = null, scaleDtype = 'f32', coding = 'packed' } = parts
    const [rows, cols] = matrixShape('quantized', shape)
    const wrong = (rule: string): never => {
      throw new ShapeError('ERR_SHAPE', `weight: quantized [${shape}] per ${layout}: ${rule} (q: ${q}, scale: ${scale}, zero: ${zero})`)
    }
    if (!Number.isInteger(bits) || bits < 2 || bits > 8)
      throw new OptionError('ERR_OPTION', `weight: bits must be an integer in [2, 8], got ${bits}`)
    if (q.dtype !== 'i8' || q.rank !== 2 || q.shape[0] !== rows || q.shape[1] !== cols) wrong(`q must be i8[${rows},${cols}]`)
    const lead = layout === 'tensor' ? 1 : rows
    if (scale.dtype !== 'f32' || scale.rank !== 2 || scale.shape[0] !== lead || (layout !== 'group' && scale.shape[1] !== 1))
      wrong(`scale must be f32[${lead},${layout === 'group' ? 'groups' : 1}]`)
    if (zero && (zero.dtype !== 'f32' || !zero.sameShape(scale))) wrong('zero must have the dtype and shape of scale')
    if (input && (layout === 'group' || zero))
      throw new OptionError('ERR_OPTION', 'weight: a quantized input needs a symmetric weight with scales per tensor or per channel')
    if (scaleDtype === 'f16' && !exactInHalf(scale))
      throw new NumericError('ERR_NUMERIC', 'weight: scales that are stored as f16 must be exact in f16; round them first')
    if (!sharedByRows(rowsPerScale, rows, layout, scale) || (zero && !sharedByRows(rowsPerScale, rows, layout, zero)))
      wrong(`runs of ${rowsPerScale} rows must divide the rows and share scale and zero`)
    this.shape = [...shape]
    this.rowsPerScale = rowsPerScale
    this.q = q
    this.scale = scale
    this.zero = zero
    this.bits = bits
    this.layout = layout
    this.input = input
    this.scaleDtype = scaleDtype
    this.coding = coding
  }

  /** Values that share a scale. */
  get groupSize(): number {
    const [rows, cols] = matrixShape('quantized', this.shape)
    return this.layout === 'tensor' ? rows * cols : Math.ceil(cols / this.scale.shape[1]!)
  }
  get description(): string {
    const where =
      this.layout === 'group' ? `g${this.groupSize}` : this.layout === 'rows' ? `per ${this.rowsPerScale} rows` : `per ${this.layout}`
    return `int${this.bits} ${where}${this.zero ? ' affine' : ''}${this.coding === 'sparse' ? ' sparse' : ''}${this.input ? (this.input === 'dynamic' ? ', dynamic u8 input' : ', u8 input') : ''}`
  }

  bytes(): number {
    const count = this.scale.size / this.rowsPerScale
    const scales = count * (this.scaleDtype === 'f16' ? 2 : 4)
    const zeros = this.zero ? (zerosFit(this.zero, this.bits) ? packedBytes(count, this.bits) : 4 * count) : 0
    return this.#bytesOfCodes() + scales + zeros
  }
  #bytesOfCodes(): number {
    if (this.coding === 'packed') return packedBytes(this.q.size, this.bits)
    return (this.#codeBytes ??= scope(() => onProcessor('sparse_encode', [this.q]).size))
  }

  nonzeros(): number {
    return this.zero ? scope(() => countNonzero(this.dense())) : countNonzero(this.q)
  }

  dense(): Tensor {
    return reshape(dequantizeRows(this.q, this.scale, this.zero), this.shape)
  }

  apply(x: Tensor, use: WeightUse): Tensor {
    const { input } = this
    if (use.op === 'lookup') return this.#lookup(x)
    if (input === 'dynamic' && use.op === 'linear') {
      this.#packed ??= keep(qgemmPack(this.q))
      const scale = this.scale.reshapeView([this.scale.size])
      return withTemporary([scale], () => qlinearDynamic(x, this.#packed!, scale, use.bias, null, this.shape[0]!, false, 'none'))
    }
    if (input && input !== 'dynamic' && (use.op === 'linear' || use.op === 'conv2d')) {
      const scale = this.scale.reshapeView([this.scale.size])
      const limited = within(x, input)
      return withTemporary(limited === x ? [scale] : [scale, limited], () =>
        use.op === 'conv2d' ? this.#convolution(limited, scale, input, use) : this.#integerLinear(limited, scale, input, use.bias),
      )
    }
    // Convolutions that integers do not have (one dimension, transposed): the same codes, multiplied as floats.
    if (input && input !== 'dynamic') return scope(() => applyDense(this.dense(), onGrid(x, input), use))
    if (use.op === 'linear' && this.#runsOnCodes()) {
      this.#packed ??= keep(wgemmPack(this.q, this.scale, this.zero, this.bits < 5 ? this.bits : 8))
      return wgemm(x, this.#packed, use.bias, null, this.shape[0]!, 'none')
    }
    const flat = dequantizeRows(this.q, this.scale, this.zero)
    const values = reshape(flat, this.shape)
    return withTemporary([flat, values], () => applyDense(values, x, use))
  }

  #integerLinear(x: Tensor, scale: Tensor, input: InputQuantization, bias: Tensor | null): Tensor {
    this.#packed ??= keep(qgemmPack(this.q))
    return qlinear(x, this.#packed, scale, bias, this.shape[0]!, input.scale, input.zero, 'none')
  }

  #convolution(x: Tensor, scale: Tensor, input: InputQuantization, use: WeightUse & { readonly op: 'conv2d' }): Tensor {
    const [{ shape }, groups] = [this, use.groups ?? 1]
    const [stride, dilation] = [pair(use.stride), pair(use.dilation ?? 1)]
    const padding = sides2d('conv2d', use.padding, [x.shape[2]!, x.shape[3]!], [shape[2]!, shape[3]!], stride, dilation).flat()
    this.#filters ??= keep(qconv2dPack(this.q.reshapeView(shape), groups))
    return qconv2d(x, this.#filters, scale, use.bias, shape, stride, padding, dilation, groups, input.scale, input.zero)
  }

  /** What the kernel for codes takes: equal groups, and factors of a sane size (files may hold others). */
  #runsOnCodes(): boolean {
    return (this.#onCodes ??=
      this.shape[1]! % this.scale.shape[1]! === 0 &&
      (this.scale.read() as Float32Array).every((s) => Math.abs(s) >= 2 ** -126 && Math.abs(s) <= 2 ** 64) &&
      (!this.zero || (this.zero.read() as Float32Array).every((z) => Math.abs(z) <= 2 ** 20)))
  }

  #lookup(ids: Tensor): Tensor {
    const made: Tensor[] = []
    const temporary = (t: Tensor): Tensor => {
      made.push(t)
      return t
    }
    return withTemporary(made, () => {
      const index = temporary(reshape(ids, [ids.size]))
      const rowsOf = (t: Tensor): Tensor => (t.shape[0] === 1 && this.layout === 'tensor' ? t : temporary(gather(t, index)))
      const values = temporary(dequantizeRows(temporary(gather(this.q, index)), rowsOf(this.scale), this.zero && rowsOf(this.zero)))
      return reshape(values, [...ids.shape, ...this.shape.slice(1)])
    })
  }

  parts(): Record<string, RawTensor> {
    return scope(() => {
      const codes =
        this.coding === 'sparse'
          ? { code: toRaw(onProcessor('sparse_encode', [this.q])) }
          : { q: toRaw(one('pack_bits', [this.q, this.bits])) }
      const firsts = (t: Tensor): Tensor =>
        this.rowsPerScale === 1
          ? t
          : gather(t, tensor(Int32Array.from({ length: t.size / this.rowsPerScale }, (_, i) => i * this.rowsPerScale)))
      const scale = this.scaleDtype === 'f16' ? one('cast', [firsts(this.scale), 'f16']) : firsts(this.scale)
      const zeros = this.zero && firsts(this.zero)
      const zero = zeros && (zerosFit(zeros, this.bits) ? one('pack_bits', [one('cast', [zeros, 'i8']), this.bits]) : zeros)
      return { ...codes, scale: toRaw(scale), ...(zero ? { zero: toRaw(zero) } : {}) }
    })
  }

  config(): Json {
    return {
      bits: this.bits,
      layout: this.layout,
      ...(this.layout === 'group' ? { groups: this.scale.shape[1]! } : {}),
      ...(this.layout === 'rows' ? { rowsPerScale: this.rowsPerScale } : {}),
      ...(this.zero ? { affine: true } : {}),
      ...(this.input ? { input: this.input === 'dynamic' ? this.input : plainInput(this.input) } : {}),
      ...(this.coding === 'sparse' ? { coding: 'sparse' } : {}),
    }
  }

  trainable(): readonly Leaf[] {
    return []
  }

  dispose(): void {
    for (const t of [this.q, this.scale, this.zero, this.#packed, this.#filters]) t?.dispose()
    this.#packed = this.#filters = undefined
  }
}

/** The same weight stored another way in files: 'sparse' pays where many codes are 0. Shares nothing with `w`. */
export function withCoding(w: QuantizedWeight, coding: 'packed' | 'sparse'): QuantizedWeight {
  const { shape, bits, layout, rowsPerScale, input, scaleDtype } = w
  return new QuantizedWeight({
    shape,
    bits,
    layout,
    rowsPerScale,
    input,
    scaleDtype,
    coding,
    q: w.q.alias(),
    scale: w.scale.alias(),
    zero: w.zero?.alias() ?? null,
  })
}

/** True when every run of `per` rows has one factor; runs are for layout 'rows' alone. */
function sharedByRows(per: number, rows: number, layout: QuantizedLayout, factor: Tensor): boolean {
  if (per === 1) return true
  if (layout !== 'rows' || !Number.isInteger(per) || per < 1 || rows % per !== 0) return false
  return (factor.read() as Float32Array).every((v, i, all) => Object.is(v, all[i - (i % per)]))
}

function packedBytes(n: number, bits: number): number {
  return Math.ceil((n * bits) / 8)
}

/** True when every value is unchanged by a trip through f16. */
function exactInHalf(scale: Tensor): boolean {
  const back = scope(() => one('cast', [one('cast', [scale, 'f16']), 'f32']).read() as Float32Array)
  return (scale.read() as Float32Array).every((v, i) => Object.is(v, back[i]))
}

/** Zero points that can be packed like codes: integers of `bits` bits. */
function zerosFit(zero: Tensor, bits: number): boolean {
  const half = 2 ** (bits - 1)
  return (zero.read() as Float32Array).every((v) => Number.isInteger(v) && v >= -half && v < half && !Object.is(v, -0))
}

function restoreCodes(parts: Parts, bits: number, sparse: boolean, rows: number, cols: number): Tensor {
  if (!sparse) return unpack(parts, 'q', bits, rows, cols)
  const q = onProcessor('sparse_decode', [fromRaw(partOf('quantized', parts, 'code', ['u8'])), [rows, cols]])
  const half = 2 ** (bits - 1)
  const wrong = (q.read() as Int8Array).find((v) => v < -half || v >= half)
  if (wrong !== undefined)
    throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: codes of ${bits} bits must be in [${-half}, ${half}), got ${wrong}`)
  return q
}

function unpack(parts: Parts, name: string, bits: number, rows: number, cols: number): Tensor {
  const raw = partOf('quantized', parts, name, ['u8'])
  checkPartShape('quantized', name, raw, [packedBytes(rows * cols, bits)])
  return one('unpack_bits', [fromRaw(raw), bits, rows * cols]).reshapeView([rows, cols])
}

export const quantizedKind = defineWeightKind({
  kind: 'quantized',
  restore: (parts, given, shape) => {
    const {
      bits,
      layout,
      groups = 1,
      rowsPerScale = 1,
      affine = false,
      input = null,
      coding = 'packed',
    } = parseWeightConfig('quantized', configSchema, given)
    checkPartNames('quantized', parts, [coding === 'sparse' ? 'code' : 'q', 'scale', ...(affine ? ['zero'] : [])])
    const [rows, cols] = matrixShape('quantized', shape)
    if (rows % rowsPerScale !== 0 || (rowsPerScale > 1 && layout !== 'rows'))
      throw new ModelFormatError(
        'ERR_MODEL_FORMAT',
        `weight: runs of ${rowsPerScale} rows do not fit a quantized weight [${shape}] per ${layout}`,
      )
    const lead = layout === 'tensor' ? 1 : rows / rowsPerScale
    const rawScale = partOf('quantized', parts, 'scale', ['f32', 'f16'])
    checkPartShape('quantized', 'scale', rawScale, [lead, groups])
    return scope(() => {
      const stored = fromRaw(rawScale)
      const spread = (t: Tensor): Tensor =>
        rowsPerScale === 1 ? t : gather(t, tensor(Int32Array.from({ length: rows }, (_, r) => Math.floor(r / rowsPerScale))))
      const scale = spread(rawScale.dtype === 'f16' ? one('cast', [stored, 'f32']) : stored)
      const q = restoreCodes(parts, bits, coding === 'sparse', rows, cols)
      const zero = affine ? spread(restoreZero(parts, bits, lead, groups)) : null
      if (groups > 1 && layout !== 'group')
        throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: scales per ${layout} have one group, got ${groups}`)
      return new QuantizedWeight({
        shape,
        q,
        scale,
        zero,
        bits,
        layout,
        rowsPerScale,
        input,
        scaleDtype: rawScale.dtype === 'f16' ? 'f16' : 'f32',
        coding,
      })
    })
  },
})

function restoreZero(parts: Parts, bits: number, rows: number, groups: number): Tensor {
  const raw = partOf('quantized', parts, 'zero', ['u8', 'f32'])
  if (raw.dtype === 'u8') return one('cast', [unpack(parts, 'zero', bits, rows, groups), 'f32'])
  checkPartShape('quantized', 'zero', raw, [rows, groups])
  return fromRaw(raw)
}
