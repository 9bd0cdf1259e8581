/**
 * The dependency graph of a model's channels: which slices of which tensors have to go together, as plain data. Each module kind says by its trait `channels`
 * what it couples (nn/channels.ts); this file follows a model once, without running it, and joins the labels (union-find).
 *
 *   conv1 [64, 3, 3, 3] axis 0 ─┬─ bn1 gamma, beta, mean, variance ─┬─ conv2 [.., 64, ..] axis 1
 *                               └──────── + (residual) ─────────────┘
 *
 * What cannot be followed is there too, with the reason why it stays as it is.
 */
import { ownValue } from '../base/own.js'
import { InternalError } from '../base/errors.js'
import type { JsonObject } from '../base/json-types.js'
import {
  isLast,
  isSecond,
  stretched,
  type ChannelFlow,
  type ChannelInput,
  type Channels,
  type Count,
  type SliceRole,
  type UnitKind,
  type Units,
} from '../nn/channels.js'
import { join, moduleKind, type Model, type Module, type Weight } from '../nn/index.js'
import type { Tensor } from '../tensor/index.js'

/** Positions of each unit along one axis of a weight or state tensor. */
export interface GroupSlice {
  readonly path: string
  readonly axis: number
  readonly role: SliceRole
  /** One list per unit of the group. */
  readonly positions: readonly (readonly number[])[]
}

/** Units of one making: each has slices of the same tensors. */
export interface ChannelGroup {
  /** The first layer that makes them: "layer1.0.conv1". */
  readonly name: string
  readonly unit: UnitKind
  /** Numbers of the units; they mean the same as long as the model keeps its structure. */
  readonly units: readonly number[]
  readonly slices: readonly GroupSlice[]
  /** Why they have to stay. */
  readonly fixed?: string
}

/** An axis of a tensor whose positions belong to units. */
export interface Slot {
  readonly path: string
  readonly module: string
  readonly name: string
  readonly axis: number
  readonly role: SliceRole
  readonly labels: Units
}

export interface Resize {
  readonly module: string
  readonly next: (count: Count) => JsonObject
}

/** What cannot be followed, and why; `unit`: the kind of units that are hidden there, where that is known. */
export interface LeftAlone {
  readonly path: string
  readonly reason: string
  readonly unit?: UnitKind
}

export interface Followed {
  readonly slots: readonly Slot[]
  readonly resizes: readonly Resize[]
  readonly groups: readonly ChannelGroup[]
  /** Modules that cannot be followed, and why. */
  readonly left: readonly LeftAlone[]
  /** The unit of a label. */
  readonly unitOf: (label: number) => number
}

/** Follows the channels of a model. Nothing is run or allocated. */
export function followChannels(model: Model): Followed {
  const tracer = new Tracer()
  const { root, info } = model
  const shape = info.inputShape
  // [C, ...] as the model takes it, or a row of numbers; tokens and texts have no channels.
  const x = shape?.length ? { axis: 1, rank: shape.length + 1, units: tracer.fixed(shape[0]!, "the model's input") } : null
  tracer.freeze(tracer.run(root, '', x), "the model's output")
  return tracer.result()
}

const strength: Readonly<Record<UnitKind, number>> = { neuron: 0, filter: 1, head: 2 }

class Tracer {
  readonly #parent: number[] = []
  readonly #kind = new Map<number, UnitKind>()
  readonly #fixed = new Map<number, string>()
  readonly #slots = new Map<string, Slot>()
  readonly #resizes: Resize[] = []
  readonly #left = new Map<string, LeftAlone>()
  /** Labels along the axes of tensors: a weight that several layers share is cut once, for all of them. */
  readonly #known = new Map<Weight | Tensor, Map<number, Units>>()

  readonly #find = (label: number): number => {
    let root = label
    while (this.#parent[root] !== root) root = this.#parent[root]!
    for (let at = label; at !== root;) {
      const next = this.#parent[at]!
      this.#parent[at] = root
      at = next
    }
    return root
  }

  make(n: number, kind: UnitKind): number[] {
    const first = this.#parent.length
    return Array.from({ length: n }, (_, i) => {
      this.#parent.push(first + i)
      this.#kind.set(first + i, kind)
      return first + i
    })
  }

  fixed(n: number, reason: string): number[] {
    const units = this.make(n, 'neuron')
    this.freeze(units, reason)
    return units
  }

