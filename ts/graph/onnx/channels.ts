/** How channels go through operators: traits that rows name (define.ts). What has none freezes what it takes. */
import { blocks, stretched, type Channels, type Units } from '../../nn/channels.js'
import { intAttribute, intsAttribute, type ChannelContext, type OnnxChannels, type ValueType } from '../define.js'
import type { Dim } from '../graph.js'

const freezeAll = (ctx: ChannelContext, inputs: readonly (Channels | null)[], reason: string): readonly null[] => {
  for (const x of inputs) ctx.flow.freeze(x, reason)
  return []
}

/** Elements of one input, one by one. */
export const keepsElements: OnnxChannels = (_ctx, [x]) => [x ?? null]

/** The axis of x in the result of a broadcast, and x's own labels. */
function broadcast(ctx: ChannelContext, inputs: readonly (Channels | null)[]): readonly (Channels | null)[] {
  const rank = ctx.outputs[0]?.shape?.length
  const own = inputs.find((x) => x !== null && x.units.length > 1) ?? inputs.find((x) => x !== null)
  if (!own) return [null]
  if (rank === undefined || own.rank === undefined) return freezeAll(ctx, inputs, `${ctx.label} has an unknown number of axes`)
  const fromEnd = own.rank - own.axis
  const fits = inputs.every((x, i) => {
    if (x === own) return true
    const shape = ctx.inputs[i]?.shape
    if (x) return x.rank !== undefined && x.rank - x.axis === fromEnd && x.units.length === own.units.length && !x.runs === !own.runs
    if (!shape) return false
    const d: Dim | undefined = shape[shape.length - fromEnd]
    return d === undefined || d === 1 || (d === own.units.length && ctx.parameter(i) !== undefined)
  })
  if (!fits || own.runs) return freezeAll(ctx, inputs, `${ctx.label} puts together what has other channels`)
  inputs.forEach((x, i) => {
    if (x && x !== own) ctx.flow.couple(own.units, x.units)
    const name = x ? undefined : ctx.parameter(i)
    const shape = ctx.inputs[i]?.shape
    const axis = shape ? shape.length - fromEnd : -1
    if (name !== undefined && axis >= 0 && shape![axis] !== 1) ctx.flow.slice(name, axis, own.units, 'beside')
  })
  return [{ axis: rank - fromEnd, rank, units: own.units }]
}
/** Elements of several inputs, broadcast: channels that meet go together. */
export const joinsElements: OnnxChannels = broadcast

const same = (a: Dim | undefined, b: Dim | undefined): boolean =>
  a === b || a === null || b === null || typeof a === 'string' || typeof b === 'string'

/** Where the channels keep their place (pools, means over space): the result must have as many on the same axis. */
export const keepsAxis: OnnxChannels = (ctx, inputs) => {
  const [x = null] = inputs
  if (!x) return [null]
  const [from, to] = [ctx.inputs[0]?.shape, ctx.outputs[0]?.shape]
  const stays = from && to && x.axis < to.length && to[x.axis] === x.units.length && from.slice(0, x.axis).every((d, i) => same(d, to[i]))
  if (!stays || x.runs) return freezeAll(ctx, inputs, `${ctx.label} moves its channels`)
  return [{ axis: x.axis, rank: to.length, units: x.units }]
}

/** Means and sums over other axes than that of the channels. */
export const reducesOthers: OnnxChannels = (ctx, inputs) => {
  const [x = null] = inputs
  if (!x) return [null]
  const rank = x.rank ?? 0
  const axes = ctx.inputs[1]?.value ?? intsAttribute(ctx.node, 'axes', [])
  const named = axes.length > 0 && axes.every((a) => typeof a === 'number' && (a < 0 ? a + rank : a) !== x.axis)
  const before =
    named &&
    intAttribute(ctx.node, 'keepdims', 1) === 0 &&
    axes.some((a) => ((a as number) < 0 ? (a as number) + rank : (a as number)) < x.axis)
  return named && !before ? keepsAxis(ctx, inputs) : freezeAll(ctx, inputs, `${ctx.label} goes over its channels`)
}

