/**
 * Multi-head attention with its projections (Vaswani et al. 2017, section 3.2). x [B, T, C]; masks are [B, S] with 1 for tokens and 0 for padding and go
 * with x as named inputs. Blocks made of it: transformer.ts.
 */
import { z } from 'zod'
import { OptionError } from '../base/errors.js'
import { multiHeadAttention } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { headChannels, mainInput, type ChannelFlow, type ChannelInput, type Channels } from './channels.js'
import { linear } from './linear.js'
import { defineModule, join, runChild, type ForwardContext, type Module, type ModuleInput, type ModuleSpec } from './module.js'
import { streamOf } from './simple.js'

/** Splits { x, mask } or a plain tensor. */
export function maskedInput(input: ModuleInput): { x: Tensor; mask: Tensor | null } {
  if ('handle' in input) return { x: input as Tensor, mask: null }
  const named = input
  return { x: named.x!, mask: named.mask ?? null }
}

const common = {
  in: z.int().positive(),
  /** Width of q, k and v together with all heads. */
  width: z.int().positive(),
  out: z.int().positive(),
  heads: z.int().positive(),
  bias: z.boolean().default(true),
  /** Of the attention weights, while training. */
  dropout: z.number().min(0).lt(1).default(0),
}
const headsDivide = (c: { readonly width: number; readonly heads: number }): boolean => c.width % c.heads === 0
const unlessTheyDo = { error: 'width must be a multiple of heads', path: ['heads'] }

const attentionConfig = z.strictObject({
  ...common,
  /** A query sees only the keys up to its own position. */
  causal: z.boolean().default(false),
})
export type AttentionConfig = z.infer<typeof attentionConfig>

/** The four projections by the names of `Attention Is All You Need`. */
const projections = (
  c: Pick<AttentionConfig, 'in' | 'width' | 'out' | 'bias'>,
  memory: number,
): Readonly<Record<'query' | 'key' | 'value' | 'output', ModuleSpec>> => ({
  query: linear({ in: c.in, out: c.width, bias: c.bias, init: 'glorot' }),
  key: linear({ in: memory, out: c.width, bias: c.bias, init: 'glorot' }),
  value: linear({ in: memory, out: c.width, bias: c.bias, init: 'glorot' }),
  output: linear({ in: c.width, out: c.out, bias: c.bias, init: 'glorot' }),
})

/** Dropout of attention weights of the layer that runs. */
export const dropoutOf = (p: number, ctx: ForwardContext): { p: number; seed: number; stream: number } | null =>
  ctx.training && p > 0 ? { p, seed: ctx.seed, stream: streamOf(join(ctx.path, 'weights'), ctx.step) } : null

export const namedChannels = (input: ChannelInput): Readonly<Record<string, Channels | null>> =>
  input !== null && !('units' in input) ? input : { x: mainInput(input) }

/** A head goes with its rows of query, key and value and its columns of the output. */
function projectedHeads(
  flow: ChannelFlow,
  c: Pick<AttentionConfig, 'width' | 'heads'>,
  inputs: readonly [query: Channels | null, key: Channels | null, value: Channels | null],
): Channels | null {
  const [q, k, v] = (['query', 'key', 'value'] as const).map((name, i) => flow.child(name, inputs[i]!)) as [Channels, Channels, Channels]
  const { heard, query } = headChannels(flow, { queries: c.heads, keys: c.heads }, [q, k, v])
  const size = c.width / c.heads
  flow.resize((count) => ({ width: count(query), heads: count(query) / size }))
  return flow.child('output', heard)
}

