/**
 * QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear and operators on codes that ONNX Runtime computes through tables or floats (QLinearAdd and its kin): per tensor, per
 * axis or per block; halves round to even, as the standard says.
 */
import { sizeOf } from '../../base/shape.js'
import {
  add,
  amax,
  amin,
  avgPool2d,
  cast,
  clip,
  concat,
  div,
  equal,
  leakyRelu,
  maximum,
  mean,
  minimum,
  mul,
  neg,
  repeatInterleave,
  reshape,
  round,
  sigmoid,
  slice,
  softmax,
  sub,
} from '../../ops/index.js'
import { full, type Tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  floatAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type InferContext,
  type RunContext,
  type Value,
  type ValueType,
} from '../define.js'
import type { ElementType, GraphNode } from '../graph.js'
import { HostTensor, nativeDType } from '../host.js'
import { axisOf, sameType, valueType } from '../infer.js'
import { inferBinary } from './arithmetic.js'
import { isMiniFloat, roundToFormat } from '../minifloat.js'
import { typeAttribute } from './cast.js'
import { data } from './move.js'
import { isFloat, isHost } from './values.js'

/** Smallest and largest code of a type. */
export function codeRange(ctx: RunContext, dtype: ElementType): [number, number] {
  const bits = { u8: 8, i8: 8, u16: 16, i16: 16, u4: 4, i4: 4, u2: 2, i2: 2, i32: 32 }[dtype as string]
  if (bits === undefined) return ctx.fail('ERR_UNSUPPORTED', `codes of type ${dtype}`)
  return dtype.startsWith('u') ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
}

/** A scale or zero point in the shape that broadcasts against x: one number, one per entry of the axis, or one per block of it. */
function spreadOver(ctx: RunContext, t: Tensor, shape: readonly number[], axis: number, block: number): Tensor {
  if (t.size === 1 && t.rank <= 1) return reshape(t, [])
  if (block > 0) {
    const fits = t.rank === shape.length && t.shape.every((d, i) => d === (i === axis ? Math.ceil(shape[i]! / block) : shape[i]))
    if (!fits) ctx.fail('ERR_SHAPE', `scales ${t} do not fit blocks of ${block} along axis ${axis} of [${shape.join(',')}]`)
    const wide = repeatInterleave(t, block, axis)
    return slice(
      wide,
      shape.map(() => 0),
      shape,
    )
  }
  if (t.rank !== 1 || t.shape[0] !== shape[axis]) ctx.fail('ERR_SHAPE', `scales ${t} do not fit axis ${axis} of [${shape.join(',')}]`)
  return reshape(
    t,
    shape.map((d, i) => (i === axis ? d : 1)),
  )
}

interface Affine {
  readonly scale: Tensor
  readonly zero: Tensor | undefined
}

function affine(
  ctx: RunContext,
  node: GraphNode,
  shape: readonly number[],
  scale: Value | undefined,
  zero: Value | undefined,
  dtype: 'f32' | 'f64',
): Affine {
  const s = ctx.tensor(scale)
  const axis = s.size === 1 && s.rank <= 1 ? 0 : axisOf(ctx, intAttribute(node, 'axis', 1), shape.length)
  const block = intAttribute(node, 'block_size', 0)
  const as = (t: Tensor): Tensor => spreadOver(ctx, t.dtype === dtype ? t : cast(t, dtype), shape, axis, block)
  // repeatInterleave and the arithmetic around it need floats.
  return { scale: as(s), zero: zero === undefined ? undefined : as(ctx.tensor(zero)) }
}

/** Codes of x / scale + zero in a type, halves to even, limited to its range. */
export function quantized(ctx: RunContext, x: Tensor, scale: Tensor, zero: Tensor | undefined, dtype: ElementType): Value {
  const q = round(div(x, scale))
  if (isMiniFloat(dtype)) {
    const host = ctx.host(div(x, scale))
    return new HostTensor(
      dtype,
      host.shape,
      host.data.map((v) => roundToFormat(dtype, v, true)),
    )
  }
  const [lo, hi] = codeRange(ctx, dtype)
  return cast(clip(zero ? add(q, zero) : q, lo, hi), nativeDType(dtype))
}

const dequantized = (q: Tensor, scale: Tensor, zero: Tensor | undefined): Tensor => mul(zero ? sub(q, zero) : q, scale)

