/** Parts and joins: Slice, Split, Concat, Pad and everything that takes elements in a fixed order. */
import { sizeOf, stridesOf } from '../../base/shape.js'
import { add, padSlice, scaleShift } from '../../ops/index.js'
import { full } from '../../tensor/index.js'
import {
  defineOnnxOp,
  hasAttribute,
  intAttribute,
  intsAttribute,
  floatAttribute,
  stringAttribute,
  type InferContext,
  type RunContext,
  type Value,
} from '../define.js'
import type { Dim, GraphNode } from '../graph.js'
import { axisOf, numbers, valueType } from '../infer.js'
import { concatenates, slicesOthers, splits } from './channels.js'
import { data, movedType, pick, positionsOf, select } from './move.js'
import { reshaped, shapeOf } from './shapes.js'
import { isFloat, isHost, join, list } from './values.js'

interface Cut {
  readonly axis: number
  /** Positions along the axis: first, step, how many. */
  readonly first: number
  readonly step: number
  readonly count: number
}

/** NumPy's slice of n elements. */
function cut(ctx: InferContext | RunContext, axis: number, n: number, start: number, end: number, step: number): Cut {
  if (!Number.isInteger(step) || step === 0) ctx.fail('ERR_OPTION', `a step must be an integer other than 0, got ${step}`)
  const [lo, hi] = step > 0 ? [0, n] : [-1, n - 1]
  const limit = (v: number): number => Math.min(Math.max(v < 0 ? v + n : v, lo), hi)
  const [a, b] = [limit(start), limit(end)]
  return { axis, first: a, step, count: Math.max(0, Math.ceil((b - a) / step)) }
}

interface SliceInputs {
  readonly starts: readonly number[]
  readonly ends: readonly number[]
  readonly axes?: readonly number[] | undefined
  readonly steps?: readonly number[] | undefined
}

function cuts(ctx: InferContext | RunContext, shape: readonly Dim[], { starts, ends, axes, steps }: SliceInputs): Cut[] {
  const named = axes ?? starts.map((_, i) => i)
  if (ends.length !== starts.length || named.length !== starts.length || (steps && steps.length !== starts.length))
    ctx.fail(
      'ERR_SHAPE',
      `starts, ends, axes and steps differ in length: ${starts.length}, ${ends.length}, ${named.length}, ${steps?.length ?? starts.length}`,
    )
  const seen = new Set<number>()
  return starts.map((start, i) => {
    const axis = axisOf(ctx, named[i]!, shape.length)
    if (seen.has(axis)) ctx.fail('ERR_SHAPE', `axis ${axis} is sliced twice`)
    seen.add(axis)
    const n = shape[axis]!
    return typeof n === 'number' ? cut(ctx, axis, n, start, ends[i]!, steps?.[i] ?? 1) : { axis, first: 0, step: 1, count: -1 }
  })
}

const sliceAttributes = (node: GraphNode): SliceInputs => ({
  starts: intsAttribute(node, 'starts'),
  ends: intsAttribute(node, 'ends'),
  axes: hasAttribute(node, 'axes') ? intsAttribute(node, 'axes') : undefined,
})

function slicedPositions(shape: readonly number[], parts: readonly Cut[]): { shape: number[]; positions: () => Int32Array } {
  const by = new Map(parts.map((c) => [c.axis, c]))
  const out = shape.map((d, i) => by.get(i)?.count ?? d)
  const along = (axis: number, at: number): number => {
    const c = by.get(axis)
    return c ? c.first + at * c.step : at
  }
  return { shape: out, positions: () => positionsOf(out, stridesOf(shape), along) }
}

