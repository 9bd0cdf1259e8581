/** What a rule of the table of ops (ops.ts) sees: values by name, sizes that depend on inputs, constants. */
import { UnsupportedError } from '../../base/errors.js'
import { isValue, type TracedValue } from '../trace.js'
import { int, type OnnxBuilder } from './builder.js'
import { expressOf, type Pair, type PairedCall, type PairedNumber } from './pair.js'
import type { WeightEmitter } from './weights.js'

/** What a file may use beyond ONNX's own operators, and how integers are multiplied. */
export interface Target {
  /** 4-bit and 8-bit groups as com.microsoft.MatMulNBits, which onnxruntime and onnxruntime-web run on the codes. */
  readonly matMulNBits: boolean
  /** Quantized matrices without a calibrated input: quantize rows of the input while running (DynamicQuantizeLinear + MatMulInteger). */
  readonly dynamic: boolean
}

export class ExportContext {
  readonly builder: OnnxBuilder
  readonly pair: Pair
  readonly weights: WeightEmitter
  readonly target: Target
  /** Values that sizes may come from: inputs first. */
  readonly sources: TracedValue[] = []
  readonly #names = new Map<number, string>()
  /** What is known of a value beyond its name: rules for recurrent layers leave notes for the slices that follow. */
  readonly notes = new Map<number, unknown>()

  /** Sizes (of the second run) up to which tables reach. */
  readonly #longest: ReadonlySet<number>

  constructor(builder: OnnxBuilder, pair: Pair, weights: WeightEmitter, target: Target, longest: Readonly<Record<string, number>>) {
    this.#longest = new Set(Object.values(longest))
    this.builder = builder
    this.pair = pair
    this.weights = weights
    this.target = target
  }

  set(value: TracedValue, name: string): void {
    this.#names.set(value.id, name)
  }
  has(value: TracedValue): boolean {
    return this.#names.has(value.id)
  }

  /** The name of a value; constants and weights are written on first use. */
  name(value: unknown): string {
    if (value === null || value === undefined) return ''
    const v = value as TracedValue
    let name = this.#names.get(v.id)
    if (name === undefined) {
      name = this.#write(v)
      this.#names.set(v.id, name)
    }
    return name
  }

