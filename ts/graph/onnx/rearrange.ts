/** Other orders of the same elements: Squeeze, Transpose, Expand and their kin. Known sizes stay known through them. */
import { sizeOf, stridesOf } from '../../base/shape.js'
import {
  defineOnnxOp,
  hasAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type InferContext,
  type RunContext,
  type Value,
  type ValueType,
} from '../define.js'
import type { Dim, GraphNode } from '../graph.js'
import { hostScalar } from '../host.js'
import { axisOf, numbers, product, valueType } from '../infer.js'
import { keepsAxis, transposes } from './channels.js'
import { data, expanded, movedType, permuted, pick, positionsOf } from './move.js'
import { reshaped, shapeOf } from './shapes.js'
import { list } from './values.js'

defineOnnxOp('Size', {
  since: [1, 13, 19, 21],
  inputs: [1, 1],
  infer: (_, [x]) => [valueType('i64', [], x?.shape ? [product(x.shape)] : undefined)],
  run: (ctx, [x]) => hostScalar(sizeOf(shapeOf(ctx, x))),
})

/** Axes as an attribute (before opset 13) or as the second input; undefined: none are given. */
function axesOf<T>(node: GraphNode, version: number, from: number, input: () => T | undefined): readonly number[] | T | undefined {
  if (version >= from) return input()
  return hasAttribute(node, 'axes') ? intsAttribute(node, 'axes') : undefined
}

function distinctAxes(ctx: InferContext | RunContext, axes: readonly number[], rank: number): Set<number> {
  const set = new Set(axes.map((a) => axisOf(ctx, a, rank)))
  if (set.size !== axes.length) ctx.fail('ERR_SHAPE', `an axis is named twice in [${axes.join(',')}]`)
  return set
}

defineOnnxOp('Squeeze', {
  since: [1, 11, 13, 21],
  inputs: [1, 2],
  channels: keepsAxis,
  hostInputs: [1],
  infer: (ctx, [x, given], node) => {
    const axes = axesOf(node, ctx.version, 13, () => given && (numbers(given.value) ?? null))
    if (!x?.shape || axes === null) return [valueType(x?.dtype, undefined, x?.value)]
    if (axes === undefined)
      return [
        x.shape.every((d) => typeof d === 'number')
          ? valueType(
              x.dtype,
              x.shape.filter((d) => d !== 1),
              x.value,
            )
          : valueType(x.dtype),
      ]
    const gone = distinctAxes(ctx, axes, x.shape.length)
    return [
      valueType(
        x.dtype,
        x.shape.filter((_, i) => !gone.has(i)),
        x.value,
      ),
    ]
  },
  run: (ctx, [x, given], node) => {
    const shape = shapeOf(ctx, x)
    const axes = axesOf(node, ctx.version, 13, () => given && list(ctx, given))
    const gone = axes ? distinctAxes(ctx, axes, shape.length) : new Set(shape.flatMap((d, i) => (d === 1 ? [i] : [])))
    for (const i of gone) if (shape[i] !== 1) ctx.fail('ERR_SHAPE', `dimension ${i} of [${shape.join(',')}] is not 1`)
    return reshaped(
      ctx,
      x,
      shape.filter((_, i) => !gone.has(i)),
    )
  },
})

function unsqueezed<T>(ctx: InferContext | RunContext, shape: readonly T[], axes: readonly number[], one: T): T[] {
  const rank = shape.length + axes.length
  const at = distinctAxes(ctx, axes, rank)
  const rest = [...shape]
  return Array.from({ length: rank }, (_, i) => (at.has(i) ? one : rest.shift()!))
}

defineOnnxOp('Unsqueeze', {
  since: [1, 11, 13, 21],
  inputs: [1, 2],
  channels: keepsAxis,
  hostInputs: [1],
  infer: (ctx, [x, given], node) => {
    const axes = axesOf(node, ctx.version, 13, () => numbers(given?.value))
    return [valueType(x?.dtype, x?.shape && axes ? unsqueezed<Dim>(ctx, x.shape, axes, 1) : undefined, x?.value)]
  },
  run: (ctx, [x, given], node) => {
    const axes = axesOf(node, ctx.version, 13, () => list(ctx, given)) ?? ctx.fail('ERR_MODEL_FORMAT', 'axes are missing')
    return reshaped(ctx, x, unsqueezed(ctx, shapeOf(ctx, x), axes, 1))
  },
})

function order(ctx: InferContext | RunContext, node: GraphNode, rank: number): readonly number[] {
  const perm = intsAttribute(
    node,
    'perm',
    Array.from({ length: rank }, (_, i) => rank - 1 - i),
  )
  if (perm.length !== rank || new Set(perm).size !== rank || !perm.every((p) => Number.isInteger(p) && p >= 0 && p < rank))
    ctx.fail('ERR_SHAPE', `perm must name each of ${rank} dimensions once, got [${perm.join(',')}]`)
  return perm
}