defineOnnxOp('Slice', {
  since: [1, 10, 11, 13],
  inputs: [1, 5],
  channels: slicesOthers,
  hostInputs: [1, 2, 3, 4],
  infer: (ctx, [x, starts, ends, axes, steps], node) => {
    const attributes = ctx.version < 10 ? sliceAttributes(node) : undefined
    const given: SliceInputs | undefined =
      attributes ??
      (numbers(starts?.value) && numbers(ends?.value) && (!axes || numbers(axes.value)) && (!steps || numbers(steps.value))
        ? {
            starts: numbers(starts!.value)!,
            ends: numbers(ends!.value)!,
            axes: axes && numbers(axes.value),
            steps: steps && numbers(steps.value),
          }
        : undefined)
    if (!x?.shape) return [valueType(x?.dtype)]
    if (!given)
      return [
        valueType(
          x.dtype,
          x.shape.map(() => null),
        ),
      ]
    const parts = cuts(ctx, x.shape, given)
    const sizes = numbers(x.shape)
    const shape = x.shape.map((d, i): Dim => {
      const part = parts.find((c) => c.axis === i)
      return part ? (part.count < 0 ? null : part.count) : d
    })
    return [movedType(x, shape, sizes && (() => slicedPositions(sizes, parts).positions()))]
  },
  run: (ctx, [x, starts, ends, axes, steps], node) => {
    const given: SliceInputs =
      ctx.version < 10
        ? sliceAttributes(node)
        : { starts: list(ctx, starts), ends: list(ctx, ends), axes: axes && list(ctx, axes), steps: steps && list(ctx, steps) }
    const v = data(ctx, x)
    const parts = cuts(ctx, v.shape, given)
    if (isHost(v) && !v.native) {
      const { shape, positions } = slicedPositions(v.shape, parts)
      return pick(ctx, v, shape, positions())
    }
    return parts.reduce<Value>(
      (t, c) =>
        select(
          ctx,
          t,
          c.axis,
          Array.from({ length: c.count }, (_, i) => c.first + i * c.step),
        ),
      reshaped(ctx, v, v.shape),
    )
  },
})

/** Sizes of the parts of n elements for `count` outputs. */
export function partSizes(ctx: InferContext | RunContext, n: number, given: readonly number[] | undefined, count: number): number[] {
  if (given) {
    if (given.length !== count || given.some((s) => s < 0) || given.reduce((a, b) => a + b, 0) !== n)
      ctx.fail('ERR_SHAPE', `parts [${given.join(',')}] for ${count} outputs do not add up to ${n}`)
    return [...given]
  }
  const size = Math.ceil(n / count)
  return Array.from({ length: count }, (_, i) => Math.max(0, Math.min(size, n - i * size)))
}

/** How many parts: num_outputs says what the outputs say. */
function partCount(ctx: InferContext | RunContext, node: GraphNode): number {
  const n = node.outputs.length
  const named = ctx.version >= 18 ? intAttribute(node, 'num_outputs', n) : n
  return named === n ? n : ctx.fail('ERR_MODEL_FORMAT', `num_outputs is ${named}, the node has ${n}`)
}

const splitAttribute = (node: GraphNode): readonly number[] | undefined =>
  hasAttribute(node, 'split') ? intsAttribute(node, 'split') : undefined

defineOnnxOp('Split', {
  since: [1, 2, 11, 13, 18],
  inputs: [1, 2],
  channels: splits,
  hostInputs: [1],
  infer: (ctx, [x, sizes], node) => {
    const count = partCount(ctx, node)
    if (!x?.shape) return Array.from({ length: count }, () => valueType(x?.dtype))
    const axis = axisOf(ctx, intAttribute(node, 'axis', 0), x.shape.length)
    const n = x.shape[axis]!
    const given = ctx.version < 13 ? splitAttribute(node) : sizes ? numbers(sizes.value) : undefined
    const parts = sizes && !given ? undefined : typeof n === 'number' ? partSizes(ctx, n, given, count) : given
    return Array.from({ length: count }, (_, i) =>
      valueType(
        x.dtype,
        x.shape!.map((d, k) => (k === axis ? (parts?.[i] ?? null) : d)),
      ),
    )
  },
  run: (ctx, [x, sizes], node) => {
    const shape = shapeOf(ctx, x)
    const axis = axisOf(ctx, intAttribute(node, 'axis', 0), shape.length)
    const count = partCount(ctx, node)
    const given = ctx.version < 13 ? splitAttribute(node) : sizes && list(ctx, sizes)
    let from = 0
    return partSizes(ctx, shape[axis]!, given, count).map((size) => {
      const part = select(
        ctx,
        x,
        axis,
        Array.from({ length: size }, (_, i) => from + i),
      )
      from += size
      return part
    })
  },
})

