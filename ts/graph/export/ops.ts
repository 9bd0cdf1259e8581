/**
 * THE table of the export: for each primitive op the ONNX nodes that compute it. Rules for products, convolutions, recurrent layers and attention stand
 * in files of their own. Sizes may depend on the inputs: rules take them from both runs (context.ts).
 */
import { normalizeAxis } from '../../base/shape.js'
import type { Nonlinearity } from '../../native/ops.gen.js'
import type { ElementType } from '../../formats/onnx/index.js'
import type { TracedValue } from '../trace.js'
import { float, int, ints, type Attributes } from './builder.js'
import { numbersOf, pairedList, valueArg, varying, type ExportContext } from './context.js'
import type { PairedCall, PairedNumber } from './pair.js'

/** Writes the nodes of a call and answers the names of its results that can be used. */
export type Rule = (c: ExportContext, call: PairedCall) => string | readonly string[]

const arg = (c: ExportContext, call: PairedCall, i: number): string => c.name(call.a.args[i])
const number = (call: PairedCall, i: number): number => call.a.args[i] as number
const list = (call: PairedCall, i: number): readonly number[] => call.a.args[i] as readonly number[]

const unary =
  (op: string): Rule =>
  (c, call) =>
    c.builder.node(op, [arg(c, call, 0)])
const binary =
  (op: string): Rule =>
  (c, call) =>
    c.builder.node(op, [arg(c, call, 0), arg(c, call, 1)])
/** Comparisons give 1 or 0 in the type of their operands. */
const comparison =
  (op: string): Rule =>
  (c, call) =>
    c.builder.cast(c.builder.node(op, [arg(c, call, 0), arg(c, call, 1)]), call.a.results[0]!.dtype)

const activations: Readonly<Record<Nonlinearity, (c: ExportContext, x: string, p: number, q: number) => string>> = {
  leaky_relu: (c, x, p) => c.builder.node('LeakyRelu', [x], { attributes: { alpha: float(p) } }),
  elu: (c, x, p, q) =>
    q === 1
      ? c.builder.node('Elu', [x], { attributes: { alpha: float(p) } })
      : c.builder.node('Selu', [x], { attributes: { alpha: float(p), gamma: float(q) } }),
  gelu: (c, x) => gelu(c, x),
  gelu_tanh: (c, x) => {
    const { builder } = c
    const cube = builder.node('Mul', [builder.node('Mul', [x, x]), x])
    const inner = builder.node('Add', [x, builder.node('Mul', [cube, builder.scalar(0.044715)])])
    const t = builder.node('Tanh', [builder.node('Mul', [inner, builder.scalar(Math.sqrt(2 / Math.PI))])])
    return builder.node('Mul', [builder.node('Mul', [x, builder.scalar(0.5)]), builder.node('Add', [t, builder.scalar(1)])])
  },
  silu: (c, x) => c.builder.node('Mul', [x, c.builder.node('Sigmoid', [x])]),
  mish: (c, x) => c.builder.node('Mul', [x, c.builder.node('Tanh', [c.builder.node('Softplus', [x])])]),
  hard_swish: (c, x) => c.builder.node('HardSwish', [x]),
  hard_sigmoid: (c, x) => c.builder.node('HardSigmoid', [x], { attributes: { alpha: float(1 / 6), beta: float(0.5) } }),
  softplus: (c, x, p) => {
    const { builder } = c
    if (p === 1) return builder.node('Softplus', [x])
    return builder.node('Div', [builder.node('Softplus', [builder.node('Mul', [x, builder.scalar(p)])]), builder.scalar(p)])
  },
  softsign: (c, x) => c.builder.node('Softsign', [x]),
  log_sigmoid: (c, x) => c.builder.node('Neg', [c.builder.node('Softplus', [c.builder.node('Neg', [x])])]),
}

/** x (1 + erf(x / sqrt 2)) / 2: runtimes know the pattern; the operator Gelu came with opset 20. */
function gelu(c: ExportContext, x: string): string {
  const { builder } = c
  const erf = builder.node('Erf', [builder.node('Div', [x, builder.scalar(Math.SQRT2)])])
  return builder.node('Mul', [builder.node('Mul', [x, builder.node('Add', [erf, builder.scalar(1)])]), builder.scalar(0.5)])
}

const reduction =
  (op: string): Rule =>
  (c, call) => {
    const axes = list(call, 1)
    const inputs = axes.length === 0 ? [arg(c, call, 0)] : [arg(c, call, 0), c.builder.int64s(axes)]
    return c.builder.node(op, inputs, { attributes: { keepdims: int(call.a.args[2] ? 1 : 0) } })
  }

