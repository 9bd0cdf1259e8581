/**
 * Makes test/golden/tfjs.json: small graph and layers models with inputs, and the outputs of TensorFlow.js on its plain CPU backend, which is not a dependency
 * of Tersor. In an empty folder:
 *
 *   npm install @tensorflow/tfjs@4.22.0
 *   node <this file> <where to write>
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(process.cwd(), 'x.js'))
const tf = require('@tensorflow/tfjs')
const [, , target] = process.argv

let state = 7
const random = (n, scale = 1) =>
  Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.fround(scale * (state / 2 ** 31 - 1))
  })
const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1)
const T = (shape, data, dtype = 'float32') => ({ shape, dtype, data: data ?? random(sizeOf(shape)) })
const I = (...data) => ({ shape: [data.length], dtype: 'int32', data })
const S = (v) => ({ shape: [], dtype: 'int32', data: [v] })
const F = (v) => ({ shape: [], dtype: 'float32', data: [v] })
const B = (shape, data) => T(shape, data, 'bool')
const positive = (shape) => T(shape, random(sizeOf(shape)).map((v) => Math.abs(v) + 0.5)) // prettier-ignore

const typeNumber = { float32: 1, int32: 3, bool: 10 }
const attr = {
  i: (v) => ({ i: String(v) }),
  f: (v) => ({ f: v }),
  b: (v) => ({ b: v }),
  s: (v) => ({ s: Buffer.from(v).toString('base64') }),
  t: (v) => ({ type: typeNumber[v] }),
  is: (...v) => ({ list: { i: v.map(String) } }),
  ss: (...v) => ({ list: { s: v.map((x) => Buffer.from(x).toString('base64')) } }),
}
const { i, f, b, s, t, is, ss } = attr
const image = { strides: is(1, 1, 1, 1), padding: s('SAME'), data_format: s('NHWC'), dilations: is(1, 1, 1, 1) }

/** One operator: inputs that are placeholders (`x`) and constants (`c`), its attributes, how many results are looked at. */
const cases = []
const op = (name, type, inputs, attributes = {}, outputs = 1) => cases.push({ name, type, inputs, attributes, outputs })
const x = (tensor) => ({ ...tensor, given: true })

for (const name of [
  'Relu',
  'Relu6',
  'Elu',
  'Selu',
  'Sigmoid',
  'Tanh',
  'Softplus',
  'Erf',
  'Exp',
  'Neg',
  'Abs',
  'Floor',
  'Ceil',
  'Round',
  'Sin',
  'Cos',
  'Tan',
  'Asin',
  'Acos',
  'Atan',
  'Sinh',
  'Cosh',
  'Asinh',
  'Atanh',
  'Sign',
  'Square',
  'IsNan',
  'Expm1',
  'Identity',
  'StopGradient',
])
  // prettier-ignore
  op(name, name, [x(T([2, 3], [-0.9, -0.3, 0, 0.2, 0.7, 0.99]))])