defineOnnxOp('Concat', {
  since: [4, 11, 13],
  inputs: [1, 4096],
  channels: concatenates,
  infer: (ctx, inputs, node) => {
    const shapes = inputs.map((x) => x?.shape)
    const first = shapes.find((s) => s !== undefined)
    const dtype = inputs.find((x) => x?.dtype)?.dtype
    if (!first) return [valueType(dtype)]
    const axis = axisOf(ctx, intAttribute(node, 'axis'), first.length)
    const shape = first.map((d, i): Dim => {
      const sizes = shapes.map((s) => s?.[i] ?? null)
      if (i !== axis) return sizes.find((s) => typeof s === 'number') ?? d
      return sizes.length === 1 ? sizes[0]! : (numbers(sizes)?.reduce((a, b) => a + b, 0) ?? null)
    })
    const value = first.length === 1 && inputs.every((x) => x?.value) ? inputs.flatMap((x) => x!.value!) : undefined
    return [valueType(dtype, shape, value)]
  },
  run: (ctx, inputs, node) => {
    const axis = axisOf(ctx, intAttribute(node, 'axis'), shapeOf(ctx, inputs[0]).length)
    const first = data(ctx, inputs[0])
    for (const v of inputs) {
      const { shape } = data(ctx, v)
      if (shape.length !== first.shape.length || shape.some((d, i) => i !== axis && d !== first.shape[i]))
        ctx.fail('ERR_SHAPE', `[${first.shape.join(',')}] and [${shape.join(',')}] do not join along axis ${axis}`)
    }
    return join(ctx, inputs as Value[], axis)
  },
})

type Widths = readonly { readonly before: number; readonly after: number }[]

function widths(ctx: RunContext | InferContext, rank: number, pads: readonly number[], axes?: readonly number[]): Widths {
  const named = axes ? axes.map((a) => axisOf(ctx, a, rank)) : Array.from({ length: rank }, (_, i) => i)
  if (pads.length !== 2 * named.length) ctx.fail('ERR_SHAPE', `pads must have ${2 * named.length} numbers, got ${pads.length}`)
  return Array.from({ length: rank }, (_, i) => {
    const k = named.indexOf(i)
    return k < 0 ? { before: 0, after: 0 } : { before: pads[k]!, after: pads[k + named.length]! }
  })
}

/** Where element k of the padded axis comes from in n elements; -1: from nowhere. */
const padSources: Readonly<Record<string, (k: number, n: number) => number>> = {
  constant: (k, n) => (k < 0 || k >= n ? -1 : k),
  edge: (k, n) => Math.min(Math.max(k, 0), n - 1),
  reflect: (k, n) => {
    if (n === 1) return 0
    const period = 2 * (n - 1)
    const m = ((k % period) + period) % period
    return m < n ? m : period - m
  },
  wrap: (k, n) => ((k % n) + n) % n,
}

