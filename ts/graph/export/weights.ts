/**
 * Weights of a model as constants of an ONNX graph. Quantized ones stay codes: DequantizeLinear turns them into floats (per tensor, per channel; groups
 * from opset 21 on), so a file is as small as the model; what the operator cannot say (zero points that are no integers) is spelled out in arithmetic.
 */
import type { Model, Weight } from '../../nn/index.js'
import { LowRankWeight, placesOf, QuantizedWeight, SparseWeight } from '../../nn/index.js'
import { NumericError, UnsupportedError } from '../../base/errors.js'
import { cast, csrToDense } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { int, ints, type OnnxBuilder } from './builder.js'

/** Integer codes [rows, cols] with scale and zero [rows | 1, groups]: value = scale (q - zero). */
export interface Codes {
  readonly rows: number
  readonly cols: number
  readonly q: Int8Array
  readonly groups: number
  /** Rows of scale and zero: 1 where one scale is for all. */
  readonly lead: number
  readonly scale: Float32Array
  readonly zero: Float32Array | null
  readonly bits: number
}

/** How floats are stored. */
export type StoredFloat = 'f32' | 'f16'

export class WeightEmitter {
  readonly #builder: OnnxBuilder
  readonly #weights: ReadonlyMap<string, Weight>
  readonly #model: Model
  readonly #float: StoredFloat
  readonly #made = new Map<string, string>()
  /** The path under which a weight is written: that of the first layer of those that share it. */
  readonly #first = new Map<string, string>()
  /** Weights that rows are looked up in: they are stored as they lie in the model. */
  readonly #tables: ReadonlySet<Weight>

  constructor(builder: OnnxBuilder, model: Model, float: StoredFloat) {
    this.#builder = builder
    this.#model = model
    // The factors of a product stand below it, as in traces.
    const withFactors = (path: string, weight: Weight): [string, Weight][] => [
      [path, weight],
      ...(weight instanceof LowRankWeight ? (['left', 'right'] as const).map((f): [string, Weight] => [`${path}.${f}`, weight[f]]) : []),
    ]
    this.#weights = new Map(model.weights().flatMap(({ path, weight }) => withFactors(path, weight)))
    this.#tables = new Set(
      model.weights().flatMap(({ path, role, weight }) => (role === 'table' ? withFactors(path, weight).map(([, w]) => w) : [])),
    )
    for (const [weight, paths] of placesOf(model))
      for (const path of paths) withFactors(path, weight).forEach(([own], i) => this.#first.set(own, withFactors(paths[0]!, weight)[i]![0]))
    this.#float = float
  }

  /** The weight at a path; state tensors have none. */
  weight(path: string): Weight | undefined {
    return this.#weights.get(path)
  }

  /** The values of a weight or of a state tensor. */
  values(path: string): { readonly shape: readonly number[]; readonly values: Float32Array } {
    const weight = this.weight(path)
    return scope(() => {
      const t = weight ? weight.dense() : this.#model.state().get(path)
      if (t?.dtype !== 'f32')
        throw new UnsupportedError('ERR_UNSUPPORTED', `export: ${path} is ${String(t)}; only f32 weights can be written`)
      return { shape: t.shape, values: t.read() as Float32Array }
    })
  }

  /** What is made of a weight in one way, for all layers that share it. `make` gets the first one's path. */
  once(path: string, way: string, make: (path: string) => string): string {
    const first = this.#first.get(path) ?? path
    const key = `${way} ${first}`
    let name = this.#made.get(key)
    if (name === undefined) this.#made.set(key, (name = make(first)))
    return name
  }

