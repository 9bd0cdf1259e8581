/** Comparisons, logic, bits, and arithmetic of any number of inputs. Comparisons give bool. */
import {
  abs,
  add,
  cast,
  div,
  equal,
  floor,
  greater,
  greaterEqual,
  less,
  lessEqual,
  logicalAnd,
  logicalNot,
  logicalOr,
  maximum,
  minimum,
  mul,
  notEqual,
  pow,
  realPower,
  scaleShift,
  sign,
  sqrt,
  sub,
  trunc,
  where,
} from '../../ops/index.js'
import { broadcastShapes } from '../../base/shape.js'
import { full, scope, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute, stringAttribute, type RunContext, type Value, type ValueType } from '../define.js'
import type { Dim, ElementType } from '../graph.js'
import { HostTensor } from '../host.js'
import { broadcastDims, numbers, sameType, valueType } from '../infer.js'
import { joinsElements } from './channels.js'
import { inferBinary } from './arithmetic.js'
import { data, expanded } from './move.js'
import { binary, isFloat, isHost, mapHost, offsets, zipHost } from './values.js'

type Host = (a: number, b: number) => number
type Native = (a: Tensor, b: Tensor) => Tensor

function comparison(name: string, since: readonly number[], host: (a: number, b: number) => boolean, native: Native): void {
  const f: Host = (a, b) => (host(a, b) ? 1 : 0)
  defineOnnxOp(name, {
    since,
    inputs: [2, 2],
    infer: (ctx, inputs) => inferBinary(ctx, inputs, inputs[0]?.dtype && isFloat(inputs[0].dtype) ? undefined : f, 'bool'),
    run: (ctx, [a, b]) => {
      if (isHost(a) && isHost(b) && a.strings && b.strings) return compareStrings(a, b)
      return binary(ctx, [a, b], f, native, 'bool')
    },
  })
}

/** Only Equal takes strings. */
function compareStrings(a: HostTensor, b: HostTensor): HostTensor {
  const shape = broadcastShapes('Equal', a.shape, b.shape)
  const [x, y] = [offsets(a.shape, shape), offsets(b.shape, shape)]
  const size = shape.reduce((m, d) => m * d, 1)
  return new HostTensor(
    'bool',
    shape,
    Array.from({ length: size }, (_, i) => (a.strings![x(i)] === b.strings![y(i)] ? 1 : 0)),
  )
}

comparison('Equal', [7, 11, 13, 19], (a, b) => a === b, equal)
comparison('Greater', [7, 9, 13], (a, b) => a > b, greater)
comparison('GreaterOrEqual', [12, 16], (a, b) => a >= b, greaterEqual)
comparison('Less', [7, 9, 13], (a, b) => a < b, less)
comparison('LessOrEqual', [12, 16], (a, b) => a <= b, lessEqual)
comparison('And', [7], (a, b) => a !== 0 && b !== 0, logicalAnd)
comparison('Or', [7], (a, b) => a !== 0 || b !== 0, logicalOr)
comparison(
  'Xor',
  [7],
  (a, b) => (a !== 0) !== (b !== 0),
  (a, b) => notEqual(logicalNot(a), logicalNot(b)),
)

defineOnnxOp('Not', {
  since: [1],
  inputs: [1, 1],
  infer: (_, [x]) => [valueType('bool', x?.shape, x?.value && numbers(x.value)?.map((v) => (v ? 0 : 1)))],
  run: (ctx, [x]) => {
    if (isHost(x)) return mapHost(x, (v) => (v ? 0 : 1), 'bool')
    return scope(() => cast(logicalNot(cast(ctx.tensor(x), 'f32')), 'bool'))
  },
})

// Bits: on host values; native tensors are read.

const wide = (dtype: ElementType): boolean => dtype === 'i64' || dtype === 'u64' || dtype === 'u32'

function bits(name: string, since: readonly number[], small: Host, large: (a: bigint, b: bigint) => bigint): void {
  defineOnnxOp(name, {
    since,
    inputs: [2, 2],
    infer: (ctx, inputs) => inferBinary(ctx, inputs),
    run: (ctx, [a, b]) => {
      const [x, y] = [ctx.host(a), ctx.host(b)]
      const signed = x.dtype.startsWith('i')
      const f: Host = wide(x.dtype)
        ? (p, q) => Number(signed ? BigInt.asIntN(64, large(BigInt(p), BigInt(q))) : BigInt.asUintN(64, large(BigInt(p), BigInt(q))))
        : small
      return zipHost(x, y, f)
    },
  })
}
bits(
  'BitwiseAnd',
  [18],
  (a, b) => a & b,
  (a, b) => a & b,
)
bits(
  'BitwiseOr',
  [18],
  (a, b) => a | b,
  (a, b) => a | b,
)
bits(
  'BitwiseXor',
  [18],
  (a, b) => a ^ b,
  (a, b) => a ^ b,
)