  freeze(x: Channels | Units | null, reason: string): void {
    for (const label of x === null ? [] : 'units' in x ? x.units : x) {
      const root = this.#find(label)
      if (!this.#fixed.has(root)) this.#fixed.set(root, reason)
    }
  }

  #union(a: number, b: number): void {
    const [low, high] = [this.#find(a), this.#find(b)].sort((x, y) => x - y) as [number, number]
    if (low === high) return
    this.#parent[high] = low
    const [one, other] = [this.#kind.get(low)!, this.#kind.get(high)!]
    this.#kind.set(low, strength[other] > strength[one] ? other : one)
    const reason = this.#fixed.get(low) ?? this.#fixed.get(high)
    if (reason !== undefined) this.#fixed.set(low, reason)
  }

  couple(lists: readonly Units[]): void {
    const [first, ...rest] = lists
    for (const list of rest) {
      if (list.length !== first!.length)
        throw new InternalError('ERR_INTERNAL', `channels: lists of ${first!.length} and ${list.length} labels cannot be coupled`)
      list.forEach((label, i) => this.#union(first![i]!, label))
    }
  }

  merge(units: Units, kind?: UnitKind): void {
    for (const label of units) this.#union(units[0]!, label)
    if (kind && units.length) this.#kind.set(this.#find(units[0]!), kind)
  }

  take(x: Channels | null, axis: 'second' | 'last', n: number): Units {
    if (!x) return this.fixed(n, 'reads what is not known')
    const times = n / x.units.length
    if (x.runs && Number.isInteger(times) && x.rank === 2) return stretched(x.units, times)
    if (!x.runs && times === 1 && (axis === 'second' ? isSecond(x) : isLast(x))) return x.units
    this.freeze(x, `read along another axis, or as ${n} channels`)
    return this.fixed(n, 'reads along another axis')
  }

  join(a: Channels | null, b: Channels | null, reason = 'added to what cannot be followed'): Channels | null {
    const alike =
      a &&
      b &&
      a.units.length === b.units.length &&
      a.runs === b.runs &&
      (a.axis === b.axis || (isSecond(a) && isSecond(b)) || (isLast(a) && isLast(b)))
    if (alike) {
      this.couple([a.units, b.units])
      return a
    }
    for (const x of [a, b]) this.freeze(x, reason)
    return a ?? b
  }

  slice(module: Module, at: string, name: string, axis: number, units: Units, role: SliceRole): void {
    const tensor = ownValue(module.weights, name) ?? ownValue(module.state, name)
    if (!tensor || tensor.shape[axis] !== units.length)
      throw new InternalError(
        'ERR_INTERNAL',
        `channels: ${module.kind} at "${at}" has ${units.length} labels for axis ${axis} of ${name}, which is ${tensor ? `[${tensor.shape}]` : 'missing'}`,
      )
    const weight = ownValue(module.weights, name)
    if (weight && !weight.cut) this.freeze(units, `${join(at, name)} is stored as ${weight.description}`)
    const axes = this.#known.get(tensor) ?? new Map<number, Units>()
    const before = axes.get(axis)
    if (before) this.couple([before, units])
    this.#known.set(tensor, axes.set(axis, before ?? units))
    const path = join(at, name)
    const key = `${path} ${axis}`
    if (!this.#slots.has(key)) this.#slots.set(key, { path, module: at, name, axis, role, labels: units })
  }

  resize(module: string, next: Resize['next']): void {
    this.#resizes.push({ module, next })
  }

  run(module: Module, path: string, x: ChannelInput): Channels | null {
    const kind = moduleKind(module.kind)
    if (kind.channels) return kind.channels(this.#flow(module, path), module.config, x, module)
    const reason = `the kind ${module.kind} does not say how its channels go`
    this.#left.set(path, { path, reason })
    for (const one of x === null ? [] : Array.isArray(x.units) ? [x as Channels] : Object.values(x as Record<string, Channels | null>))
      this.freeze(one, reason)
    return null
  }

  #flow(module: Module, path: string): ChannelFlow {
    return {
      make: (n, kind) => this.make(n, kind),
      fixed: (n, reason) => this.fixed(n, reason),
      take: (x, axis, n) => this.take(x, axis, n),
      couple: (...lists) => this.couple(lists),
      merge: (units, kind) => this.merge(units, kind),
      freeze: (x, reason) => this.freeze(x, reason),
      slice: (name, axis, units, role) => this.slice(module, path, name, axis, units, role),
      resize: (next) => this.resize(path, next),
      join: (a, b, reason) => this.join(a, b, reason),
      leave: (what, unit, reason) => this.#left.set(join(path, what), { path: join(path, what), unit, reason }),
      child: (name, x) => {
        const child = ownValue(module.children, name)
        if (!child) throw new InternalError('ERR_INTERNAL', `channels: ${module.kind} has no child ${name} at "${path}"`)
        return this.run(child, join(path, name), x)
      },
    }
  }

  result(): Followed {
    const slots = [...this.#slots.values()]
    return {
      slots,
      resizes: this.#resizes,
      groups: this.#groups(slots),
      left: [...this.#left.values()],
      unitOf: this.#find,
    }
  }

  /** Units with slices of the same tensors, in the order of the model. */
  #groups(slots: readonly Slot[]): ChannelGroup[] {
    const byUnit = new Map<number, Map<number, number[]>>()
    slots.forEach(({ labels }, s) => {
      labels.forEach((label, position) => {
        const unit = this.#find(label)
        const own = byUnit.get(unit) ?? new Map<number, number[]>()
        byUnit.set(unit, own)
        const list = own.get(s)
        if (list) list.push(position)
        else own.set(s, [position])
      })
    })
    const alike = new Map<string, number[]>()
    for (const [unit, own] of byUnit) {
      if (![...own.keys()].some((s) => slots[s]!.role === 'filter')) continue // read only: the model's input
      const key = JSON.stringify([this.#kind.get(unit), this.#fixed.get(unit) ?? '', [...own].map(([s, list]) => [s, list.length])])
      alike.set(key, [...(alike.get(key) ?? []), unit])
    }
    const taken = new Map<string, number>()
    return [...alike.values()].map((units): ChannelGroup => {
      const first = byUnit.get(units[0]!)!
      const name = slots[[...first.keys()].find((s) => slots[s]!.role === 'filter')!]!.module
      const times = (taken.get(name) ?? 0) + 1
      taken.set(name, times)
      const fixed = this.#fixed.get(units[0]!)
      return {
        name: times === 1 ? name : `${name}#${times}`,
        unit: this.#kind.get(units[0]!)!,
        units,
        slices: [...first.keys()].map((s) => {
          const { path, axis, role } = slots[s]!
          return { path, axis, role, positions: units.map((u) => byUnit.get(u)!.get(s)!) }
        }),
        ...(fixed === undefined ? {} : { fixed }),
      }
    })
  }
}