/** Sizes that are given as numbers would have to change too. */
export const resizesOthers: OnnxChannels = (ctx, inputs) =>
  ctx.node.inputs[3] ? freezeAll(ctx, inputs, `${ctx.label} names the number of channels`) : keepsAxis(ctx, inputs)

export const concatenates: OnnxChannels = (ctx, inputs) => {
  const axisOf = (rank: number): number => {
    const axis = intAttribute(ctx.node, 'axis')
    return axis < 0 ? axis + rank : axis
  }
  const first = inputs.find((x) => x !== null)
  if (!first) return [null]
  const rank = first.rank
  if (rank === undefined) return freezeAll(ctx, inputs, `${ctx.label} has an unknown number of axes`)
  const axis = axisOf(rank)
  if (inputs.every((x) => x && x.rank === rank && x.axis === first.axis && !x.runs) && axis !== first.axis) {
    ctx.flow.couple(...inputs.map((x) => x!.units))
    return [first]
  }
  const parts = inputs.map((x, i) => {
    if (x) return x.rank === rank && x.axis === axis && !x.runs ? x.units : undefined
    const d = ctx.inputs[i]?.shape?.[axis]
    return typeof d === 'number' ? ctx.flow.fixed(d, `${ctx.label} puts it beside what cannot be followed`) : undefined
  })
  if (parts.some((p) => p === undefined)) return freezeAll(ctx, inputs, `${ctx.label} puts together what cannot be followed`)
  return [{ axis, rank, units: parts.flatMap((p) => p!) }]
}

const size = (dims: readonly Dim[]): number | undefined =>
  dims.every((d) => typeof d === 'number') ? dims.reduce<number>((a, b) => a * b, 1) : undefined

/** The axis of `to` from which on there are `n` elements. */
function placeOf(to: readonly Dim[], n: number): number {
  for (let [p, product] = [to.length - 1, 1]; p >= 0; p--) {
    const d = to[p]
    if (typeof d !== 'number') return -1
    product *= d
    if (product === n) return p
  }
  return -1
}

/**
 * Reshapes that keep the channels where they are, put them together with the axes behind them, or split the last axis into runs (heads) that go as wholes. `target`: the
 * sizes that the node names. What lies before the channels may be put together and split at will: it comes before them in memory.
 */
function reshaped(ctx: ChannelContext, x: Channels, target: readonly Dim[] | undefined): readonly (Channels | null)[] {
  const [from, to] = [ctx.inputs[0]?.shape, ctx.outputs[0]?.shape]
  const { axis, units } = x
  const refuse = (): readonly null[] => freezeAll(ctx, [x], `${ctx.label} mixes its channels with other axes`)
  if (!from || !to || x.runs) return refuse()
  // A number in the target has to become a smaller one; 0 and -1 follow by themselves.
  const follows = (place: number, labels: Units): boolean => {
    const named = target?.[place]
    return target === undefined || named === -1 || (named === 0 && place === axis) || ctx.retarget(place, labels)
  }
  const at = (place: number, labels: Units): readonly (Channels | null)[] =>
    follows(place, labels) ? [{ axis: place, rank: to.length, units: labels }] : refuse()
  const last = to.length - 1
  const place = axis === from.length - 1 ? placeOf(to, units.length) : -1
  if (place >= 0) {
    if (to[place] === units.length) return at(place, units)
    const heads = blocks(units, units.length / (to[place] as number))
    const labels = heads.map((head) => head[0]!)
    // Named in any case: another size in the target may be made from that of the channels.
    if (!ctx.retarget(place, labels)) return refuse()
    for (const head of heads) ctx.flow.merge(head)
    return [{ axis: place, rank: to.length, units: labels }]
  }
  const stays = axis < to.length && from.slice(0, axis).every((d, i) => same(d, to[i]))
  if (stays && to[axis] === units.length) return at(axis, units)
  const inner = size(from.slice(axis + 1))
  if (inner !== undefined && to[last] === units.length * inner) return at(last, stretched(units, inner))
  if (!stays || axis !== last) return refuse()
  const named = target?.[axis]
  if (inner === undefined) return named === -1 || target === undefined ? [{ axis, rank: to.length, units, runs: true }] : refuse()
  return to[axis] === null || typeof to[axis] === 'string' ? at(axis, stretched(units, inner)) : refuse()
}

