/**
 * Puts an ONNX graph together: nodes, constants (equal small ones once), names, sizes as integer tensors. Knows ONNX's data, not Tersor's ops.
 */
import { numberOf, type ElementType, type OnnxAttribute, type OnnxNode, type OnnxTensor } from '../../formats/onnx/index.js'

export type Attributes = Readonly<Record<string, OnnxAttribute>>
export const int = (value: number): OnnxAttribute => ({ type: 'int', value })
export const float = (value: number): OnnxAttribute => ({ type: 'float', value })
export const ints = (value: readonly number[]): OnnxAttribute => ({ type: 'ints', value })
export const text = (value: string): OnnxAttribute => ({ type: 'string', value })

export interface NodeOptions {
  readonly attributes?: Attributes
  readonly domain?: string
  /** Names of the results; default: one, made up. */
  readonly outputs?: readonly string[]
}

/** Bytes of numbers as a constant wants them. */
export function bytesOf(dtype: ElementType, values: ArrayLike<number>): Uint8Array {
  const list = Array.from(values)
  const of = (array: ArrayBufferView): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
  if (dtype === 'f32') return of(Float32Array.from(list))
  if (dtype === 'f64') return of(Float64Array.from(list))
  if (dtype === 'i64') return of(BigInt64Array.from(list, (v) => BigInt(v)))
  if (dtype === 'i32') return of(Int32Array.from(list))
  return dtype === 'i8' ? of(Int8Array.from(list)) : Uint8Array.from(list) // u8, bool
}

const SMALL = 256

export class OnnxBuilder {
  readonly nodes: OnnxNode[] = []
  readonly initializers = new Map<string, OnnxTensor>()
  /** Least version of the operators that the nodes so far need. */
  opset: number
  readonly domains = new Set<string>()
  readonly #taken = new Set<string>()
  readonly #small = new Map<string, string>()
  readonly #sizes = new Map<string, string>()

  constructor(opset: number) {
    this.opset = opset
  }

  /** A name that nothing has yet: `hint`, or `hint_2`, ... */
  name(hint: string): string {
    let name = hint
    for (let i = 2; this.#taken.has(name); i++) name = `${hint}_${i}`
    this.#taken.add(name)
    return name
  }

  needs(opset: number): void {
    this.opset = Math.max(this.opset, opset)
  }

  /** Adds a node and answers the name of its first result. */
  node(op: string, inputs: readonly string[], { attributes = {}, domain = '', outputs }: NodeOptions = {}): string {
    const name = this.name(op)
    const names = outputs ?? [this.name(`${name}_y`)]
    if (domain) this.domains.add(domain)
    let last = inputs.length
    while (last > 0 && inputs[last - 1] === '') last--
    this.nodes.push({ op, domain, name, inputs: inputs.slice(0, last), outputs: names, attributes })
    return names[0]!
  }

  tensor(hint: string, value: OnnxTensor): string {
    const name = this.name(hint)
    this.initializers.set(name, value)
    return name
  }

  /** A constant from numbers; equal small ones are one. */
  constant(hint: string, dtype: ElementType, shape: readonly number[], values: ArrayLike<number>): string {
    const data = bytesOf(dtype, values)
    const key = data.length <= SMALL ? `${dtype} ${shape.join(',')} ${Array.from(data).join(',')}` : undefined
    const known = key === undefined ? undefined : this.#small.get(key)
    if (known !== undefined) return known
    const name = this.tensor(hint, { dtype, shape: [...shape], read: () => data })
    if (key !== undefined) this.#small.set(key, name)
    return name
  }

  scalar(value: number): string {
    return this.constant('scalar', 'f32', [], [value])
  }
  int64s(values: readonly number[]): string {
    return this.constant('ints', 'i64', [values.length], values)
  }

  /** Dimension `axis` of a value as i64 [1]. */
  size(value: string, axis: number): string {
    const key = `${axis} ${value}`
    let name = this.#sizes.get(key)
    if (name === undefined) {
      name = this.node('Gather', [this.node('Shape', [value]), this.int64s([axis])], { attributes: { axis: int(0) } })
      this.#sizes.set(key, name)
    }
    return name
  }

  cast(x: string, to: ElementType): string {
    return this.node('Cast', [x], { attributes: { to: int(numberOf(to)) } })
  }
}