defineOnnxOp('BitwiseNot', {
  since: [18],
  inputs: [1, 1],
  infer: sameType,
  run: (ctx, [x]) => {
    const v = ctx.host(x)
    const top = { u8: 255, u16: 65535, u32: 2 ** 32 - 1 }[v.dtype as string]
    return mapHost(v, (a) => (top === undefined ? -1 - a : top - a))
  },
})

defineOnnxOp('BitShift', {
  since: [11],
  inputs: [2, 2],
  infer: (ctx, inputs) => inferBinary(ctx, inputs),
  run: (ctx, [a, b], node) => {
    const left = stringAttribute(node, 'direction') === 'LEFT'
    const x = ctx.host(a)
    const width = { u8: 8, i8: 8, u16: 16, i16: 16, u32: 32, i32: 32 }[x.dtype as string] ?? 64
    const cut = (v: bigint): number => Number(x.dtype.startsWith('i') ? BigInt.asIntN(width, v) : BigInt.asUintN(width, v))
    return zipHost(x, ctx.host(b), (p, n) => {
      if (n < 0 || n >= width) return !left && p < 0 ? -1 : 0
      return cut(left ? BigInt(p) << BigInt(n) : BigInt(p) >> BigInt(n))
    })
  },
})

/** The sign of the divisor (Python) or with `fmod` of the dividend (C). */
const modHost =
  (fmod: boolean): Host =>
  (a, b) => {
    const r = a % b
    return !fmod && r !== 0 && r < 0 !== b < 0 ? r + b : r
  }

function modNative(a: Tensor, b: Tensor, fmod: boolean): Tensor {
  return scope(() => {
    const [x, y] = [a, b].map((t) => (t.dtype === 'f64' ? t : cast(t, 'f64'))) as [Tensor, Tensor]
    const q = div(x, y)
    const r = sub(x, mul(fmod ? trunc(q) : floor(q), y))
    // A remainder whose magnitude is the divisor's comes from a rounded quotient.
    const finite = where(equal(r, y), sub(r, y), r)
    // Of an infinite divisor x is left, or with the other sign (Python) the divisor.
    const other = fmod ? x : where(greater(full([], 0, 'f64'), mul(sign(x), sign(y))), y, x)
    const exact = where(equal(abs(y), full([], Infinity, 'f64')), other, finite)
    return a.dtype === 'f64' ? exact : cast(exact, a.dtype)
  })
}

defineOnnxOp('Mod', {
  since: [10, 13],
  inputs: [2, 2],
  infer: (ctx, inputs) => inferBinary(ctx, inputs),
  run: (ctx, inputs, node) => {
    const fmod = intAttribute(node, 'fmod', 0) !== 0
    const y = inputs[1]
    if (isHost(y) && !isFloat(y.dtype) && y.data.includes(0)) ctx.fail('ERR_NUMERIC', 'a division of integers by 0')
    return binary(ctx, inputs, modHost(fmod), (a, b) => modNative(a, b, fmod))
  },
})

/** The exponent of Pow where it is one number in JavaScript. */
const constantPower = (v: Value | undefined): number | undefined => (isHost(v) && v.size === 1 ? v.data[0] : undefined)

defineOnnxOp('Pow', {
  since: [7, 12, 13, 15],
  inputs: [2, 2],
  channels: joinsElements,
  infer: (ctx, [a, b]) => inferBinary(ctx, [a, b], undefined, a?.dtype),
  run: (ctx, [a, b]) => {
    if (isHost(a) && isHost(b) && !a.native) return zipHost(a, b, (x, y) => x ** y, a.dtype)
    const n = constantPower(b)
    const x = ctx.tensor(a)
    if (isFloat(x.dtype) && n !== undefined && data(ctx, b).shape.length <= x.rank) {
      if (n === 0.5) return sqrt(x)
      if (n === 1) return scaleShift(x, 1)
      if (Number.isInteger(n) && Math.abs(n) <= 64) return pow(x, n)
    }
    const y = realPower(isFloat(x.dtype) ? x : cast(x, 'f64'), ctx.tensor(b))
    return y.dtype === x.dtype ? y : cast(y, x.dtype)
  },
})

