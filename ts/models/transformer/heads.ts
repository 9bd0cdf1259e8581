/**
 * Heads on the transformer body; each is the root of a model and takes what the body takes.
 *
 *   textEmbedding     a vector per token [B, T, C], or per text [B, C]: mean over tokens, first token, or BERT's pooler tanh(W first + b)
 *   textClassifier    scores per text [B, classes]
 *   tokenClassifier   scores per token [B, T, classes]
 *   maskedLanguage    scores of the token at each place [B, T, vocabulary] (BERT, RoBERTa, ALBERT, DistilBERT)
 *   causalLanguage    scores of the token behind each place [B, T, vocabulary] (GPT-2)
 *
 * Language heads multiply with the word table itself (Press and Wolf 2017) unless `tied` is false: a file holds it once.
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import { activate, activationNames, defineModule, dropout, layerNorm, linear, runChild } from '../../nn/index.js'
import type { ChannelFlow, ChannelInput, Channels, ForwardContext, Module, ModuleInput, ModuleSpec } from '../../nn/index.js'
import { filled } from '../../nn/init.js'
import {
  argmax,
  broadcastTo,
  cast,
  clip,
  div,
  equal,
  gatherAlong,
  greater,
  mul,
  reshape,
  scaleShift,
  slice,
  sqrt,
  sum,
} from '../../ops/index.js'
import { full, ones, tensor, type Tensor } from '../../tensor/index.js'
import { tokenInput, transformer, transformerConfig, type TransformerConfig } from './body.js'

const body = (c: { readonly body: TransformerConfig }): Readonly<Record<'body', ModuleSpec>> => ({ body: transformer(c.body) })
const dense = (from: number, to: number, bias = true): ModuleSpec => linear({ in: from, out: to, bias, init: 'glorot' })

/** [B, T, C] -> the first token's row of each text [B, C]. */
function firstToken(h: Tensor): Tensor {
  const [b, t, c] = h.shape as [number, number, number]
  return t === 1 ? reshape(h, [b, c]) : reshape(slice(h, [0, 0, 0], [b, 1, c]), [b, c])
}

/** What the body gives, as a row per text. */
function textChannels(flow: ChannelFlow, x: ChannelInput): Channels | null {
  const h = flow.child('body', x)
  return h && { axis: -1, rank: 2, units: h.units }
}

/** Row of the last token of each text: the last with mask 1, without a mask the last that is not padding (the first token if all are). */
function lastToken(h: Tensor, ids: Tensor, mask: Tensor | null, padding: number | null): Tensor {
  const [b, t, c] = h.shape as [number, number, number]
  const places = tensor(Float32Array.from({ length: t }, (_, i) => i)) // the largest one that counts
  const shown = mask ?? (padding === null ? ones([b, t]) : scaleShift(cast(equal(ids, full([], padding, 'i32')), 'f32'), -1, 1))
  const at = argmax(mul(cast(greater(shown, full([], 0)), 'f32'), places))
  return reshape(gatherAlong(h, broadcastTo(reshape(at, [b, 1, 1]), [b, 1, c]), 1), [b, c])
}

/** Mean over the tokens that the mask shows [B, C]. */
function meanOfTokens(h: Tensor, mask: Tensor | null): Tensor {
  const [b, t] = h.shape as [number, number]
  if (!mask) return div(sum(h, [1]), tensor(new Float32Array([Math.max(t, 1)]), [1, 1]))
  return div(sum(mul(h, reshape(mask, [b, t, 1])), [1]), clip(sum(mask, [1], true), 1e-9, Infinity))
}

const embeddingConfig = z.strictObject({
  body: transformerConfig,
  output: z.enum(['tokens', 'mean', 'first', 'pooled']),
  /** Has BERT's pooler; 'pooled' needs it, the others keep it for other uses of the file. */
  pooler: z.boolean().default(false),
  /** Scales each vector to length 1. */
  normalize: z.boolean().default(false),
})
export type TextEmbeddingConfig = z.infer<typeof embeddingConfig>

/** The body's vectors as they are, or one per text. */
export const textEmbedding = defineModule<TextEmbeddingConfig>({
  kind: 'textEmbedding',
  config: embeddingConfig.refine((c) => c.output !== 'pooled' || c.pooler, { error: 'output pooled needs a pooler', path: ['pooler'] }),
  weights: () => ({}),
  children: (c) => ({ ...body(c), ...(c.pooler ? { pooler: dense(c.body.width, c.body.width) } : {}) }),
  forward: (m, c, input, ctx) => {
    const h = runChild(m, 'body', input, ctx)
    if (c.output === 'tokens') return h
    let y: Tensor
    if (c.output === 'mean') y = meanOfTokens(h, tokenInput(m.kind, input).mask)
    else y = firstToken(h)
    if (c.output === 'pooled') y = activate('tanh', runChild(m, 'pooler', y, ctx))
    return c.normalize ? div(y, sqrt(clip(sum(mul(y, y), [1], true), 1e-24, Infinity))) : y
  },
  channels: (flow, c, x) => {
    const y = textChannels(flow, x)
    return c.pooler ? flow.child('pooler', y) : y
  },
})

