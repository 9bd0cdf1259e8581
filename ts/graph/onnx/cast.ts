/** Cast, CastLike and what makes values: Range, ConstantOfShape, EyeLike, random numbers. */
import { cast, floor, greater, randomNormal, randomUniform, scaleShift, sub } from '../../ops/index.js'
import { sizeOf } from '../../base/shape.js'
import { full, type Tensor } from '../../tensor/index.js'
import { elementTypes } from '../../formats/onnx/index.js'
import {
  defineOnnxOp,
  floatAttribute,
  hasAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type InferContext,
  type RunContext,
  type Value,
} from '../define.js'
import type { ElementType, GraphNode } from '../graph.js'
import { HostTensor, nativeDType } from '../host.js'
import { numbers, valueType } from '../infer.js'
import { keepsElements } from './channels.js'
import { isMiniFloat, roundToFormat } from '../minifloat.js'
import { checkCount, data } from './move.js'
import { shapeOf } from './shapes.js'
import { isFloat, isHost, list } from './values.js'

/** The element type that an attribute names by its number. */
export function typeAttribute(ctx: InferContext | RunContext, node: GraphNode, name: string, other?: ElementType): ElementType {
  if (other !== undefined && !hasAttribute(node, name)) return other
  const number = intAttribute(node, name)
  const found = elementTypes[number]?.[0]
  return found === undefined || found === 'undefined' ? ctx.fail('ERR_MODEL_FORMAT', `${name}: unknown element type ${number}`) : found
}

const widths: Readonly<Record<string, number>> = {
  i64: 64,
  u64: 64,
  i32: 32,
  u32: 32,
  i16: 16,
  u16: 16,
  i8: 8,
  u8: 8,
  i4: 4,
  u4: 4,
  i2: 2,
  u2: 2,
}

/** A number into an integer type: the fraction goes, then it wraps around; NaN is 0, infinities and what 64 bits do not hold go to the limits. */
export function toInteger(dtype: string, v: number): number {
  const bits = widths[dtype]!
  const signed = dtype.startsWith('i')
  const [lo, hi] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1]
  const whole = Math.trunc(v) + 0
  if (Number.isNaN(v)) return 0
  if (whole >= lo && whole <= hi) return whole
  if (!Number.isFinite(v) || bits === 64) return v > 0 ? hi : lo
  const r = whole - Math.floor(whole / 2 ** bits) * 2 ** bits
  return signed && r > hi ? r - 2 ** bits : r
}

/** The shortest text that gives the number back in its type, as NumPy writes it. */
function text(dtype: ElementType, v: number): string {
  if (dtype === 'bool') return v ? 'True' : 'False'
  if (!isFloat(dtype)) return String(v)
  if (Number.isNaN(v)) return 'NaN'
  if (!Number.isFinite(v)) return v > 0 ? 'INF' : '-INF'
  let digits = String(v)
  if (dtype !== 'f64')
    for (let p = 1; p <= 9; p++) {
      digits = String(Number(v.toPrecision(p)))
      if (Math.fround(Number(digits)) === v) break
    }
  return /[.e]/.test(digits) ? digits : `${digits}.0`
}

function number(ctx: RunContext, s: string): number {
  const special: Readonly<Record<string, number>> = { inf: Infinity, '+inf': Infinity, '-inf': -Infinity, nan: NaN }
  const v = special[s.trim().toLowerCase()] ?? Number(s)
  if (Number.isNaN(v) && s.trim().toLowerCase() !== 'nan') ctx.fail('ERR_DATA', `${JSON.stringify(s.slice(0, 50))} is no number`)
  return v
}

/** The power of two that E8M0 has for v: the next one above it, below it, or the nearest. */
function powerOfTwo(v: number, mode: string): number {
  const near = roundToFormat('f8e8m0', v)
  if (mode === 'nearest' || near === v || !(v > 2 ** -127) || v > 2 ** 127) return near
  const below = near > v ? near / 2 : near
  return mode === 'down' ? below : 2 * below
}

function castHost(ctx: RunContext, x: HostTensor, to: ElementType, saturate: boolean): HostTensor {
  const mode = stringAttribute(ctx.node, 'round_mode', 'up')
  const values = x.strings ? x.strings.map((s) => number(ctx, s)) : x.data
  if (to === 'string') return new HostTensor('string', x.shape, [], { strings: x.strings ?? x.data.map((v) => text(x.dtype, v)) })
  return new HostTensor(
    to,
    x.shape,
    values.map((v) => {
      if (to === 'bool') return v === 0 ? 0 : 1
      if (to === 'f64') return v
      if (to === 'f32') return Math.fround(v)
      if (to === 'f8e8m0') return powerOfTwo(v, mode)
      return isMiniFloat(to) ? roundToFormat(to, v, saturate && to !== 'f16' && to !== 'bf16') : toInteger(to, v)
    }),
  )
}

