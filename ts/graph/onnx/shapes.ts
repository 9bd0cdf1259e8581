/** What moves no data: constants, shapes, reshapes. */
import { cast, dropout, reshape } from '../../ops/index.js'
import { full } from '../../tensor/index.js'
import { defineOnnxOp, floatAttribute, intAttribute, type RunContext, type Value } from '../define.js'
import type { Dim, GraphNode, GraphTensor } from '../graph.js'
import { hostInts, hostScalar, hostStrings, HostTensor } from '../host.js'
import { axisOf, numbers, product, sameType, typeOfConstant, valueType } from '../infer.js'
import { flattens, keepsElements, reshapes } from './channels.js'
import { isHost, list, reshapeHost } from './values.js'

/** The tensor that a Constant node stands for. */
export function constantOf(node: GraphNode): GraphTensor | HostTensor | undefined {
  const { value, value_float: f, value_floats: fs, value_int: i, value_ints: is, value_string: s, value_strings: ss } = node.attributes
  if (value?.type === 'tensor') return value.value
  if (f?.type === 'float') return hostScalar(f.value, 'f32')
  if (fs?.type === 'floats') return hostInts(fs.value, 'f32')
  if (i?.type === 'int') return hostScalar(i.value)
  if (is?.type === 'ints') return hostInts(is.value)
  if (s?.type === 'string') return hostStrings([s.value], [])
  return ss?.type === 'strings' ? hostStrings(ss.value, [ss.value.length]) : undefined
}

defineOnnxOp('Constant', {
  since: [1, 9, 11, 12, 13, 19, 21, 23, 24, 25],
  inputs: [0, 0],
  infer: (ctx, _inputs, node) => {
    const c = constantOf(node) ?? ctx.fail('ERR_MODEL_FORMAT', 'a Constant needs a value')
    if (c instanceof HostTensor) return [valueType(c.dtype, c.shape, c.dtype === 'i64' ? c.data : undefined)]
    return [typeOfConstant(c)]
  },
  run: (ctx, _inputs, node) => {
    const c = constantOf(node) ?? ctx.fail('ERR_MODEL_FORMAT', 'a Constant needs a value')
    if (c instanceof HostTensor) return c
    return c.strings ? hostStrings(c.strings, c.shape) : new HostTensor(c.dtype, c.shape, c)
  },
})

defineOnnxOp('Identity', {
  since: [1, 13, 14, 16, 19, 21, 23, 24, 25],
  inputs: [1, 1],
  channels: keepsElements,
  infer: (_ctx, [x]) => [x ?? {}],
  run: (_ctx, [x]) => x!,
})

/** Shape of a value wherever it is. */
export function shapeOf(ctx: RunContext, v: Value | undefined): readonly number[] {
  return v !== undefined && 'shape' in v ? v.shape : ctx.fail('ERR_MODEL_FORMAT', 'needs a tensor')
}

defineOnnxOp('Shape', {
  since: [1, 13, 15, 19, 21, 23, 24, 25],
  inputs: [1, 1],
  infer: (_ctx, [x], node) => {
    if (!x?.shape) return [valueType('i64', [null])]
    const part = x.shape.slice(intAttribute(node, 'start', 0), intAttribute(node, 'end', x.shape.length))
    return [valueType('i64', [part.length], part)]
  },
  run: (ctx, [x], node) => {
    const shape = shapeOf(ctx, x)
    return hostInts(shape.slice(intAttribute(node, 'start', 0), intAttribute(node, 'end', shape.length)))
  },
})

/** Same elements, other shape, wherever the value is. */
export function reshaped(ctx: RunContext, v: Value | undefined, shape: readonly number[]): Value {
  const before = shapeOf(ctx, v)
  if (before.reduce((a, b) => a * b, 1) !== shape.reduce((a, b) => a * b, 1))
    ctx.fail('ERR_SHAPE', `[${before.join(',')}] does not have the elements of [${shape.join(',')}]`)
  return isHost(v) && !v.native ? reshapeHost(v, shape) : reshape(ctx.tensor(v), shape)
}