for (const name of ['Log', 'Sqrt', 'Rsqrt', 'Reciprocal', 'Acosh', 'Log1p']) op(name, name, [x(T([5], [1.1, 1.5, 2, 3.25, 9]))])
op('LeakyRelu', 'LeakyRelu', [x(T([6]))], { alpha: f(0.1) })
op('Prelu', 'Prelu', [x(T([2, 2, 2, 3])), T([3])])
for (const name of ['Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'Maximum', 'Minimum', 'SquaredDifference', 'Div'])
  op(name, name, [x(T([2, 3])), T([3], [0.5, -1.5, 2])])
op('FloorDiv', 'FloorDiv', [x(T([6], [7, -7, 7, -7, 6, 0], 'int32')), I(2, 2, -2, -2, 3, 5)], { T: t('int32') })
op('FloorDiv of floats', 'FloorDiv', [x(T([4], [7, -7, 7.5, -0.5])), T([4], [2, 2, -2, 3])], { T: t('float32') })
op('FloorMod', 'FloorMod', [x(T([6], [7, -7, 7, -7, 6, 0], 'int32')), I(2, 2, -3, -3, 3, 5)], { T: t('int32') })
op('Mod', 'Mod', [x(T([4], [7, -7, 7.5, -0.5])), T([4], [2, 3, -2, 3])])
op('DivNoNan', 'DivNoNan', [x(T([4], [1, 2, -3, 0])), T([4], [2, 0, 4, 0])])
op('Pow', 'Pow', [x(positive([2, 3])), F(1.5)])
op('AddN', 'AddN', [x(T([2, 2])), x(T([2, 2])), T([2, 2])], { N: i(3) })
op('BiasAdd', 'BiasAdd', [x(T([1, 2, 2, 3])), T([3])], { data_format: s('NHWC') })
for (const name of ['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual'])
  op(name, name, [x(T([4], [1, 2, 3, 4])), T([4], [1, 3, 2, 4])])
for (const name of ['LogicalAnd', 'LogicalOr']) op(name, name, [x(B([4], [1, 1, 0, 0])), B([4], [1, 0, 1, 0])])
op('LogicalNot', 'LogicalNot', [x(B([2], [1, 0]))])
op('ClipByValue', 'ClipByValue', [x(T([5], [-2, -0.5, 0, 0.5, 2])), F(-1), F(0.4)])
op('Cast to int', 'Cast', [x(T([4], [-1.7, -0.2, 0.6, 2.9]))], { SrcT: t('float32'), DstT: t('int32') })
op('Cast to float', 'Cast', [x(T([2], [3, -4], 'int32'))], { SrcT: t('int32'), DstT: t('float32') })
op('Cast to bool', 'Cast', [x(T([3], [0, 2, -1]))], { SrcT: t('float32'), DstT: t('bool') })
op('SelectV2', 'SelectV2', [x(B([2, 1], [1, 0])), x(T([2, 3])), T([3])])

op('Reshape', 'Reshape', [x(T([2, 6])), I(3, -1)])
op('Squeeze', 'Squeeze', [x(T([1, 3, 1]))], { squeeze_dims: is(0) })
op('Squeeze all', 'Squeeze', [x(T([1, 3, 1]))])
op('ExpandDims', 'ExpandDims', [x(T([2, 3])), S(-1)])
op('Transpose', 'Transpose', [x(T([2, 3, 4])), I(2, 0, 1)])
op('Pad', 'Pad', [x(T([2, 3])), T([2, 2], [1, 0, 0, 2], 'int32')])
op('PadV2', 'PadV2', [x(T([2, 3])), T([2, 2], [1, 0, 0, 2], 'int32'), F(0.5)])
op('MirrorPad', 'MirrorPad', [x(T([2, 3])), T([2, 2], [1, 0, 0, 2], 'int32')], { mode: s('reflect') })
op('Slice', 'Slice', [x(T([3, 4])), I(1, 0), I(-1, 2)])
const masks = { begin_mask: i(0), end_mask: i(0), ellipsis_mask: i(0), new_axis_mask: i(0), shrink_axis_mask: i(0) }
op('StridedSlice', 'StridedSlice', [x(T([4, 5])), I(0, 1), I(4, 4), I(2, 2)], masks)
op('StridedSlice masks', 'StridedSlice', [x(T([4, 5])), I(9, 1), I(9, 3), I(1, 1)], { ...masks, begin_mask: i(1), end_mask: i(1) })
op('StridedSlice shrink', 'StridedSlice', [x(T([4, 5])), I(1, -1), I(2, 0), I(1, 1)], { ...masks, shrink_axis_mask: i(3) })
op('StridedSlice back', 'StridedSlice', [x(T([4, 5])), I(0, 0), I(0, 0), I(-1, 1)], { ...masks, begin_mask: i(3), end_mask: i(3) })
op('StridedSlice dots', 'StridedSlice', [x(T([2, 3, 4])), I(0, 1), I(0, 3), I(1, 1)], { ...masks, ellipsis_mask: i(1) })
op('StridedSlice new', 'StridedSlice', [x(T([2, 3])), I(0, 0), I(0, 2), I(1, 1)], { ...masks, new_axis_mask: i(1) })
op('Split', 'Split', [S(1), x(T([2, 6]))], { num_split: i(3) }, 3)
op('SplitV', 'SplitV', [x(T([2, 6])), I(1, 2, 3), S(1)], { num_split: i(3) }, 3)
op('Concat', 'Concat', [S(1), x(T([2, 3])), x(T([2, 2]))], { N: i(2) })
op('ConcatV2', 'ConcatV2', [x(T([2, 3])), x(T([2, 2])), S(-1)], { N: i(2) })
op('Pack', 'Pack', [x(T([2, 3])), x(T([2, 3]))], { axis: i(1), N: i(2) })
op('Unpack', 'Unpack', [x(T([2, 3]))], { axis: i(1), num: i(3) }, 3)
op('Tile', 'Tile', [x(T([2, 3])), I(2, 1)])
op('Gather', 'Gather', [x(T([4, 2])), T([2, 2], [3, 0, 1, 1], 'int32')])
op('GatherV2', 'GatherV2', [x(T([2, 4])), I(3, 0, 1), S(1)])
op('GatherNd', 'GatherNd', [x(T([3, 2])), T([2, 2], [2, 0, 0, 1], 'int32')])
op('ScatterNd', 'ScatterNd', [T([3, 1], [1, 3, 1], 'int32'), x(T([3, 2])), I(4, 2)])
op('TensorScatterUpdate', 'TensorScatterUpdate', [x(T([4, 2])), T([2, 1], [1, 3], 'int32'), x(T([2, 2]))])
op('SparseToDense', 'SparseToDense', [T([2, 2], [0, 1, 1, 2], 'int32'), I(2, 3), x(T([2])), F(-1)], { validate_indices: b(true) })
op('OneHot', 'OneHot', [x(T([4], [0, 2, -1, 1], 'int32')), S(3), F(1), F(0)], { axis: i(-1) })
op('Range', 'Range', [x(S(2)), x(S(11)), S(3)])
op('Fill', 'Fill', [I(2, 2), x(F(0.25))])
op('BroadcastTo', 'BroadcastTo', [x(T([1, 3])), I(2, 3)])
op('ZerosLike', 'ZerosLike', [x(T([2, 2]))])
op('OnesLike', 'OnesLike', [x(T([2, 2]))])
op('Shape', 'Shape', [x(T([2, 3]))])
op('Size', 'Size', [x(T([2, 3]))])
op('Rank', 'Rank', [x(T([2, 3]))])
op('Where', 'Where', [x(B([2, 3], [1, 0, 0, 0, 1, 1]))])
op('ReverseV2', 'ReverseV2', [x(T([2, 3])), I(1)])
op('DepthToSpace', 'DepthToSpace', [x(T([1, 2, 2, 8]))], { block_size: i(2), data_format: s('NHWC') })
op('SpaceToBatchND', 'SpaceToBatchND', [x(T([1, 3, 4, 1])), I(2, 2), T([2, 2], [1, 0, 0, 0], 'int32')])
op('BatchToSpaceND', 'BatchToSpaceND', [x(T([4, 2, 2, 1])), I(2, 2), T([2, 2], [1, 0, 0, 1], 'int32')])

op('MatMul', 'MatMul', [x(T([2, 3])), T([3, 4])], { transpose_a: b(false), transpose_b: b(false) })
op('MatMul turned', 'MatMul', [x(T([3, 2])), T([4, 3])], { transpose_a: b(true), transpose_b: b(true) })
op('_FusedMatMul', '_FusedMatMul', [x(T([2, 3])), T([3, 4]), T([4])], {
  transpose_a: b(false),
  transpose_b: b(false),
  fused_ops: ss('BiasAdd', 'Relu'),
  num_args: i(1),
})
op('BatchMatMulV2', 'BatchMatMulV2', [x(T([2, 2, 3])), x(T([2, 2, 3]))], { adj_x: b(false), adj_y: b(true) })
op('Einsum', 'Einsum', [x(T([2, 3, 4])), x(T([2, 5, 4]))], { equation: s('bij,bkj->bik'), N: i(2) })
for (const padding of ['SAME', 'VALID'])
  for (const stride of [1, 2])
    op(`Conv2D ${padding} ${stride}`, 'Conv2D', [x(T([1, 5, 6, 2])), T([3, 2, 2, 3])], {
      ...image,
      padding: s(padding),
      strides: is(1, stride, stride, 1),
    })
op('Conv2D dilated', 'Conv2D', [x(T([1, 6, 6, 1])), T([2, 2, 1, 2])], { ...image, dilations: is(1, 2, 2, 1) })
op('Conv2D 1x1', 'Conv2D', [x(T([1, 2, 3, 2])), T([1, 1, 2, 3])], image)
op('Conv2D explicit', 'Conv2D', [x(T([1, 4, 4, 1])), T([3, 3, 1, 1])], {
  ...image,
  padding: s('EXPLICIT'),
  explicit_paddings: is(0, 0, 1, 0, 0, 2, 0, 0),
})
op('_FusedConv2D', '_FusedConv2D', [x(T([1, 4, 4, 2])), T([3, 3, 2, 3]), T([3])], {
  ...image,
  fused_ops: ss('BiasAdd', 'Relu6'),
  num_args: i(1),
})
op('_FusedConv2D prelu', '_FusedConv2D', [x(T([1, 4, 4, 2])), T([3, 3, 2, 3]), T([3]), T([1, 1, 3])], {
  ...image,
  fused_ops: ss('BiasAdd', 'Prelu'),
  num_args: i(2),
})
op('DepthwiseConv2dNative', 'DepthwiseConv2dNative', [x(T([1, 5, 5, 2])), T([3, 3, 2, 2])], { ...image, strides: is(1, 2, 2, 1) })
op('FusedDepthwiseConv2dNative', 'FusedDepthwiseConv2dNative', [x(T([1, 4, 4, 2])), T([3, 3, 2, 1]), T([2])], {
  ...image,
  fused_ops: ss('BiasAdd', 'Relu'),
  num_args: i(1),
})
op('Conv2DBackpropInput', 'Conv2DBackpropInput', [I(1, 6, 6, 2), T([3, 3, 2, 3]), x(T([1, 3, 3, 3]))], {
  ...image,
  strides: is(1, 2, 2, 1),
})
const window = { ksize: is(1, 2, 2, 1), strides: is(1, 2, 2, 1), data_format: s('NHWC') }
for (const name of ['MaxPool', 'AvgPool'])
  for (const padding of ['SAME', 'VALID']) op(`${name} ${padding}`, name, [x(T([1, 5, 5, 2]))], { ...window, padding: s(padding) })
op('FusedBatchNormV3', 'FusedBatchNormV3', [x(T([1, 2, 2, 3])), T([3]), T([3]), T([3]), positive([3])], {
  epsilon: f(0.001),
  is_training: b(false),
  data_format: s('NHWC'),
})
op('LRN', 'LRN', [x(T([1, 2, 2, 5]))], { depth_radius: i(1), bias: f(1.5), alpha: f(0.3), beta: f(0.75) })
op('Softmax', 'Softmax', [x(T([2, 4]))])
op('LogSoftmax', 'LogSoftmax', [x(T([2, 4]))])
for (const name of ['Mean', 'Sum', 'Max', 'Min', 'Prod']) {
  op(name, name, [x(T([2, 3, 2])), I(0, 2)], { keep_dims: b(false) })
  op(`${name} kept`, name, [x(T([2, 3, 2])), S(-1)], { keep_dims: b(true) })
}
for (const name of ['All', 'Any']) op(name, name, [x(B([2, 3], [1, 1, 1, 0, 1, 0])), S(1)], { keep_dims: b(false) })
for (const name of ['ArgMax', 'ArgMin']) op(name, name, [x(T([3, 4])), S(1)])
op('Cumsum', 'Cumsum', [x(T([2, 4])), S(1)], { exclusive: b(true), reverse: b(true) })
for (const [align, half] of [
  [false, false],
  [true, false],
  [false, true],
])
  // prettier-ignore
  for (const name of ['ResizeBilinear', 'ResizeNearestNeighbor'])
    op(`${name} ${align} ${half}`, name, [x(T([1, 3, 4, 2])), I(5, 7)], { align_corners: b(align), half_pixel_centers: b(half) })
op('TopKV2', 'TopKV2', [x(T([2, 5])), S(3)], { sorted: b(true) }, 2)
const boxes = T([4, 4], [0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 2, 1, 3, 0, 0, 1, 0.9])
op('NonMaxSuppressionV3', 'NonMaxSuppressionV3', [x(boxes), x(T([4], [0.9, 0.75, 0.6, 0.95])), S(3), F(0.5), F(0.1)])
op('NonMaxSuppressionV5', 'NonMaxSuppressionV5', [x(boxes), x(T([4], [0.9, 0.75, 0.6, 0.95])), S(3), F(0.5), F(0.1), F(0)], {}, 2)

const bytesOf = ({ dtype, data }) =>
  new Uint8Array((dtype === 'int32' ? Int32Array.from(data) : dtype === 'bool' ? Uint8Array.from(data) : Float32Array.from(data)).buffer)

/** A graph from nodes `[name, op, inputs, attributes]`, constants and placeholders by name. */
async function graphOf(nodes, tensors, outputs) {
  const list = [
    ...Object.entries(tensors).map(([name, tensor]) => {
      const shape = { shape: { dim: tensor.shape.map((size) => ({ size: String(size) })) } }
      return {
        name,
        op: tensor.given ? 'Placeholder' : 'Const',
        input: [],
        attr: { dtype: t(tensor.dtype), ...(tensor.given ? { shape } : {}) },
      }
    }),
    ...nodes.map(([name, type, input, a]) => ({ name, op: type, input, attr: a })),
  ]
  const constants = Object.entries(tensors).filter(([, tensor]) => !tensor.given)
  const weightSpecs = constants.map(([name, { shape, dtype }]) => ({ name, shape, dtype }))
  const weightData = Buffer.concat(constants.map(([, tensor]) => bytesOf(tensor)))
  const topology = { node: list, versions: { producer: 1 } }
  const model = await tf.loadGraphModel(
    tf.io.fromMemory({
      modelTopology: topology,
      weightSpecs,
      weightData: weightData.buffer.slice(weightData.byteOffset, weightData.byteOffset + weightData.length),
    }),
  )
  const feed = Object.fromEntries(
    Object.entries(tensors).filter(([, tensor]) => tensor.given).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data, shape, dtype)]),
  ) // prettier-ignore
  const results = await model.executeAsync(feed, outputs)
  const got = (Array.isArray(results) ? results : [results]).map((r) => ({ shape: r.shape, data: plain(r) }))
  return { topology, tensors, outputs: Object.fromEntries(outputs.map((name, k) => [name, got[k]])) }
}
const plain = (r) => Array.from(r.dataSync(), (v) => (Number.isFinite(v) ? Number(v.toPrecision(9)) : String(v)))

