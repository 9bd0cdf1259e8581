/**
 * Multi-head self-attention and a transformer encoder block (Vaswani et al. 2017). x [B, T, C]; mask [B, T] with 1 for tokens and 0 for
 * padding, passed as the named input `mask`.
 */
import { z } from 'zod'
import { add, multiHeadAttention, reshape, scaleShift } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { linear } from './linear.js'
import { defineModule, runChild, type ModuleInput } from './module.js'
import { layerNorm } from './norm.js'
import { activate, activationNames } from './activation.js'

/** Splits { x, mask } or a plain tensor. */
export function maskedInput(input: ModuleInput): { x: Tensor; mask: Tensor | null } {
  if ('handle' in input) return { x: input as Tensor, mask: null }
  const named = input
  return { x: named.x!, mask: named.mask ?? null }
}

/** [B, T] of 1 and 0 -> what is added to the scores [B, 1, 1, T]: 0 for tokens, -1e30 for padding. */
export function hidePadding(mask: Tensor): Tensor {
  return reshape(scaleShift(mask, 1e30, -1e30), [mask.shape[0]!, 1, 1, mask.shape[1]!])
}

const attentionConfig = z.strictObject({
  in: z.int().positive(),
  /** Width of q, k and v together with all heads. */
  width: z.int().positive(),
  out: z.int().positive(),
  heads: z.int().positive(),
  bias: z.boolean().default(true),
})
export type AttentionConfig = z.infer<typeof attentionConfig>

export const attention = defineModule<AttentionConfig>({
  kind: 'attention',
  config: attentionConfig.refine((c) => c.width % c.heads === 0, { message: 'width must be a multiple of heads', path: ['heads'] }),
  weights: () => ({}),
  children: (c) => ({
    query: linear({ in: c.in, out: c.width, bias: c.bias, init: 'glorot' }),
    key: linear({ in: c.in, out: c.width, bias: c.bias, init: 'glorot' }),
    value: linear({ in: c.in, out: c.width, bias: c.bias, init: 'glorot' }),
    output: linear({ in: c.width, out: c.out, bias: c.bias, init: 'glorot' }),
  }),
  forward: (m, c, input, ctx) => {
    const { x, mask } = maskedInput(input)
    const [q, k, v] = (['query', 'key', 'value'] as const).map((name) => runChild(m, name, x, ctx)) as [Tensor, Tensor, Tensor]
    return runChild(m, 'output', multiHeadAttention(q, k, v, { heads: c.heads, mask: mask && hidePadding(mask) }), ctx)
  },
})

const blockConfig = z.strictObject({
  width: z.int().positive(),
  heads: z.int().positive(),
  hidden: z.int().positive(),
  activation: z.enum(activationNames).default('gelu'),
  eps: z.number().positive().default(1e-5),
})
export type EncoderBlockConfig = z.infer<typeof blockConfig>

/** Pre-norm block: x + attention(norm(x)), then x + ffn(norm(x)). */
export const encoderBlock = defineModule<EncoderBlockConfig>({
  kind: 'encoderBlock',
  config: blockConfig,
  weights: () => ({}),
  children: (c) => ({
    norm1: layerNorm({ width: c.width, eps: c.eps }),
    attention: attention({ in: c.width, width: c.width, out: c.width, heads: c.heads, bias: true }),
    norm2: layerNorm({ width: c.width, eps: c.eps }),
    up: linear({ in: c.width, out: c.hidden, bias: true, init: 'glorot' }),
    down: linear({ in: c.hidden, out: c.width, bias: true, init: 'glorot' }),
  }),
  forward: (m, c, input, ctx) => {
    const { x, mask } = maskedInput(input)
    const normed = runChild(m, 'norm1', x, ctx)
    const h = add(x, runChild(m, 'attention', mask ? { x: normed, mask } : normed, ctx))
    const up = activate(c.activation, runChild(m, 'up', runChild(m, 'norm2', h, ctx), ctx))
    return add(h, runChild(m, 'down', up, ctx))
  },
})
