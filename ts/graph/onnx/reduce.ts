/** Reductions over axes, positions of extremes, running sums, the largest k. Axes are an attribute in old opsets and an input in new ones. */
import { sizeOf, stridesOf } from '../../base/shape.js'
import {
  abs,
  amax,
  amin,
  argmax,
  cast,
  cumsum,
  flip,
  log,
  logSumExp,
  mean,
  mul,
  neg,
  oneHot,
  permute,
  prod,
  reshape,
  scaleShift,
  sqrt,
  sum,
  topK,
} from '../../ops/index.js'
import { full, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, hasAttribute, intAttribute, intsAttribute, type InferContext, type RunContext } from '../define.js'
import type { Dim, GraphNode } from '../graph.js'
import { HostTensor } from '../host.js'
import { axisOf, numbers, valueType } from '../infer.js'
import { reducesOthers } from './channels.js'
import { data } from './move.js'
import { isFloat, isHost, list } from './values.js'

interface Reduction {
  readonly since: readonly number[]
  /** First opset with the axes as an input. */
  readonly input: number
  /** One element after the other, in JavaScript. */
  readonly start: number
  readonly step: (sum: number, x: number) => number
  readonly finish?: (sum: number, n: number) => number
  /** Axes are not empty; sizes are not 0. */
  readonly native: (x: Tensor, axes: readonly number[], keep: boolean) => Tensor
}

function prodOver(x: Tensor, axes: readonly number[], keep: boolean): Tensor {
  const kept = [...axes].reduce((t, axis) => prod(t, axis, true), x)
  return keep
    ? kept
    : reshape(
        kept,
        x.shape.filter((_, i) => !axes.includes(i)),
      )
}

const square = (x: Tensor): Tensor => mul(x, x)
const plain = [1, 11, 13, 18]
const reductions: Readonly<Record<string, Reduction>> = {
  ReduceSum: { since: [1, 11, 13], input: 13, start: 0, step: (s, x) => s + x, native: sum },
  ReduceMean: { since: plain, input: 18, start: 0, step: (s, x) => s + x, finish: (s, n) => s / n, native: mean },
  ReduceMax: { since: [1, 11, 12, 13, 18, 20], input: 18, start: -Infinity, step: Math.max, native: amax },
  ReduceMin: { since: [1, 11, 12, 13, 18, 20], input: 18, start: Infinity, step: Math.min, native: amin },
  ReduceProd: { since: plain, input: 18, start: 1, step: (s, x) => s * x, native: prodOver },
  ReduceL1: { since: plain, input: 18, start: 0, step: (s, x) => s + Math.abs(x), native: (x, a, k) => sum(abs(x), a, k) },
  ReduceL2: {
    since: plain,
    input: 18,
    start: 0,
    step: (s, x) => s + x * x,
    finish: Math.sqrt,
    native: (x, a, k) => sqrt(sum(square(x), a, k)),
  },
  ReduceSumSquare: { since: plain, input: 18, start: 0, step: (s, x) => s + x * x, native: (x, a, k) => sum(square(x), a, k) },
  ReduceLogSum: { since: plain, input: 18, start: 0, step: (s, x) => s + x, finish: Math.log, native: (x, a, k) => log(sum(x, a, k)) },
  ReduceLogSumExp: { since: plain, input: 18, start: 0, step: (s, x) => s + Math.exp(x), finish: Math.log, native: logSumExp },
}

/** Axes of a reduction, or null for "none: the values stay". `given` is what the input says, undefined when it is absent. */
function axesFor(
  ctx: InferContext | RunContext,
  node: GraphNode,
  rank: number,
  input: number,
  given: readonly number[] | undefined,
): number[] | null {
  const named = ctx.version >= input ? given : hasAttribute(node, 'axes') ? intsAttribute(node, 'axes') : undefined
  if (named === undefined || named.length === 0) {
    if (intAttribute(node, 'noop_with_empty_axes', 0) !== 0) return null
    return Array.from({ length: rank }, (_, i) => i)
  }
  const axes = named.map((a) => axisOf(ctx, a, rank))
  return [...new Set(axes)].sort((a, b) => a - b)
}

