/** Element-wise functions of one input and their attributes. Integers are computed in f64 where they are native, in JavaScript where they are host values. */
import {
  abs,
  acos,
  acosh,
  add,
  asin,
  asinh,
  atan,
  atanh,
  cast,
  ceil,
  clip,
  cos,
  cosh,
  elu,
  equal,
  erf,
  exp,
  floor,
  gate,
  gelu,
  geluTanh,
  greater,
  hardSwish,
  leakyRelu,
  log,
  minimum,
  mish,
  mul,
  neg,
  prelu,
  reciprocal,
  round,
  scaleShift,
  sigmoid,
  sign,
  silu,
  sin,
  sinh,
  softplus,
  softsign,
  sqrt,
  tan,
} from '../../ops/index.js'
import { nonlinear } from '../../ops/nonlinear.js'
import { full, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, floatAttribute, hasAttribute, stringAttribute, type OnnxOp, type RunContext, type Value } from '../define.js'
import type { GraphNode } from '../graph.js'
import { sameType, valueType } from '../infer.js'
import { erfOf, roundHalfEven } from '../numbers.js'
import { joinsElements, keepsElements } from './channels.js'
import { isHost, list, mapHost, unary } from './values.js'

type Native = (x: Tensor) => Tensor
type Host = (x: number) => number

function row(name: string, since: readonly number[], make: (node: GraphNode) => { host: Host; native: Native }, domain?: string): void {
  const run: OnnxOp['run'] = (ctx, [x], node) => {
    const { host, native } = make(node)
    return unary(ctx, x, host, native)
  }
  defineOnnxOp(name, { since, inputs: [1, 1], infer: sameType, channels: keepsElements, run, ...(domain === undefined ? {} : { domain }) })
}
const plain = (name: string, since: readonly number[], host: Host, native: Native): void => row(name, since, () => ({ host, native }))

plain('Abs', [6, 13], Math.abs, abs)
plain('Neg', [6, 13], (x) => -x, neg)
plain('Exp', [6, 13], Math.exp, exp)
plain('Log', [6, 13], Math.log, log)
plain('Sqrt', [6, 13], Math.sqrt, sqrt)
plain('Reciprocal', [6, 13], (x) => 1 / x, reciprocal)
plain('Sin', [7, 22], Math.sin, sin)
plain('Cos', [7, 22], Math.cos, cos)
plain('Tan', [7, 22], Math.tan, tan)
plain('Asin', [7, 22], Math.asin, asin)
plain('Acos', [7, 22], Math.acos, acos)
plain('Atan', [7, 22], Math.atan, atan)
plain('Sinh', [9, 22], Math.sinh, sinh)
plain('Cosh', [9, 22], Math.cosh, cosh)
plain('Asinh', [9, 22], Math.asinh, asinh)
plain('Acosh', [9, 22], Math.acosh, acosh)
plain('Atanh', [9, 22], Math.atanh, atanh)
plain('Erf', [9, 13], erfOf, erf)
plain('Sign', [9, 13], Math.sign, sign)
plain('Floor', [6, 13], Math.floor, floor)
plain('Ceil', [6, 13], Math.ceil, ceil)
plain('Round', [11, 22], roundHalfEven, round)
plain(
  'Softplus',
  [1, 22],
  (x) => Math.max(0, x) + Math.log1p(Math.exp(-Math.abs(x))),
  (x) => softplus(x),
)
plain('Softsign', [1, 22], (x) => x / (1 + Math.abs(x)), softsign)
plain('HardSwish', [14, 22], (x) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1), hardSwish)
plain('Mish', [18, 22], (x) => x * Math.tanh(Math.log1p(Math.exp(x))), mish)

const exact = (x: number): number => 0.5 * x * (1 + erfOf(x * Math.SQRT1_2))
const approximate = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
row('Gelu', [20], (node) =>
  stringAttribute(node, 'approximate', 'none') === 'tanh' ? { host: approximate, native: geluTanh } : { host: exact, native: gelu },
)
row('Gelu', [1], () => ({ host: exact, native: gelu }), 'com.microsoft')
row('QuickGelu', [1], swish(1.702), 'com.microsoft')
row('Swish', [24], swish(1))

/** x sigmoid(alpha x). */
function swish(other: number): (node: GraphNode) => { host: Host; native: Native } {
  return (node) => {
    const alpha = floatAttribute(node, 'alpha', other)
    return { host: (x) => x / (1 + Math.exp(-alpha * x)), native: (x) => (alpha === 1 ? silu(x) : mul(x, sigmoid(scaleShift(x, alpha)))) }
  }
}

