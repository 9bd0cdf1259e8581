/** How channels go through operators: traits that rows name (define.ts). What has none freezes what it takes. */
import type { Channels } from '../../nn/channels.js'
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

/** Reshapes that keep the channels where they are, or make one row of each example. `literal`: the target names sizes. */
function reshaped(ctx: ChannelContext, x: Channels, target: readonly Dim[] | undefined): readonly (Channels | null)[] {
  const [from, to] = [ctx.inputs[0]?.shape, ctx.outputs[0]?.shape]
  const { axis, units } = x
  const refuse = (): readonly null[] => freezeAll(ctx, [x], `${ctx.label} mixes its channels with other axes`)
  if (!from || !to || x.runs || axis >= to.length || !from.slice(0, axis).every((d, i) => same(d, to[i]))) return refuse()
  const inner = size(from.slice(axis + 1))
  const named = target?.[axis]
  const free = target === undefined || named === 0 || named === -1
  // A number in the target would have to become a smaller one.
  if (!free && !ctx.retarget(axis)) return refuse()
  if (to[axis] === units.length) {
    if (!free) ctx.retarget(axis, units)
    return [{ axis, rank: to.length, units }]
  }
  if (axis !== to.length - 1) return refuse()
  if (inner === undefined) return named === -1 || target === undefined ? [{ axis, rank: to.length, units, runs: true }] : refuse()
  if (to[axis] !== units.length * inner && to[axis] !== null && typeof to[axis] !== 'string') return refuse()
  const all = units.flatMap((u) => Array.from({ length: inner }, () => u))
  if (!free) ctx.retarget(axis, all)
  return [{ axis, rank: to.length, units: all }]
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

/** What is known of an output, with the axis as `Channels` of a graph have it: from the front. */
export function fromFront(x: Channels | null, type: ValueType | undefined): Channels | null {
  const rank = x?.rank ?? type?.shape?.length
  if (!x || rank === undefined) return x
  return { ...x, rank, axis: x.axis < 0 ? x.axis + rank : x.axis }
}
