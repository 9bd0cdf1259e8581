/**
 * Writes the nodes of ONNX that a tfjs model means. TensorFlow keeps channels last, ONNX and our kernels first: a value knows in which of the two forms it
 * exists already, an operator asks for the form that it wants, and a Transpose stands only where nobody could do without it. Chains of convolutions, norms,
 * activations, sums and pools stay channels first from end to end.
 *
 * Integers of TensorFlow become i64, in which ONNX has its shapes and positions; other types stay.
 */
import { LimitError, ModelFormatError, UnsupportedError } from '../../base/errors.js'
import type { RawTensor } from '../../base/dtype.js'
import type { ValueType } from '../define.js'
import {
  mapSubgraphs,
  type Attribute,
  type Dim,
  type ElementType,
  type Graph,
  type GraphNode,
  type GraphTensor,
  type ValueInfo,
} from '../graph.js'
import { HostTensor } from '../host.js'
import { inferNode, numbers, typeOfConstant } from '../infer.js'
import { permuted } from './constants.js'

/** Version of ONNX's operators that is written. */
export const OPSET = 20
/** Nodes that functions and inner models may add in all; one node of the file is a handful at most. */
const MAX_EXPANDED = 250_000
const GROWTH = 32
/** "To the end" in Slice. */
export const END = 2 ** 31 - 1

/** A value in the forms that exist so far. */
export class Val {
  constructor(
    /** Channels last, as TensorFlow has it. */
    public plain: string | undefined,
    /** Channels first. */
    public first?: string,
    /** A constant of the file that no node uses yet. */
    readonly source?: { readonly name: string; readonly tensor: GraphTensor },
  ) {}
}

type Plain = number | string | readonly number[] | { readonly float: number } | { readonly floats: readonly number[] } | Attribute
export type Attributes = Readonly<Record<string, Plain>>

function attribute(v: Plain): Attribute {
  if (typeof v === 'number') return { type: 'int', value: v }
  if (typeof v === 'string') return { type: 'string', value: v }
  if ('float' in v) return { type: 'float', value: v.float }
  if ('floats' in v) return { type: 'floats', value: v.floats }
  return 'type' in v ? v : { type: 'ints', value: v }
}

/** [0, r-1, 1, ..., r-2]: axis of the channels-last form behind each axis of the channels-first one. */
export const toFirst = (rank: number): number[] => [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)]
export const toLast = (rank: number): number[] => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1]

export class Builder {
  nodes: GraphNode[] = []
  readonly constants = new Map<string, GraphTensor>()
  readonly types = new Map<string, ValueType>()
  readonly inputs: ValueInfo[] = []
  /** What the nodes that follow are called by. */
  at = ''
  readonly #used = new Set<string>([''])
  readonly #counters = new Map<string, number>()
  readonly #made = new Map<string, string>()

  #left: number

  /** `nodes` of the file: functions and models that are used again and again may not grow it without end. */
  constructor(
    readonly where: string,
    nodes: number,
  ) {
    this.#left = GROWTH * nodes + MAX_EXPANDED
  }

  fresh(name: string): string {
    let out = name
    for (let i = this.#counters.get(name) ?? 1; this.#used.has(out); i++) {
      this.#counters.set(name, i + 1)
      out = `${name}~${i}`
    }
    this.#used.add(out)
    return out
  }

  unsupported(message: string): never {
    throw new UnsupportedError('ERR_UNSUPPORTED', `${this.where}: ${message}`, { details: { what: this.at } })
  }

  input(info: ValueInfo): string {
    this.#used.add(info.name)
    this.inputs.push(info)
    this.types.set(info.name, info)
    return info.name
  }