  #write(v: TracedValue): string {
    if (v.from.kind === 'weight') return this.weights.dense(v.from.path)
    if (!v.constant || !this.pair.fixed(v)) return this.#sized(v)
    const data = v.constant
    return this.builder.tensor('constant', { dtype: data.dtype, shape: [...data.shape], read: () => data.data })
  }

  /** A constant that the model made for these sizes: 0, 1, 2, ..., one number everywhere, or a list of sizes. */
  #sized(v: TracedValue): string {
    const [x, y] = [v, this.pair.other(v)].map((side) => (side.constant ? numbersOf(side) : []))
    const shape = this.pair.shape(v)
    if (x!.length && y!.length && x!.every((n) => n === x![0]) && y!.every((n) => n === x![0]))
      return this.builder.node('Expand', [this.builder.constant('fill', v.dtype, [], [x![0]!]), this.shape(shape, v)])
    if (x!.length && x!.every((n) => n === x![0]) && y!.every((n) => n === y![0])) {
      const pair: PairedNumber = [x![0]!, y![0]!]
      const number = v.dtype === 'f32' ? this.float('a constant', pair, v) : this.builder.cast(this.int64(pair, v), v.dtype)
      return this.builder.node(x!.length === 1 ? 'Reshape' : 'Expand', [number, this.shape(shape, v)])
    }
    const varying = shape.filter(([a, b]) => a !== b)
    if (
      varying.length === 1 &&
      x!.length === varying[0]![0] &&
      [x!, y!].every((list) => list.every((n, i) => n === list[0]! + i)) &&
      x![0] === y![0]
    ) {
      const { builder } = this
      const scalar = (name: string): string => builder.node('Squeeze', [name])
      const count = this.int64(varying[0]!, v)
      const start = builder.constant('start', 'i64', [1], [x![0]!])
      const end = x![0] === 0 ? count : builder.node('Add', [count, start])
      const range = builder.node('Range', [scalar(start), scalar(end), builder.constant('one', 'i64', [], [1])])
      const cast = builder.cast(range, v.dtype === 'i32' ? 'i32' : 'f32')
      return shape.length === 1 ? cast : builder.node('Reshape', [cast, this.shape(shape, v)])
    }
    if (varying.length === 0 && (v.dtype === 'i64' || v.dtype === 'i32') && x!.length > 0 && x!.length === y!.length) {
      const list = this.shape(
        x!.map((n, i) => [n, y![i]!]),
        v,
      )
      const cast = v.dtype === 'i64' ? list : this.builder.cast(list, 'i32')
      return v.shape.length === 1 ? cast : this.builder.node('Reshape', [cast, this.builder.int64s(v.shape)])
    }
    const axis = shape.findIndex(([a, b]) => a !== b)
    if (varying.length === 1 && this.#longest.has(varying[0]![1]) && isPrefix(x!, y!, shape, axis)) {
      const { data, dtype } = this.pair.other(v).constant!
      const table = this.builder.tensor('table', { dtype, shape: shape.map((d) => d[1]), read: () => data })
      return this.builder.node('Slice', [table, this.builder.int64s([0]), this.int64(varying[0]!, v), this.builder.int64s([axis])])
    }
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `export: the model computes ${v.dtype}[${v.shape}] outside of its ops, by its inputs; fix its sizes with dynamic: {}, or those of an imported model by name with sizes (tersor convert --size NAME=N), or, if it is a table by position, say how far it reaches: longest`,
    )
  }

  /** A number as i64 [1]: constant, or from a dimension of a value that is there. */
  int64(n: PairedNumber, near?: TracedValue): string {
    if (n[0] === n[1]) return this.builder.int64s([n[0]])
    const from = expressOf(this.pair, n, [...(near && this.has(near) ? [near] : []), ...this.sources])
    if (!from)
      throw new UnsupportedError(
        'ERR_UNSUPPORTED',
        `export: a size of ${n[0]} (then ${n[1]}) does not follow from the inputs; fix its sizes with dynamic: {}, or those of an imported model by name with sizes (tersor convert --size NAME=N)`,
      )
    let name = this.builder.size(this.name(from.value), from.axis)
    if (from.times !== 1) name = this.builder.node('Mul', [name, this.builder.int64s([from.times])])
    return from.plus === 0 ? name : this.builder.node('Add', [name, this.builder.int64s([from.plus])])
  }

  /** A number of `where` as f32: constant, a size, or one over a size (what a mean divides by). */
  float(where: string, n: PairedNumber, near?: TracedValue): string {
    if (n[0] === n[1]) return this.builder.scalar(n[0])
    const size = (of: PairedNumber): string => this.builder.node('Squeeze', [this.builder.cast(this.int64(of, near), 'f32')])
    if (n.every(Number.isInteger)) return size(n)
    const sizes = [Math.round(1 / n[0]), Math.round(1 / n[1])] as const
    if (sizes.every((d, i) => d > 0 && Math.abs(d * n[i]! - 1) < 1e-6)) return this.builder.node('Reciprocal', [size(sizes)])
    throw varying(where, n[0], n[1])
  }

  /** Numbers as one i64 vector. */
  shape(dims: readonly PairedNumber[], near?: TracedValue): string {
    if (dims.every(([a, b]) => a === b)) return this.builder.int64s(dims.map(([a]) => a))
    if (dims.length === 1) return this.int64(dims[0]!, near)
    return this.builder.node(
      'Concat',
      dims.map((d) => this.int64(d, near)),
      { attributes: { axis: int(0) } },
    )
  }
}

/** A number that would be frozen at that of the first run. */
export const varying = (where: string, x: unknown, y: unknown): UnsupportedError =>
  new UnsupportedError(
    'ERR_UNSUPPORTED',
    `export: ${where} follows the sizes of the inputs (${JSON.stringify(x)}, then ${JSON.stringify(y)}); fix its sizes with dynamic: {}, or those of an imported model by name with sizes (tersor convert --size NAME=N)`,
  )

/** Whether x is the beginning of y along `axis`. */
function isPrefix(x: readonly number[], y: readonly number[], shape: readonly PairedNumber[], axis: number): boolean {
  const inner = shape.slice(axis + 1).reduce((n, [d]) => n * d, 1)
  const [from, to] = [shape[axis]![1] * inner, shape[axis]![0] * inner]
  return x.length > 0 && x.every((v, i) => v === y[Math.floor(i / to) * from + (i % to)])
}

/** Elements of a constant as numbers. */
export function numbersOf(value: TracedValue): number[] {
  const raw = value.constant!
  const copy = raw.data.slice().buffer
  const arrays: Readonly<Record<string, () => ArrayLike<number>>> = {
    f32: () => new Float32Array(copy),
    f64: () => new Float64Array(copy),
    i64: () => Array.from(new BigInt64Array(copy), Number),
    i32: () => new Int32Array(copy),
    u16: () => new Uint16Array(copy),
    i16: () => new Int16Array(copy),
    i8: () => new Int8Array(copy),
  }
  return Array.from((arrays[raw.dtype] ?? ((): ArrayLike<number> => new Uint8Array(copy)))())
}

/** An argument that must be a tensor of the trace. */
export function valueArg(call: PairedCall, i: number): TracedValue {
  const v = call.a.args[i]
  if (!isValue(v)) throw new UnsupportedError('ERR_UNSUPPORTED', `export: ${call.op} without its argument ${i}`)
  return v
}

/** A list of numbers among the arguments, in both runs. */
export function pairedList(call: PairedCall, i: number): PairedNumber[] {
  const [x, y] = [call.a.args[i] as readonly number[], call.b.args[i] as readonly number[]]
  return x.map((n, k) => [n, y[k]!])
}
