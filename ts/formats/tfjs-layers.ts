/**
 * The topology of a tfjs layers model: a Keras configuration (Sequential or Functional, models inside models) as plain data. What layers mean is not known
 * here (ts/graph/tfjs).
 */
import { LimitError, UnsupportedError } from '../base/errors.js'
import type { JsonObject, JsonValue } from '../base/json.js'
import { formatError, limitError, type FormatContext } from './limits.js'
import { asArray, asObject, asString, member } from './tfjs-manifest.js'

/** One result of one call of a layer. */
export interface KerasRef {
  readonly layer: string
  readonly call: number
  readonly index: number
}

/** Models inside models. */
const MAX_DEPTH = 16

/** A configuration with readers: each checks what stands there and says the layer's name when it is something else. */
export class KerasConfig {
  constructor(
    readonly ctx: FormatContext,
    readonly className: string,
    readonly name: string,
    readonly values: JsonObject,
  ) {}

  /** `Conv2D "block1"`. */
  get label(): string {
    return `${this.className} ${JSON.stringify(this.name.slice(0, 200))}`
  }
  fail(reason: string, message: string): never {
    throw formatError(this.ctx, reason, `${this.label}: ${message}`)
  }
  unsupported(message: string): never {
    throw new UnsupportedError('ERR_UNSUPPORTED', `${this.ctx.where}: ${this.label}: ${message}`, {
      details: { what: this.className, node: this.name },
    })
  }
  #get<T>(key: string, other: T | undefined, what: string, read: (v: JsonValue) => T | undefined): T {
    const found = this.values.get(key)
    if (found === undefined || (found === null && other !== undefined)) {
      if (other === undefined) this.fail('config', `${JSON.stringify(key)} is missing`)
      return other
    }
    return read(found) ?? this.fail('config', `${JSON.stringify(key)} must be ${what}`)
  }
  has(key: string): boolean {
    return (this.values.get(key) ?? null) !== null
  }
  int(key: string, other?: number): number {
    return this.#get(key, other, 'an integer', (v) => (Number.isSafeInteger(v) ? (v as number) : undefined))
  }
  float(key: string, other?: number): number {
    return this.#get(key, other, 'a finite number', (v) => (typeof v === 'number' && Number.isFinite(v) ? v : undefined))
  }
  bool(key: string, other?: boolean): boolean {
    return this.#get(key, other, 'true or false', (v) => (typeof v === 'boolean' ? v : undefined))
  }
  string(key: string, other?: string): string {
    return this.#get(key, other, 'a text', (v) => (typeof v === 'string' ? v : undefined))
  }
  ints(key: string, other?: readonly number[]): readonly number[] {
    return this.#get<readonly number[]>(key, other, 'a list of integers', (v) =>
      Array.isArray(v) && v.length <= 16 && v.every((x) => Number.isSafeInteger(x)) ? (v as number[]) : undefined,
    )
  }
  /** One integer for all of `count`, or a list of them. */
  each(key: string, count: number, other?: number): readonly number[] {
    const found = this.#get<readonly number[]>(
      key,
      other === undefined ? undefined : Array<number>(count).fill(other),
      `${count} integers >= 1`,
      (v) => {
        const list = Array.isArray(v) ? v : Array<JsonValue>(count).fill(v)
        return list.length === count && list.every((x) => typeof x === 'number' && Number.isInteger(x) && x >= 1 && x < 2 ** 24)
          ? (list as number[])
          : undefined
      },
    )
    return found
  }
  /** The name of an activation, or of anything that may be written as `{ class_name }`. */
  named(key: string, other: string): string {
    return this.#get(key, other, 'a name', (v) => {
      const inner = v instanceof Map ? (v.get('class_name') ?? null) : v
      return typeof inner === 'string' ? inner : undefined
    })
  }
  /** Any value. */
  raw(key: string): JsonValue | undefined {
    return this.values.get(key)
  }
}

export interface KerasLayer extends KerasConfig {
  /** A model as a layer. */
  readonly model: KerasModel | undefined
  /** Layers that a wrapper holds (`layer`, `forward_layer`, `backward_layer`). */
  readonly inner: ReadonlyMap<string, KerasLayer>
  /** Inputs of each call; a Sequential model's layers have none: they stand in a row. */
  readonly calls: readonly (readonly KerasRef[])[]
}

export interface KerasModel {
  readonly name: string
  readonly sequential: boolean
  readonly layers: readonly KerasLayer[]
  readonly inputs: readonly KerasRef[]
  readonly outputs: readonly KerasRef[]
}

class Layer extends KerasConfig implements KerasLayer {
  constructor(
    ctx: FormatContext,
    className: string,
    name: string,
    values: JsonObject,
    readonly model: KerasModel | undefined,
    readonly inner: ReadonlyMap<string, KerasLayer>,
    readonly calls: readonly (readonly KerasRef[])[],
  ) {
    super(ctx, className, name, values)
  }
}

const wrapped = ['layer', 'forward_layer', 'backward_layer'] as const
const models: ReadonlySet<string> = new Set(['Sequential', 'Functional', 'Model'])

/** Counts layers over the whole file. */
interface Budget {
  left: number
}

