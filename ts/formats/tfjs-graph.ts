/**
 * The topology of a tfjs graph model: a GraphDef as JSON (tensorflow/core/framework/{graph,node_def,attr_value}.proto) with 64-bit integers as texts and
 * strings as base64 or lists of bytes. Plain data comes out; what operators mean is not known here (ts/graph/tfjs).
 */
import { UnsupportedError } from '../base/errors.js'
import type { JsonObject, JsonValue } from '../base/json.js'
import { formatError, limitError, type FormatContext } from './limits.js'
import { asArray, asObject, asString, member } from './tfjs-manifest.js'

/** One result of a node. */
export interface TfRef {
  readonly node: string
  /** Which of its results; inside functions results have names too (`port`). */
  readonly index: number
  readonly port?: string
}

export interface TfInputInfo {
  readonly name: string
  readonly dtype: string | undefined
  /** -1 becomes null; undefined: the rank is not said. */
  readonly shape: readonly (number | null)[] | undefined
}

export interface TfFunction {
  readonly name: string
  readonly inputs: readonly string[]
  readonly outputs: readonly TfRef[]
  readonly nodes: ReadonlyMap<string, TfNode>
}

export interface TfGraph {
  /** By name, in the order of the file. */
  readonly nodes: ReadonlyMap<string, TfNode>
  readonly functions: ReadonlyMap<string, TfFunction>
  /** From the signature, where the file has one. */
  readonly inputs: readonly TfInputInfo[] | undefined
  readonly outputs: readonly TfRef[] | undefined
}

const types = new Map<string, string>(
  (
    [
      [1, 'FLOAT', 'f32'],
      [2, 'DOUBLE', 'f64'],
      [3, 'INT32', 'i32'],
      [4, 'UINT8', 'u8'],
      [5, 'INT16', 'i16'],
      [6, 'INT8', 'i8'],
      [7, 'STRING', 'string'],
      [8, 'COMPLEX64', 'c64'],
      [9, 'INT64', 'i64'],
      [10, 'BOOL', 'bool'],
      [14, 'BFLOAT16', 'bf16'],
      [17, 'UINT16', 'u16'],
      [19, 'HALF', 'f16'],
      [20, 'RESOURCE', 'resource'],
      [21, 'VARIANT', 'variant'],
      [22, 'UINT32', 'u32'],
      [23, 'UINT64', 'u64'],
    ] as const
  ).flatMap(([number, name, own]) => [
    [String(number), own],
    [`DT_${name}`, own],
  ]),
)

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** A node, with readers for its attributes: each checks what stands there and says the node's name when it is something else. */
export class TfNode {
  constructor(
    readonly ctx: FormatContext,
    readonly name: string,
    readonly op: string,
    readonly inputs: readonly TfRef[],
    readonly attributes: JsonObject,
  ) {}

  /** `Conv2D "block/conv1"`. */
  get label(): string {
    return `${this.op} ${JSON.stringify(this.name.slice(0, 200))}`
  }
  fail(reason: string, message: string): never {
    throw formatError(this.ctx, reason, `${this.label}: ${message}`)
  }
  unsupported(message: string): never {
    throw new UnsupportedError('ERR_UNSUPPORTED', `${this.ctx.where}: ${this.label}: ${message}`, {
      details: { what: this.op, node: this.name },
    })
  }

