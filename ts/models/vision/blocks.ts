/**
 * Blocks of convolutional nets with a way around. Names of children are those of torchvision's checkpoints: conv1, bn1, ..., downsample.0, downsample.1.
 *
 *   basicBlock          x + bn(conv3(relu(bn(conv3(x)))))                     He et al. 2016, fig. 5 left
 *   bottleneck          x + bn(conv1(relu(bn(conv3(relu(bn(conv1(x))))))))    He et al. 2016, fig. 5 right; the stride sits in the 3 x 3 convolution
 *   invertedResidual    x + bn(conv1(relu6(bn(dw3(relu6(bn(conv1(x))))))))    Sandler et al. 2018, table 1
 *
 * The first two end with a ReLU behind the sum. [B, in, H, W] -> [B, out, H / stride, W / stride] (rounded up).
 */
import { z } from 'zod'
import {
  activation,
  batchNorm,
  conv2d,
  defineModule,
  mainInput,
  runChild,
  runNormThen,
  sequential,
  single,
  type ModuleSpec,
} from '../../nn/index.js'
import { add, avgPool2d, padSlice } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'

const channels = z.int().positive()
const stride = z.int().positive().max(64)

interface ConvOptions {
  readonly stride?: number
  readonly groups?: number
  readonly bias?: boolean
}

/** A convolution that keeps the size (at stride 1), without a bias unless asked for: a batch norm follows. */
export function convolution(from: number, out: number, kernel: number, options: ConvOptions = {}): ModuleSpec {
  const { stride: step = 1, groups = 1, bias = false } = options
  const side = (kernel - 1) / 2
  return conv2d({ in: from, out, kernel: [kernel, kernel], stride: [step, step], padding: [side, side], groups, bias, init: 'he' })
}

/** Convolution, batch norm, activation as children 0, 1, 2. */
export function convBlock(
  from: number,
  out: number,
  kernel: number,
  options: ConvOptions & { readonly function?: 'relu' | 'relu6' } = {},
): ModuleSpec {
  return sequential({
    0: convolution(from, out, kernel, options),
    1: batchNorm({ channels: out }),
    2: activation({ function: options.function ?? 'relu' }),
  })
}

/** How x gets around where its shape changes: a 1 x 1 convolution (option B), or every stride-th pixel and channels of zeros (option A). */
const shortcut = z.enum(['projection', 'pad'])
const projection = (from: number, out: number, step: number): ModuleSpec =>
  sequential({ 0: convolution(from, out, 1, { stride: step }), 1: batchNorm({ channels: out }) })

/** Option A of He et al. 2016, section 4.2: no parameters. Zeros on both sides of the channels. */
function padded(x: Tensor, out: number, step: number): Tensor {
  const every = step === 1 ? x : avgPool2d(x, [1, 1], { stride: [step, step] })
  const [b, c, h, w] = every.shape as [number, number, number, number]
  return c === out ? every : padSlice(every, [b, out, h, w], [0, Math.floor((out - c) / 2), 0, 0])
}

const basicConfig = z
  .strictObject({ in: channels, out: channels, stride: stride.default(1), shortcut: shortcut.default('projection') })
  .refine((c) => c.shortcut === 'projection' || c.out >= c.in, { error: 'must be at least in where the shortcut is padded', path: ['out'] })
export type BasicBlockConfig = z.infer<typeof basicConfig>
const changes = (c: { readonly in: number; readonly out: number; readonly stride: number }): boolean => c.in !== c.out || c.stride !== 1

const makeBasic = defineModule<BasicBlockConfig>({
  kind: 'basicBlock',
  config: basicConfig,
  weights: () => ({}),
  children: (c) => ({
    conv1: convolution(c.in, c.out, 3, { stride: c.stride }),
    bn1: batchNorm({ channels: c.out }),
    conv2: convolution(c.out, c.out, 3),
    bn2: batchNorm({ channels: c.out }),
    ...(c.shortcut === 'projection' && changes(c) ? { downsample: projection(c.in, c.out, c.stride) } : {}),
  }),
  forward: (m, c, input, ctx) => {
    const x = single('basicBlock', input)
    const h = runNormThen(m, 'bn1', runChild(m, 'conv1', x, ctx), ctx, { relu: true })
    const around = m.children.downsample ? runChild(m, 'downsample', x, ctx) : changes(c) ? padded(x, c.out, c.stride) : x
    return runNormThen(m, 'bn2', runChild(m, 'conv2', h, ctx), ctx, { residual: around, relu: true })
  },
  channels: (flow, c, input, m) => {
    const x = mainInput(input)
    const y = ['conv1', 'bn1', 'conv2', 'bn2'].reduce((from, name) => flow.child(name, from), x)
    if (m.children.downsample) return flow.join(y, flow.child('downsample', x))
    if (!changes(c)) return flow.join(y, x)
    for (const end of [x, y]) flow.freeze(end, 'the way around adds channels of zeros at fixed places')
    return y
  },
  skippable: (c) => !changes(c),
})
/** Two 3 x 3 convolutions and a way around. */
export function basicBlock(config: Pick<BasicBlockConfig, 'in' | 'out'> & Partial<BasicBlockConfig>): ModuleSpec {
  return makeBasic(config as BasicBlockConfig)
}

