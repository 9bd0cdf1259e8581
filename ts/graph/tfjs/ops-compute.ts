/** Operators of TensorFlow, group 3: products, convolutions, pools, norms, reductions, selections. */
import type { TfNode } from '../../formats/tfjs-graph.js'
import { activate } from './activations.js'
import { Val, type Builder } from './builder.js'
import { permuted } from './constants.js'
import { batchNorm, convolution, depthwise, enter, leave, pool, prelu, resize, transposed, type Channels, type Windows } from './images.js'
import { elementwise, firstAxes, leftInOrder, unary } from './layout.js'
import type { Row } from './rows.js'

function channelsOf(n: TfNode): Channels {
  const format = n.string('data_format', 'NHWC')
  return format === 'NHWC' ? 'last' : format === 'NCHW' ? 'first' : n.unsupported(`data_format ${JSON.stringify(format)}`)
}

/** The entries of [batch, height, width, channels] that belong to height and width. */
function spatial(n: TfNode, name: string, channels: Channels, other?: readonly number[]): readonly number[] {
  const all = n.ints(name, other)
  const whole = all.length === 0 ? [1, 1, 1, 1] : all
  if (whole.length === 2) return whole
  if (whole.length !== 4 || whole.some((v) => !(v >= 1 && v < 2 ** 24)))
    n.fail('attribute', `${name} must be 4 integers >= 1, got [${whole}]`)
  const [c, h, w] = channels === 'last' ? [3, 1, 2] : [1, 2, 3]
  if (whole[0] !== 1 || whole[c] !== 1) n.unsupported(`${name} over batch or channels: [${whole}]`)
  return [whole[h]!, whole[w]!]
}

function windows(n: TfNode, pooled = false): Windows {
  const channels = channelsOf(n)
  const padding = n.string('padding')
  const strides = spatial(n, 'strides', channels)
  const common = { strides, channels, ...(pooled ? {} : { dilations: spatial(n, 'dilations', channels, [1, 1, 1, 1]) }) }
  if (padding === 'SAME' || padding === 'VALID') return { ...common, padding: padding === 'SAME' ? 'same' : 'valid' }
  if (padding !== 'EXPLICIT') n.unsupported(`padding ${JSON.stringify(padding)}`)
  const pads = n.ints('explicit_paddings')
  const [h, w] = channels === 'last' ? [2, 4] : [4, 6]
  if (pads.length !== 8) n.fail('attribute', `explicit_paddings must be 8 integers, got ${pads.length}`)
  return { ...common, padding: [[pads[h]!, pads[h + 1]!], [pads[w]!, pads[w + 1]!]] } // prettier-ignore
}

/** What a fused operator does behind its product: a bias, then an activation. */
function fused(b: Builder, x: readonly Val[], n: TfNode): { bias: Val | undefined; finish: (y: Val) => Val } {
  const ops = n.strings('fused_ops', [])
  const known = ops.every((op, i) => (op === 'BiasAdd' ? i === 0 : i === ops.length - 1))
  if (!known || ops.length > 2) n.unsupported(`fused_ops ${JSON.stringify(ops)}`)
  const bias = ops[0] === 'BiasAdd' ? (x[2] ?? n.fail('inputs', 'has no bias')) : undefined
  const act = ops.find((op) => op !== 'BiasAdd')
  return {
    bias,
    finish: (y) => {
      if (act === undefined) return y
      if (act === 'Prelu') return prelu(b, y, x[bias ? 3 : 2] ?? n.fail('inputs', 'has no alpha'))
      if (act === 'LeakyRelu') return unary(b, y, (v) => b.op('LeakyRelu', [v], { alpha: { float: n.float('leakyrelu_alpha', 0.2) } }))
      return activate(b, y, act)
    },
  }
}

/** The last two axes of a factor the other way round. */
function turned(b: Builder, v: Val, n: TfNode): string {
  const t = b.tensor(v)
  const rank = t?.shape.length ?? b.rank(v) ?? n.unsupported('transposes a value of unknown rank')
  if (rank < 2) n.fail('inputs', `must have at least 2 dimensions, got ${rank}`)
  const perm = [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2]
  return t?.dtype === 'f32' && v.source ? b.constant(v.source.name, permuted(t, perm)) : b.op('Transpose', [b.plain(v)], { perm })
}
function product(b: Builder, x: readonly Val[], n: TfNode, names: readonly [string, string]): string {
  const [p, q] = names.map((name, i) => (n.bool(name, false) ? turned(b, x[i]!, n) : b.plain(x[i]!)))
  return b.op('MatMul', [p, q])
}
const fusedProduct: Row = (b, x, n) => {
  const { bias, finish } = fused(b, x, n)
  const y = product(b, x, n, ['transpose_a', 'transpose_b'])
  return finish(new Val(bias ? b.op('Add', [y, b.plain(bias)]) : y))
}
const batched: Row = (b, x, n) => new Val(product(b, x, n, ['adj_x', 'adj_y']))