const reshape: Rule = (c, call) => {
  const x = valueArg(call, 0)
  const from = c.pair.shape(x)
  const to = c.pair.shape(call.a.results[0]!)
  const empty = to.some(([a]) => a === 0)
  const dims = to.map((d, i): PairedNumber => (d[0] !== d[1] && from[i]?.[0] === d[0] && from[i]?.[1] === d[1] ? [0, 0] : d))
  const open = dims.map((d, i) => (d[0] !== d[1] ? i : -1)).filter((i) => i >= 0)
  // One size may be left to the operator: the first that no dimension says.
  if (open.length > 0 && !empty) dims[open[0]!] = [-1, -1]
  return c.builder.node('Reshape', [c.name(x), c.shape(dims, x)])
}

const permute: Rule = (c, call) => {
  const { rank } = { rank: valueArg(call, 0).shape.length }
  const perm = list(call, 1).map((a) => normalizeAxis('permute', a, rank))
  return c.builder.node('Transpose', [arg(c, call, 0)], { attributes: { perm: ints(perm) } })
}

const broadcastTo: Rule = (c, call) => {
  const x = valueArg(call, 0)
  const from = c.pair.shape(x)
  const to = c.pair.shape(call.a.results[0]!)
  // Where x has the dimension already, Expand takes a 1.
  const lead = to.length - from.length
  const dims = to.map((d, i): PairedNumber => (i >= lead && from[i - lead]![0] === d[0] && from[i - lead]![1] === d[1] ? [1, 1] : d))
  return c.builder.node('Expand', [c.name(x), c.shape(dims, x)])
}

const END = Number.MAX_SAFE_INTEGER

/** Cuts a value: `sizes` of `axes` from `starts`; ends and starts that move with the dimension are counted from its end. */
const slice: Rule = (c, call) => {
  const x = valueArg(call, 0)
  const dims = c.pair.shape(x)
  const starts = pairedList(call, 1)
  const sizes = pairedList(call, 2)
  const note = c.notes.get(x.id) as ((start: PairedNumber, size: PairedNumber) => string | undefined) | undefined
  const known = note?.(starts[0]!, sizes[0]!)
  const whole = (i: number): boolean => starts[i]!.every((s) => s === 0) && sizes[i]!.every((n, k) => n === dims[i]![k])
  const axes = dims.map((_, i) => i).filter((i) => !whole(i) && !(known !== undefined && i === 0))
  if (axes.length === 0) return known ?? c.builder.node('Identity', [c.name(x)])
  const relative = (n: PairedNumber, i: number): PairedNumber => {
    const d = dims[i]!
    return n[0] !== n[1] && n[0] - d[0] === n[1] - d[1] && n[0] < d[0] ? [n[0] - d[0], n[1] - d[1]] : n
  }
  const ends = axes.map((i): PairedNumber => {
    const end: PairedNumber = [starts[i]![0] + sizes[i]![0], starts[i]![1] + sizes[i]![1]]
    return end[0] === dims[i]![0] && end[1] === dims[i]![1] ? [END, END] : relative(end, i)
  })
  const from = axes.map((i) => relative(starts[i]!, i))
  return c.builder.node('Slice', [known ?? c.name(x), c.shape(from, x), c.shape(ends, x), c.builder.int64s(axes)])
}

const padSlice: Rule = (c, call) => {
  const x = valueArg(call, 0)
  const [dims, shape, start] = [c.pair.shape(x), pairedList(call, 1), pairedList(call, 2)]
  const after = shape.map((d, i): PairedNumber => [d[0] - start[i]![0] - dims[i]![0], d[1] - start[i]![1] - dims[i]![1]])
  return c.builder.node('Pad', [c.name(x), c.shape([...start, ...after], x)])
}

/** Windows that follow the sizes are whole images. */
function wholePool(c: ExportContext, call: PairedCall, op: 'MaxPool' | 'AveragePool'): string {
  const [, , ...dims] = c.pair.shape(valueArg(call, 0))
  const kernel = pairedList(call, 1)
  if (list(call, 3).some((n) => n !== 0) || kernel.some((k, i) => k[0] !== dims[i]![0] || k[1] !== dims[i]![1]))
    throw varying(`an argument of ${call.op}`, call.a.args[1], call.b.args[1])
  return c.builder.node(`Global${op}`, [arg(c, call, 0)])
}

