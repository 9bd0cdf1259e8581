/**
 * Resize and Upsample: one axis after the other, each result a weighted sum of a few entries along it. Weights depend on shapes and scales only, so gradients flow through the
 * gathers. Coordinates, rounding and filters: the operator's specification (ONNX 19).
 */
import { add, matmul, mul, permute, where } from '../../ops/index.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  floatAttribute,
  floatsAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type InferContext,
  type RunContext,
  type Value,
} from '../define.js'
import type { Dim } from '../graph.js'
import { axisOf, valueType } from '../infer.js'
import { resizesOthers } from './channels.js'
import { checkCount, data, select } from './move.js'
import { list } from './values.js'

interface Axis {
  readonly axis: number
  readonly size: number
  readonly out: number
  readonly scale: number
  /** Part of the axis that tf_crop_and_resize takes, in [0, 1]. */
  readonly start: number
  readonly end: number
}

/** Where element i of the result lies in the input. */
const coordinates: Readonly<Record<string, (i: number, a: Axis) => number>> = {
  half_pixel: (i, a) => (i + 0.5) / a.scale - 0.5,
  half_pixel_symmetric: (i, a) => (a.size / 2) * (1 - a.out / (a.scale * a.size)) + (i + 0.5) / a.scale - 0.5,
  pytorch_half_pixel: (i, a) => (a.out > 1 ? (i + 0.5) / a.scale - 0.5 : 0),
  align_corners: (i, a) => (a.out === 1 ? 0 : (i * (a.size - 1)) / (a.out - 1)),
  asymmetric: (i, a) => i / a.scale,
  tf_half_pixel_for_nn: (i, a) => (i + 0.5) / a.scale,
  tf_crop_and_resize: (i, a) =>
    a.out > 1 ? a.start * (a.size - 1) + (i * (a.end - a.start) * (a.size - 1)) / (a.out - 1) : 0.5 * (a.start + a.end) * (a.size - 1),
}

const nearest: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
}

/** Weights of the entries base + first, base + first + 1, ... for a place `ratio` behind base. */
interface Kernel {
  readonly first: number
  readonly weights: readonly number[]
}

function cubicWeight(d: number, a: number): number {
  const x = Math.abs(d)
  if (x <= 1) return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1
  return x < 2 ? a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a : 0
}

/** `width` is 1 for linear, 2 for cubic filters; a scale below 1 widens them when aliasing is to be avoided. */
function kernel(width: 1 | 2, ratio: number, scale: number, a: number): Kernel {
  const first = Math.floor(-width / scale) + 1
  const count = 2 * width - 2 * first
  const raw = Array.from({ length: scale === 1 ? 2 * width : count }, (_, i) => {
    const d = (first + i - ratio) * scale
    return width === 1 ? Math.max(0, 1 - Math.abs(d)) : cubicWeight(d, a)
  })
  const total = raw.reduce((x, y) => x + y, 0)
  return { first, weights: scale === 1 ? raw : raw.map((w) => w / total) }
}

interface Plan {
  /** Entries of the input by tap and element of the result. */
  readonly index: readonly (readonly number[])[]
  readonly weight: readonly (readonly number[])[]
  /** Elements of the result that lie outside the input (tf_crop_and_resize). */
  readonly outside: readonly boolean[]
}