const refused = []
const refuse = (name, error) => refused.push(`${name}: ${error.message.slice(0, 200)}`)
console.warn = () => undefined // "use model.execute() instead", once for each model

const graphs = []
for (const { name, type, inputs, attributes, outputs } of cases) {
  const tensors = Object.fromEntries(inputs.map((tensor, k) => [`in${k}`, tensor]))
  const made = Array.from({ length: outputs }, (_, k) => (k === 0 ? 'y' : `y:${k}`))
  const made1 = await graphOf([['y', type, Object.keys(tensors), attributes]], tensors, made).catch((error) => ({ error }))
  if (made1.error) refuse(name, made1.error)
  else graphs.push({ name, ...made1 })
}
// A small network: layout kept through convolution, norm, activation, skip connection, concatenation, pooling, mean, product.
graphs.push({
  name: 'network',
  ...(await graphOf(
    [
      ['c1', 'Conv2D', ['x', 'w1'], image],
      ['n1', 'FusedBatchNormV3', ['c1', 'g', 'b', 'm', 'v'], { epsilon: f(0.001), is_training: b(false), data_format: s('NHWC') }],
      ['r1', 'Relu6', ['n1'], {}],
      ['c2', 'DepthwiseConv2dNative', ['r1', 'w2'], image],
      ['a2', 'BiasAdd', ['c2', 'g'], {}],
      ['s2', 'AddV2', ['a2', 'r1'], {}],
      ['k2', 'Mul', ['s2', 'map'], {}],
      ['j2', 'ConcatV2', ['k2', 'r1', 'last'], { N: i(2) }],
      ['p2', 'Pad', ['j2', 'pads'], {}],
      ['q2', 'MaxPool', ['p2'], { ...window, padding: s('VALID') }],
      ['parts', 'Split', ['last', 'q2'], { num_split: i(2) }],
      ['h2', 'Mul', ['parts', 'parts:1'], {}],
      ['mean', 'Mean', ['h2', 'plane'], { keep_dims: b(false) }],
      [
        'y',
        '_FusedMatMul',
        ['mean', 'w3', 'b3'],
        { transpose_a: b(false), transpose_b: b(false), fused_ops: ss('BiasAdd', 'Relu'), num_args: i(1) },
      ],
      ['z', 'Reshape', ['h2', 'flat'], {}],
    ],
    {
      x: x(T([2, 4, 4, 2])), w1: T([3, 3, 2, 3]), g: T([3]), b: T([3]), m: T([3]), v: positive([3]), w2: T([3, 3, 3, 1]), map: T([4, 4, 1]),
      last: S(3), pads: T([4, 2], [0, 0, 1, 1, 0, 2, 0, 0], 'int32'), plane: I(1, 2), w3: T([3, 2]), b3: T([2]), flat: I(2, -1),
    }, // prettier-ignore
    ['y', 'z'],
  )),
})