const integerBytes: readonly string[] = ['i64', 'i32', 'i16', 'u16', 'i8', 'u8', 'bool']

/** A native tensor in another type; undefined where only JavaScript has the conversion. */
function castNative(t: Tensor, from: ElementType, to: ElementType): Tensor | undefined {
  if (to === 'f16' || to === 'bf16') return cast(cast(t, to), 'f32')
  if (to === 'f32' || to === 'f64' || to === 'i64' || to === 'bool') return cast(t, to)
  if (!integerBytes.includes(to)) return undefined
  // Integers that narrow wrap around, which the native cast does not: it saturates.
  const narrows = !isFloat(from) && from !== 'bool' && (widths[to] ?? 0) <= (widths[from] ?? 0) && from !== to
  return cast(narrows ? wrapped(t, to) : t, nativeDType(to))
}

/** Integers modulo 2^bits in the range of `to`, as f64: exact up to 2^53, as integers in JavaScript are. */
function wrapped(t: Tensor, to: ElementType): Tensor {
  const range = 2 ** widths[to]!
  const x = cast(t, 'f64')
  const turns = floor(scaleShift(x, 1 / range, to.startsWith('i') ? 0.5 : 0))
  return sub(x, scaleShift(turns, range, 0))
}

export function castTo(ctx: RunContext, v: Value | undefined, to: ElementType, saturate = true): Value {
  const x = data(ctx, v)
  if (isHost(x) && !x.native) return castHost(ctx, x, to, saturate)
  const t = ctx.tensor(x)
  return castNative(t, t.dtype, to) ?? castHost(ctx, ctx.host(x), to, saturate)
}

const followed: readonly ElementType[] = ['i64', 'i32', 'bool', 'i16', 'i8', 'u8', 'u16', 'u32', 'u64']

defineOnnxOp('Cast', {
  since: [6, 9, 13, 19, 21],
  inputs: [1, 1],
  channels: keepsElements,
  infer: (ctx, [x], node) => {
    const to = typeAttribute(ctx, node, 'to')
    return [valueType(to, x?.shape, followed.includes(to) ? x?.value : undefined)]
  },
  run: (ctx, [x], node) => castTo(ctx, x, typeAttribute(ctx, node, 'to'), intAttribute(node, 'saturate', 1) !== 0),
})

defineOnnxOp('CastLike', {
  since: [15, 19, 21],
  inputs: [2, 2],
  infer: (_, [x, like]) => [valueType(like?.dtype, x?.shape, like?.dtype && followed.includes(like.dtype) ? x?.value : undefined)],
  run: (ctx, [x, like], node) => castTo(ctx, x, data(ctx, like).dtype, intAttribute(node, 'saturate', 1) !== 0),
})

/** At most so many elements of Range and ConstantOfShape as host values. */
const HOST_SIZE = 1 << 20

defineOnnxOp('Range', {
  since: [11],
  inputs: [3, 3],
  hostInputs: [0, 1, 2],
  infer: (_, [start, limit, delta]) => {
    const [a, b, d] = [start, limit, delta].map((v) => numbers(v?.value)?.[0])
    const n = a !== undefined && b !== undefined && d ? Math.max(0, Math.ceil((b - a) / d)) : null
    const value = n !== null && n <= 64 ? Array.from({ length: n }, (_, i) => a! + i * d!) : undefined
    // Range(0, n, 1) has n elements, whatever n is called.
    const named = a === 0 && d === 1 && typeof limit?.value?.[0] === 'string' ? limit.value[0] : n
    return [valueType(start?.dtype, [named], value)]
  },
  run: (ctx, inputs) => {
    const first = data(ctx, inputs[0])
    const [a, b, d] = inputs.map((v) => list(ctx, v)[0]) as [number, number, number]
    if (d === 0) ctx.fail('ERR_OPTION', 'delta must not be 0')
    const n = Math.max(0, Math.ceil((b - a) / d))
    checkCount(ctx, n)
    const round = first.dtype === 'f32' ? Math.fround : (v: number): number => v
    return new HostTensor(
      first.dtype,
      [n],
      Array.from({ length: n }, (_, i) => round(a + i * d)),
    )
  },
})

