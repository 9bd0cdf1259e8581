/**
 * Blocks of transformers. With f = attention or the feed-forward net down(activation(up(.))):
 *   pre-norm   x + dropout(f(norm(x)))        Xiong et al. 2020, fig. 1 (b): GPT-2, most encoders of today
 *   post-norm  norm(x + dropout(f(x)))        Vaswani et al. 2017, section 3.1: BERT
 * A pre-norm stack ends with a norm of its own, which belongs to the model.
 */
import { z } from 'zod'
import { add, dropout as dropoutOp } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { activate, activationNames } from './activation.js'
import { attention, crossAttention, maskedInput, namedChannels, needs } from './attention.js'
import { mainInput, type ChannelFlow, type Channels } from './channels.js'
import { linear } from './linear.js'
import { defineModule, join, release, runChild, type ForwardContext, type Module, type ModuleInput, type ModuleSpec } from './module.js'
import { layerNorm } from './norm.js'
import { streamOf } from './simple.js'

const common = {
  width: z.int().positive(),
  heads: z.int().positive(),
  hidden: z.int().positive(),
  activation: z.enum(activationNames).default('gelu'),
  eps: z.number().positive().default(1e-5),
  norm: z.enum(['pre', 'post']).default('pre'),
  /** Of what each sublayer adds, while training. */
  dropout: z.number().min(0).lt(1).default(0),
  /** Which sublayers `dropout` follows. */
  dropoutAfter: z.enum(['both', 'attention', 'feedForward']).default('both'),
  /** Of the attention weights, while training. */
  attentionDropout: z.number().min(0).lt(1).default(0),
}
const encoderConfig = z.strictObject({
  ...common,
  /** Tokens see only those before them: the block of a decoder without a memory (GPT-2). */
  causal: z.boolean().default(false),
})
export type EncoderBlockConfig = z.infer<typeof encoderConfig>
const decoderConfig = z.strictObject({
  ...common,
  /** Width of the encoder's output. */
  memory: z.int().positive(),
})
export type DecoderBlockConfig = z.infer<typeof decoderConfig>
type Common = Pick<EncoderBlockConfig, keyof typeof common>

const norm = (c: Common): ModuleSpec => layerNorm({ width: c.width, eps: c.eps })
const feedForward = (c: Common): Readonly<Record<'up' | 'down', ModuleSpec>> => ({
  up: linear({ in: c.width, out: c.hidden, bias: true, init: 'glorot' }),
  down: linear({ in: c.hidden, out: c.width, bias: true, init: 'glorot' }),
})
const selfAttention = (c: Common, causal: boolean): ModuleSpec =>
  attention({ in: c.width, width: c.width, out: c.width, heads: c.heads, bias: true, causal, dropout: c.attentionDropout })

/** x and what the sublayer `name` adds to it, with the norm before or behind. */
function sublayer(m: Module, c: Common, x: Tensor, name: string, normName: string, f: (x: Tensor) => Tensor, ctx: ForwardContext): Tensor {
  const normed = c.norm === 'pre' ? runChild(m, normName, x, ctx) : x
  let y = f(normed)
  // What was made here and is not used again: a tape that does not read it need not hold it.
  if (normed !== x) release(normed, ctx)
  const dropped = c.dropoutAfter === 'both' || (c.dropoutAfter === 'feedForward') === (name === 'down')
  if (ctx.training && c.dropout > 0 && dropped)
    y = dropoutOp(y, c.dropout, { seed: ctx.seed, stream: streamOf(join(ctx.path, name), ctx.step) })
  const sum = add(x, y)
  release(y, ctx)
  return c.norm === 'pre' ? sum : runChild(m, normName, sum, ctx)
}
const runFeedForward =
  (m: Module, c: Common, ctx: ForwardContext) =>
  (x: Tensor): Tensor => {
    const h = activate(c.activation, runChild(m, 'up', x, ctx))
    const y = runChild(m, 'down', h, ctx)
    release(h, ctx)
    return y
  }
/** How channels go through a sublayer: f and its norm as `sublayer` runs them. */
function sublayerChannels(
  flow: ChannelFlow,
  c: Common,
  x: Channels | null,
  normName: string,
  f: (x: Channels | null) => Channels | null,
): Channels | null {
  const sum = flow.join(x, f(c.norm === 'pre' ? flow.child(normName, x) : x))
  return c.norm === 'pre' ? sum : flow.child(normName, sum)
}
const feedForwardChannels =
  (flow: ChannelFlow) =>
  (x: Channels | null): Channels | null => {
    const h = flow.child('up', x)
    flow.resize((count) => (h ? { hidden: count(h.units) } : {}))
    return flow.child('down', h)
  }