/** Any number of inputs, two at a time. */
function variadic(
  name: string,
  since: readonly number[],
  host: Host,
  native: Native,
  finish?: (ctx: RunContext, sum: Value, n: number) => Value,
): void {
  defineOnnxOp(name, {
    since,
    inputs: [1, 4096],
    channels: joinsElements,
    infer: (ctx, inputs) => [
      valueType(
        inputs.find((x) => x?.dtype)?.dtype,
        broadcastDims(
          ctx,
          inputs.map((x) => x?.shape),
        ),
      ),
    ],
    run: (ctx, inputs) => {
      const first = data(ctx, inputs[0])
      const whole = inputs
        .slice(1)
        .reduce<Value>((a, b) => binary(ctx, [a, b], host, native), inputs.length === 1 ? expanded(ctx, first, first.shape) : first)
      return finish ? finish(ctx, whole, inputs.length) : whole
    },
  })
}
variadic('Max', [6, 8, 12, 13], Math.max, maximum)
variadic('Min', [6, 8, 12, 13], Math.min, minimum)
variadic('Sum', [6, 8, 13], (a, b) => a + b, add)
variadic(
  'Mean',
  [6, 8, 13],
  (a, b) => a + b,
  add,
  (ctx, sum, n) => (isHost(sum) ? mapHost(sum, (v) => v / n) : scaleShift(ctx.tensor(sum), 1 / n)),
)

/** a where the condition holds, on known integers. */
function whereValues(ctx: Parameters<typeof broadcastDims>[0], [c, a, b]: readonly (ValueType | undefined)[]): ValueType {
  const shape = broadcastDims(ctx, [c?.shape, a?.shape, b?.shape])
  const [p, q, r] = [c?.value, a?.value, b?.value]
  const n = numbers(shape)
  if (!p || !q || !r || !n || n.length > 1) return valueType(a?.dtype ?? b?.dtype, shape)
  const at = (v: readonly Dim[], i: number): Dim => v[v.length === 1 ? 0 : i]!
  const value = Array.from({ length: n[0] ?? 1 }, (_, i): Dim => (at(p, i) === null ? null : at(p, i) ? at(q, i) : at(r, i)))
  return valueType(a?.dtype ?? b?.dtype, shape, value)
}

defineOnnxOp('Where', {
  since: [9, 16],
  inputs: [3, 3],
  channels: joinsElements,
  infer: (ctx, inputs) => [whereValues(ctx, inputs)],
  run: (ctx, [condition, a, b]) => {
    const [c, x, y] = [data(ctx, condition), data(ctx, a), data(ctx, b)]
    if (isHost(c) && isHost(x) && isHost(y) && !x.native && !y.native) return whereHost(c, x, y)
    if ((isHost(x) && x.strings) || (isHost(y) && y.strings)) return whereHost(ctx.host(c), ctx.host(x), ctx.host(y))
    const [p, q] = [ctx.tensor(x), ctx.tensor(y)]
    const through = isFloat(p.dtype) ? p.dtype : 'f64'
    const as = (t: Tensor): Tensor => (t.dtype === through ? t : cast(t, through))
    const chosen = where(as(ctx.tensor(c)), as(p), as(q))
    return through === p.dtype ? chosen : cast(chosen, p.dtype)
  },
})

function whereHost(c: HostTensor, x: HostTensor, y: HostTensor): HostTensor {
  const shape = broadcastShapes('Where', broadcastShapes('Where', c.shape, x.shape), y.shape)
  const [i, j, k] = [c, x, y].map((v) => offsets(v.shape, shape)) as [Offset, Offset, Offset]
  const size = shape.reduce((m, d) => m * d, 1)
  if (x.strings) {
    const strings = Array.from({ length: size }, (_, n) => (c.data[i(n)] ? x.strings![j(n)]! : y.strings![k(n)]!))
    return new HostTensor('string', shape, [], { strings })
  }
  return new HostTensor(
    x.dtype,
    shape,
    Array.from({ length: size }, (_, n) => (c.data[i(n)] ? x.data[j(n)]! : y.data[k(n)]!)),
  )
}
type Offset = (i: number) => number
