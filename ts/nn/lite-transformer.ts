/**
 * Blocks of the Lite Transformer (Wu, Liu, Lin, Lin, Han 2020, "Long-Short Range Attention", section 4): the channels are split in two halves, one goes
 * through attention (far), the other through a lightweight or dynamic convolution (near), and both are put side by side again. The feed-forward net
 * is flat: `hidden` is usually `width`. Norms before or behind as in transformer.ts.
 *
 *   x = [a, b]    lsra(x) = [attention(a), conv(b)]
 */
import { z } from 'zod'
import { add, concat, dropout as dropoutOp, mul, reshape, slice } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { activate, activationNames } from './activation.js'
import { attention, crossAttention, maskedInput, needs } from './attention.js'
import { mainInput, type ChannelFlow, type Channels } from './channels.js'
import { linear } from './linear.js'
import { defineModule, join, runChild, type ForwardContext, type Module, type ModuleSpec } from './module.js'
import { layerNorm } from './norm.js'
import { dynamicConv, lightweightConv } from './sequence-conv.js'
import { streamOf } from './simple.js'

const lsraFields = {
  width: z.int().positive(),
  /** Of the attention, over width / 2 channels. */
  heads: z.int().positive(),
  /** Places that the convolution sees. */
  kernel: z.int().positive().default(3),
  /** Kernels of the convolution; as many as `heads` unless given. */
  convHeads: z.int().nonnegative().default(0),
  conv: z.enum(['lightweight', 'dynamic']).default('lightweight'),
  /** Of the attention weights, while training. */
  attentionDropout: z.number().min(0).lt(1).default(0),
}
const lsraConfig = z.strictObject({
  ...lsraFields,
  /** Both halves see the past only. */
  causal: z.boolean().default(false),
})
export type LsraConfig = z.infer<typeof lsraConfig>
const halves = (c: { readonly width: number; readonly heads: number; readonly convHeads: number }): boolean =>
  c.width % 2 === 0 && (c.width / 2) % c.heads === 0 && (c.width / 2) % (c.convHeads || c.heads) === 0
const unlessTheyAre = { error: 'width / 2 must be a multiple of heads and of convHeads', path: ['heads'] }

const makeLsra = defineModule<LsraConfig>({
  kind: 'lsra',
  config: lsraConfig.refine(halves, unlessTheyAre),
  weights: () => ({}),
  children: (c) => {
    const half = c.width / 2
    const near = { width: half, heads: c.convHeads || c.heads, kernel: c.kernel, padding: c.causal ? 'causal' : 'same' } as const
    return {
      attention: attention({ in: half, width: half, out: half, heads: c.heads, causal: c.causal, dropout: c.attentionDropout }),
      conv: c.conv === 'dynamic' ? dynamicConv(near) : lightweightConv(near),
    }
  },
  forward: (m, c, input, ctx) => {
    const { x, mask } = maskedInput(input)
    const [b, t] = x.shape as [number, number]
    const half = c.width / 2
    const far = slice(x, [0, 0, 0], [b, t, half])
    const near = slice(x, [0, 0, half], [b, t, half])
    // Padding must not reach its neighbours through the kernel; attention hides it by itself.
    const seen = mask ? mul(near, reshape(mask, [b, t, 1])) : near
    return concat([runChild(m, 'attention', mask ? { x: far, mask } : far, ctx), runChild(m, 'conv', seen, ctx)], 2)
  },
})

type Loose<C, Must extends keyof C> = Pick<C, Must> & Partial<C>

/**
 * Long-short range attention: x [B, T, width], or named `x` and `mask` [B, T] with 1 for tokens and 0 for padding -> [B, T, width].
 *
 * @example
 * lsra({ width: 16, heads: 2, kernel: 3, conv: 'dynamic' })
 */
export function lsra(config: Loose<LsraConfig, 'width' | 'heads'>): ModuleSpec {
  return makeLsra(config as LsraConfig)
}

const blockFields = {
  ...lsraFields,
  hidden: z.int().positive(),
  activation: z.enum(activationNames).default('relu'),
  eps: z.number().positive().default(1e-5),
  norm: z.enum(['pre', 'post']).default('post'),
  /** Of what each sublayer adds, while training. */
  dropout: z.number().min(0).lt(1).default(0),
}
const encoderConfig = z.strictObject({ ...blockFields, causal: z.boolean().default(false) })
export type LiteEncoderBlockConfig = z.infer<typeof encoderConfig>
const decoderConfig = z.strictObject({
  ...blockFields,
  /** Width of the encoder's output. */
  memory: z.int().positive(),
})
export type LiteDecoderBlockConfig = z.infer<typeof decoderConfig>
type Block = Omit<LiteEncoderBlockConfig, 'causal'>