const makeAttention = defineModule<AttentionConfig>({
  kind: 'attention',
  config: attentionConfig.refine(headsDivide, unlessTheyDo),
  weights: () => ({}),
  children: (c) => projections(c, c.in),
  forward: (m, c, input, ctx) => {
    const { x, mask } = maskedInput(input)
    const named = 'handle' in input ? {} : input
    const q = runChild(m, 'query', x, ctx)
    let k = runChild(m, 'key', named.key ?? x, ctx)
    let v = runChild(m, 'value', named.value ?? named.key ?? x, ctx)
    if (ctx.cache && c.causal) ({ keys: k, values: v } = ctx.cache.append(ctx.path, k, v))
    const heard = multiHeadAttention(q, k, v, {
      heads: c.heads,
      keyMask: mask,
      mask: named.bias ?? null,
      causal: c.causal,
      dropout: dropoutOf(c.dropout, ctx),
    })
    return runChild(m, 'output', heard, ctx)
  },
  channels: (flow, c, input) => {
    const { x = null, key = x, value = key } = namedChannels(input)
    return projectedHeads(flow, c, [x, key, value])
  },
})

/**
 * Attention over one sequence. Input x [B, T, in], or named: `x`, `mask` [B, S] of 1 and 0 over the keys, `key` [B, S, in] (keys and values from another
 * sequence), `value` [B, S, in] (values from a third one), `bias` added to the scores [.., T, S]. Result [B, T, out]. With `causal` and a
 * `KeyValueCache` in the context, keys of earlier calls count too; a mask then covers all keys so far.
 *
 * @example
 * attention({ in: 8, width: 8, out: 8, heads: 2, causal: true })
 */
export function attention(
  config: Pick<AttentionConfig, 'in' | 'width' | 'out' | 'heads'> & Partial<AttentionConfig>,
  children?: Readonly<Record<string, ModuleSpec>>,
): ModuleSpec {
  return makeAttention(config as AttentionConfig, children)
}

const crossConfig = z.strictObject({
  ...common,
  /** Width of the sequence that keys and values come from. */
  memory: z.int().positive(),
})
export type CrossAttentionConfig = z.infer<typeof crossConfig>

/** Named inputs that a module cannot do without. */
export function needs<K extends string>(
  m: Module,
  input: ModuleInput,
  names: readonly K[],
): Readonly<Record<K, Tensor>> & Readonly<Record<string, Tensor | undefined>> {
  const named = ('handle' in input ? { x: input } : input) as Readonly<Record<string, Tensor>>
  for (const name of names)
    if (!named[name])
      throw new OptionError('ERR_OPTION', `${m.kind}: takes the named inputs ${names.join(', ')}, got ${Object.keys(named).join(', ')}`)
  return named
}

const makeCrossAttention = defineModule<CrossAttentionConfig>({
  kind: 'crossAttention',
  config: crossConfig.refine(headsDivide, unlessTheyDo),
  weights: () => ({}),
  children: (c) => projections(c, c.memory),
  forward: (m, c, input, ctx) => {
    const { x, memory, memoryMask } = needs(m, input, ['x', 'memory'])
    const project = (): { keys: Tensor; values: Tensor } => ({
      keys: runChild(m, 'key', memory, ctx),
      values: runChild(m, 'value', memory, ctx),
    })
    const { keys, values } = ctx.cache ? ctx.cache.fixed(ctx.path, project) : project()
    const q = runChild(m, 'query', x, ctx)
    const heard = multiHeadAttention(q, keys, values, { heads: c.heads, keyMask: memoryMask ?? null, dropout: dropoutOf(c.dropout, ctx) })
    return runChild(m, 'output', heard, ctx)
  },
  channels: (flow, c, input) => {
    const { x = null, memory = null } = namedChannels(input)
    return projectedHeads(flow, c, [x, memory, memory])
  },
})

/**
 * Attention of x [B, T, in] to another sequence: named inputs `x`, `memory` [B, S, memory] and optionally `memoryMask` [B, S]. Result [B, T, out]. With a
 * `KeyValueCache` in the context keys and values of the memory are computed once.
 *
 * @example
 * crossAttention({ in: 8, memory: 12, width: 8, out: 8, heads: 2 })
 */
export function crossAttention(
  config: Pick<CrossAttentionConfig, 'in' | 'memory' | 'width' | 'out' | 'heads'> & Partial<CrossAttentionConfig>,
): ModuleSpec {
  return makeCrossAttention(config as CrossAttentionConfig)
}