const classifierConfig = z.strictObject({
  body: transformerConfig,
  classes: z.int().positive(),
  /** Which token stands for the text. */
  token: z.enum(['first', 'last']).default('first'),
  /** Function behind the dense layer before the scores; null: there is no such layer. */
  pooler: z.enum(activationNames).nullable().default('tanh'),
  /** Also before the dense layer (RoBERTa). */
  dropoutFirst: z.boolean().default(false),
  dropout: z.number().min(0).lt(1).default(0),
  bias: z.boolean().default(true),
})
export type TextClassifierConfig = z.infer<typeof classifierConfig>
const makeClassifier = defineModule<TextClassifierConfig>({
  kind: 'textClassifier',
  config: classifierConfig,
  weights: () => ({}),
  children: (c) => ({
    ...body(c),
    ...(c.dropoutFirst ? { dropFirst: dropout({ p: c.dropout }) } : {}),
    ...(c.pooler ? { pooler: dense(c.body.width, c.body.width) } : {}),
    drop: dropout({ p: c.dropout }),
    out: dense(c.body.width, c.classes, c.bias),
  }),
  forward: (m, c, input, ctx) => {
    const h = runChild(m, 'body', input, ctx)
    const { ids, mask } = tokenInput(m.kind, input)
    let y = c.token === 'first' ? firstToken(h) : lastToken(h, ids, mask, c.body.padding)
    if (c.dropoutFirst) y = runChild(m, 'dropFirst', y, ctx)
    if (c.pooler) y = activate(c.pooler, runChild(m, 'pooler', y, ctx))
    return runChild(m, 'out', runChild(m, 'drop', y, ctx), ctx)
  },
  channels: (flow, c, x) => {
    const y = textChannels(flow, x)
    return flow.child('out', c.pooler ? flow.child('pooler', y) : y)
  },
})
/** Classifier of texts: the first token (GPT-2: the last), a dense layer with `pooler` behind it, dropout, scores [B, classes]. */
export function textClassifier(config: z.input<typeof classifierConfig>): ModuleSpec {
  return makeClassifier(config as TextClassifierConfig)
}

const tokensConfig = z.strictObject({
  body: transformerConfig,
  classes: z.int().positive(),
  dropout: z.number().min(0).lt(1).default(0),
})
export type TokenClassifierConfig = z.infer<typeof tokensConfig>
const makeTokenClassifier = defineModule<TokenClassifierConfig>({
  kind: 'tokenClassifier',
  config: tokensConfig,
  weights: () => ({}),
  children: (c) => ({ ...body(c), drop: dropout({ p: c.dropout }), out: dense(c.body.width, c.classes) }),
  forward: (m, _c, input, ctx) => runChild(m, 'out', runChild(m, 'drop', runChild(m, 'body', input, ctx), ctx), ctx),
  channels: (flow, _c, x) => flow.child('out', flow.child('body', x)),
})
/** Classifier of tokens: scores [B, T, classes]. */
export function tokenClassifier(config: z.input<typeof tokensConfig>): ModuleSpec {
  return makeTokenClassifier(config as TokenClassifierConfig)
}

/** Scores over the vocabulary: the product with the word table, or with a matrix of its own. */
function wordScores(m: Module, tied: boolean, h: Tensor, bias: Tensor | null, ctx: ForwardContext): Tensor {
  const [holder, layer] = tied ? [m.children.body?.children.words, 'body.words'] : [m.children.decoder, 'decoder']
  const weight = holder?.weights.weight
  if (!weight) throw new OptionError('ERR_OPTION', `${m.kind}: the model has no ${layer}`)
  const path = ctx.path === '' ? layer : `${ctx.path}.${layer}`
  if (!tied) ctx.observe?.(path, h)
  return weight.apply(h, { op: 'linear', bias }, { ...ctx, path })
}

const maskedConfig = z.strictObject({
  body: transformerConfig,
  activation: z.enum(activationNames).default('gelu'),
  tied: z.boolean().default(true),
})
export type MaskedLanguageConfig = z.infer<typeof maskedConfig>
const makeMasked = defineModule<MaskedLanguageConfig>({
  kind: 'maskedLanguage',
  config: maskedConfig,
  weights: ({ body: b }) => ({ bias: { shape: [b.vocabulary], role: 'vector', init: () => filled(b.vocabulary, 0) } }),
  children: (c) => ({
    ...body(c),
    transform: dense(c.body.width, c.body.embedding),
    norm: layerNorm({ width: c.body.embedding, eps: c.body.eps }),
    ...(c.tied ? {} : { decoder: dense(c.body.embedding, c.body.vocabulary, false) }),
  }),
  forward: (m, c, input, ctx) => {
    const h = activate(c.activation, runChild(m, 'transform', runChild(m, 'body', input, ctx), ctx))
    return wordScores(m, c.tied, runChild(m, 'norm', h, ctx), m.weights.bias!.dense(), ctx)
  },
  channels: (flow, c, x) => {
    const h = flow.child('norm', flow.child('transform', flow.child('body', x)))
    return c.tied ? h : flow.child('decoder', h)
  },
})
/** Masked language model: scores [B, T, vocabulary] = table norm(activation(W h + b)) + bias. */
export function maskedLanguage(config: z.input<typeof maskedConfig>): ModuleSpec {
  return makeMasked(config as MaskedLanguageConfig)
}

const causalConfig = z.strictObject({ body: transformerConfig, tied: z.boolean().default(true) })
export type CausalLanguageConfig = z.infer<typeof causalConfig>
const makeCausal = defineModule<CausalLanguageConfig>({
  kind: 'causalLanguage',
  config: causalConfig,
  weights: () => ({}),
  children: (c) => ({ ...body(c), ...(c.tied ? {} : { decoder: dense(c.body.width, c.body.vocabulary, false) }) }),
  forward: (m, c, input: ModuleInput, ctx) => wordScores(m, c.tied, runChild(m, 'body', input, ctx), null, ctx),
  channels: (flow, c, x) => {
    const h = flow.child('body', x)
    return c.tied ? h : flow.child('decoder', h)
  },
})
/** Language model that reads from left to right: scores of the next token [B, T, vocabulary]. */
export function causalLanguage(config: z.input<typeof causalConfig>): ModuleSpec {
  return makeCausal(config as CausalLanguageConfig)
}