const pool =
  (op: 'MaxPool' | 'AveragePool'): Rule =>
  (c, call) => {
    const [h, w] = list(call, 3) as [number, number]
    if (JSON.stringify([1, 2, 3].map((i) => call.a.args[i])) !== JSON.stringify([1, 2, 3].map((i) => call.b.args[i])))
      return wholePool(c, call, op)
    const attributes: Attributes = {
      kernel_shape: ints(list(call, 1)),
      strides: ints(list(call, 2)),
      pads: ints([h, w, h, w]),
      ceil_mode: int(call.a.args[4] ? 1 : 0),
      ...(op === 'AveragePool' ? { count_include_pad: int(call.a.args[5] ? 1 : 0) } : {}),
    }
    return c.builder.node(op, [arg(c, call, 0)], { attributes })
  }

const layerNorm: Rule = (c, call) => {
  const width = valueArg(call, 0).shape.at(-1)!
  const gamma = call.a.args[1] ? arg(c, call, 1) : c.builder.constant('ones', 'f32', [width], new Float32Array(width).fill(1))
  return c.builder.node('LayerNormalization', [arg(c, call, 0), gamma, arg(c, call, 2)], {
    attributes: { axis: int(-1), epsilon: float(number(call, 3)) },
  })
}

const rmsNorm: Rule = (c, call) => {
  const { builder } = c
  const x = arg(c, call, 0)
  const mean = builder.node('ReduceMean', [builder.node('Mul', [x, x]), builder.int64s([-1])], { attributes: { keepdims: int(1) } })
  const root = builder.node('Sqrt', [builder.node('Add', [mean, builder.scalar(number(call, 2))])])
  const y = builder.node('Div', [x, root])
  return call.a.args[1] ? builder.node('Mul', [y, arg(c, call, 1)]) : y
}

/** A row of a quantized table is gathered as codes, then scaled: the table itself stays small. */
const gather: Rule = (c, call) => {
  const table = valueArg(call, 0)
  const index = arg(c, call, 1)
  const codes = table.from.kind === 'weight' ? c.weights.codes(table.from.path) : null
  if (!codes || codes.groups !== 1 || codes.lead === 1 || table.shape.length !== 2 || table.from.kind !== 'weight')
    return c.builder.node('Gather', [c.name(table), index], { attributes: { axis: int(0) } })
  const { builder } = c
  const { path } = table.from
  const stored = c.weights.codesTensor(path, codes, [codes.rows, codes.cols])
  const rowsOf = (name: string): string => builder.node('Gather', [name, index], { attributes: { axis: int(0) } })
  let y = builder.cast(rowsOf(stored), 'f32')
  if (codes.zero) y = builder.node('Sub', [y, rowsOf(c.weights.floats32(`${path}.zero`, [codes.rows, 1], codes.zero))])
  return builder.node('Mul', [y, rowsOf(c.weights.floats32(`${path}.scale`, [codes.rows, 1], codes.scale))])
}

const softmaxOver =
  (op: string): Rule =>
  (c, call) =>
    c.builder.node(op, [arg(c, call, 0)], { attributes: { axis: int(-1) } })
const toBool = (c: ExportContext, x: string): string => c.builder.cast(x, 'bool')
const positive = (c: ExportContext, x: string): string => c.builder.node('Greater', [x, c.builder.scalar(0)])

/** A sum times one over the number of its elements. */
function meanOf(c: ExportContext, call: PairedCall): string | undefined {
  const { from } = valueArg(call, 0)
  if (from.kind !== 'call' || from.call.op !== 'sum' || [call.a, call.b].some(({ args }) => args[2] !== 0)) return undefined
  const [x, axes, keep] = from.call.args as [TracedValue, readonly number[], boolean]
  const dims = c.pair.shape(x).filter((_, i) => axes.length === 0 || axes.some((a) => (a < 0 ? a + x.shape.length : a) === i))
  const one = ([call.a, call.b] as const).every(({ args }, run) => {
    const count = dims.reduce((n, d) => n * d[run as 0 | 1], 1)
    return Math.abs((args[1] as number) * count - 1) < 1e-12
  })
  if (!one) return undefined
  const inputs = axes.length === 0 ? [c.name(x)] : [c.name(x), c.builder.int64s(axes)]
  return c.builder.node('ReduceMean', inputs, { attributes: { keepdims: int(keep ? 1 : 0) } })
}

/** x scale + shift; both may follow sizes. */
const scaleShift: Rule = (c, call) => {
  const mean = meanOf(c, call)
  if (mean !== undefined) return mean
  const [scale, shift] = [1, 2].map((i): PairedNumber => [call.a.args[i] as number, call.b.args[i] as number]) as [
    PairedNumber,
    PairedNumber,
  ]
  const always = (n: PairedNumber, v: number): boolean => n[0] === v && n[1] === v
  const x = valueArg(call, 0)
  const float = (n: PairedNumber): string => {
    if (x.dtype === 'f64' && n[0] === n[1]) return c.builder.constant('scalar', 'f64', [], [n[0]])
    const found = c.float('an argument of scale_shift', n, x)
    return x.dtype === 'f32' ? found : c.builder.cast(found, x.dtype)
  }
  const scaled = always(scale, 1) ? c.name(x) : c.builder.node('Mul', [c.name(x), float(scale)])
  if (always(shift, 0) && !always(scale, 1)) return scaled
  return c.builder.node('Add', [scaled, float(shift)])
}