export const reshapes: OnnxChannels = (ctx, [x]) => (x ? reshaped(ctx, x, ctx.inputs[1]?.value ?? [null]) : [null])
export const flattens: OnnxChannels = (ctx, [x]) => (x ? reshaped(ctx, x, undefined) : [null])

export const transposes: OnnxChannels = (ctx, [x]) => {
  if (!x) return [null]
  const rank = ctx.inputs[0]?.shape?.length
  if (rank === undefined || x.runs) return freezeAll(ctx, [x], `${ctx.label} has an unknown number of axes`)
  const order = intsAttribute(
    ctx.node,
    'perm',
    Array.from({ length: rank }, (_, i) => rank - 1 - i),
  )
  return [{ axis: order.indexOf(x.axis), rank, units: x.units }]
}

/** Cuts along other axes than that of the channels. */
export const slicesOthers: OnnxChannels = (ctx, inputs) => {
  const [x = null] = inputs
  const rank = x?.rank
  if (!x || rank === undefined || x.runs) return freezeAll(ctx, inputs, `${ctx.label} has an unknown number of axes`)
  const starts = ctx.version < 10 ? intsAttribute(ctx.node, 'starts', []) : ctx.inputs[1]?.value
  const given = ctx.version < 10 ? intsAttribute(ctx.node, 'axes', [...(starts ?? []).keys()]) : ctx.inputs[3]?.value
  const axes = given ?? (ctx.node.inputs[3] ? undefined : starts && [...starts.keys()])
  const others = axes?.every((a) => typeof a === 'number' && (a < 0 ? a + rank : a) !== x.axis)
  return others ? [x] : freezeAll(ctx, inputs, `${ctx.label} cuts its channels`)
}

/** Parts along the channels (queries, keys and values of one layer), or each with all of them. */
export const splits: OnnxChannels = (ctx, inputs) => {
  const [x = null] = inputs
  const rank = x?.rank
  if (!x || rank === undefined || x.runs) return freezeAll(ctx, inputs, `${ctx.label} has an unknown number of axes`)
  const given = intAttribute(ctx.node, 'axis', 0)
  if ((given < 0 ? given + rank : given) !== x.axis) return ctx.outputs.map(() => x)
  const sizes = ctx.outputs.map((y) => y?.shape?.[x.axis])
  if (!sizes.every((d) => typeof d === 'number') || sizes.reduce((a, b) => a + b, 0) !== x.units.length)
    return freezeAll(ctx, inputs, `${ctx.label} has parts of unknown sizes`)
  let from = 0
  const parts = sizes.map((d) => x.units.slice(from, (from += d)))
  ctx.rewrite((node, count, put) => {
    const { num_outputs: _equal, split: _old, ...attributes } = node.attributes
    const left = parts.map((part) => count(part))
    if (ctx.version < 13) return { ...node, attributes: { ...attributes, split: { type: 'ints', value: left } } }
    return { ...node, inputs: [node.inputs[0]!, put('split', left)], attributes }
  })
  return parts.map((units) => ({ axis: x.axis, rank, units }))
}

/** Along another axis than that of the channels. */
export const normalizesOthers: OnnxChannels = (ctx, inputs) => {
  const [x = null] = inputs
  const rank = x?.rank
  if (!x || rank === undefined || x.runs) return freezeAll(ctx, inputs, `${ctx.label} has an unknown number of axes`)
  const given = intAttribute(ctx.node, 'axis', ctx.version >= 13 ? -1 : 1)
  const axis = given < 0 ? given + rank : given
  // Before opset 13 over everything from the axis on.
  const free = ctx.version >= 13 ? axis !== x.axis : x.axis < axis
  return free ? [x] : freezeAll(ctx, inputs, `${ctx.label} goes over its channels`)
}

/** What is known of an output, with the axis as `Channels` of a graph have it: from the front. */
export function fromFront(x: Channels | null, type: ValueType | undefined): Channels | null {
  const rank = x?.rank ?? type?.shape?.length
  if (!x || rank === undefined) return x
  return { ...x, rank, axis: x.axis < 0 ? x.axis + rank : x.axis }
}