row('LeakyRelu', [6, 16], (node) => {
  const alpha = floatAttribute(node, 'alpha', 0.01)
  return { host: (x) => (x >= 0 ? x : alpha * x), native: (x) => leakyRelu(x, alpha) }
})
row('Elu', [6, 22], (node) => {
  const alpha = floatAttribute(node, 'alpha', 1)
  return { host: (x) => (x >= 0 ? x : alpha * Math.expm1(x)), native: (x) => elu(x, alpha) }
})
row('Selu', [6, 22], (node) => {
  const [alpha, gamma] = [floatAttribute(node, 'alpha', 1.6732632423543772), floatAttribute(node, 'gamma', 1.0507009873554805)]
  return { host: (x) => gamma * (x >= 0 ? x : alpha * Math.expm1(x)), native: (x) => nonlinear(x, 'elu', alpha, gamma) }
})
row('Celu', [12], (node) => {
  const alpha = floatAttribute(node, 'alpha', 1)
  return { host: (x) => (x >= 0 ? x : alpha * Math.expm1(x / alpha)), native: (x) => scaleShift(elu(scaleShift(x, 1 / alpha), 1), alpha) }
})
row('HardSigmoid', [6, 22], (node) => {
  const [alpha, beta] = [floatAttribute(node, 'alpha', 0.2), floatAttribute(node, 'beta', 0.5)]
  return { host: (x) => Math.min(Math.max(alpha * x + beta, 0), 1), native: (x) => clip(scaleShift(x, alpha, beta), 0, 1) }
})
row('ThresholdedRelu', [10, 22], (node) => {
  const alpha = floatAttribute(node, 'alpha', 1)
  return { host: (x) => (x > alpha ? x : 0), native: (x) => gate(x, scaleShift(x, 1, -alpha)) }
})
row('Shrink', [9], (node) => {
  const [bias, lambda] = [floatAttribute(node, 'bias', 0), floatAttribute(node, 'lambd', 0.5)]
  return {
    host: (x) => (x < -lambda ? x + bias : x > lambda ? x - bias : 0),
    native: (x) => add(gate(scaleShift(x, 1, -bias), scaleShift(x, 1, -lambda)), gate(scaleShift(x, 1, bias), scaleShift(x, -1, -lambda))),
  }
})

defineOnnxOp('PRelu', {
  since: [7, 9, 16],
  inputs: [2, 2],
  infer: sameType,
  channels: joinsElements,
  run: (ctx, [x, slope]) => {
    const t = ctx.tensor(x)
    return prelu(t, ctx.tensor(slope))
  },
})

/** Limits of Clip: attributes before opset 11, inputs since. */
function limits(ctx: RunContext, node: GraphNode, lo: Value | undefined, hi: Value | undefined): [number, number] {
  if (ctx.version < 11)
    return [
      hasAttribute(node, 'min') ? floatAttribute(node, 'min') : -Infinity,
      hasAttribute(node, 'max') ? floatAttribute(node, 'max') : Infinity,
    ]
  return [lo ? list(ctx, lo)[0]! : -Infinity, hi ? list(ctx, hi)[0]! : Infinity]
}

defineOnnxOp('Clip', {
  since: [6, 11, 12, 13],
  inputs: [1, 3],
  hostInputs: [1, 2],
  infer: sameType,
  channels: keepsElements,
  run: (ctx, [x, min, max], node) => {
    const [lo, hi] = limits(ctx, node, min, max)
    const native = (t: Tensor): Tensor => (lo <= hi ? clip(t, lo, hi) : minimum(clip(t, lo, Infinity), full([], hi, t.dtype)))
    return unary(ctx, x, (v) => Math.min(Math.max(v, lo), hi), native)
  },
})

for (const [name, test] of [
  ['IsNaN', (v: number) => Number.isNaN(v)],
  ['IsInf', (v: number) => v === Infinity || v === -Infinity],
] as const)
  defineOnnxOp(name, {
    since: name === 'IsNaN' ? [9, 13, 20] : [10, 20],
    inputs: [1, 1],
    infer: (_, [x]) => [valueType('bool', x?.shape)],
    run: (ctx, [x], node) => {
      const up = name === 'IsNaN' || floatAttribute(node, 'detect_positive', 1) !== 0
      const down = name === 'IsNaN' || floatAttribute(node, 'detect_negative', 1) !== 0
      const seen = (v: number): boolean => test(v) && (Number.isNaN(v) || (v > 0 ? up : down))
      if (isHost(x)) return mapHost(x, (v) => (seen(v) ? 1 : 0), 'bool')
      const t = ctx.tensor(x)
      if (name === 'IsNaN') return asBool(scaleShift(equal(t, t), -1, 1))
      const most = full([], t.dtype === 'f64' ? Number.MAX_VALUE : 3.4028234663852886e38, t.dtype)
      const side = (s: Tensor): Tensor => greater(s, most)
      return asBool(up && down ? side(abs(t)) : up ? side(t) : down ? side(neg(t)) : scaleShift(equal(t, t), 0))
    },
  })

const asBool = (t: Tensor): Tensor => cast(t, 'bool')