const conv: Row = (b, x, n) => {
  const { bias, finish } = fused(b, x, n)
  return finish(convolution(b, x[0]!, x[1]!, bias, windows(n)))
}
const depth: Row = (b, x, n) => {
  const { bias, finish } = fused(b, x, n)
  return finish(depthwise(b, x[0]!, x[1]!, bias, windows(n)))
}
const pooled =
  (op: 'MaxPool' | 'AveragePool'): Row =>
  (b, x, n) =>
    pool(b, op, x[0]!, spatial(n, 'ksize', channelsOf(n)), windows(n, true))

const norm: Row = (b, x, n) => {
  if (n.bool('is_training', true)) n.unsupported('is_training: the statistics of the batch are not used when a model runs')
  const [gamma, beta, mean, variance] = [x[1]!, x[2]!, x[3]!, x[4]!]
  return [batchNorm(b, x[0]!, { gamma, beta, mean, variance }, n.float('epsilon', 1e-4), channelsOf(n))]
}

/** A reduction over constant axes, channels first where what is left is in the same order. */
export function reduced(b: Builder, op: string, v: Val, axes: readonly number[], keep: boolean): Val {
  const attributes = { keepdims: keep ? 1 : 0 }
  // No axis at all: ONNX would take all of them.
  if (axes.length === 0) return op === 'ReduceSumSquare' ? b.unsupported(`${op} over no axis`) : v
  const rank = b.isFirst(v) ? b.types.get(v.first!)!.shape!.length : 0
  if (rank > 0) {
    const own = firstAxes(axes, rank)
    if (keep) return new Val(undefined, b.op(op, [v.first, b.ints(own)], attributes))
    if (leftInOrder(own, rank)) return new Val(b.op(op, [v.first, b.ints(own)], attributes))
  }
  return new Val(b.op(op, [b.plain(v), b.ints(axes)], attributes))
}
const reduction =
  (op: string): Row =>
  (b, x, n) =>
    reduced(b, op, x[0]!, b.list(x[1], 'the axes'), n.bool('keep_dims', n.bool('keepdims', false)))
/** All and Any: minimum and maximum of 0 and 1. */
const logical =
  (op: string): Row =>
  (b, x, n) => {
    const as = new Val(b.op('Cast', [b.plain(x[0]!)], { to: 7 }))
    const y = reduced(b, op, as, b.list(x[1], 'the axes'), n.bool('keep_dims', false))
    return new Val(b.op('Cast', [b.plain(y)], { to: 9 }))
  }
const extreme =
  (op: string): Row =>
  (b, x) =>
    new Val(b.op(op, [b.plain(x[0]!)], { axis: b.list(x[1], 'the axis')[0]!, keepdims: 0 }))

const resized =
  (mode: 'linear' | 'nearest'): Row =>
  (b, x, n) =>
    resize(b, x[0]!, b.plain(x[1]!), {
      mode,
      alignCorners: n.bool('align_corners', false),
      halfPixels: n.bool('half_pixel_centers', false),
      channels: 'last',
    })

/** Positions of the boxes that are kept. */
function suppress(b: Builder, x: readonly Val[], n: TfNode): string {
  const lifted = (v: Val, axes: readonly number[]): string => b.op('Unsqueeze', [b.plain(v), b.ints(axes)])
  const one = (v: Val | undefined): string | undefined => v && b.op('Reshape', [b.plain(v), b.ints([1])])
  const found = b.op('NonMaxSuppression', [lifted(x[0]!, [0]), lifted(x[1]!, [0, 1]), one(x[2]), one(x[3]), one(x[4])])
  if (n.bool('pad_to_max_output_size', false)) n.unsupported('pad_to_max_output_size')
  return b.op('Squeeze', [b.op('Slice', [found, b.ints([2]), b.ints([3]), b.ints([1])]), b.ints([1])])
}