const L = tf.layers
const layered = [
  ['Dense', [4], () => [L.dense({ units: 3, activation: 'relu' }), L.dense({ units: 2, activation: 'softmax', useBias: false })]],
  ['Conv1D', [6, 2], () => [L.conv1d({ filters: 3, kernelSize: 3, padding: 'same', dilationRate: 2, activation: 'tanh' }), L.conv1d({ filters: 2, kernelSize: 2, strides: 2 })]],
  ['Conv2D', [5, 6, 2], () => [L.conv2d({ filters: 3, kernelSize: 3, padding: 'same', strides: 2, activation: 'relu6' }), L.conv2d({ filters: 2, kernelSize: 1 })]],
  ['DepthwiseConv2D', [5, 5, 2], () => [L.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, padding: 'same', activation: 'elu' })]],
  ['SeparableConv2D', [5, 5, 2], () => [L.separableConv2d({ filters: 3, kernelSize: [3, 2], depthMultiplier: 2, activation: 'selu' })]],
  ['Conv2DTranspose same', [3, 3, 2], () => [L.conv2dTranspose({ filters: 3, kernelSize: 3, strides: 2, padding: 'same' })]],
  ['Conv2DTranspose valid', [3, 3, 2], () => [L.conv2dTranspose({ filters: 2, kernelSize: 2, strides: 3, padding: 'valid' })]],
  ['BatchNormalization', [3, 3, 2], () => [L.batchNormalization({ betaInitializer: 'randomNormal', movingMeanInitializer: 'randomNormal' })]],
  ['BatchNormalization of rows', [4], () => [L.batchNormalization({ scale: false })]],
  ['LayerNormalization', [3, 4], () => [L.layerNormalization({ betaInitializer: 'randomNormal' })]],
  ['Activations', [4], () => ['sigmoid', 'hardSigmoid', 'softplus', 'softsign', 'swish', 'mish', 'gelu', 'gelu_new', 'linear'].map((activation) => L.activation({ activation }))],
  ['Advanced activations', [4], () => [L.reLU({ maxValue: 0.8 }), L.leakyReLU({ alpha: 0.2 }), L.elu({}), L.thresholdedReLU({ theta: 0.1 }), L.prelu({ alphaInitializer: 'randomNormal' }), L.softmax()]],
  ['PReLU of images', [3, 3, 2], () => [L.conv2d({ filters: 3, kernelSize: 2 }), L.prelu({ alphaInitializer: 'randomNormal', sharedAxes: [1, 2] })]],
  ['Pooling 1D', [8, 2], () => [L.maxPooling1d({ poolSize: 2 }), L.averagePooling1d({ poolSize: 3, strides: 1, padding: 'same' }), L.globalAveragePooling1d({})]],
  ['Pooling 2D', [7, 7, 2], () => [L.maxPooling2d({ poolSize: 2, padding: 'same' }), L.averagePooling2d({ poolSize: [2, 3], strides: 1, padding: 'same' }), L.globalMaxPooling2d({})]],
  ['Shapes', [2, 6], () => [L.permute({ dims: [2, 1] }), L.reshape({ targetShape: [3, 4] }), L.flatten({}), L.repeatVector({ n: 2 }), L.dropout({ rate: 0.5 })]],
  ['Flatten of images', [3, 3, 2], () => [L.conv2d({ filters: 3, kernelSize: 2 }), L.flatten({}), L.dense({ units: 2 })]],
  ['Padding', [3, 3, 2], () => [L.conv2d({ filters: 2, kernelSize: 1 }), L.zeroPadding2d({ padding: [[1, 0], [2, 1]] }), L.cropping2D({ cropping: [[0, 1], [1, 0]] })]], // prettier-ignore
  ['UpSampling', [2, 3, 2], () => [L.upSampling2d({ size: [2, 3] }), L.conv2d({ filters: 2, kernelSize: 2 }), L.upSampling2d({ size: [2, 2], interpolation: 'bilinear' })]],
  ['Embedding', [4], () => [L.embedding({ inputDim: 6, outputDim: 3 }), L.globalAveragePooling1d({})], [4, 'int']],
  ['LSTM', [5, 3], () => [L.lstm({ units: 4, returnSequences: true, recurrentActivation: 'sigmoid', biasInitializer: 'randomNormal' }), L.lstm({ units: 2 })]],
  ['LSTM backwards', [5, 3], () => [L.lstm({ units: 3, goBackwards: true, returnSequences: true })]],
  ['GRU', [5, 3], () => [L.gru({ units: 4, returnSequences: true, recurrentActivation: 'sigmoid', biasInitializer: 'randomNormal' }), L.gru({ units: 2 })]],
  ['SimpleRNN', [5, 3], () => [L.simpleRNN({ units: 4, returnSequences: true }), L.simpleRNN({ units: 2, activation: 'relu' })]],
  ['Bidirectional', [5, 3], () => [L.bidirectional({ layer: L.lstm({ units: 2, returnSequences: true }), mergeMode: 'concat' }), L.bidirectional({ layer: L.gru({ units: 3 }), mergeMode: 'sum' })]],
  ['TimeDistributed', [3, 4], () => [L.timeDistributed({ layer: L.dense({ units: 2 }) })]],
  ['TimeDistributed convolution', [2, 4, 4, 1], () => [L.timeDistributed({ layer: L.conv2d({ filters: 2, kernelSize: 3 }) })]],
  ['Sequential in Sequential', [4], () => [tf.sequential({ layers: [L.dense({ units: 3, inputShape: [4] }), L.dense({ units: 3, activation: 'tanh' })] }), L.dense({ units: 2 })]],
] // prettier-ignore