const codeType = (ctx: InferContext | RunContext, node: GraphNode, zero: ElementType | undefined): ElementType => {
  const named = intAttribute(node, 'output_dtype', 0)
  return zero ?? (named === 0 ? 'u8' : typeAttribute(ctx, node, 'output_dtype'))
}

for (const domain of ['', 'com.microsoft']) {
  defineOnnxOp('QuantizeLinear', {
    domain,
    since: domain === '' ? [10, 13, 19, 21, 23, 24, 25] : [1],
    inputs: [2, 3],
    infer: (ctx, [x, , zero], node) => [valueType(codeType(ctx, node, zero?.dtype), x?.shape)],
    run: (ctx, [x, scale, zero], node) => {
      const t = ctx.tensor(x)
      const real = t.dtype === 'f32' ? t : cast(t, t.dtype === 'f64' || t.dtype === 'i32' ? 'f64' : 'f32')
      const dtype = codeType(ctx, node, zero && data(ctx, zero).dtype)
      const mini = isMiniFloat(dtype)
      const a = affine(ctx, node, t.shape, scale, mini ? undefined : zero, real.dtype as 'f32')
      const saturate = intAttribute(node, 'saturate', 1) !== 0
      if (mini && !saturate) {
        const host = ctx.host(div(real, a.scale))
        return new HostTensor(
          dtype,
          host.shape,
          host.data.map((v) => roundToFormat(dtype, v)),
        )
      }
      return quantized(ctx, real, a.scale, a.zero, dtype)
    },
  })

  defineOnnxOp('DequantizeLinear', {
    domain,
    since: domain === '' ? [10, 13, 19, 21, 23, 24, 25] : [1],
    inputs: [2, 3],
    infer: (_, [x, scale]) => [valueType(scale?.dtype, x?.shape)],
    run: (ctx, [x, scale, zero], node) => {
      const v = data(ctx, x)
      const mini = isMiniFloat(v.dtype)
      const q = mini && isHost(v) ? ctx.tensor(new HostTensor('f32', v.shape, v.data)) : cast(ctx.tensor(v), 'f32')
      const a = affine(ctx, node, q.shape, scale, mini ? undefined : zero, 'f32')
      return dequantized(q, a.scale, a.zero)
    },
  })
}

defineOnnxOp('DynamicQuantizeLinear', {
  since: [11],
  inputs: [1, 1],
  infer: (_, [x]) => [valueType('u8', x?.shape), valueType('f32', []), valueType('u8', [])],
  run: (ctx, [x]) => {
    const { codes: y, scale, zero } = dynamicCodes(ctx.tensor(x))
    return [y, scale, zero]
  },
})

/** u8 codes of x by the range of all its values and 0. A range of 0 gives scale 0 and codes 0. */
export function dynamicCodes(x: Tensor): { codes: Tensor; scale: Tensor; zero: Tensor } {
  const none = full([], 0, x.dtype)
  const [lo, hi] = [minimum(amin(x), none), maximum(amax(x), none)]
  const scale = div(sub(hi, lo), full([], 255, x.dtype))
  const safe = add(scale, equal(scale, none))
  const zero = clip(round(neg(div(lo, safe))), 0, 255)
  return { codes: cast(clip(add(round(div(x, safe)), zero), 0, 255), 'u8'), scale, zero: cast(zero, 'u8') }
}

// Codes in, codes out, through floats: what ONNX Runtime has no integer rule for.

const one = (ctx: RunContext, v: Value | undefined): Tensor => {
  const t = ctx.tensor(v)
  return reshape(isFloat(t.dtype) ? t : cast(t, 'f32'), [])
}
/** Values of codes with one scale and one zero point. */
const real = (ctx: RunContext, q: Value | undefined, scale: Value | undefined, zero: Value | undefined): Tensor =>
  dequantized(cast(ctx.tensor(q), 'f32'), one(ctx, scale), zero === undefined ? undefined : one(ctx, zero))
const codes = (ctx: RunContext, y: Tensor, scale: Value | undefined, zero: Value | undefined, dtype: ElementType): Value =>
  quantized(ctx, y, one(ctx, scale), zero === undefined ? undefined : one(ctx, zero), dtype)