const bottleneckConfig = z.strictObject({
  in: channels,
  /** Channels of the 3 x 3 convolution. */
  width: channels,
  out: channels,
  stride: stride.default(1),
})
export type BottleneckConfig = z.infer<typeof bottleneckConfig>
const makeBottleneck = defineModule<BottleneckConfig>({
  kind: 'bottleneck',
  config: bottleneckConfig,
  weights: () => ({}),
  children: (c) => ({
    conv1: convolution(c.in, c.width, 1),
    bn1: batchNorm({ channels: c.width }),
    conv2: convolution(c.width, c.width, 3, { stride: c.stride }),
    bn2: batchNorm({ channels: c.width }),
    conv3: convolution(c.width, c.out, 1),
    bn3: batchNorm({ channels: c.out }),
    ...(changes(c) ? { downsample: projection(c.in, c.out, c.stride) } : {}),
  }),
  forward: (m, _c, input, ctx) => {
    const x = single('bottleneck', input)
    let y: Tensor = x
    for (const i of [1, 2]) y = runNormThen(m, `bn${i}`, runChild(m, `conv${i}`, y, ctx), ctx, { relu: true })
    const residual = m.children.downsample ? runChild(m, 'downsample', x, ctx) : x
    return runNormThen(m, 'bn3', runChild(m, 'conv3', y, ctx), ctx, { residual, relu: true })
  },
  channels: (flow, _c, input, m) => {
    const x = mainInput(input)
    const y = ['conv1', 'bn1', 'conv2', 'bn2', 'conv3', 'bn3'].reduce((from, name) => flow.child(name, from), x)
    return flow.join(y, m.children.downsample ? flow.child('downsample', x) : x)
  },
  skippable: (c) => !changes(c),
})
/** 1 x 1, 3 x 3, 1 x 1 convolutions and a way around. */
export function bottleneck(config: Pick<BottleneckConfig, 'in' | 'width' | 'out'> & Partial<BottleneckConfig>): ModuleSpec {
  return makeBottleneck(config as BottleneckConfig)
}

const invertedConfig = z.strictObject({
  in: channels,
  out: channels,
  stride: stride.default(1),
  /** Channels in the middle, as a multiple of `in`. */
  expand: z.int().positive(),
})
export type InvertedResidualConfig = z.infer<typeof invertedConfig>
const makeInverted = defineModule<InvertedResidualConfig>({
  kind: 'invertedResidual',
  config: invertedConfig,
  weights: () => ({}),
  children: (c) => {
    const wide = c.in * c.expand
    const parts = [
      ...(c.expand === 1 ? [] : [convBlock(c.in, wide, 1, { function: 'relu6' })]),
      convBlock(wide, wide, 3, { stride: c.stride, groups: wide, function: 'relu6' }),
      convolution(wide, c.out, 1),
      batchNorm({ channels: c.out }),
    ]
    return { conv: sequential(Object.fromEntries(parts.map((part, i) => [i, part]))) }
  },
  forward: (m, c, input, ctx) => {
    const x = single('invertedResidual', input)
    const y = runChild(m, 'conv', x, ctx)
    return changes(c) ? y : add(x, y)
  },
  channels: (flow, c, input) => {
    const x = mainInput(input)
    const y = flow.child('conv', x)
    return changes(c) ? y : flow.join(x, y)
  },
  skippable: (c) => !changes(c),
})
/** Wide depthwise convolution between narrow ends; a way around where the shape stays. */
export function invertedResidual(
  config: Pick<InvertedResidualConfig, 'in' | 'out' | 'expand'> & Partial<InvertedResidualConfig>,
): ModuleSpec {
  return makeInverted(config as InvertedResidualConfig)
}