  /** Results of a new node. */
  ops(op: string, inputs: readonly (string | undefined)[], attributes: Attributes = {}, outputs = 1): string[] {
    if (--this.#left < 0)
      throw new LimitError('ERR_LIMIT', `${this.where}: functions or models inside models make more than ${MAX_EXPANDED} nodes`, {
        details: { limit: 'nodes', value: MAX_EXPANDED + 1, max: MAX_EXPANDED },
      })
    const names = Array.from({ length: outputs }, () => this.fresh(this.at || op))
    const given = inputs.map((x) => x ?? '')
    while (given.at(-1) === '') given.pop()
    const node: GraphNode = {
      op,
      domain: '',
      name: names[0]!,
      inputs: given,
      outputs: names,
      attributes: Object.fromEntries(Object.entries(attributes).map(([key, v]) => [key, attribute(v)])),
    }
    inferNode(node, this.types, { '': OPSET })
    this.nodes.push(node)
    return names
  }
  op(op: string, inputs: readonly (string | undefined)[], attributes: Attributes = {}): string {
    return this.ops(op, inputs, attributes)[0]!
  }

  constant(name: string, t: GraphTensor): string {
    const own = this.fresh(name)
    this.constants.set(own, t)
    this.types.set(own, typeOfConstant(t))
    return own
  }
  #shared(key: string, make: () => GraphTensor): string {
    const found = this.#made.get(key)
    if (found !== undefined) return found
    const made = this.constant(key, make())
    this.#made.set(key, made)
    return made
  }
  /** An i64 list. */
  ints(values: readonly number[]): string {
    if (!values.every(Number.isSafeInteger))
      throw new ModelFormatError(
        'ERR_MODEL_FORMAT',
        `${this.where}: ${JSON.stringify(this.at)}: axes, sizes and positions must be integers, got [${values}]`,
        {
          details: { format: 'tfjs', reason: 'integers' },
        },
      )
    return this.#shared(`ints[${values.join(',')}]`, () => host('i64', [values.length], values))
  }
  int(value: number): string {
    return this.#shared(`int ${value}`, () => host('i64', [], [value]))
  }
  float(value: number): string {
    return this.#shared(`float ${value}`, () => host('f32', [], [value]))
  }
  /** A number of the type of `like`. */
  numberLike(like: string, value: number): string {
    const dtype = this.types.get(like)?.dtype
    return dtype === 'i64' ? this.int(value) : this.float(value)
  }

  // Forms of a value.

  plain(v: Val): string {
    if (v.plain !== undefined) return v.plain
    if (v.source) return (v.plain = this.constant(v.source.name, v.source.tensor))
    const rank = this.types.get(v.first!)!.shape!.length
    return (v.plain = this.op('Transpose', [v.first], { perm: toLast(rank) }))
  }
  /** Channels first; the value has `rank` dimensions (images 4, sequences 3). */
  first(v: Val, rank = 4): string {
    if (v.first !== undefined) return v.first
    const known = this.rank(v)
    if (known !== undefined && known !== rank) this.unsupported(`${JSON.stringify(this.at)}: needs ${rank} dimensions, got ${known}`)
    const perm = toFirst(rank)
    if (v.source && known === rank) return (v.first = this.constant(v.source.name, permuted(v.source.tensor, perm)))
    const x = this.plain(v)
    v.first = this.op('Transpose', [x], { perm })
    if (known === undefined) this.types.set(v.first, { ...this.types.get(v.first), shape: Array<Dim>(rank).fill(null) })
    return v.first
  }
  isFirst(v: Val): boolean {
    return v.plain === undefined && v.first !== undefined
  }

  // What is known of a value.

  type(v: Val): ValueType {
    if (v.plain !== undefined) return this.types.get(v.plain) ?? {}
    if (v.source) return typeOfConstant(v.source.tensor)
    const t = this.types.get(v.first!) ?? {}
    return t.shape ? { ...t, shape: toLast(t.shape.length).map((i) => t.shape![i]!) } : t
  }
  rank(v: Val): number | undefined {
    return this.type(v).shape?.length
  }
  isInteger(v: Val): boolean {
    const { dtype } = this.type(v)
    return dtype !== undefined && !['f32', 'f64', 'f16', 'bf16', 'bool'].includes(dtype)
  }
  /** Numbers of a value that is known in full. */
  known(v: Val): readonly number[] | undefined {
    const t = this.tensor(v)
    if (t) return t.strings ? undefined : new HostTensor(t.dtype, t.shape, t).data
    const { value } = this.type(v)
    return value && numbers(value)
  }
  /** The constant that a value is. */
  tensor(v: Val): GraphTensor | undefined {
    return v.source?.tensor ?? (v.plain === undefined ? undefined : this.constants.get(v.plain))
  }
  /** A list that must be known: axes, sizes of windows. */
  list(v: Val | undefined, what: string): readonly number[] {
    const found = v && this.known(v)
    return found ?? this.unsupported(`${JSON.stringify(this.at)}: ${what} must be constant`)
  }