defineOnnxOp('Transpose', {
  since: [1, 13, 21],
  inputs: [1, 1],
  channels: transposes,
  infer: (ctx, [x], node) => [
    valueType(
      x?.dtype,
      x?.shape && order(ctx, node, x.shape.length).map((i) => x.shape![i]!),
      (x?.shape?.length ?? 2) < 2 ? x?.value : undefined,
    ),
  ],
  run: (ctx, [x], node) => permuted(ctx, x, order(ctx, node, shapeOf(ctx, x).length)),
})

defineOnnxOp('Expand', {
  since: [8, 13],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (ctx, [x, to]) => {
    if (!x?.shape || !to?.value) return [valueType(x?.dtype)]
    const [a, b] = [x.shape, to.value]
    const rank = Math.max(a.length, b.length)
    const shape = Array.from({ length: rank }, (_, i): Dim => {
      const [p, q] = [a[a.length - rank + i] ?? 1, b[b.length - rank + i] ?? 1]
      if (p === 1) return q
      return q === 1 || q === p || typeof q !== 'number' ? (typeof p === 'number' && p !== 1 ? p : q === 1 || q === p ? p : null) : q
    })
    const from = numbers(a)
    const wide = from && [...Array<number>(rank - from.length).fill(1), ...from]
    return [movedType(x, shape, wide && (() => positionsOf(numbers(shape)!, stridesOf(wide), (k, at) => (wide[k] === 1 ? 0 : at))))]
  },
  run: (ctx, [x, to]) => expanded(ctx, x, list(ctx, to)),
})

defineOnnxOp('Tile', {
  since: [6, 13],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (_, [x, repeats]) => [
    valueType(
      x?.dtype,
      x?.shape?.map((d, i) =>
        repeats?.value?.[i] === 1 ? d : (numbers([d, repeats?.value?.[i] ?? null])?.reduce((a, b) => a * b, 1) ?? null),
      ),
    ),
  ],
  run: (ctx, [x, repeats]) => {
    const shape = shapeOf(ctx, x)
    const times = list(ctx, repeats)
    if (times.length !== shape.length || !times.every((n) => n >= 0))
      ctx.fail('ERR_SHAPE', `repeats must be ${shape.length} numbers >= 0, got [${times.join(',')}]`)
    const tall = shape.flatMap((d) => [1, d])
    const wide = shape.flatMap((d, i) => [times[i]!, d])
    const to = shape.map((d, i) => d * times[i]!)
    if (tall.length <= 8) return reshaped(ctx, expanded(ctx, reshaped(ctx, x, tall), wide), to)
    return pick(
      ctx,
      x,
      to,
      positionsOf(to, stridesOf(shape), (axis, at) => at % shape[axis]!),
    )
  },
})

/** Dimensions split and reordered; the axes of DepthToSpace and SpaceToDepth. */
function blocks(
  ctx: RunContext,
  x: Value | undefined,
  split: (n: number, c: number, h: number, w: number) => { to: number[]; order: number[]; out: number[] },
): Value {
  const shape = data(ctx, x).shape
  if (shape.length !== 4) ctx.fail('ERR_SHAPE', `x must be [N, C, H, W], got [${shape.join(',')}]`)
  const [n, c, h, w] = shape as [number, number, number, number]
  const { to, order: perm, out } = split(n, c, h, w)
  if (sizeOf(to) !== sizeOf(shape) || !to.every(Number.isInteger))
    ctx.fail('ERR_SHAPE', `the block size does not divide [${shape.join(',')}]`)
  return reshaped(ctx, permuted(ctx, reshaped(ctx, x, to), perm), out)
}

const unknown4 = (x: ValueType | undefined): ValueType[] => [valueType(x?.dtype, [x?.shape?.[0] ?? null, null, null, null])]

defineOnnxOp('DepthToSpace', {
  since: [1, 11, 13],
  inputs: [1, 1],
  infer: (_, [x], node) => {
    const b = intAttribute(node, 'blocksize')
    const s = numbers(x?.shape)
    return s?.length === 4 ? [valueType(x?.dtype, [s[0]!, s[1]! / b / b, s[2]! * b, s[3]! * b])] : unknown4(x)
  },
  run: (ctx, [x], node) => {
    const b = intAttribute(node, 'blocksize')
    const first = 'mode' in node.attributes && node.attributes.mode.value === 'CRD'
    return blocks(ctx, x, (n, c, h, w) => ({
      to: first ? [n, c / b / b, b, b, h, w] : [n, b, b, c / b / b, h, w],
      order: first ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2],
      out: [n, c / b / b, h * b, w * b],
    }))
  },
})

defineOnnxOp('SpaceToDepth', {
  since: [1, 13],
  inputs: [1, 1],
  infer: (_, [x], node) => {
    const b = intAttribute(node, 'blocksize')
    const s = numbers(x?.shape)
    return s?.length === 4 ? [valueType(x?.dtype, [s[0]!, s[1]! * b * b, s[2]! / b, s[3]! / b])] : unknown4(x)
  },
  run: (ctx, [x], node) => {
    const b = intAttribute(node, 'blocksize')
    const first = stringAttribute(node, 'mode', 'DCR') === 'CRD'
    return blocks(ctx, x, (n, c, h, w) => ({
      to: [n, c, h / b, b, w / b, b],
      order: first ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4],
      out: [n, c * b * b, h / b, w / b],
    }))
  },
})