defineOnnxOp('Pad', {
  since: [2, 11, 13, 18, 19, 21],
  inputs: [1, 4],
  hostInputs: [1, 2, 3],
  infer: (ctx, [x, pads, , axes], node) => {
    const given = ctx.version < 11 ? intsAttribute(node, 'pads') : numbers(pads?.value)
    const named = axes ? numbers(axes.value) : undefined
    if (!x?.shape || !given || (axes && !named))
      return [
        valueType(
          x?.dtype,
          x?.shape?.map(() => null),
        ),
      ]
    const sides = widths(ctx, x.shape.length, given, named)
    return [
      valueType(
        x.dtype,
        x.shape.map((d, i) =>
          typeof d === 'number' ? d + sides[i]!.before + sides[i]!.after : sides[i]!.before + sides[i]!.after === 0 ? d : null,
        ),
      ),
    ]
  },
  run: (ctx, [x, pads, value, axes], node) => {
    const v = data(ctx, x)
    const { shape } = v
    const sides = widths(ctx, shape.length, ctx.version < 11 ? intsAttribute(node, 'pads') : list(ctx, pads), axes && list(ctx, axes))
    const fill = ctx.version < 11 ? floatAttribute(node, 'value', 0) : value ? list(ctx, value)[0]! : 0
    const mode = stringAttribute(node, 'mode', 'constant')
    const source =
      padSources[mode] ?? ctx.fail('ERR_UNSUPPORTED', `mode ${JSON.stringify(mode)}; known: ${Object.keys(padSources).join(', ')}`)
    const to = shape.map((d, i) => d + sides[i]!.before + sides[i]!.after)
    if (to.some((d) => d < 0)) ctx.fail('ERR_SHAPE', `the pads take more away than [${shape.join(',')}] has`)
    if (mode !== 'constant' && shape.some((d, i) => d === 0 && to[i]! > 0)) ctx.fail('ERR_SHAPE', `${mode} of an empty dimension`)
    if (mode !== 'constant' && !isHost(v)) {
      return sides.reduce<Value>(
        (t, { before }, i) =>
          to[i] === shape[i] && before === 0
            ? t
            : select(
                ctx,
                t,
                i,
                Array.from({ length: to[i]! }, (_, k) => source(k - before, shape[i]!)),
              ),
        v,
      )
    }
    const growing = sides.every(({ before, after }) => before >= 0 && after >= 0)
    if (!isHost(v) && growing && isFloat(v.dtype)) {
      const t = ctx.tensor(v)
      const start = sides.map((s) => s.before)
      const y = padSlice(t, to, start)
      if (fill === 0) return y
      const outside = scaleShift(padSlice(full(shape, 1, t.dtype), to, start), -1, 1)
      return Number.isFinite(fill) ? add(y, scaleShift(outside, fill)) : pick(ctx, v, to, padPositions(to, shape, sides, source), fill)
    }
    return pick(ctx, v, to, padPositions(to, shape, sides, source), fill)
  },
})

function padPositions(
  to: readonly number[],
  shape: readonly number[],
  sides: Widths,
  source: (k: number, n: number) => number,
): Int32Array {
  return positionsOf(to, stridesOf(shape), (axis, at) => source(at - sides[axis]!.before, shape[axis]!))
}

defineOnnxOp('CenterCropPad', {
  since: [18],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (ctx, [x, to], node) => {
    if (!x?.shape) return [valueType(x?.dtype)]
    const axes = intsAttribute(
      node,
      'axes',
      x.shape.map((_, i) => i),
    ).map((a) => axisOf(ctx, a, x.shape!.length))
    return [
      valueType(
        x.dtype,
        x.shape.map((d, i) => (axes.includes(i) ? (to?.value?.[axes.indexOf(i)] ?? null) : d)),
      ),
    ]
  },
  run: (ctx, [x, to], node) => {
    const shape = shapeOf(ctx, x)
    const axes = intsAttribute(
      node,
      'axes',
      shape.map((_, i) => i),
    ).map((a) => axisOf(ctx, a, shape.length))
    const target = list(ctx, to)
    const out = shape.map((d, i) => (axes.includes(i) ? target[axes.indexOf(i)]! : d))
    const shift = out.map((d, i) => (d > shape[i]! ? -Math.floor((d - shape[i]!) / 2) : Math.floor((shape[i]! - d) / 2)))
    const along = (axis: number, at: number): number => {
      const from = at + shift[axis]!
      return from < 0 || from >= shape[axis]! ? -1 : from
    }
    return pick(ctx, x, out, positionsOf(out, stridesOf(shape), along))
  },
})

defineOnnxOp('Trilu', {
  since: [14],
  inputs: [1, 2],
  hostInputs: [1],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [x, k], node) => {
    const v = data(ctx, x)
    const upper = intAttribute(node, 'upper', 1) !== 0
    const diagonal = k ? list(ctx, k)[0]! : 0
    if (v.shape.length < 2) ctx.fail('ERR_SHAPE', `x must have at least two dimensions, got [${v.shape.join(',')}]`)
    const [rows, columns] = v.shape.slice(-2) as [number, number]
    const keep = (i: number): boolean => {
      const d = (i % columns) - (Math.floor(i / columns) % rows)
      return upper ? d >= diagonal : d <= diagonal
    }
    return pick(
      ctx,
      v,
      v.shape,
      Int32Array.from({ length: sizeOf(v.shape) }, (_, i) => (keep(i) ? i : -1)),
    )
  },
})