  #get<T>(name: string, key: string, other: T | undefined, read: (v: JsonValue) => T | undefined): T {
    const found = this.attributes.get(name)
    if (found === undefined) {
      if (other === undefined) this.fail('attribute', `attribute ${JSON.stringify(name)} is missing`)
      return other
    }
    const inner = found instanceof Map ? found.get(key) : undefined
    const value = inner === undefined ? undefined : read(inner)
    if (value === undefined) this.fail('attribute', `attribute ${JSON.stringify(name)} must hold a valid "${key}"`)
    return value
  }
  has(name: string): boolean {
    return this.attributes.has(name)
  }
  int(name: string, other?: number): number {
    return this.#get(name, 'i', other, integer)
  }
  float(name: string, other?: number): number {
    return this.#get(name, 'f', other, (v) => (typeof v === 'number' && Number.isFinite(v) ? v : undefined))
  }
  bool(name: string, other?: boolean): boolean {
    return this.#get(name, 'b', other, (v) => (typeof v === 'boolean' ? v : undefined))
  }
  string(name: string, other?: string): string {
    return this.#get(name, 's', other, text)
  }
  /** Own name of a dtype; unknown ones are refused. */
  dtype(name: string, other?: string): string {
    return this.#get(name, 'type', other, typeName)
  }
  /** Sizes, -1 as null; undefined where the rank is not known. */
  shape(name: string): readonly (number | null)[] | undefined {
    const found = this.attributes.get(name)
    if (found === undefined) return undefined
    const inner = found instanceof Map ? found.get('shape') : undefined
    return inner instanceof Map
      ? dims(this.ctx, inner, this.label)
      : this.fail('attribute', `attribute ${JSON.stringify(name)} must hold a shape`)
  }
  /** Name of a function. */
  func(name: string): string {
    return this.#get<string>(name, 'func', undefined, (v) => {
      const inner = v instanceof Map ? v.get('name') : undefined
      return typeof inner === 'string' ? inner : undefined
    })
  }
  ints(name: string, other?: readonly number[]): readonly number[] {
    return this.#list(name, 'i', other, integer)
  }
  strings(name: string, other?: readonly string[]): readonly string[] {
    return this.#list(name, 's', other, text)
  }
  #list<T>(name: string, key: string, other: readonly T[] | undefined, read: (v: JsonValue) => T | undefined): readonly T[] {
    return this.#get<readonly T[]>(name, 'list', other, (v) => {
      if (!(v instanceof Map)) return undefined
      const items = v.get(key) ?? []
      if (!Array.isArray(items)) return undefined
      const out = items.map(read)
      return out.every((x) => x !== undefined) ? out : undefined
    })
  }
}

function integer(v: JsonValue): number | undefined {
  const n = typeof v === 'string' && /^-?\d{1,16}$/.test(v) ? Number(v) : v
  return typeof n === 'number' && Number.isSafeInteger(n) ? n : undefined
}

/** Bytes as base64 or as a list of numbers. */
function text(v: JsonValue): string | undefined {
  try {
    if (typeof v === 'string') return utf8.decode(Uint8Array.from(atob(v), (c) => c.charCodeAt(0)))
    if (Array.isArray(v) && v.every((b) => typeof b === 'number' && Number.isInteger(b) && b >= 0 && b < 256))
      return utf8.decode(Uint8Array.from(v as number[]))
  } catch {
    return undefined // neither base64 nor UTF-8
  }
  return undefined
}

const typeName = (v: JsonValue): string | undefined => (typeof v === 'number' || typeof v === 'string' ? types.get(String(v)) : undefined)

function dims(ctx: FormatContext, shape: JsonObject, where: string): readonly (number | null)[] | undefined {
  if (shape.get('unknownRank') === true) return undefined
  const list = asArray(ctx, shape.get('dim') ?? [], `${where}: the dimensions`)
  if (list.length > ctx.limits.rank) throw limitError(ctx.where, 'rank', list.length, ctx.limits.rank)
  return list.map((d) => {
    const size = integer(asObject(ctx, d, `${where}: a dimension`).get('size') ?? -1)
    if (size === undefined || size < -1) throw formatError(ctx, 'shape', `${where}: sizes must be integers >= -1`)
    if (size > ctx.limits.dimension) throw limitError(ctx.where, 'dimension', size, ctx.limits.dimension)
    return size === -1 ? null : size
  })
}

/** `name`, `name:1`, or inside functions `name:port:0`; undefined: `^name`, which orders nodes and carries no value. */
export function parseRef(ctx: FormatContext, value: string): TfRef | undefined {
  if (value.startsWith('^')) return undefined
  const [, node, port, index] = /^([^:]+?)(?::([A-Za-z_]\w*))?(?::(\d{1,6}))?$/.exec(value) ?? []
  if (node === undefined) throw formatError(ctx, 'reference', `${JSON.stringify(value.slice(0, 200))} is no reference to a node`)
  return { node, index: Number(index ?? 0), ...(port === undefined ? {} : { port }) }
}