  /** Size of one dimension of a named value as [1]. */
  dim(name: string, axis: number): string {
    const d = this.types.get(name)?.shape?.at(axis)
    if (typeof d === 'number') return this.ints([d])
    return this.op('Gather', [this.op('Shape', [name]), this.ints([axis])], { axis: 0 })
  }
  /** A list of sizes of which some are values of [1]. */
  sizes(parts: readonly (number | string)[]): string {
    if (parts.every((p) => typeof p === 'number')) return this.ints(parts)
    return this.op(
      'Concat',
      parts.map((p) => (typeof p === 'number' ? this.ints([p]) : p)),
      { axis: 0 },
    )
  }

  /** A graph inside this one: what `make` writes, with the results that it names. Values made inside are not seen outside. */
  inside(make: () => readonly string[]): Graph {
    const outer = this.nodes
    this.nodes = []
    try {
      const outputs = make()
      return { name: this.at, inputs: [], outputs, nodes: this.nodes, constants: new Map(), opsets: { '': OPSET }, values: new Map() }
    } finally {
      this.nodes = outer
    }
  }

  /** The graph with these outputs under these names. */
  graph(name: string, outputs: readonly (readonly [name: string, value: Val])[]): Graph {
    const rename = new Map<string, string>()
    const own = new Set([...this.inputs.map((v) => v.name), ...this.constants.keys()])
    const wanted = new Set(outputs.map(([n]) => n))
    const extra: (() => void)[] = []
    for (const [as, v] of outputs) {
      const from = this.plain(v)
      if (from === as) continue
      if (own.has(from) || rename.has(from) || wanted.has(from)) {
        extra.push(() => {
          this.nodes.push({ op: 'Identity', domain: '', name: as, inputs: [rename.get(from) ?? from], outputs: [as], attributes: {} })
        })
        if (this.#used.has(as) && !wanted.has(from)) rename.set(as, this.fresh(`${as}~inner`))
      } else {
        // Whoever has the name makes room.
        if (this.#used.has(as)) rename.set(as, this.fresh(`${as}~inner`))
        rename.set(from, as)
      }
    }
    const to = (n: string): string => rename.get(n) ?? n
    if (rename.size > 0) {
      const renamed = (node: GraphNode): GraphNode => ({
        ...mapSubgraphs(node, (g) => ({ ...g, nodes: g.nodes.map(renamed), outputs: g.outputs.map(to) })),
        inputs: node.inputs.map(to),
        outputs: node.outputs.map(to),
      })
      this.nodes = this.nodes.map(renamed)
      for (const [old, t] of [...this.constants]) {
        if (!rename.has(old)) continue
        this.constants.delete(old)
        this.constants.set(to(old), t)
      }
    }
    for (const put of extra) put()
    return {
      name,
      inputs: this.inputs,
      outputs: outputs.map(([n]) => n),
      nodes: this.nodes,
      constants: this.constants,
      opsets: { '': OPSET },
      values: new Map(),
    }
  }
}

function host(dtype: ElementType, shape: readonly number[], values: readonly number[]): GraphTensor {
  const array = dtype === 'f32' ? Float32Array.from(values) : BigInt64Array.from(values, BigInt)
  return { dtype, shape, read: () => new Uint8Array(array.buffer) }
}

/** A tensor of the file as a constant: integers as i64. */
export function asConstant({ dtype, shape, data }: RawTensor): GraphTensor {
  if (dtype !== 'i32') return { dtype, shape, read: () => data }
  return {
    dtype: 'i64',
    shape,
    read: () => {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
      const wide = BigInt64Array.from({ length: data.byteLength / 4 }, (_, i) => BigInt(view.getInt32(4 * i, true)))
      return new Uint8Array(wide.buffer)
    },
  }
}
