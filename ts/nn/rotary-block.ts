/**
 * The layer of Llama (Touvron et al. 2023) and its kin: x + attention(norm(x)), then h + down(activation(gate(norm(h))) up(norm(h))), with RMS norms, rotary
 * positions and groups of query heads that share keys. Angles come as named inputs `cos` and `sin` (rotary-positions.ts): all layers use the same.
 */
import { z } from 'zod'
import { add, greater, multiHeadAttention, mul, reshape, rotary, scaleShift, slice, sub } from '../ops/index.js'
import { tensor, type Tensor } from '../tensor/index.js'
import { activate, activationNames } from './activation.js'
import { dropoutOf, needs } from './attention.js'
import { headChannels, mainInput } from './channels.js'
import { linear } from './linear.js'
import { defineModule, release, runChild, type ModuleSpec } from './module.js'
import { rmsNorm } from './norm.js'

const attentionConfig = z
  .strictObject({
    /** Width of x. */
    in: z.int().positive(),
    heads: z.int().positive(),
    /** Heads of keys and values; each serves heads / keyHeads heads of queries (Ainslie et al. 2023). */
    keyHeads: z.int().positive(),
    /** Features of a head, all of which turn. */
    headWidth: z.int().positive().multipleOf(2),
    /** Projections with a bias: 'inputs' are query, key and value (Qwen2). */
    bias: z.enum(['none', 'inputs', 'all']).default('none'),
    /** Pairs that turn are neighbours; else i and i + headWidth / 2. */
    interleaved: z.boolean().default(false),
    /** A query sees so many keys at most, its own included (Beltagy et al. 2020, Mistral); null: all up to its own. */
    window: z.int().positive().nullable().default(null),
    /** Of the attention weights, while training. */
    dropout: z.number().min(0).lt(1).default(0),
  })
  .refine((c) => c.heads % c.keyHeads === 0, { error: 'heads must be a multiple of keyHeads', path: ['keyHeads'] })
export type RotaryAttentionConfig = z.infer<typeof attentionConfig>

/** Hides keys of T queries behind S - T earlier ones that are `window` or more before the query: [T, S], 0 or -Infinity. */
function windowMask(queries: number, keys: number, window: number): Tensor {
  const values = new Float32Array(queries * keys)
  for (let i = 0; i < queries; i++) values.fill(-Infinity, i * keys, i * keys + Math.max(0, i + keys - queries - window + 1))
  return tensor(values, [queries, keys])
}

/** The same made of ops, for graphs of any length: positions alone follow the size. [T, T], 0 or -1e9. */
function windowOfAnyLength(tokens: number, window: number): Tensor {
  const positions = (shape: readonly number[]): Tensor => tensor(Float32Array.from({ length: tokens }, (_, i) => i), shape) // prettier-ignore
  const before = sub(positions([tokens, 1]), positions([1, tokens]))
  return scaleShift(greater(before, tensor([window - 1])), -1e9, 0)
}

const makeAttention = defineModule<RotaryAttentionConfig>({
  kind: 'rotaryAttention',
  config: attentionConfig,
  weights: () => ({}),
  children: (c) => {
    const project = (heads: number): ModuleSpec => linear({ in: c.in, out: heads * c.headWidth, bias: c.bias !== 'none', init: 'glorot' })
    return {
      query: project(c.heads),
      key: project(c.keyHeads),
      value: project(c.keyHeads),
      output: linear({ in: c.heads * c.headWidth, out: c.in, bias: c.bias === 'all', init: 'glorot' }),
    }
  },
  forward: (m, c, input, ctx) => {
    const { x, cos, sin, mask: shown = null } = needs(m, input, ['x', 'cos', 'sin'])
    const [b, t] = x.shape as [number, number, number]
    const turned = (name: string, heads: number): Tensor => {
      const y = reshape(runChild(m, name, x, ctx), [b, t, heads, c.headWidth])
      return reshape(rotary(y, cos, sin, { interleaved: c.interleaved }), [b, t, heads * c.headWidth])
    }
    const q = turned('query', c.heads)
    let k = turned('key', c.keyHeads)
    let v = runChild(m, 'value', x, ctx)
    if (ctx.cache) ({ keys: k, values: v } = ctx.cache.append(ctx.path, k, v))
    const keys = k.shape[1]!
    let keyMask: Tensor | null = shown
    let mask: Tensor | null = null
    if (c.window !== null && ctx.wholeTables) mask = windowOfAnyLength(t, c.window)
    else if (c.window !== null && keys > c.window) {
      if (t === 1) {
        const last = (y: Tensor): Tensor => slice(y, [0, keys - c.window!, 0], [b, c.window!, y.shape[2]!])
        ;[k, v] = [last(k), last(v)]
        keyMask &&= slice(keyMask, [0, keys - c.window], [b, c.window])
      } else mask = windowMask(t, keys, c.window)
    }
    const { heads, keyHeads } = c
    const heard = multiHeadAttention(q, k, v, { heads, keyHeads, mask, keyMask, causal: true, dropout: dropoutOf(c.dropout, ctx) })
    return runChild(m, 'output', heard, ctx)
  },
  channels: (flow, c, input) => {
    const x = mainInput(input)
    const { heard, query, key } = headChannels(flow, { queries: c.heads, keys: c.keyHeads }, [
      flow.child('query', x),
      flow.child('key', x),
      flow.child('value', x),
    ])
    flow.resize((count) => ({ heads: count(query) / c.headWidth, keyHeads: count(key) / c.headWidth }))
    return flow.child('output', heard)
  },
})