defineOnnxOp('Reshape', {
  since: [5, 13, 14, 19, 21, 23, 24, 25],
  inputs: [2, 2],
  channels: reshapes,
  hostInputs: [1],
  infer: (ctx, [x, shape], node) => {
    const wanted = shape?.value
    if (!wanted) {
      const rank = shape?.shape?.[0]
      return [valueType(x?.dtype, typeof rank === 'number' && rank <= 8 ? Array<Dim>(rank).fill(null) : undefined)]
    }
    const zero = intAttribute(node, 'allowzero', 0) !== 0
    const dims = wanted.map((d, i): Dim => (d === 0 && !zero ? (x?.shape?.[i] ?? null) : d))
    const at = dims.indexOf(-1)
    if (at >= 0) {
      const rest = dims.filter((_, i) => i !== at)
      const known = numbers(rest) && x?.shape && numbers(x.shape) ? product(numbers(x.shape)!) : null
      const others = product(rest)
      // A single unknown size on both sides is the same one.
      const [mine, theirs] = [x?.shape?.filter((d) => typeof d !== 'number') ?? [], rest.filter((d) => typeof d !== 'number')]
      const same = mine.length === theirs.length && mine.every((d) => d !== null && theirs.includes(d))
      const ratio = (): Dim => {
        const over = product(x!.shape!.filter((d) => typeof d === 'number')) as number
        return over / (product(rest.filter((d) => typeof d === 'number')) as number)
      }
      dims[at] = typeof known === 'number' && typeof others === 'number' && others > 0 ? known / others : x?.shape && same ? ratio() : null
      if (typeof dims[at] === 'number' && !Number.isInteger(dims[at]))
        ctx.fail('ERR_SHAPE', `[${x!.shape!.join(',')}] does not divide into [${wanted.join(',')}]`)
    }
    const [from, to] = [x?.shape && numbers(x.shape), numbers(dims)]
    if (from && to && product(from) !== product(to))
      ctx.fail('ERR_SHAPE', `[${from.join(',')}] does not have the elements of [${wanted.join(',')}]`)
    return [valueType(x?.dtype, dims, x?.value)]
  },
  run: (ctx, [x, shape], node) => {
    const from = shapeOf(ctx, x)
    const wanted = list(ctx, shape)
    const zero = intAttribute(node, 'allowzero', 0) !== 0
    const dims = wanted.map((d, i) =>
      d === 0 && !zero
        ? (from[i] ?? ctx.fail('ERR_SHAPE', `[${wanted.join(',')}] keeps a size that [${from.join(',')}] does not have`))
        : d,
    )
    const at = dims.indexOf(-1)
    if (dims.some((d, i) => d < -1 || (d === -1 && i !== at))) ctx.fail('ERR_SHAPE', `[${wanted.join(',')}] is no shape`)
    if (at >= 0) {
      const rest = dims.reduce((n, d, i) => (i === at ? n : n * d), 1)
      dims[at] = from.reduce((a, b) => a * b, 1) / rest
      if (!Number.isInteger(dims[at])) ctx.fail('ERR_SHAPE', `[${from.join(',')}] does not divide into [${wanted.join(',')}]`)
    }
    return reshaped(ctx, x, dims)
  },
})

defineOnnxOp('Flatten', {
  since: [1, 9, 11, 13, 21, 23, 24, 25],
  inputs: [1, 1],
  channels: flattens,
  infer: (ctx, [x], node) => {
    if (!x?.shape) return [valueType(x?.dtype, [null, null])]
    const at = flattenAxis(ctx, intAttribute(node, 'axis', 1), x.shape.length)
    return [valueType(x.dtype, [product(x.shape.slice(0, at)), product(x.shape.slice(at))])]
  },
  run: (ctx, [x], node) => {
    const shape = shapeOf(ctx, x)
    const at = flattenAxis(ctx, intAttribute(node, 'axis', 1), shape.length)
    return reshaped(ctx, x, [shape.slice(0, at).reduce((a, b) => a * b, 1), shape.slice(at).reduce((a, b) => a * b, 1)])
  },
})
const flattenAxis = (ctx: Parameters<typeof axisOf>[0], axis: number, rank: number): number =>
  axis === rank ? axis : axisOf(ctx, axis, rank)

defineOnnxOp('Dropout', {
  since: [7, 10, 12, 13, 22],
  inputs: [1, 3],
  channels: keepsElements,
  hostInputs: [1, 2],
  infer: (ctx, [x], node) => [...sameType(ctx, [x]), ...(node.outputs[1] ? [valueType('bool', x?.shape)] : [])],
  run: (ctx, [x, ratio, training], node) => {
    const t = ctx.tensor(x)
    const p = ctx.version < 12 ? floatAttribute(node, 'ratio', 0.5) : ratio === undefined ? 0.5 : list(ctx, ratio)[0]!
    // Only where the graph itself says so: a pattern that is the same at every step of a training would be none.
    const active = training !== undefined && list(ctx, training)[0] !== 0
    if (!active || p === 0) return node.outputs[1] ? [x!, full(t.shape, 1, 'bool')] : x!
    if (!(p > 0 && p < 1)) ctx.fail('ERR_OPTION', `ratio must be in [0, 1), got ${p}`)
    const seed = { seed: intAttribute(node, 'seed', 0), stream: 0 }
    const y = dropout(t, p, seed)
    if (!node.outputs[1]) return y
    const kept = dropout(full(t.shape, 1), p, seed)
    return [y, cast(kept, 'bool')]
  },
})