/** A plain tensor, or x with the named inputs that are there. */
const named = (x: Tensor, more: Readonly<Record<string, Tensor | null | undefined>>): ModuleInput => {
  const present = Object.entries(more).filter((e): e is [string, Tensor] => !!e[1])
  return present.length > 0 ? { x, ...Object.fromEntries(present) } : x
}

const makeEncoderBlock = defineModule<EncoderBlockConfig>({
  kind: 'encoderBlock',
  config: encoderConfig,
  weights: () => ({}),
  children: (c) => ({ norm1: norm(c), attention: selfAttention(c, c.causal), norm2: norm(c), ...feedForward(c) }),
  forward: (m, c, input, ctx) => {
    const { x, mask } = maskedInput(input)
    const h = sublayer(m, c, x, 'attention', 'norm1', (y) => runChild(m, 'attention', named(y, { mask }), ctx), ctx)
    const y = sublayer(m, c, h, 'down', 'norm2', runFeedForward(m, c, ctx), ctx)
    release(h, ctx)
    return y
  },
  channels: (flow, c, input) => {
    const h = sublayerChannels(flow, c, mainInput(input), 'norm1', (x) => flow.child('attention', x))
    return sublayerChannels(flow, c, h, 'norm2', feedForwardChannels(flow))
  },
  skippable: () => true,
})

/**
 * Self-attention and a feed-forward net. Input x [B, T, width], or named: `x` and `mask` [B, T] with 1 for tokens and 0 for padding. Result [B, T, width].
 *
 * @example
 * encoderBlock({ width: 8, heads: 2, hidden: 16, norm: 'post', dropout: 0.1 })
 */
export function encoderBlock(config: Pick<EncoderBlockConfig, 'width' | 'heads' | 'hidden'> & Partial<EncoderBlockConfig>): ModuleSpec {
  return makeEncoderBlock(config as EncoderBlockConfig)
}

const makeDecoderBlock = defineModule<DecoderBlockConfig>({
  kind: 'decoderBlock',
  config: decoderConfig,
  weights: () => ({}),
  children: (c) => ({
    norm1: norm(c),
    attention: selfAttention(c, true),
    norm2: norm(c),
    cross: crossAttention({ in: c.width, memory: c.memory, width: c.width, out: c.width, heads: c.heads, dropout: c.attentionDropout }),
    norm3: norm(c),
    ...feedForward(c),
  }),
  forward: (m, c, input, ctx) => {
    const { x, memory, mask, memoryMask } = needs(m, input, ['x', 'memory'])
    let h = sublayer(m, c, x, 'attention', 'norm1', (y) => runChild(m, 'attention', named(y, { mask }), ctx), ctx)
    h = sublayer(m, c, h, 'cross', 'norm2', (y) => runChild(m, 'cross', named(y, { memory, memoryMask }), ctx), ctx)
    return sublayer(m, c, h, 'down', 'norm3', runFeedForward(m, c, ctx), ctx)
  },
  channels: (flow, c, input) => {
    const { x = null, memory = null } = namedChannels(input)
    let h = sublayerChannels(flow, c, x, 'norm1', (y) => flow.child('attention', y))
    h = sublayerChannels(flow, c, h, 'norm2', (y) => flow.child('cross', { x: y, memory }))
    return sublayerChannels(flow, c, h, 'norm3', feedForwardChannels(flow))
  },
  skippable: () => true,
})

/**
 * Causal self-attention, attention to the encoder's output and a feed-forward net. Named inputs `x` [B, T, width], `memory` [B, S, memory], optionally
 * `mask` [B, T] and `memoryMask` [B, S]. Result [B, T, width].
 *
 * @example
 * decoderBlock({ width: 8, memory: 12, heads: 2, hidden: 16 })
 */
export function decoderBlock(
  config: Pick<DecoderBlockConfig, 'width' | 'memory' | 'heads' | 'hidden'> & Partial<DecoderBlockConfig>,
): ModuleSpec {
  return makeDecoderBlock(config as DecoderBlockConfig)
}