function reduced<T>(shape: readonly T[], axes: readonly number[], keep: boolean, one: T): T[] {
  return keep ? shape.map((d, i) => (axes.includes(i) ? one : d)) : shape.filter((_, i) => !axes.includes(i))
}

/** Elements of x by the element of the result that they count for. */
function reduceHost(x: HostTensor, axes: readonly number[], keep: boolean, r: Reduction): HostTensor {
  const kept = reduced(x.shape, axes, true, 1)
  const out = Array<number>(sizeOf(kept)).fill(r.start)
  const [from, to] = [stridesOf(x.shape), stridesOf(kept)]
  x.data.forEach((v, i) => {
    let at = 0
    for (let k = 0; k < x.rank; k++) if (!axes.includes(k)) at += (Math.floor(i / from[k]!) % x.shape[k]!) * to[k]!
    out[at] = r.step(out[at]!, v)
  })
  const n = x.size / Math.max(1, out.length)
  const finish = r.finish ?? ((v: number): number => v)
  const round = x.dtype === 'f32' ? Math.fround : isFloat(x.dtype) ? (v: number): number => v : Math.trunc
  return new HostTensor(
    x.dtype,
    reduced(x.shape, axes, keep, 1),
    out.map((v) => round(finish(v, n))),
  )
}

/** Reductions of nothing. */
function ofNothing(x: Tensor, shape: readonly number[], r: Reduction): Tensor {
  const value = (r.finish ?? ((v: number): number => v))(r.start, 0)
  return full(shape, value, x.dtype)
}

for (const [name, r] of Object.entries(reductions))
  defineOnnxOp(name, {
    since: r.since,
    inputs: [1, 2],
    channels: reducesOthers,
    hostInputs: [1],
    infer: (ctx, [x, given], node) => {
      const named = given && numbers(given.value)
      const keep = intAttribute(node, 'keepdims', 1) !== 0
      if (!x?.shape || (given && !named && ctx.version >= r.input))
        return [valueType(x?.dtype, keep && x?.shape ? x.shape.map(() => null) : undefined)]
      const axes = axesFor(ctx, node, x.shape.length, r.input, named)
      return [valueType(x.dtype, axes === null ? x.shape : reduced<Dim>(x.shape, axes, keep, 1))]
    },
    run: (ctx, [x, given], node) => {
      const v = data(ctx, x)
      const keep = intAttribute(node, 'keepdims', 1) !== 0
      const axes = axesFor(ctx, node, v.shape.length, r.input, given && list(ctx, given)) ?? []
      if (isHost(v) && !v.native) return reduceHost(v, axes, keep, r)
      const t = ctx.tensor(v)
      const shape = reduced(t.shape, axes, keep, 1)
      if (t.size === 0 && sizeOf(shape) > 0) return ofNothing(t, shape, r)
      const as = isFloat(t.dtype) ? t : cast(t, 'f64')
      // A sum over no axis is that of each element by itself.
      const y = axes.length > 0 ? r.native(as, axes, keep) : reshape(r.native(reshape(as, [...as.shape, 1]), [as.rank], false), as.shape)
      return y.dtype === t.dtype ? y : cast(y, t.dtype)
    },
  })

/** `axis` last. */
const toEnd = (rank: number, axis: number): number[] => [...Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis), axis]

