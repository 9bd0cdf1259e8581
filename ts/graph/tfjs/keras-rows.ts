/** Layers of Keras by class: each says which nodes of ONNX it is. */
import type { KerasLayer } from '../../formats/tfjs-layers.js'
import { activate } from './activations.js'
import { END, Val, type Builder } from './builder.js'
import { f32, floatsOf } from './constants.js'
import { batchNorm, convolution, depthwise, enter, leave, pool, prelu, resize, transposed, type Channels, type Windows } from './images.js'
import type { KerasWeights } from './keras-weights.js'
import { elementwise, together, unary } from './layout.js'
import { concatenated, padded, reshapedTo } from './ops-move.js'
import { reduced } from './ops-compute.js'

export interface Keras {
  readonly b: Builder
  readonly weights: KerasWeights
  /** Runs another layer (wrappers, models). */
  readonly call: (layer: KerasLayer, x: readonly Val[]) => readonly Val[]
}
export type KerasRow = (k: Keras, layer: KerasLayer, x: readonly Val[]) => Val | readonly Val[]

export function channelsOf(layer: KerasLayer): Channels {
  const format = layer.string('data_format', 'channels_last')
  return format === 'channels_last'
    ? 'last'
    : format === 'channels_first'
      ? 'first'
      : layer.unsupported(`data_format ${JSON.stringify(format)}`)
}

/** Size of the axis of channels, which the weights' shapes follow. */
export function widthOf(k: Keras, layer: KerasLayer, x: Val, channels: Channels = 'last'): number {
  const shape = k.b.type(x).shape
  const width = channels === 'last' ? shape?.at(-1) : shape?.[1]
  return typeof width === 'number' ? width : layer.unsupported('the number of channels is not known')
}

export function finish(k: Keras, layer: KerasLayer, y: Val, key = 'activation'): Val {
  return activate(k.b, y, layer.named(key, 'linear'))
}

const bias = (k: Keras, layer: KerasLayer, width: number): Val | undefined =>
  layer.bool('use_bias', true) ? k.weights.get(layer.name, 'bias', [width]) : undefined

function paddingOf(layer: KerasLayer, kernel: readonly number[], dilations: readonly number[]): Windows['padding'] {
  const padding = layer.string('padding', 'valid')
  if (padding === 'same' || padding === 'valid') return padding
  if (padding === 'causal' && kernel.length === 1) return [[(kernel[0]! - 1) * dilations[0]!, 0]]
  return layer.unsupported(`padding ${JSON.stringify(padding)}`)
}

const dense: KerasRow = (k, layer, [x]) => {
  const [input, units] = [widthOf(k, layer, x!), layer.int('units')]
  const y = k.b.op('MatMul', [k.b.plain(x!), k.b.plain(k.weights.get(layer.name, 'kernel', [input, units]))])
  const add = bias(k, layer, units)
  return finish(k, layer, new Val(add ? k.b.op('Add', [y, k.b.plain(add)]) : y))
}

const convolve =
  (dims: 1 | 2): KerasRow =>
  (k, layer, [x]) => {
    const channels = channelsOf(layer)
    const kernel = layer.each('kernel_size', dims)
    const [strides, dilations] = [layer.each('strides', dims, 1), layer.each('dilation_rate', dims, 1)]
    const groups = layer.int('groups', 1)
    const [input, filters] = [widthOf(k, layer, x!, channels), layer.int('filters')]
    const filter = k.weights.get(layer.name, 'kernel', [...kernel, input / groups, filters])
    const w: Windows = { strides, dilations, channels, padding: paddingOf(layer, kernel, dilations) }
    return finish(k, layer, convolution(k.b, x!, filter, bias(k, layer, filters), w))
  }

const depthwiseConvolve: KerasRow = (k, layer, [x]) => {
  const channels = channelsOf(layer)
  const kernel = layer.each('kernel_size', 2)
  const [strides, dilations] = [layer.each('strides', 2, 1), layer.each('dilation_rate', 2, 1)]
  const [input, multiplier] = [widthOf(k, layer, x!, channels), layer.int('depth_multiplier', 1)]
  const filter = k.weights.get(layer.name, k.weights.has(layer.name, 'depthwise_kernel') ? 'depthwise_kernel' : 'kernel', [
    ...kernel,
    input,
    multiplier,
  ])
  const w: Windows = { strides, dilations, channels, padding: paddingOf(layer, kernel, dilations) }
  return finish(k, layer, depthwise(k.b, x!, filter, bias(k, layer, input * multiplier), w))
}