defineOnnxOp('ConstantOfShape', {
  since: [9, 20, 21],
  inputs: [1, 1],
  hostInputs: [0],
  infer: (_, [shape], node) => {
    const value = node.attributes.value?.type === 'tensor' ? node.attributes.value.value : undefined
    const rank = numbers(shape?.shape)?.[0]
    const dims = shape?.value ?? (rank === undefined ? undefined : Array<null>(rank).fill(null))
    const sizes = numbers(dims)
    const dtype = value?.dtype ?? 'f32'
    const small = sizes && sizeOf(sizes) <= 64 && followed.includes(dtype)
    return [
      valueType(dtype, dims, small ? Array<number>(sizeOf(sizes)).fill(value ? new HostTensor(dtype, [1], value).data[0]! : 0) : undefined),
    ]
  },
  run: (ctx, [shape], node) => {
    const dims = list(ctx, shape)
    if (!dims.every((d) => Number.isInteger(d) && d >= 0)) ctx.fail('ERR_SHAPE', `a shape has sizes >= 0, got [${dims.join(',')}]`)
    const given = node.attributes.value?.type === 'tensor' ? node.attributes.value.value : undefined
    const dtype = given?.dtype ?? 'f32'
    const fill = given ? new HostTensor(dtype, [1], given).data[0]! : 0
    const size = sizeOf(dims)
    if (isFloat(dtype) || size > HOST_SIZE) return full(dims, fill, nativeDType(dtype))
    return new HostTensor(dtype, dims, Array<number>(size).fill(fill))
  },
})

defineOnnxOp('EyeLike', {
  since: [9, 22],
  inputs: [1, 1],
  infer: (ctx, [x], node) => [valueType(typeAttribute(ctx, node, 'dtype', x?.dtype ?? 'f32'), x?.shape)],
  run: (ctx, [x], node) => {
    const { shape, dtype } = data(ctx, x)
    if (shape.length !== 2) ctx.fail('ERR_SHAPE', `x must be a matrix, got [${shape.join(',')}]`)
    const k = intAttribute(node, 'k', 0)
    const n = shape[1]!
    return new HostTensor(
      typeAttribute(ctx, node, 'dtype', dtype),
      shape,
      Array.from({ length: sizeOf(shape) }, (_, i) => ((i % n) - Math.floor(i / n) === k ? 1 : 0)),
    )
  },
})

// Random numbers: those of Tersor's generator, by the seed of the node and its name, not those of another runtime.

function seedOf(node: GraphNode): { seed: number; stream: number } {
  const label = node.name || node.outputs[0]!
  let stream = 0
  for (let i = 0; i < label.length; i++) stream = (stream * 31 + label.charCodeAt(i)) % 2 ** 31
  return { seed: Math.trunc(Math.abs(floatAttribute(node, 'seed', 0))), stream }
}

function random(name: string, like: boolean, make: (shape: readonly number[], node: GraphNode) => Tensor): void {
  defineOnnxOp(name, {
    since: [1, 22],
    inputs: like ? [1, 1] : [0, 0],
    infer: (ctx, [x], node) => [
      valueType(typeAttribute(ctx, node, 'dtype', (like && x?.dtype) || 'f32'), like ? x?.shape : intsAttribute(node, 'shape')),
    ],
    run: (ctx, [x], node) => {
      const dtype = typeAttribute(ctx, node, 'dtype', like ? data(ctx, x).dtype : 'f32')
      return castTo(ctx, make(like ? shapeOf(ctx, x) : intsAttribute(node, 'shape'), node), dtype)
    },
  })
}
const uniform = (shape: readonly number[], node: GraphNode): Tensor => {
  const [lo, hi] = [floatAttribute(node, 'low', 0), floatAttribute(node, 'high', 1)]
  return scaleShift(randomUniform(shape, seedOf(node)), hi - lo, lo)
}
const normal = (shape: readonly number[], node: GraphNode): Tensor =>
  scaleShift(randomNormal(shape, seedOf(node)), floatAttribute(node, 'scale', 1), floatAttribute(node, 'mean', 0))
random('RandomUniform', false, uniform)
random('RandomUniformLike', true, uniform)
random('RandomNormal', false, normal)
random('RandomNormalLike', true, normal)

defineOnnxOp('Bernoulli', {
  since: [15, 22],
  inputs: [1, 1],
  infer: (ctx, [x], node) => [valueType(typeAttribute(ctx, node, 'dtype', x?.dtype ?? 'f32'), x?.shape)],
  run: (ctx, [x], node) => {
    const p = ctx.tensor(x)
    const draw = greater(p.dtype === 'f32' ? p : cast(p, 'f32'), randomUniform(p.shape, seedOf(node)))
    return castTo(ctx, draw, typeAttribute(ctx, node, 'dtype', data(ctx, x).dtype))
  },
})
