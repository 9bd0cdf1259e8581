/**
 * Which channels of which tensors belong together: what a module kind says of itself with its trait `channels`, in these words.
 *
 * A unit is the least thing that can be taken out of a model as a whole: a filter with its batch norm and the columns of the next layer that read it,
 * an attention head, a hidden neuron. A value carries one label of a unit per position along its channel axis; a layer says which slices of its own
 * tensors belong to the labels that come in and to those that go out. Whoever follows a model (ts/graph/groups.ts) joins labels that must go together.
 *
 * The contract of a trait: take a unit's slices away (its filters, scales, shifts, and the columns that read it), and every other value of the model
 * stays the same as if these slices were zeros. What cannot promise that (a norm over all channels, an operator without a rule) freezes its labels.
 */
import type { JsonObject } from '../base/json-types.js'

/** Labels, one per position along an axis. */
export type Units = readonly number[]

/** What a unit is called, by the strongest of what it holds: head, then filter, then neuron. */
export type UnitKind = 'filter' | 'neuron' | 'head'

/**
 * What a slice does for its unit: makes it ('filter': rows of a weight), scales it (the gamma of a batch norm), goes with it ('beside': biases, running
 * statistics), or reads it ('input': columns of the next layer).
 */
export type SliceRole = 'filter' | 'scale' | 'beside' | 'input'

/** The channels of a value. */
export interface Channels {
  /** Axis of the channels from the front, or -1: the last. */
  readonly axis: number
  /** Number of axes, where it is known. */
  readonly rank?: number
  readonly units: Units
  /** Each label stands for a run of positions whose length only the next layer knows (flattened images). */
  readonly runs?: boolean
}

/** null: nothing is known, and nothing in it can be taken away. */
export type ChannelInput = Channels | null | Readonly<Record<string, Channels | null>>

/** Numbers of positions that are left. */
export type Count = (units: Units) => number

/** What a trait works with. Paths are those of the module that is asked. */
export interface ChannelFlow {
  /** New units that this layer makes. */
  make(n: number, kind: UnitKind): Units
  /** Positions that cannot go. */
  fixed(n: number, reason: string): Units
  /** Labels of x along axis 1 ('second') or the last one, of `n` positions; what does not fit is frozen and gives fixed ones. */
  take(x: Channels | null, axis: 'second' | 'last', n: number): Units
  /** Position by position one unit. All of one length. */
  couple(...lists: readonly Units[]): void
  /** All of them one unit. */
  merge(units: Units, kind?: UnitKind): void
  freeze(x: Channels | Units | null, reason: string): void
  /** Positions along `axis` of the weight or state tensor `name` belong to these units. */
  slice(name: string, axis: number, units: Units, role: SliceRole): void
  /** Fields of the configuration that follow from how many positions are left. */
  resize(next: (count: Count) => JsonObject): void
  /** What a child gives. */
  child(name: string, x: ChannelInput): Channels | null
  /** Says that units of this kind are there, in a part named `what`, but cannot be told apart. */
  leave(what: string, unit: UnitKind, reason: string): void
  /** a + b: what is added goes together. */
  join(a: Channels | null, b: Channels | null, reason?: string): Channels | null
}

/** The input as one value; of named ones `x`. */
export function mainInput(x: ChannelInput): Channels | null {
  if (x === null || isChannels(x)) return x
  return x.x ?? null
}

function isChannels(x: Exclude<ChannelInput, null>): x is Channels {
  return Array.isArray(x.units)
}

/** A trait for layers that treat every element alike. */
export const keepsChannels = (_flow: ChannelFlow, _config: unknown, x: ChannelInput): Channels | null => mainInput(x)

/** True when the channels lie along axis 1. */
export const isSecond = ({ axis, rank }: Channels): boolean => axis === 1 || (axis === -1 && rank === 2)
/** True when they lie along the last axis. */
export const isLast = ({ axis, rank }: Channels): boolean => axis === -1 || (rank !== undefined && axis === rank - 1)

/** [units, units, ...]. */
export const repeated = (units: Units, times: number): number[] => Array.from({ length: times }, () => units).flat()
/** Each label `times` times in a row. */
export const stretched = (units: Units, times: number): number[] => units.flatMap((u) => Array.from({ length: times }, () => u))
/** Runs of `length` labels. */
export function blocks(units: Units, length: number): Units[] {
  return Array.from({ length: units.length / length }, (_, i) => units.slice(i * length, (i + 1) * length))
}

/** A trait for norms over all channels: take one away and the others change. */
export const freezesChannels =
  (reason: string) =>
  (flow: ChannelFlow, _config: unknown, x: ChannelInput): Channels | null => {
    const own = mainInput(x)
    flow.freeze(own, reason)
    return own
  }

/**
 * Heads of attention: each head of keys goes with its values and with the heads of queries that it serves. Gives the channels of what is heard, in the order of
 * the queries' heads.
 */
export function headChannels(
  flow: ChannelFlow,
  heads: { readonly queries: number; readonly keys: number },
  [q, k, v]: readonly [Channels | null, Channels | null, Channels | null],
): { readonly heard: Channels | null; readonly query: Units; readonly key: Units } {
  const share = heads.queries / heads.keys
  const widths = [q, k, v].map((x, i) => (x?.units.length ?? NaN) / (i === 0 ? heads.queries : heads.keys))
  if (!q || !k || !v || !widths.every(Number.isInteger)) {
    for (const x of [q, k, v]) flow.freeze(x, 'one of queries, keys and values cannot be followed')
    return { heard: null, query: q?.units ?? [], key: k?.units ?? [] }
  }
  const [queries, keys, values] = [q, k, v].map((x, i) => blocks(x.units, widths[i]!)) as [Units[], Units[], Units[]]
  keys.forEach((key, g) => {
    flow.merge([...queries.slice(g * share, (g + 1) * share).flat(), ...key, ...values[g]!], 'head')
  })
  const units = queries.flatMap((_, h) => values[Math.floor(h / share)]!)
  return { heard: { ...q, units }, query: q.units, key: k.units }
}