const separable: KerasRow = (k, layer, [x]) => {
  const channels = channelsOf(layer)
  const kernel = layer.each('kernel_size', 2)
  const [strides, dilations] = [layer.each('strides', 2, 1), layer.each('dilation_rate', 2, 1)]
  const [input, filters] = [widthOf(k, layer, x!, channels), layer.int('filters')]
  // tfjs does not write depth_multiplier: the weight says it.
  const each = k.weights.get(layer.name, 'depthwise_kernel', [...kernel, input, null])
  const multiplier = each.source!.tensor.shape[3]!
  const w: Windows = { strides, dilations, channels, padding: paddingOf(layer, kernel, dilations) }
  const y = depthwise(k.b, x!, each, undefined, w)
  const point = k.weights.get(layer.name, 'pointwise_kernel', [1, 1, input * multiplier, filters])
  return finish(k, layer, convolution(k.b, y, point, bias(k, layer, filters), { strides: [1, 1], channels, padding: 'valid' }))
}

const convolveTransposed: KerasRow = (k, layer, [x]) => {
  const channels = channelsOf(layer)
  const kernel = layer.each('kernel_size', 2)
  const [strides, dilations] = [layer.each('strides', 2, 1), layer.each('dilation_rate', 2, 1)]
  if (layer.has('output_padding')) layer.unsupported('output_padding')
  const [input, filters] = [widthOf(k, layer, x!, channels), layer.int('filters')]
  const filter = k.weights.get(layer.name, 'kernel', [...kernel, filters, input])
  const w: Windows = { strides, dilations, channels, padding: paddingOf(layer, [...kernel, 0], dilations) }
  return finish(k, layer, transposed(k.b, x!, filter, bias(k, layer, filters), w))
}

const batchNormalization: KerasRow = (k, layer, [x]) => {
  const rank = k.b.rank(x!) ?? layer.unsupported('a value of unknown rank')
  const raw = layer.raw('axis')
  const axis = Array.isArray(raw) ? Number(raw[0]) : layer.int('axis', -1)
  const at = axis < 0 ? axis + rank : axis
  if (at !== rank - 1 && at !== 1) layer.unsupported(`axis ${axis} of ${rank}`)
  const channels: Channels = at === rank - 1 ? 'last' : 'first'
  const width = widthOf(k, layer, x!, channels)
  const part = (name: string): Val => k.weights.get(layer.name, name, [width])
  const parts = {
    gamma: layer.bool('scale', true) ? part('gamma') : undefined,
    beta: layer.bool('center', true) ? part('beta') : undefined,
    mean: part('moving_mean'),
    variance: part('moving_variance'),
  }
  return batchNorm(k.b, x!, parts, layer.float('epsilon', 1e-3), channels)
}

const layerNormalization: KerasRow = (k, layer, [x]) => {
  const { b } = k
  const rank = b.rank(x!) ?? layer.unsupported('a value of unknown rank')
  const raw = layer.raw('axis')
  const axes = Array.isArray(raw) ? layer.ints('axis') : [layer.int('axis', -1)]
  if (axes.length !== 1 || (axes[0] !== -1 && axes[0] !== rank - 1)) layer.unsupported(`axis [${axes}] of ${rank}`)
  const width = widthOf(k, layer, x!)
  const filled = (value: number): string =>
    b.constant(
      `${layer.name}/${value}`,
      f32([width], () => new Float32Array(width).fill(value)),
    )
  const gamma = layer.bool('scale', true) ? b.plain(k.weights.get(layer.name, 'gamma', [width])) : filled(1)
  const beta = layer.bool('center', true) ? b.plain(k.weights.get(layer.name, 'beta', [width])) : filled(0)
  return new Val(b.op('LayerNormalization', [b.plain(x!), gamma, beta], { axis: -1, epsilon: { float: layer.float('epsilon', 1e-3) } }))
}