for (const [name, sign] of [
  ['ArgMax', 1],
  ['ArgMin', -1],
] as const)
  defineOnnxOp(name, {
    since: [1, 11, 12, 13],
    inputs: [1, 1],
    infer: (ctx, [x], node) => {
      if (!x?.shape) return [valueType('i64')]
      const axis = axisOf(ctx, intAttribute(node, 'axis', 0), x.shape.length)
      return [valueType('i64', reduced<Dim>(x.shape, [axis], intAttribute(node, 'keepdims', 1) !== 0, 1))]
    },
    run: (ctx, [x], node) => {
      const t = ctx.tensor(x)
      const axis = axisOf(ctx, intAttribute(node, 'axis', 0), t.rank)
      const n = t.shape[axis]!
      if (n === 0) ctx.fail('ERR_SHAPE', `dimension ${axis} of ${t} is empty`)
      const last = intAttribute(node, 'select_last_index', 0) !== 0
      const moved = permute(isFloat(t.dtype) ? t : cast(t, 'f64'), toEnd(t.rank, axis))
      const signed = sign < 0 ? neg(moved) : moved
      const found = cast(argmax(last ? flip(signed, [-1]) : signed), 'f64')
      const at = cast(last ? scaleShift(found, -1, n - 1) : found, 'i64')
      return reshape(at, reduced(t.shape, [axis], intAttribute(node, 'keepdims', 1) !== 0, 1))
    },
  })

defineOnnxOp('CumSum', {
  since: [11, 14],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [x, axis], node) => {
    const options = { exclusive: intAttribute(node, 'exclusive', 0) !== 0, reverse: intAttribute(node, 'reverse', 0) !== 0 }
    const at = list(ctx, axis)[0]!
    const v = data(ctx, x)
    const t = ctx.tensor(v)
    const y = cumsum(isFloat(t.dtype) ? t : cast(t, 'f64'), axisOf(ctx, at, t.rank), options)
    const out = y.dtype === t.dtype ? y : cast(y, t.dtype)
    // Positions from masks and such steer shapes further on.
    return isHost(v) && !v.native && !isFloat(v.dtype) ? ctx.host(out) : out
  },
})

defineOnnxOp('TopK', {
  since: [1, 10, 11],
  inputs: [1, 2],
  hostInputs: [1],
  infer: (ctx, [x, k], node) => {
    if (!x?.shape) return [valueType(x?.dtype), valueType('i64')]
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), x.shape.length)
    const count = ctx.version < 10 ? intAttribute(node, 'k') : (k?.value?.[0] ?? null)
    const shape = x.shape.map((d, i) => (i === axis ? count : d))
    return [valueType(x.dtype, shape), valueType('i64', shape)]
  },
  run: (ctx, [x, k], node) => {
    const t = ctx.tensor(x)
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), t.rank)
    const count = ctx.version < 10 ? intAttribute(node, 'k') : list(ctx, k)[0]!
    if (!(Number.isInteger(count) && count >= 0 && count <= t.shape[axis]!))
      ctx.fail('ERR_SHAPE', `k must be in [0, ${t.shape[axis]}], got ${count}`)
    const [values, index] = topK(isFloat(t.dtype) ? t : cast(t, 'f64'), count, { axis, largest: intAttribute(node, 'largest', 1) !== 0 })
    return [values.dtype === t.dtype ? values : cast(values, t.dtype), cast(index, 'i64')]
  },
})

defineOnnxOp('Hardmax', {
  since: [1, 11, 13],
  inputs: [1, 1],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [x], node) => {
    const t = ctx.tensor(x)
    const old = ctx.version < 13
    const axis = axisOf(ctx, intAttribute(node, 'axis', old ? 1 : -1), t.rank)
    // Before opset 13 all dimensions from the axis on are one.
    const shape = old ? [sizeOf(t.shape.slice(0, axis)), sizeOf(t.shape.slice(axis))] : t.shape
    const at = old ? 1 : axis
    const moved = permute(reshape(t, shape), toEnd(shape.length, at))
    const hot = cast(oneHot(argmax(moved), moved.shape.at(-1)!), t.dtype)
    const back = toEnd(shape.length, at)
    return reshape(
      permute(
        hot,
        back.map((_, i) => back.indexOf(i)),
      ),
      t.shape,
    )
  },
})