export const plainRules: Readonly<Record<string, Rule>> = {
  neg: unary('Neg'),
  abs: unary('Abs'),
  sign: unary('Sign'),
  exp: unary('Exp'),
  log: unary('Log'),
  sqrt: unary('Sqrt'),
  reciprocal: unary('Reciprocal'),
  sin: unary('Sin'),
  cos: unary('Cos'),
  tanh: unary('Tanh'),
  sigmoid: unary('Sigmoid'),
  relu: unary('Relu'),
  erf: unary('Erf'),
  round: unary('Round'),
  round_ste: unary('Round'),
  sign_ste: unary('Sign'),
  copy: unary('Identity'),
  step: (c, call) => c.builder.cast(positive(c, arg(c, call, 0)), 'f32'),
  gelu: (c, call) => gelu(c, arg(c, call, 0)),
  clip: (c, call) => clip(c, call),
  clip_ste: (c, call) => clip(c, call),
  nonlinear: (c, call) => activations[call.a.args[1] as Nonlinearity](c, arg(c, call, 0), number(call, 2), number(call, 3)),
  add: binary('Add'),
  sub: binary('Sub'),
  mul: binary('Mul'),
  div: binary('Div'),
  maximum: binary('Max'),
  minimum: binary('Min'),
  greater: comparison('Greater'),
  equal: comparison('Equal'),
  gate: (c, call) => c.builder.node('Where', [positive(c, arg(c, call, 1)), arg(c, call, 0), c.builder.scalar(0)]),
  where: (c, call) => c.builder.node('Where', [toBool(c, arg(c, call, 0)), arg(c, call, 1), arg(c, call, 2)]),
  scale_shift: scaleShift,
  cast: (c, call) => c.builder.cast(arg(c, call, 0), call.a.args[1] as ElementType),
  reshape,
  permute,
  broadcast_to: broadcastTo,
  slice,
  pad_slice: padSlice,
  concat2: (c, call) => c.builder.node('Concat', [arg(c, call, 0), arg(c, call, 1)], { attributes: { axis: int(number(call, 2)) } }),
  sum: reduction('ReduceSum'),
  amax: reduction('ReduceMax'),
  amin: reduction('ReduceMin'),
  argmax: (c, call) =>
    c.builder.cast(c.builder.node('ArgMax', [arg(c, call, 0)], { attributes: { axis: int(-1), keepdims: int(0) } }), 'i32'),
  cumsum: (c, call) =>
    c.builder.node('CumSum', [arg(c, call, 0), c.builder.constant('axis', 'i64', [], [number(call, 1)])], {
      attributes: { exclusive: int(call.a.args[2] ? 1 : 0), reverse: int(call.a.args[3] ? 1 : 0) },
    }),
  one_hot: (c, call) =>
    c.builder.node('OneHot', [arg(c, call, 0), c.builder.int64s([number(call, 1)]), c.builder.constant('off_on', 'f32', [2], [0, 1])]),
  gather,
  gather_along: (c, call) =>
    c.builder.node('GatherElements', [arg(c, call, 0), arg(c, call, 1)], { attributes: { axis: int(number(call, 2)) } }),
  softmax: softmaxOver('Softmax'),
  log_softmax: softmaxOver('LogSoftmax'),
  layer_norm: layerNorm,
  rms_norm: rmsNorm,
  max_pool2d: pool('MaxPool'),
  avg_pool2d: pool('AveragePool'),
}

function clip(c: ExportContext, call: PairedCall): string {
  const bound = (i: number): string => {
    const [x, y] = [call.a.args[i] as number, call.b.args[i] as number]
    if (!Number.isFinite(x)) return ''
    return x === y ? c.builder.scalar(x) : c.builder.node('Squeeze', [c.builder.cast(c.int64([x, y]), 'f32')])
  }
  return c.builder.node('Clip', [arg(c, call, 0), bound(1), bound(2)])
}

/** Elements of a constant, or the dense values of a weight. */
export function floatsOf(c: ExportContext, value: TracedValue): Float32Array {
  return value.from.kind === 'weight' ? c.weights.values(value.from.path).values : Float32Array.from(numbersOf(value))
}