export const computeRows: Readonly<Record<string, Row>> = {
  MatMul: (b, x, n) => new Val(product(b, x, n, ['transpose_a', 'transpose_b'])),
  _FusedMatMul: fusedProduct,
  FusedMatMul: fusedProduct,
  BatchMatMul: batched,
  BatchMatMulV2: batched,
  BatchMatMulV3: batched,
  Einsum: (b, x, n) => new Val(b.op('Einsum', x.map((v) => b.plain(v)), { equation: n.string('equation') })), // prettier-ignore
  Conv2D: conv,
  _FusedConv2D: conv,
  FusedConv2D: conv,
  DepthwiseConv2d: depth,
  DepthwiseConv2dNative: depth,
  FusedDepthwiseConv2dNative: depth,
  Conv2DBackpropInput: (b, x, n) => {
    const w = windows(n)
    const sizes = b.known(x[0]!) ?? b.type(x[0]!).value ?? []
    const size = (sizes.length === 2 ? sizes : sizes.slice(w.channels === 'last' ? 1 : 2)).slice(0, 2)
    return transposed(
      b,
      x[2]!,
      x[1]!,
      undefined,
      w,
      size.map((d) => (typeof d === 'number' ? d : undefined)),
    )
  },
  MaxPool: pooled('MaxPool'),
  AvgPool: pooled('AveragePool'),
  FusedBatchNorm: norm,
  FusedBatchNormV2: norm,
  FusedBatchNormV3: norm,
  LRN: (b, x, n) => {
    const radius = n.int('depth_radius', 5)
    const size = 2 * radius + 1
    const attributes = {
      size,
      alpha: { float: n.float('alpha', 1) * size },
      beta: { float: n.float('beta', 0.5) },
      bias: { float: n.float('bias', 1) },
    }
    return leave(b.op('LRN', [enter(b, x[0]!, 4, 'last')], attributes), 'last')
  },
  Softmax: (b, x) => new Val(b.op('Softmax', [b.plain(x[0]!)], { axis: -1 })),
  LogSoftmax: (b, x) => new Val(b.op('LogSoftmax', [b.plain(x[0]!)], { axis: -1 })),
  Mean: reduction('ReduceMean'),
  Sum: reduction('ReduceSum'),
  Max: reduction('ReduceMax'),
  Min: reduction('ReduceMin'),
  Prod: reduction('ReduceProd'),
  EuclideanNorm: reduction('ReduceL2'),
  All: logical('ReduceMin'),
  Any: logical('ReduceMax'),
  ArgMax: extreme('ArgMax'),
  ArgMin: extreme('ArgMin'),
  Cumsum: (b, x, n) =>
    new Val(
      b.op('CumSum', [b.plain(x[0]!), b.plain(x[1]!)], {
        exclusive: n.bool('exclusive', false) ? 1 : 0,
        reverse: n.bool('reverse', false) ? 1 : 0,
      }),
    ),
  ResizeBilinear: resized('linear'),
  ResizeNearestNeighbor: resized('nearest'),
  TopKV2: (b, x, n) => {
    const k = b.op('Reshape', [b.plain(x[1]!), b.ints([1])])
    return b
      .ops('TopK', [b.plain(x[0]!), k], { axis: -1, largest: 1, sorted: n.bool('sorted', true) ? 1 : 0 }, 2)
      .map((name) => new Val(name))
  },
  NonMaxSuppressionV2: (b, x, n) => new Val(suppress(b, x, n)),
  NonMaxSuppressionV3: (b, x, n) => new Val(suppress(b, x, n)),
  NonMaxSuppressionV4: (b, x, n) => {
    const kept = suppress(b, x, n)
    return [new Val(kept), new Val(b.op('Size', [kept]))]
  },
  NonMaxSuppressionV5: (b, x, n) => {
    if (b.list(x[5], 'soft_nms_sigma')[0] !== 0) n.unsupported('soft_nms_sigma other than 0')
    const kept = suppress(b, x, n)
    return [new Val(kept), new Val(b.op('Gather', [b.plain(x[1]!), kept], { axis: 0 })), new Val(b.op('Size', [kept]))]
  },
  L2Loss: (b, x) => {
    const square = elementwise(b, 'Mul', [x[0]!, x[0]!])
    return new Val(b.op('Mul', [b.op('ReduceSum', [b.plain(square)], { keepdims: 0 }), b.float(0.5)]))
  },
}