for (const [name, f] of [
  ['QLinearAdd', add],
  ['QLinearMul', mul],
] as const)
  defineOnnxOp(name, {
    domain: 'com.microsoft',
    since: [1],
    inputs: [7, 8],
    infer: (ctx, [a, , , b]) => inferBinary(ctx, [a, b]),
    run: (ctx, [a, as, az, b, bs, bz, ys, yz]) => codes(ctx, f(real(ctx, a, as, az), real(ctx, b, bs, bz)), ys, yz, data(ctx, a).dtype),
  })

for (const [name, f] of [
  ['QLinearSigmoid', (x: Tensor) => sigmoid(x)],
  ['QLinearLeakyRelu', (x: Tensor, node: GraphNode) => leakyRelu(x, floatAttribute(node, 'alpha', 0.01))],
] as const)
  defineOnnxOp(name, {
    domain: 'com.microsoft',
    since: [1],
    inputs: [4, 5],
    infer: sameType,
    run: (ctx, [x, xs, xz, ys, yz], node) => codes(ctx, f(real(ctx, x, xs, xz), node), ys, yz, data(ctx, x).dtype),
  })

defineOnnxOp('QLinearSoftmax', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [5, 5],
  infer: sameType,
  run: (ctx, [x, xs, xz, ys, yz], node) => {
    const t = real(ctx, x, xs, xz)
    const axis = axisOf(ctx, intAttribute(node, 'axis', -1), t.rank)
    const old = intAttribute(node, 'opset') < 13
    const y = old ? reshape(softmax(reshape(t, [sizeOf(t.shape.slice(0, axis)), sizeOf(t.shape.slice(axis))])), t.shape) : softmax(t, axis)
    return codes(ctx, y, ys, yz, data(ctx, x).dtype)
  },
})

defineOnnxOp('QLinearConcat', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [5, 4096],
  infer: (_, inputs) => [valueType(inputs[2]?.dtype)],
  run: (ctx, inputs, node) => {
    const [scale, zero, ...rest] = inputs
    const parts = Array.from({ length: rest.length / 3 }, (_, i) => real(ctx, rest[3 * i], rest[3 * i + 1], rest[3 * i + 2]))
    const y = concat(parts, axisOf(ctx, intAttribute(node, 'axis'), parts[0]!.rank))
    return codes(ctx, y, scale, zero, data(ctx, rest[0]).dtype)
  },
})

const lastChannels = (node: GraphNode): boolean => intAttribute(node, 'channels_last', 0) !== 0

defineOnnxOp('QLinearGlobalAveragePool', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [5, 5],
  infer: (_, [x], node): ValueType[] => [
    valueType(
      x?.dtype,
      x?.shape?.map((d, i) => (i === 0 || i === (lastChannels(node) ? x.shape!.length - 1 : 1) ? d : 1)),
    ),
  ],
  run: (ctx, [x, xs, xz, ys, yz], node) => {
    const t = real(ctx, x, xs, xz)
    const axes = t.shape.map((_, i) => i).filter((i) => i !== 0 && i !== (lastChannels(node) ? t.rank - 1 : 1))
    return codes(ctx, mean(t, axes, true), ys, yz, data(ctx, x).dtype)
  },
})

defineOnnxOp('QLinearAveragePool', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [4, 5],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape && [x.shape[0]!, x.shape[1]!, ...x.shape.slice(2).map(() => null)])],
  run: (ctx, [x, xs, xz, ys, yz], node) => {
    const t = real(ctx, x, xs, xz)
    const [kernel, pads] = [intsAttribute(node, 'kernel_shape'), intsAttribute(node, 'pads', [0, 0, 0, 0])]
    if (
      t.rank !== 4 ||
      pads[0] !== pads[2] ||
      pads[1] !== pads[3] ||
      stringAttribute(node, 'auto_pad', 'NOTSET') !== 'NOTSET' ||
      lastChannels(node)
    )
      ctx.fail('ERR_UNSUPPORTED', 'only images [B, C, H, W] with equal pads on both sides')
    const y = avgPool2d(t, [kernel[0]!, kernel[1]!], {
      stride: intsAttribute(node, 'strides', [1, 1]) as [number, number],
      padding: [pads[0]!, pads[1]!],
      ceil: intAttribute(node, 'ceil_mode', 0) !== 0,
      countPadding: intAttribute(node, 'count_include_pad', 0) !== 0,
    })
    return codes(ctx, y, ys, yz, data(ctx, x).dtype)
  },
})
