/**
 * Taking units out of a model (groups.ts): as zeros where they were (`mask`), or as smaller tensors and configurations (`cut`). Both compute the same, up to
 * the order of sums.
 */
import { ownValue } from '../base/own.js'
import { InternalError } from '../base/errors.js'
import type { RawTensor } from '../base/dtype.js'
import type { JsonObject } from '../base/json-types.js'
import { sizeOf } from '../base/shape.js'
import type { Units } from '../nn/channels.js'
import { join, keepBits, keepRaw, maskWeight, Model, moduleKind, type Keep, type Module, type Weight } from '../nn/index.js'
import { parseConfig } from '../nn/module.js'
import { fromRaw, scope, tensor, toRaw, type Tensor } from '../tensor/index.js'
import { followChannels, type ChannelGroup, type Followed, type Slot } from './groups.js'

/** Units by their numbers. */
export type UnitSet = ReadonlySet<number>
const none: UnitSet = new Set()

/** The channels of one model, and of every model of the same structure (with other values, or with units taken out already). */
export class ChannelStructure {
  readonly groups: readonly ChannelGroup[]
  /** Modules that cannot be followed, and why. */
  readonly left: Followed['left']
  readonly #followed: Followed
  readonly #byPath = new Map<string, Slot[]>()

  constructor(model: Model) {
    this.#followed = followChannels(model)
    this.groups = this.#followed.groups
    this.left = this.#followed.left
    for (const slot of this.#followed.slots) this.#byPath.set(slot.path, [...(this.#byPath.get(slot.path) ?? []), slot])
  }

  /** Paths of the tensors that a unit can be taken out of. */
  get paths(): Iterable<string> {
    return this.#byPath.keys()
  }

  /** Positions that are left along each axis of a tensor when `removed` is gone, counted among those left by `before`. */
  keep(path: string, removed: UnitSet, before: UnitSet = none): Keep {
    const out: (readonly number[] | null)[] = []
    for (const { axis, labels } of this.#byPath.get(path) ?? []) {
      const there = this.#left(labels, before)
      const left = there.flatMap((position, i) => (removed.has(this.#followed.unitOf(labels[position]!)) ? [] : [i]))
      if (left.length < there.length) out[axis] = left
    }
    return out
  }

  #left(labels: Units, removed: UnitSet): number[] {
    return labels.flatMap((label, position) => (removed.has(this.#followed.unitOf(label)) ? [] : [position]))
  }

  /** Where each position along an axis is after `before` has been taken away; -1: gone. */
  ranks(path: string, axis: number, before: UnitSet = none): Int32Array {
    const slot = this.#byPath.get(path)?.find((s) => s.axis === axis)
    const out = new Int32Array(slot?.labels.length ?? 0).fill(-1)
    if (slot) this.#left(slot.labels, before).forEach((position, i) => (out[position] = i))
    return out
  }

  /** Elements of a tensor of `shape` (that of the whole model) that are left. */
  elements(path: string, shape: readonly number[], removed: UnitSet): number {
    const keep = this.keep(path, removed)
    return shape.reduce((n, d, axis) => n * (keep[axis]?.length ?? d), 1)
  }

  /** A copy without the units `removed`, of a model that has lost `before` (a part of them) already. Shares what does not change. */
  cut(model: Model, removed: UnitSet, before: UnitSet = none): Model {
    const made = new Map<Weight | Tensor, Weight | Tensor>()
    const smaller = <T extends Weight | Tensor>(path: string, old: T, make: (keep: Keep) => T): T => {
      const keep = this.keep(path, removed, before)
      if (!keep.some(Boolean)) return old
      const found = (made.get(old) as T | undefined) ?? make(keep)
      made.set(old, found)
      return found
    }
    const configs = this.#configs(removed)
    const walk = (module: Module, path: string): Module => {
      const kind = moduleKind(module.kind)
      const change = configs.get(path)
      const next: Module = {
        kind: module.kind,
        config: change ? parseConfig(kind, { ...module.config, ...change }) : module.config,
        weights: mapped(module.weights, (name, w) => smaller(join(path, name), w, (keep) => cutWeight(w, keep))),
        state: mapped(module.state, (name, t) => smaller(join(path, name), t, (keep) => fromRaw(keepRaw(toRaw(t), keep)))),
        children: mapped(module.children, (name, child) => walk(child, join(path, name))),
      }
      checkShapes(next, path)
      return next
    }
    try {
      return new Model(walk(model.root, ''), model.info, model.extras)
    } catch (error) {
      for (const t of made.values()) t.dispose()
      throw error
    }
  }

  #configs(removed: UnitSet): Map<string, JsonObject> {
    const count = (units: Units): number => this.#left(units, removed).length
    const out = new Map<string, JsonObject>()
    for (const { module, next } of this.#followed.resizes) out.set(module, { ...out.get(module), ...next(count) })
    return out
  }

  /** A copy with zeros in place of the units, which stay zeros while it trains on. */
  mask(model: Model, removed: UnitSet): Model {
    const changed = new Map<string, Weight>()
    const made = new Map<Weight, Weight>()
    for (const { path, weight } of model.weights()) {
      const keep = this.keep(path, removed)
      if (!keep.some(Boolean)) continue
      const masked = made.get(weight) ?? maskPositions(weight, keep)
      made.set(weight, masked)
      changed.set(path, masked)
    }
    return changed.size === 0 ? model : model.withWeights(changed)
  }

  /**
   * Tensors of a training (values, optimizer slots) of the model, cut like it: those named "path/part" or "path" whose shape is that of the tensor. `shapes`
   * are those before.
   */
  cutTensors(
    tensors: ReadonlyMap<string, RawTensor>,
    shapes: ReadonlyMap<string, readonly number[]>,
    removed: UnitSet,
    before: UnitSet = none,
  ): Map<string, RawTensor> {
    return new Map(
      [...tensors].map(([name, raw]) => {
        const slash = name.lastIndexOf('/')
        const path = shapes.has(name) ? name : name.slice(0, Math.max(0, slash)).split('#')[0]!
        const shape = shapes.get(path)
        const keep = shape ? this.keep(path, removed, before) : []
        if (!shape || !keep.some(Boolean)) return [name, raw]
        if (name.endsWith('/mask')) {
          const data = keepBits(raw.data, shape, keep)
          return [name, { dtype: raw.dtype, shape: [data.length], data }]
        }
        const same = raw.shape.length === shape.length && raw.shape.every((d, i) => d === shape[i])
        return [name, same ? keepRaw(raw, keep) : raw]
      }),
    )
  }
}

/**
 * The coupled channels of a model: what a structured pruning may take away, and what has to stay and why.
 *
 * @example
 * const { groups } = channelStructure(model)
 * groups.map((g) => `${g.name}: ${g.units.length} ${g.unit}s`)
 */
export function channelStructure(model: Model): ChannelStructure {
  return new ChannelStructure(model)
}

const mapped = <T>(record: Readonly<Record<string, T>>, by: (name: string, value: T) => T): Readonly<Record<string, T>> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, by(name, value)]))

function cutWeight(w: Weight, keep: Keep): Weight {
  if (!w.cut) throw new InternalError('ERR_INTERNAL', `cut: a ${w.kind} weight cannot be cut`)
  return w.cut(keep)
}

/** Tensors and configuration must say the same, or the model could not be loaded again. */
function checkShapes(module: Module, path: string): void {
  const kind = moduleKind(module.kind)
  for (const [name, { shape }] of Object.entries({ ...kind.weights(module.config), ...kind.state?.(module.config) })) {
    const t = ownValue(module.weights, name) ?? ownValue(module.state, name)
    if (!t || t.shape.length !== shape.length || t.shape.some((d, i) => d !== shape[i]))
      throw new InternalError('ERR_INTERNAL', `cut: ${join(path, name)} is [${t?.shape}], its configuration says [${shape}]`)
  }
}

/** The weight with 0 where a position along some axis is not kept; what was 0 by an earlier mask stays so. */
function maskPositions(w: Weight, keep: Keep): Weight {
  const { shape } = w
  const bits = new Uint8Array(Math.ceil(sizeOf(shape) / 8))
  const old = w.trainable()[0]?.mask?.read() as Uint8Array | undefined
  const kept = shape.map((d, axis) => {
    const flags = new Uint8Array(d).fill(keep[axis] ? 0 : 1)
    for (const position of keep[axis] ?? []) flags[position] = 1
    return flags
  })
  let i = 0
  const visit = (axis: number, inside: number): void => {
    for (let position = 0; position < shape[axis]!; position++) {
      const own = inside & kept[axis]![position]!
      if (axis + 1 < shape.length) visit(axis + 1, own)
      else {
        if (own && (!old || (old[i >> 3]! >> (i & 7)) & 1)) bits[i >> 3]! |= 1 << (i & 7)
        i++
      }
    }
  }
  visit(0, 1)
  return scope(() => maskWeight(w, tensor(bits)))
}