const normOf = (c: Block): ModuleSpec => layerNorm({ width: c.width, eps: c.eps })
function parts(c: Block, causal: boolean): Readonly<Record<string, ModuleSpec>> {
  const { width, heads, kernel, convHeads, conv, attentionDropout, hidden } = c
  return {
    norm1: normOf(c),
    lsra: lsra({ width, heads, kernel, convHeads, conv, attentionDropout, causal }),
    norm2: normOf(c),
    up: linear({ in: width, out: hidden, bias: true, init: 'glorot' }),
    down: linear({ in: hidden, out: width, bias: true, init: 'glorot' }),
  }
}

/** x and what the sublayer adds to it, with the norm before or behind. */
function sublayer(m: Module, c: Block, x: Tensor, name: string, normName: string, f: (x: Tensor) => Tensor, ctx: ForwardContext): Tensor {
  let y = f(c.norm === 'pre' ? runChild(m, normName, x, ctx) : x)
  if (ctx.training && c.dropout > 0) y = dropoutOp(y, c.dropout, { seed: ctx.seed, stream: streamOf(join(ctx.path, name), ctx.step) })
  const sum = add(x, y)
  return c.norm === 'pre' ? sum : runChild(m, normName, sum, ctx)
}
const near = (m: Module, mask: Tensor | null | undefined, ctx: ForwardContext) => (x: Tensor) =>
  runChild(m, 'lsra', mask ? { x, mask } : x, ctx)
const feedForward = (m: Module, c: Block, ctx: ForwardContext) => (x: Tensor) =>
  runChild(m, 'down', activate(c.activation, runChild(m, 'up', x, ctx)), ctx)

/** Attention and convolution share their halves of the channels: only the feed-forward net has units that can go. */
function feedForwardChannels(flow: ChannelFlow, x: Channels | null): Channels | null {
  flow.freeze(x, 'split into halves for attention and convolution')
  const h = flow.child('up', x)
  flow.resize((count) => (h ? { hidden: count(h.units) } : {}))
  return flow.join(x, flow.child('down', h))
}

const makeEncoder = defineModule<LiteEncoderBlockConfig>({
  kind: 'liteEncoderBlock',
  config: encoderConfig.refine(halves, unlessTheyAre),
  weights: () => ({}),
  children: (c) => parts(c, c.causal),
  forward: (m, c, input, ctx) => {
    const { x, mask } = maskedInput(input)
    const h = sublayer(m, c, x, 'lsra', 'norm1', near(m, mask, ctx), ctx)
    return sublayer(m, c, h, 'down', 'norm2', feedForward(m, c, ctx), ctx)
  },
  channels: (flow, _c, input) => feedForwardChannels(flow, mainInput(input)),
  skippable: () => true,
})

/**
 * Long-short range attention and a feed-forward net. Input x [B, T, width], or named `x` and `mask` [B, T]. Result [B, T, width].
 *
 * @example
 * liteEncoderBlock({ width: 16, heads: 2, hidden: 16, kernel: 5, conv: 'dynamic' })
 */
export function liteEncoderBlock(config: Loose<LiteEncoderBlockConfig, 'width' | 'heads' | 'hidden'>): ModuleSpec {
  return makeEncoder(config as LiteEncoderBlockConfig)
}

const makeDecoder = defineModule<LiteDecoderBlockConfig>({
  kind: 'liteDecoderBlock',
  config: decoderConfig
    .refine(halves, unlessTheyAre)
    .refine((c) => c.width % c.heads === 0, { error: 'width must be a multiple of heads', path: ['heads'] }),
  weights: () => ({}),
  children: (c) => ({
    ...parts(c, true),
    cross: crossAttention({ in: c.width, memory: c.memory, width: c.width, out: c.width, heads: c.heads, dropout: c.attentionDropout }),
    norm3: normOf(c),
  }),
  forward: (m, c, input, ctx) => {
    const { x, memory, mask, memoryMask } = needs(m, input, ['x', 'memory'])
    const cross = (y: Tensor): Tensor => runChild(m, 'cross', memoryMask ? { x: y, memory, memoryMask } : { x: y, memory }, ctx)
    let h = sublayer(m, c, x, 'lsra', 'norm1', near(m, mask, ctx), ctx)
    h = sublayer(m, c, h, 'cross', 'norm2', cross, ctx)
    return sublayer(m, c, h, 'down', 'norm3', feedForward(m, c, ctx), ctx)
  },
})

/**
 * Causal long-short range attention, attention to the encoder's output over all channels, a feed-forward net. Named inputs `x` [B, T, width],
 * `memory` [B, S, memory], optionally `mask` [B, T] and `memoryMask` [B, S]. Result [B, T, width].
 *
 * @example
 * liteDecoderBlock({ width: 16, memory: 16, heads: 2, hidden: 16 })
 */
export function liteDecoderBlock(config: Loose<LiteDecoderBlockConfig, 'width' | 'memory' | 'heads' | 'hidden'>): ModuleSpec {
  return makeDecoder(config as LiteDecoderBlockConfig)
}