async function layersOf(model, inputs) {
  let artifacts
  await model.save(
    tf.io.withSaveHandler(async (a) => ((artifacts = a), { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } })),
  )
  const weights = {}
  for (const [k, w] of model.getWeights().entries())
    weights[artifacts.weightSpecs[k].name] = { shape: w.shape, dtype: w.dtype, data: plain(w) }
  const feed = inputs.map(({ data, shape, dtype }) => tf.tensor(data, shape, dtype))
  const results = model.predict(feed.length === 1 ? feed[0] : feed)
  const outputs = (Array.isArray(results) ? results : [results]).map((r) => ({ shape: r.shape, data: plain(r) }))
  return { topology: JSON.parse(JSON.stringify(artifacts.modelTopology)), tensors: weights, inputs, outputs }
}

/** Weights that the file says exactly. */
function settle(model) {
  model.setWeights(model.getWeights().map((w, k) => tf.tensor((/moving_variance|variance/.test(model.weights[k].name) ? random(w.size, 0.4).map((v) => Math.fround(Math.abs(v) + 0.5)) : random(w.size, 0.6)), w.shape))) // prettier-ignore
  return model
}

const layers = []
for (const [name, shape, make, integers] of layered) {
  const build = async () => {
    const model = tf.sequential()
    model.add(L.inputLayer({ inputShape: shape, ...(integers ? { dtype: 'int32' } : {}) }))
    for (const layer of make()) model.add(layer)
    return settle(model)
  }
  const input = integers ? T([2, ...shape], Array.from({ length: 2 * sizeOf(shape) }, (_, k) => k % 6), 'int32') : T([2, ...shape]) // prettier-ignore
  const made1 = await build()
    .then((model) => layersOf(model, [input]))
    .catch((error) => ({ error }))
  if (made1.error) refuse(name, made1.error)
  else layers.push({ name, ...made1 })
}
{
  const a = tf.input({ shape: [4, 4, 2], name: 'a' })
  const b2 = tf.input({ shape: [4, 4, 2], name: 'b' })
  const shared = L.conv2d({ filters: 2, kernelSize: 3, padding: 'same', name: 'shared' })
  const [p, q] = [shared.apply(a), shared.apply(b2)]
  const merged = ['add', 'multiply', 'average', 'maximum', 'minimum'].map((name) => L[name]({}).apply([p, q]))
  const y = L.concatenate({ axis: -1 }).apply([...merged, a])
  const z = L.dense({ units: 2, name: 'z' }).apply(L.globalAveragePooling2d({}).apply(y))
  const inputs = [T([1, 4, 4, 2]), T([1, 4, 4, 2])]
  layers.push({ name: 'Functional', ...(await layersOf(settle(tf.model({ inputs: [a, b2], outputs: [z, y] })), inputs)) })
}

if (refused.length > 0) throw new Error(`tfjs refuses:\n${refused.join('\n')}`)
fs.writeFileSync(target, JSON.stringify({ graphs, layers }))
console.log(`${graphs.length} graph models, ${layers.length} layers models`)