/**
 * Causal self-attention with rotary positions. Named inputs `x` [B, T, in], `cos` and `sin` [T, 1, headWidth / 2], optionally `mask` [B, S] of 1 and 0 over the
 * keys. Result [B, T, in]. With a `KeyValueCache` in the context keys of earlier calls count too.
 *
 * @example
 * rotaryAttention({ in: 8, heads: 4, keyHeads: 2, headWidth: 2 })
 */
export function rotaryAttention(
  config: Pick<RotaryAttentionConfig, 'in' | 'heads' | 'keyHeads' | 'headWidth'> & Partial<RotaryAttentionConfig>,
): ModuleSpec {
  return makeAttention(config as RotaryAttentionConfig)
}

const blockConfig = z.strictObject({
  width: z.int().positive(),
  hidden: z.int().positive(),
  activation: z.enum(activationNames).default('silu'),
  eps: z.number().positive().default(1e-6),
  heads: z.int().positive(),
  keyHeads: z.int().positive(),
  headWidth: z.int().positive().multipleOf(2),
  attentionBias: z.enum(['none', 'inputs', 'all']).default('none'),
  feedForwardBias: z.boolean().default(false),
  interleaved: z.boolean().default(false),
  window: z.int().positive().nullable().default(null),
  attentionDropout: z.number().min(0).lt(1).default(0),
})
export type RotaryBlockConfig = z.infer<typeof blockConfig>

const makeBlock = defineModule<RotaryBlockConfig>({
  kind: 'rotaryBlock',
  config: blockConfig,
  weights: () => ({}),
  children: (c) => {
    const { width, hidden, heads, keyHeads, headWidth, interleaved, window } = c
    const wide = linear({ in: width, out: hidden, bias: c.feedForwardBias, init: 'glorot' })
    return {
      norm1: rmsNorm({ width, eps: c.eps }),
      attention: rotaryAttention({
        in: width,
        heads,
        keyHeads,
        headWidth,
        interleaved,
        window,
        bias: c.attentionBias,
        dropout: c.attentionDropout,
      }),
      norm2: rmsNorm({ width, eps: c.eps }),
      gate: wide,
      up: wide,
      down: linear({ in: hidden, out: width, bias: c.feedForwardBias, init: 'glorot' }),
    }
  },
  forward: (m, c, input, ctx) => {
    const { x, ...terms } = needs(m, input, ['x', 'cos', 'sin'])
    const given = Object.fromEntries(Object.entries(terms).filter((e): e is [string, Tensor] => !!e[1]))
    const near = runChild(m, 'norm1', x, ctx)
    const heard = runChild(m, 'attention', { x: near, ...given }, ctx)
    release(near, ctx)
    const h = add(x, heard)
    release(heard, ctx)
    const n = runChild(m, 'norm2', h, ctx)
    const gate = activate(c.activation, runChild(m, 'gate', n, ctx))
    const y = runChild(m, 'down', mul(gate, runChild(m, 'up', n, ctx)), ctx)
    release(n, ctx)
    const sum = add(h, y)
    release(y, ctx)
    release(h, ctx)
    return sum
  },
  channels: (flow, _c, input) => {
    const x = mainInput(input)
    const h = flow.join(x, flow.child('attention', flow.child('norm1', x)))
    const n = flow.child('norm2', h)
    const wide = flow.join(flow.child('gate', n), flow.child('up', n))
    flow.resize((count) => (wide ? { hidden: count(wide.units) } : {}))
    return flow.join(h, flow.child('down', wide))
  },
  skippable: () => true,
})

/**
 * Attention and a gated feed-forward net (Shazeer 2020), each behind an RMS norm. Named inputs as `rotaryAttention`; result [B, T, width].
 *
 * @example
 * rotaryBlock({ width: 8, hidden: 16, heads: 4, keyHeads: 2, headWidth: 2 })
 */
export function rotaryBlock(
  config: Pick<RotaryBlockConfig, 'width' | 'hidden' | 'heads' | 'keyHeads' | 'headWidth'> & Partial<RotaryBlockConfig>,
): ModuleSpec {
  return makeBlock(config as RotaryBlockConfig)
}