function plan(ctx: RunContext, a: Axis, mode: string): Plan {
  const { node } = ctx
  const name = stringAttribute(node, 'coordinate_transformation_mode', ctx.version < 11 ? 'asymmetric' : 'half_pixel')
  checkCount(ctx, a.out)
  const where1 = coordinates[name] ?? ctx.fail('ERR_UNSUPPORTED', `coordinate_transformation_mode ${JSON.stringify(name)}`)
  const at = Array.from({ length: a.out }, (_, i) => where1(i, a))
  const limit = (p: number): number => Math.min(Math.max(p, 0), a.size - 1)
  const outside = at.map((x) => name === 'tf_crop_and_resize' && (x < 0 || x > a.size - 1))
  if (mode === 'nearest') {
    const rounding = stringAttribute(node, 'nearest_mode', ctx.version < 11 ? 'floor' : 'round_prefer_floor')
    const round = nearest[rounding] ?? ctx.fail('ERR_UNSUPPORTED', `nearest_mode ${JSON.stringify(rounding)}`)
    return { index: [at.map((x) => limit(round(x)))], weight: [at.map(() => 1)], outside }
  }
  const width = mode === 'cubic' ? 2 : 1
  const shrink = intAttribute(node, 'antialias', 0) !== 0 ? Math.min(a.scale, 1) : 1
  const cut = intAttribute(node, 'exclude_outside', 0) !== 0
  const cubic = floatAttribute(node, 'cubic_coeff_a', -0.75)
  const rows = at.map((x) => {
    // The place lies behind its left neighbour, by at most 1.
    const base = Math.ceil(x) - 1
    const { first, weights } = kernel(width, x - base, shrink, cubic)
    const places = weights.map((_, k) => base + first + k)
    const kept = cut ? weights.map((w, k) => (places[k]! >= 0 && places[k]! < a.size ? w : 0)) : weights
    const total = cut ? kept.reduce((p, q) => p + q, 0) : 1
    return { index: places.map(limit), weight: kept.map((w) => w / total) }
  })
  const taps = rows[0]?.index.length ?? 1
  const tap = <T>(get: (r: (typeof rows)[number], k: number) => T): T[][] =>
    Array.from({ length: taps }, (_, k) => rows.map((r) => get(r, k)))
  return { index: tap((r, k) => r.index[k]!), weight: tap((r, k) => r.weight[k]!), outside }
}

/** More taps than this are one product with a matrix. */
const MAX_TAPS = 4

function resizeAxis(ctx: RunContext, x: Tensor, a: Axis, { index, weight }: Plan): Tensor {
  const pick = (k: number): Tensor => ctx.tensor(select(ctx, x, a.axis, index[k]!))
  if (index.length === 1) return pick(0)
  const along = x.shape.map((_, i) => (i === a.axis ? a.out : 1))
  const numbersOf = (values: readonly number[], shape: readonly number[]): Tensor =>
    tensor(x.dtype === 'f64' ? Float64Array.from(values) : Float32Array.from(values), shape)
  if (index.length <= MAX_TAPS) return index.map((_, k) => mul(pick(k), numbersOf(weight[k]!, along))).reduce((s, t) => add(s, t))
  const matrix = new Float64Array(a.size * a.out)
  index.forEach((places, k) => places.forEach((p, i) => (matrix[p * a.out + i]! += weight[k]![i]!)))
  const order = [...x.shape.map((_, i) => i).filter((i) => i !== a.axis), a.axis]
  const y = matmul(permute(x, order), numbersOf(Array.from(matrix), [a.size, a.out]))
  return permute(
    y,
    order.map((_, i) => order.indexOf(i)),
  )
}

function resize(ctx: RunContext, x: Value | undefined, axes: readonly Axis[], mode: string): Value {
  const v = data(ctx, x)
  if (!['nearest', 'linear', 'cubic'].includes(mode)) ctx.fail('ERR_UNSUPPORTED', `mode ${JSON.stringify(mode)}`)
  // An axis of the same size stays, unless coordinates move.
  const crop = stringAttribute(ctx.node, 'coordinate_transformation_mode', '') === 'tf_crop_and_resize'
  const active = axes.filter((a) => crop || a.out !== a.size || a.scale !== 1)
  const plans = active.map((a) => plan(ctx, a, mode))
  if (mode === 'nearest' && !crop) return active.reduce<Value>((t, a, i) => select(ctx, t, a.axis, plans[i]!.index[0]!), v)
  const t = ctx.tensor(v)
  const y = active.reduce((s, a, i) => resizeAxis(ctx, s, a, plans[i]!), t)
  if (!plans.some((p) => p.outside.some(Boolean))) return y
  const inside = active
    .map((a, i) =>
      tensor(
        Float32Array.from(plans[i]!.outside, (o) => (o ? 0 : 1)),
        y.shape.map((_, d) => (d === a.axis ? a.out : 1)),
      ),
    )
    .reduce((p, q) => mul(p, q))
  return where(inside, y, full([], floatAttribute(ctx.node, 'extrapolation_value', 0), y.dtype))
}

/** Axes that the inputs speak of. */
const namedAxes = (ctx: InferContext | RunContext, rank: number): number[] =>
  intsAttribute(
    ctx.node,
    'axes',
    Array.from({ length: rank }, (_, i) => i),
  ).map((a) => axisOf(ctx, a, rank))