const reLU: KerasRow = ({ b }, layer, [x]) => {
  const [slope, threshold] = [layer.float('negative_slope', 0), layer.float('threshold', 0)]
  if (threshold !== 0) return layer.unsupported('a threshold other than 0')
  const y = unary(b, x!, (v) => (slope === 0 ? b.op('Relu', [v]) : b.op('LeakyRelu', [v], { alpha: { float: slope } })))
  return layer.has('max_value') ? unary(b, y, (v) => b.op('Min', [v, b.float(layer.float('max_value'))])) : y
}
const sloped =
  (op: string, keys: readonly string[], other: number): KerasRow =>
  ({ b }, layer, [x]) => {
    const key = keys.find((name) => layer.has(name)) ?? keys[0]!
    return unary(b, x!, (v) => b.op(op, [v], { alpha: { float: layer.float(key, other) } }))
  }

const pooling =
  (op: 'MaxPool' | 'AveragePool', dims: 1 | 2): KerasRow =>
  ({ b }, layer, [x]) => {
    const kernel = layer.each('pool_size', dims, 2)
    const strides = layer.has('strides') ? layer.each('strides', dims) : kernel
    return pool(b, op, x!, kernel, { strides, channels: channelsOf(layer), padding: paddingOf(layer, [0, 0], [1, 1]) })
  }

const globalPool =
  (op: string, dims: 1 | 2): KerasRow =>
  ({ b }, layer, [x]) => {
    const last = channelsOf(layer) === 'last'
    const axes = Array.from({ length: dims }, (_, i) => i + (last ? 1 : 2))
    return reduced(b, op, x!, axes, layer.bool('keepdims', false))
  }

const combine =
  (op: string): KerasRow =>
  ({ b }, layer, x) => {
    if (x.length < 2) layer.fail('inputs', 'needs two inputs or more')
    if (op === 'Mul' || op === 'Sub') return x.slice(1).reduce((y, v) => elementwise(b, op, [y, v]), x[0]!)
    return x.length === 2 && op === 'Sum' ? elementwise(b, 'Add', x) : elementwise(b, op, x)
  }

/** Pads or crops: one number, one per axis, or two per axis. */
function borders(layer: KerasLayer, key: string): (readonly [number, number])[] {
  const raw = layer.raw(key) ?? 1
  const list = Array.isArray(raw) ? raw : [raw, raw]
  const good = (v: unknown): v is number => typeof v === 'number' && Number.isInteger(v) && v >= 0 && v < 2 ** 24
  return list.map((v) => {
    const pair = Array.isArray(v) ? v : [v, v]
    return pair.length === 2 && pair.every(good)
      ? [pair[0] as number, pair[1] as number]
      : layer.fail('config', `${key} must be integers >= 0`)
  })
}
const around = (layer: KerasLayer, sides: readonly (readonly [number, number])[]): (readonly [number, number])[] => {
  const none = [0, 0] as const
  return channelsOf(layer) === 'last' ? [none, ...sides, none] : [none, none, ...sides]
}

const cropping: KerasRow = ({ b }, layer, [x]) => {
  const sides = borders(layer, 'cropping')
  const from = channelsOf(layer) === 'last' && !b.isFirst(x!) ? 1 : 2
  if (b.isFirst(x!) && channelsOf(layer) === 'first') return layer.unsupported('channels first')
  const ints = (f: (s: readonly [number, number]) => number): string => b.ints(sides.map(f))
  const axes = b.ints(sides.map((_, i) => i + from))
  return unary(b, x!, (v) => b.op('Slice', [v, ints((s) => s[0]), ints((s) => (s[1] === 0 ? END : -s[1])), axes]))
}

const upSampling: KerasRow = ({ b }, layer, [x]) => {
  const channels = channelsOf(layer)
  const factor = layer.each('size', 2, 2)
  const mode = layer.string('interpolation', 'nearest')
  if (mode !== 'nearest' && mode !== 'bilinear') return layer.unsupported(`interpolation ${JSON.stringify(mode)}`)
  if (mode === 'nearest') {
    const y = b.op(
      'Resize',
      [
        enter(b, x!, 4, channels),
        undefined,
        b.constant(
          'scales',
          f32([4], () => Float32Array.from([1, 1, ...factor])),
        ),
      ],
      {
        mode: 'nearest',
        coordinate_transformation_mode: 'asymmetric',
        nearest_mode: 'floor',
      },
    )
    // Channels stay; sizes are multiplied.
    const shape = b.types.get(enter(b, x!, 4, channels))?.shape
    b.types.set(y, { dtype: 'f32', shape: [0, 1, 2, 3].map((i) => (i < 2 ? (shape?.[i] ?? null) : times(shape?.[i], factor[i - 2]!))) })
    return leave(y, channels)
  }
  const image = enter(b, x!, 4, channels)
  const size = b.op('Mul', [b.op('Concat', [b.dim(image, 2), b.dim(image, 3)], { axis: 0 }), b.ints(factor)])
  return resize(b, x!, size, { mode: 'linear', alignCorners: false, halfPixels: false, channels })
}
const times = (d: number | string | null | undefined, k: number): number | null => (typeof d === 'number' ? d * k : null)