function readRef(ctx: FormatContext, value: JsonValue, where: string): KerasRef {
  const list = asArray(ctx, value, where)
  const [layer, call, index] = list
  if (typeof layer !== 'string' || !isIndex(call) || !isIndex(index))
    throw formatError(ctx, 'reference', `${where} must be [layer, call, index]`)
  const extra = list[3]
  if (extra instanceof Map && extra.size > 0)
    throw new UnsupportedError('ERR_UNSUPPORTED', `${ctx.where}: ${where}: arguments of a call besides tensors`, {
      details: { what: 'call arguments' },
    })
  return { layer, call, index }
}
const isIndex = (v: JsonValue | undefined): v is number => typeof v === 'number' && Number.isInteger(v) && v >= 0 && v < 2 ** 20

/** `[[["a", 0, 0, {}], ...], ...]`, or Keras 3's `[{ args, kwargs }]`, whose tensors are objects with a `keras_history`. */
function readCalls(ctx: FormatContext, value: JsonValue | undefined, where: string): KerasRef[][] {
  if (value === undefined || value === null) return []
  return asArray(ctx, value, `${where}: inbound_nodes`).map((call) => {
    if (Array.isArray(call)) {
      // A single input may stand without its list.
      const one = call.length > 0 && typeof call[0] === 'string'
      return (one ? [call] : call).map((r) => readRef(ctx, r, `${where}: an input`))
    }
    const refs: KerasRef[] = []
    const visit = (v: JsonValue): void => {
      if (Array.isArray(v)) return v.forEach(visit)
      if (!(v instanceof Map)) return
      const config = v.get('config')
      const history = config instanceof Map ? config.get('keras_history') : undefined
      if (history !== undefined) refs.push(readRef(ctx, history, `${where}: an input`))
    }
    visit(asObject(ctx, call, `${where}: a call`).get('args') ?? null)
    return refs
  })
}

function readLayer(ctx: FormatContext, value: JsonValue, depth: number, budget: Budget): KerasLayer {
  if (depth > MAX_DEPTH)
    throw new LimitError('ERR_LIMIT', `${ctx.where}: layers nest deeper than ${MAX_DEPTH}`, {
      details: { limit: 'depth', value: depth, max: MAX_DEPTH },
    })
  if (--budget.left < 0) throw limitError(ctx.where, 'graphNodes', ctx.limits.graphNodes + 1, ctx.limits.graphNodes)
  const object = asObject(ctx, value, 'a layer')
  const className = asString(ctx, member(ctx, object, 'class_name', 'a layer'), 'the class of a layer')
  const config = object.get('config') ?? new Map<string, JsonValue>()
  const values = config instanceof Map ? config : new Map<string, JsonValue>([['layers', config]])
  const name = asString(ctx, object.get('name') ?? values.get('name') ?? className, 'the name of a layer')
  const where = `${className} ${JSON.stringify(name.slice(0, 200))}`
  const inner = new Map<string, KerasLayer>()
  for (const key of wrapped) {
    const found = values.get(key)
    if (found instanceof Map) inner.set(key, readLayer(ctx, found, depth + 1, budget))
  }
  const model = models.has(className) ? readModel(ctx, className, values, name, depth + 1, budget) : undefined
  return new Layer(ctx, className, name, values, model, inner, readCalls(ctx, object.get('inbound_nodes'), where))
}

function readModel(ctx: FormatContext, className: string, config: JsonObject, name: string, depth: number, budget: Budget): KerasModel {
  const list = asArray(ctx, member(ctx, config, 'layers', `model ${JSON.stringify(name.slice(0, 200))}`), 'layers')
  const layers = list.map((l) => readLayer(ctx, l, depth, budget))
  const seen = new Set<string>()
  for (const layer of layers) {
    if (seen.has(layer.name)) layer.fail('duplicate', 'two layers have this name')
    seen.add(layer.name)
  }
  const refs = (key: string): KerasRef[] => {
    const value = config.get(key)
    if (value === undefined) return []
    const entries = asArray(ctx, value, key)
    return (typeof entries[0] === 'string' ? [entries] : entries).map((r) => readRef(ctx, r, `an entry of ${key}`))
  }
  return { name, sequential: className === 'Sequential', layers, inputs: refs('input_layers'), outputs: refs('output_layers') }
}

/** Reads `modelTopology` of a layers model. Errors: ERR_MODEL_FORMAT, ERR_LIMIT, ERR_UNSUPPORTED. */
export function readKerasModel(ctx: FormatContext, topology: JsonValue): KerasModel {
  const object = asObject(ctx, topology, 'modelTopology')
  const found = object.get('model_config') ?? topology
  const model = asObject(ctx, found, 'model_config')
  const className = asString(ctx, member(ctx, model, 'class_name', 'model_config'), 'class_name')
  if (!models.has(className))
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `${ctx.where}: models of class ${JSON.stringify(className.slice(0, 60))} are not supported`,
      {
        details: { what: className.slice(0, 60) },
      },
    )
  const config = member(ctx, model, 'config', 'model_config')
  const values = Array.isArray(config) ? new Map<string, JsonValue>([['layers', config]]) : asObject(ctx, config, 'config')
  const name = values.get('name')
  return readModel(ctx, className, values, typeof name === 'string' && name !== '' ? name : 'model', 0, { left: ctx.limits.graphNodes })
}