/** New sizes and scales of the named axes. */
function targets(
  ctx: InferContext | RunContext,
  shape: readonly number[],
  axes: readonly number[],
  scales: readonly number[] | undefined,
  sizes: readonly number[] | undefined,
): { out: number[]; scale: number[] } {
  const own = axes.map((a) => shape[a]!)
  if (sizes && sizes.length > 0) {
    if (sizes.length !== axes.length || sizes.some((s) => !(Number.isInteger(s) && s > 0 && s < 2 ** 31)))
      ctx.fail('ERR_SHAPE', `sizes must be ${axes.length} integers > 0, got [${sizes.join(',')}]`)
    const policy = stringAttribute(ctx.node, 'keep_aspect_ratio_policy', 'stretch')
    const ratios = sizes.map((s, i) => s / own[i]!)
    if (policy === 'stretch') return { out: [...sizes], scale: ratios }
    const scale = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios)
    return { out: own.map((d) => Math.floor(d * scale + 0.5)), scale: own.map(() => scale) }
  }
  if (!scales || scales.length !== axes.length || scales.some((s) => !(s > 0 && s < 2 ** 31)))
    return ctx.fail('ERR_SHAPE', `scales must be ${axes.length} numbers > 0, got [${scales?.join(',') ?? ''}]`)
  return { out: own.map((d, i) => Math.floor(d * scales[i]!)), scale: [...scales] }
}

const given = (ctx: RunContext, v: Value | undefined): readonly number[] | undefined => {
  const values = v === undefined ? [] : list(ctx, v)
  return values.length > 0 ? values : undefined
}

defineOnnxOp('Resize', {
  since: [10, 11, 13, 18, 19],
  inputs: [1, 4],
  channels: resizesOthers,
  hostInputs: [1, 2, 3],
  infer: (ctx, [x, , , sizes]) => {
    if (!x?.shape) return [valueType(x?.dtype)]
    const axes = namedAxes(ctx, x.shape.length)
    const stretch = stringAttribute(ctx.node, 'keep_aspect_ratio_policy', 'stretch') === 'stretch'
    const to = sizes?.value
    return [
      valueType(
        x.dtype,
        x.shape.map((d, i): Dim => (axes.includes(i) ? (stretch && to?.length === axes.length ? to[axes.indexOf(i)]! : null) : d)),
      ),
    ]
  },
  run: (ctx, inputs, node) => {
    const [x, roi, scales, sizes] = ctx.version < 11 ? [inputs[0], undefined, inputs[1], undefined] : inputs
    const { shape } = data(ctx, x)
    const axes = namedAxes(ctx, shape.length)
    const { out, scale } = targets(ctx, shape, axes, given(ctx, scales), given(ctx, sizes))
    const crop = stringAttribute(node, 'coordinate_transformation_mode', '') === 'tf_crop_and_resize' ? given(ctx, roi) : undefined
    if (crop && crop.length !== 2 * axes.length) ctx.fail('ERR_SHAPE', `roi must be ${2 * axes.length} numbers, got [${crop.join(',')}]`)
    const list1 = axes.map((axis, i): Axis => ({
      axis,
      size: shape[axis]!,
      out: out[i]!,
      scale: scale[i]!,
      start: crop?.[i] ?? 0,
      end: crop?.[i + axes.length] ?? 1,
    }))
    if (list1.some((a) => a.size === 0 && a.out > 0)) ctx.fail('ERR_SHAPE', `an empty dimension of [${shape.join(',')}] cannot grow`)
    return resize(ctx, x, list1, stringAttribute(node, 'mode', 'nearest'))
  },
})

defineOnnxOp('Upsample', {
  since: [7, 9],
  inputs: [1, 2],
  hostInputs: [1],
  infer: (_, [x]) => [
    valueType(
      x?.dtype,
      x?.shape?.map(() => null),
    ),
  ],
  run: (ctx, [x, scales], node) => {
    const { shape } = data(ctx, x)
    const factors = ctx.version < 9 ? floatsAttribute(node, 'scales') : given(ctx, scales)
    const axes = shape.map((_, i) => i)
    const { out, scale } = targets(ctx, shape, axes, factors, undefined)
    const mode = stringAttribute(node, 'mode', 'nearest')
    return resize(
      { ...ctx, node: { ...node, attributes: upsampling } },
      x,
      axes.map((axis): Axis => ({ axis, size: shape[axis]!, out: out[axis]!, scale: scale[axis]!, start: 0, end: 1 })),
      mode,
    )
  },
})
const upsampling = {
  coordinate_transformation_mode: { type: 'string', value: 'asymmetric' },
  nearest_mode: { type: 'string', value: 'floor' },
} as const