const embedding: KerasRow = (k, layer, [x]) => {
  const table = k.weights.get(layer.name, 'embeddings', [layer.int('input_dim'), layer.int('output_dim')])
  const at = k.b.plain(x!)
  const index = k.b.types.get(at)?.dtype === 'i64' ? at : k.b.op('Cast', [at], { to: 7 })
  return new Val(k.b.op('Gather', [k.b.plain(table), index], { axis: 0 }))
}

const timeDistributed: KerasRow = (k, layer, [x]) => {
  const { b } = k
  const inner = layer.inner.get('layer') ?? layer.fail('config', '"layer" is missing')
  k.weights.alias(inner.name, layer.name)
  const direct = ['Dense', 'Activation', 'ReLU', 'LeakyReLU', 'ELU', 'Dropout', 'LayerNormalization']
  if (direct.includes(inner.className)) return k.call(inner, [new Val(b.plain(x!))])[0]!
  const shape = b.type(x!).shape ?? layer.unsupported('a value of unknown rank')
  const rest = shape.slice(2)
  if (rest.some((d) => typeof d !== 'number')) layer.unsupported('sizes of the steps are not known')
  const flat = b.op('Reshape', [b.plain(x!), b.ints([-1, ...(rest as number[])])])
  const y = k.call(inner, [new Val(flat)])[0]!
  const out = b.type(y).shape?.slice(1)
  const steps = b.plain(x!)
  if (!out || out.some((d) => typeof d !== 'number')) return layer.unsupported('sizes of the results are not known')
  return new Val(b.op('Reshape', [b.plain(y), b.sizes([b.dim(steps, 0), b.dim(steps, 1), ...(out as number[])])]))
}

const pass: KerasRow = (_, __, [x]) => x!
const pixelShuffle =
  (scale: number): KerasRow =>
  ({ b }, _, [x]) =>
    new Val(undefined, b.op('DepthToSpace', [b.first(x!)], { blocksize: scale }))