function readNode(ctx: FormatContext, value: JsonValue): TfNode {
  const object = asObject(ctx, value, 'a node')
  const name = asString(ctx, member(ctx, object, 'name', 'a node'), 'the name of a node')
  const where = `node ${JSON.stringify(name.slice(0, 200))}`
  const op = asString(ctx, member(ctx, object, 'op', where), `the operator of ${where}`)
  const inputs = asArray(ctx, object.get('input') ?? [], `the inputs of ${where}`).flatMap((i) => {
    const ref = parseRef(ctx, asString(ctx, i, `an input of ${where}`))
    return ref ? [ref] : []
  })
  return new TfNode(ctx, name, op, inputs, asObject(ctx, object.get('attr') ?? new Map(), `the attributes of ${where}`))
}

function readNodes(ctx: FormatContext, value: JsonValue, what: string): Map<string, TfNode> {
  const list = asArray(ctx, value, what)
  if (list.length > ctx.limits.graphNodes) throw limitError(ctx.where, 'graphNodes', list.length, ctx.limits.graphNodes)
  const nodes = new Map<string, TfNode>()
  for (const item of list) {
    const node = readNode(ctx, item)
    if (nodes.has(node.name)) node.fail('duplicate', 'two nodes have this name')
    nodes.set(node.name, node)
  }
  return nodes
}

function readFunction(ctx: FormatContext, value: JsonValue): TfFunction {
  const object = asObject(ctx, value, 'a function')
  const signature = asObject(ctx, member(ctx, object, 'signature', 'a function'), 'the signature of a function')
  const name = asString(ctx, member(ctx, signature, 'name', 'a signature'), 'the name of a function')
  const where = `function ${JSON.stringify(name.slice(0, 200))}`
  const names = (key: string): string[] =>
    asArray(ctx, signature.get(key) ?? [], `${where}: ${key}`).map((a) =>
      asString(ctx, member(ctx, asObject(ctx, a, `${where}: an argument`), 'name', where), `${where}: the name of an argument`),
    )
  const ret = asObject(ctx, object.get('ret') ?? new Map(), `${where}: ret`)
  const outputs = names('outputArg').map(
    (out) => parseRef(ctx, asString(ctx, member(ctx, ret, out, `${where}: ret`), `${where}: a result`)) ?? { node: out, index: 0 },
  )
  return { name, inputs: names('inputArg'), outputs, nodes: readNodes(ctx, object.get('nodeDef') ?? [], `${where}: nodeDef`) }
}

function readSignature(ctx: FormatContext, value: JsonValue | undefined): Pick<TfGraph, 'inputs' | 'outputs'> {
  if (value === undefined || value === null) return { inputs: undefined, outputs: undefined }
  const signature = asObject(ctx, value, 'signature')
  const infos = (key: string): JsonObject[] | undefined => {
    const found = signature.get(key)
    return found === undefined
      ? undefined
      : [...asObject(ctx, found, `signature.${key}`).values()].map((v) => asObject(ctx, v, `an entry of signature.${key}`))
  }
  const nameOf = (o: JsonObject): string => asString(ctx, member(ctx, o, 'name', 'an entry of signature'), 'a name in signature')
  const refOf = (o: JsonObject): TfRef => parseRef(ctx, nameOf(o)) ?? { node: nameOf(o), index: 0 }
  return {
    inputs: infos('inputs')?.map((o) => {
      const shape = o.get('tensorShape')
      return {
        name: refOf(o).node,
        dtype: typeName(o.get('dtype') ?? null),
        shape: shape === undefined ? undefined : dims(ctx, asObject(ctx, shape, 'a tensorShape'), 'signature'),
      }
    }),
    outputs: infos('outputs')?.map(refOf),
  }
}

/** Reads `modelTopology` and `signature` of a graph model. Errors: ERR_MODEL_FORMAT, ERR_LIMIT. */
export function readTfGraph(ctx: FormatContext, topology: JsonValue, signature: JsonValue | undefined): TfGraph {
  const object = asObject(ctx, topology, 'modelTopology')
  const nodes = readNodes(ctx, member(ctx, object, 'node', 'modelTopology'), 'modelTopology.node')
  const library = asObject(ctx, object.get('library') ?? new Map(), 'library')
  const functions = new Map<string, TfFunction>()
  for (const item of asArray(ctx, library.get('function') ?? [], 'library.function')) {
    const f = readFunction(ctx, item)
    if (functions.has(f.name)) throw formatError(ctx, 'duplicate', `two functions are named ${JSON.stringify(f.name.slice(0, 200))}`)
    functions.set(f.name, f)
  }
  return { nodes, functions, ...readSignature(ctx, signature) }
}