  /** Whether the weight is, or is going to be, in the file as it lies in the model: who wants it otherwise makes that of it. */
  #lies(path: string): boolean {
    const weight = this.weight(path)
    return this.#made.has(`dense ${this.#first.get(path) ?? path}`) || (weight !== undefined && this.#tables.has(weight))
  }

  /** Floats as a constant: f32, or f16 and a cast. */
  floats(hint: string, shape: readonly number[], values: Float32Array): string {
    const builder = this.#builder
    if (this.#float === 'f32' || values.length < 64) {
      const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      return builder.tensor(hint, { dtype: 'f32', shape: [...shape], read: () => data })
    }
    const large = values.findIndex((v) => Math.abs(v) > 65504)
    if (large >= 0)
      throw new NumericError('ERR_NUMERIC', `export: ${hint} holds ${values[large]} (element ${large}), which f16 cannot; write f32`)
    const half = scope(() => cast(tensor(values), 'f16').read() as Uint16Array)
    const data = new Uint8Array(half.buffer, half.byteOffset, half.byteLength)
    return builder.cast(builder.tensor(hint, { dtype: 'f16', shape: [...shape], read: () => data }), 'f32')
  }

  /** The values of a weight as it stands in the model. */
  dense(path: string): string {
    return this.once(path, 'dense', (path) => {
      const codes = this.codes(path)
      if (!codes) {
        const { shape, values } = this.values(path)
        return this.floats(path, shape, values)
      }
      const { shape } = this.weight(path)!
      // Scales of channels or of the tensor fit any shape; groups are of the matrix [rows, cols].
      if (codes.groups === 1) return this.#dequantized(path, codes, shape)
      const flat = this.#dequantized(path, codes, [codes.rows, codes.cols])
      return shape.length === 2 ? flat : this.#builder.node('Reshape', [flat, this.#builder.int64s(shape)])
    })
  }

  /** A matrix [out, in] as MatMul takes it from the right: [in, out]. */
  transposed(path: string): string {
    return this.once(path, 'transposed', (path) => {
      // A matrix that something else uses too (a table tied to a head) is stored once.
      if (this.#lies(path)) return this.#flip(this.dense(path))
      const codes = this.codes(path)
      if (codes) return this.#dequantized(path, transposeCodes(codes), [codes.cols, codes.rows], true)
      const { shape, values } = this.values(path)
      const [n, k] = shape as [number, number]
      return this.floats(path, [k, n], transposeMatrix(values, n, k))
    })
  }

  #flip(name: string): string {
    return this.#builder.node('Transpose', [name], { attributes: { perm: ints([1, 0]) } })
  }

  /** The codes of a matrix [out, in] as MatMulInteger takes them: i8 [in, out]. */
  flippedCodes(path: string, codes: Codes): string {
    return this.once(path, 'flipped codes', (path) => {
      if (this.#lies(path)) return this.#flip(this.codesTensor(path, codes, [codes.rows, codes.cols]))
      return this.codesTensor(path, transposeCodes(codes), [codes.cols, codes.rows], true)
    })
  }

  /** Codes of 8 bits as a constant of `shape`; `flipped`: they were transposed. */
  codesTensor(path: string, { q }: Codes, shape: readonly number[], flipped = false): string {
    const data = new Uint8Array(q.buffer, q.byteOffset, q.byteLength)
    const way = `codes ${flipped ? 'flipped' : ''} ${shape.join(' ')}`
    return this.once(path, way, () => this.#builder.tensor(`${path}.codes`, { dtype: 'i8', shape: [...shape], read: () => data }))
  }

  /** The integer codes of a weight that has them. */
  codes(path: string): Codes | null {
    const w = this.weight(path)
    if (w instanceof QuantizedWeight) {
      const [rows, cols] = [w.q.shape[0]!, w.q.shape[1]!]
      return {
        rows,
        cols,
        q: w.q.read() as Int8Array,
        lead: w.scale.shape[0]!,
        groups: w.scale.shape[1]!,
        scale: w.scale.read() as Float32Array,
        zero: (w.zero?.read() as Float32Array | undefined) ?? null,
        bits: w.bits,
      }
    }
    if (!(w instanceof SparseWeight) || !w.scale) return null
    const rows = w.shape[0]!
    const cols = w.shape.slice(1).reduce((n, d) => n * d, 1)
    const q = scope(() => csrToDense(w.values, w.indptr, w.columns, cols).read() as Int8Array)
    return { rows, cols, q, lead: w.scale.size, groups: 1, scale: w.scale.read() as Float32Array, zero: null, bits: 8 }
  }

  /** `codes` as floats of `shape`; `flipped`: rows of the codes are columns of what the scales belong to. */
  #dequantized(path: string, codes: Codes, shape: readonly number[], flipped = false): string {
    const builder = this.#builder
    builder.needs(13) // scales of channels
    const { q, scale, zero, groups, lead } = codes
    const whole = !zero || zero.every((z) => Number.isInteger(z) && z >= -128 && z <= 127)
    // Codes of up to 4 bits have a type of their own since opset 21.
    const narrow = codes.bits <= 4 && whole && (!zero || zero.every((z) => z >= -8 && z <= 7))
    if (narrow) builder.needs(21)
    const dtype = narrow ? 'i4' : 'i8'
    const packed = narrow ? packNibbles(q) : undefined
    const stored = packed
      ? builder.tensor(`${path}.codes`, { dtype, shape: [...shape], read: () => packed })
      : this.codesTensor(path, codes, shape, flipped)
    const channel = flipped ? 1 : 0
    const length = shape[1 - channel]!
    if (whole && (groups === 1 || length % groups === 0)) {
      const dims = groups === 1 ? (lead === 1 ? [] : [lead]) : flipped ? [groups, lead] : [lead, groups]
      const [s, z] =
        groups > 1 && flipped ? [transposeMatrix(scale, lead, groups), zero && transposeMatrix(zero, lead, groups)] : [scale, zero]
      const inputs = [stored, this.floats32(`${path}.scale`, dims, s)]
      if (z && narrow) {
        const zeros = packNibbles(Int8Array.from(z))
        inputs.push(builder.tensor(`${path}.zero`, { dtype, shape: dims, read: () => zeros }))
      } else if (z) inputs.push(builder.constant(`${path}.zero`, 'i8', dims, z))
      if (groups > 1) builder.needs(21)
      const attributes = { axis: int(groups > 1 ? 1 - channel : channel), ...(groups > 1 ? { block_size: int(length / groups) } : {}) }
      return builder.node('DequantizeLinear', inputs, { attributes })
    }
    // Groups that do not divide the columns, or zero points that are no integers: scales and zeros for every column of the codes.
    const size = Math.ceil(length / groups)
    const spread = (values: Float32Array): Float32Array => {
      const out = new Float32Array(q.length)
      const [rows, cols] = shape as [number, number]
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < cols; c++) {
          const [row, col] = flipped ? [c, r] : [r, c]
          out[r * cols + c] = values[(lead === 1 ? 0 : row) * groups + Math.floor(col / size)]!
        }
      return out
    }
    const perRow = groups === 1
    const place = (values: Float32Array): [number[], Float32Array] =>
      perRow ? [lead === 1 ? [] : flipped ? [1, lead] : [lead, ...shape.slice(1).map(() => 1)], values] : [[...shape], spread(values)]
    let y = builder.cast(stored, 'f32')
    if (zero) y = builder.node('Sub', [y, this.floats32(`${path}.zero`, ...place(zero))])
    return builder.node('Mul', [y, this.floats32(`${path}.scale`, ...place(scale))])
  }

  /** Scales: never stored in 16 bits. */
  floats32(hint: string, shape: readonly number[], values: Float32Array): string {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    return this.#builder.tensor(hint, { dtype: 'f32', shape: [...shape], read: () => data })
  }
}

/** Two codes of 4 bits in a byte, the first in the low half. */
export function packNibbles(codes: Int8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(codes.length / 2))
  codes.forEach((q, i) => (out[i >> 1]! |= (q & 15) << (4 * (i & 1))))
  return out
}

export function transposeMatrix<A extends Float32Array | Int8Array>(values: A, rows: number, cols: number): A {
  const out = values.slice() as A
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) out[c * rows + r] = values[r * cols + c]!
  return out
}

function transposeCodes(codes: Codes): Codes {
  return { ...codes, q: transposeMatrix(codes.q, codes.rows, codes.cols) }
}