const rows: Readonly<Record<string, KerasRow>> = {
  Dense: dense,
  Conv1D: convolve(1),
  Conv2D: convolve(2),
  DepthwiseConv2D: depthwiseConvolve,
  SeparableConv2D: separable,
  Conv2DTranspose: convolveTransposed,
  BatchNormalization: batchNormalization,
  LayerNormalization: layerNormalization,
  Activation: (k, layer, [x]) => activate(k.b, x!, layer.named('activation', 'linear')),
  ReLU: reLU,
  LeakyReLU: sloped('LeakyRelu', ['alpha', 'negative_slope'], 0.3),
  ELU: sloped('Elu', ['alpha'], 1),
  ThresholdedReLU: sloped('ThresholdedRelu', ['theta'], 1),
  PReLU: (k, layer, [x]) => {
    const rank = k.b.rank(x!) ?? layer.unsupported('a value of unknown rank')
    return prelu(k.b, x!, k.weights.get(layer.name, 'alpha', Array<null>(rank - 1).fill(null)))
  },
  Softmax: (k, layer, [x]) => new Val(k.b.op('Softmax', [k.b.plain(x!)], { axis: layer.int('axis', -1) })),
  MaxPooling1D: pooling('MaxPool', 1),
  MaxPooling2D: pooling('MaxPool', 2),
  AveragePooling1D: pooling('AveragePool', 1),
  AveragePooling2D: pooling('AveragePool', 2),
  GlobalMaxPooling1D: globalPool('ReduceMax', 1),
  GlobalMaxPooling2D: globalPool('ReduceMax', 2),
  GlobalAveragePooling1D: globalPool('ReduceMean', 1),
  GlobalAveragePooling2D: globalPool('ReduceMean', 2),
  Flatten: ({ b }, layer, [x]) => {
    const channels = channelsOf(layer)
    const v = channels === 'last' ? x! : new Val(b.plain(x!))
    if (channels === 'first' && (b.rank(v) ?? 0) > 2) {
      const rank = b.rank(v)!
      const perm = [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1]
      return new Val(b.op('Flatten', [b.op('Transpose', [b.plain(v)], { perm })], { axis: 1 }))
    }
    return new Val(b.op('Flatten', [b.plain(v)], { axis: 1 }))
  },
  Reshape: ({ b }, layer, [x]) => {
    const target = layer.ints('target_shape')
    const dims = b.type(x!).shape?.slice(1)
    const whole = dims?.every((d) => typeof d === 'number') ? dims.reduce((n, d) => n * d, 1) : undefined
    const open = target.indexOf(-1)
    const rest = target.filter((d) => d !== -1).reduce((n, d) => n * d, 1)
    // The batch is what is left, so the rest must be said.
    const own = open < 0 || whole === undefined || rest === 0 ? target : target.map((d) => (d === -1 ? whole / rest : d))
    if (own.includes(-1)) return reshapedTo(b, x!, b.sizes([b.dim(b.plain(x!), 0), ...own]))
    return reshapedTo(b, x!, b.ints([-1, ...own]))
  },
  Permute: ({ b }, layer, [x]) => new Val(b.op('Transpose', [b.plain(x!)], { perm: [0, ...layer.ints('dims')] })),
  RepeatVector: ({ b }, layer, [x]) => {
    const lifted = b.op('Unsqueeze', [b.plain(x!), b.ints([1])])
    return new Val(b.op('Tile', [lifted, b.ints([1, layer.int('n'), 1])]))
  },
  ZeroPadding1D: ({ b }, layer, [x]) => {
    const raw = layer.raw('padding') ?? 1
    const [before, after] = Array.isArray(raw) ? raw : [raw, raw]
    const good = [before, after].every((v) => typeof v === 'number' && Number.isInteger(v) && v >= 0 && v < 2 ** 24)
    if (!good) return layer.fail('config', '"padding" must be integers >= 0')
    return padded(b, x!, [[0, 0], [before as number, after as number], [0, 0]], 'constant') // prettier-ignore
  },
  ZeroPadding2D: ({ b }, layer, [x]) =>
    padded(b, channelsOf(layer) === 'last' ? x! : new Val(b.plain(x!)), around(layer, borders(layer, 'padding')), 'constant'),
  Cropping2D: cropping,
  UpSampling1D: ({ b }, layer, [x]) => {
    const n = layer.int('size', 2)
    const shape = b.type(x!).shape
    const width = shape?.at(-1)
    if (typeof width !== 'number') return layer.unsupported('the number of channels is not known')
    const v = b.plain(x!)
    const repeated = b.op('Tile', [b.op('Unsqueeze', [v, b.ints([2])]), b.ints([1, 1, n, 1])])
    return new Val(b.op('Reshape', [repeated, b.sizes([b.dim(v, 0), -1, width])]))
  },
  UpSampling2D: upSampling,
  Add: combine('Sum'),
  Subtract: combine('Sub'),
  Multiply: combine('Mul'),
  Average: combine('Mean'),
  Maximum: combine('Max'),
  Minimum: combine('Min'),
  Concatenate: ({ b }, layer, x) => concatenated(b, x, layer.int('axis', -1)),
  Dropout: pass,
  SpatialDropout1D: pass,
  SpatialDropout2D: pass,
  AlphaDropout: pass,
  GaussianDropout: pass,
  GaussianNoise: pass,
  ActivityRegularization: pass,
  Rescaling: ({ b }, layer, [x]) =>
    together(b, [x!], ([v]) => b.op('Add', [b.op('Mul', [v, b.float(layer.float('scale'))]), b.float(layer.float('offset', 0))])),
  Embedding: embedding,
  TimeDistributed: timeDistributed,
  // What ESRGAN models of UpscalerJS register.
  MultiplyBeta: ({ b }, _, [x]) => unary(b, x!, (v) => b.op('Mul', [v, b.float(0.2)])),
  PixelShuffle2x: pixelShuffle(2),
  PixelShuffle3x: pixelShuffle(3),
  PixelShuffle4x: pixelShuffle(4),
  PixelShuffle8x: pixelShuffle(8),
}
export const layerRows: ReadonlyMap<string, KerasRow> = new Map(Object.entries(rows))
export { floatsOf }
