/**
 * The body that BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019), ALBERT (Lan et al. 2020), DistilBERT (Sanh et al. 2019) and GPT-2 (Radford et al.
 * 2019) share, from token ids to one vector per token:
 *
 *   post-norm   x = dropout(norm(words + positions + types)), project to `width` where the tables are narrower, then `layers` blocks
 *   pre-norm    x = dropout(words + positions), then `layers` causal blocks, then norm
 *   rotary      x = dropout(words), then `layers` blocks of Llama (nn/rotary-block.ts), then an RMS norm (Touvron et al. 2023; Mistral, Qwen2)
 *
 * Input ids i32 [B, T], or named: `ids`, `mask` f32 [B, T] with 1 for tokens and 0 for padding, `types` i32 [B, T] (sentence 0 or 1; 0 when left out).
 * Result [B, T, width].
 *
 * With fewer `distinct` layers than `layers`, each stands in the tree once and runs for a stretch of them (ALBERT): a file holds it once, its gradient
 * is the sum over its uses, and dropout draws anew at each use.
 */
import { z } from 'zod'
import { OptionError, ShapeError } from '../../base/errors.js'
import {
  activationNames,
  defineModule,
  dropout,
  embedding,
  encoderBlock,
  layerNorm,
  join,
  learnedPositions,
  linear,
  rmsNorm,
  rotaryBlock,
  rotaryScaling,
  rotaryTables,
  runChild,
} from '../../nn/index.js'
import type { ForwardContext, Module, ModuleInput, ModuleSpec } from '../../nn/index.js'
import { add, cast, cumsum, equal, mul, scaleShift, slice } from '../../ops/index.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'

const rate = z.number().min(0).lt(1).default(0)
/** What Llama's layers have that those of GPT-2 have not. */
const rotary = z.strictObject({
  /** Heads of keys and values. */
  keyHeads: z.int().positive(),
  headWidth: z.int().positive().multipleOf(2),
  theta: z.number().positive(),
  scaling: rotaryScaling.nullable().default(null),
  interleaved: z.boolean().default(false),
  attentionBias: z.enum(['none', 'inputs', 'all']).default('none'),
  feedForwardBias: z.boolean().default(false),
  window: z.int().positive().nullable().default(null),
})
export type RotaryConfig = z.infer<typeof rotary>
const shape = z.strictObject({
  vocabulary: z.int().positive(),
  /** Columns of the tables. */
  embedding: z.int().positive(),
  width: z.int().positive(),
  layers: z.int().positive().max(1024),
  /** Layers with weights of their own. */
  distinct: z.int().positive(),
  heads: z.int().positive(),
  hidden: z.int().positive(),
  /** Rows of the position table; with rotary positions: most tokens of a text. */
  positions: z.int().positive(),
  /** Rows of the table of sentence types; 0: there is none. */
  types: z.int().min(0).default(0),
  /** Id that pads. Its row of the word table gets no gradient, except in causal bodies, where another token (the end) often pads. */
  padding: z.int().min(0).nullable().default(null),
  /** RoBERTa counts positions of tokens that are not padding, from padding + 1; the padding itself has position `padding`. */
  positionsFrom: z.enum(['start', 'padding']).default('start'),
  activation: z.enum(activationNames),
  eps: z.number().positive(),
  norm: z.enum(['pre', 'post']),
  causal: z.boolean(),
  /** A projection from the tables to `width`; needed where `embedding` differs from it. */
  project: z.boolean().default(false),
  embeddingDropout: rate,
  dropout: rate,
  attentionDropout: rate,
  /** Which sublayers `dropout` follows. */
  dropoutAfter: z.enum(['both', 'attention', 'feedForward']).default('both'),
  /** Rotary positions and Llama's layers; null: a table of positions and those of BERT and GPT-2. */
  rotary: rotary.nullable().default(null),
})
const suitsRotary = (c: z.infer<typeof shape>): boolean =>
  c.causal && c.norm === 'pre' && c.types === 0 && !c.project && c.positionsFrom === 'start' && c.dropout === 0
export const transformerConfig = shape
  .refine((c) => c.project || c.embedding === c.width, { error: 'must equal width where there is no projection', path: ['embedding'] })
  .refine((c) => c.rotary !== null || c.width % c.heads === 0, { error: 'width must be a multiple of heads', path: ['heads'] })
  .refine((c) => c.rotary === null || c.heads % c.rotary.keyHeads === 0, {
    error: 'heads must be a multiple of those of keys',
    path: ['rotary', 'keyHeads'],
  })
  .refine((c) => c.rotary === null || suitsRotary(c), {
    error: 'rotary bodies are causal, with norms before their layers, and have no types, projection or dropout behind layers',
    path: ['rotary'],
  })
  .refine((c) => c.rotary?.scaling?.type !== 'divisors' || c.rotary.scaling.values.length * 2 === c.rotary.headWidth, {
    error: 'must have one divisor for two features of a head',
    path: ['rotary', 'scaling', 'values'],
  })
  .refine((c) => c.layers % c.distinct === 0, { error: 'layers must be a multiple of the distinct ones', path: ['distinct'] })
  .refine((c) => c.padding === null || c.padding < c.vocabulary, { error: 'must be below vocabulary', path: ['padding'] })
  .refine((c) => c.positionsFrom === 'start' || (c.padding !== null && c.padding + 1 < c.positions), {
    error: "positions from 'padding' need a padding id below the positions",
    path: ['positionsFrom'],
  })
export type TransformerConfig = z.infer<typeof transformerConfig>

/** Tokens that one text may have. */
export function maxTokens(c: TransformerConfig): number {
  return c.positionsFrom === 'padding' ? c.positions - c.padding! - 1 : c.positions
}

export interface TokenInput {
  readonly ids: Tensor
  readonly mask: Tensor | null
  readonly types: Tensor | null
}

/** ids, mask and types of an input; their shapes must agree. */
export function tokenInput(kind: string, input: ModuleInput): TokenInput {
  const named = ('handle' in input ? { ids: input } : input) as Readonly<Record<string, Tensor | undefined>>
  const { ids, mask = null, types = null, ...rest } = named
  if (!ids || ids.rank !== 2)
    throw new ShapeError('ERR_SHAPE', `${kind}: takes ids i32 [B, T], alone or as { ids, mask, types }, got ids ${String(ids)}`)
  for (const [name, t] of Object.entries({ mask, types }))
    if (t && !t.sameShape(ids) && !(name === 'mask' && t.rank === 2 && t.shape[0] === ids.shape[0]))
      throw new ShapeError('ERR_SHAPE', `${kind}: ${name} must have the shape of the ids, got ${t} and ${ids}`)
  const unknown = Object.keys(rest)
  if (unknown.length) throw new OptionError('ERR_OPTION', `${kind}: unknown inputs ${unknown.join(', ')}; takes ids, mask, types`)
  return { ids, mask, types }
}

/** RoBERTa's position of each token: padding + its place among those that are not padding. */
function positionsPastPadding(ids: Tensor, c: TransformerConfig): Tensor {
  const padding = c.padding!
  const shown = scaleShift(cast(equal(ids, full([], padding, 'i32')), 'f32'), -1, 1)
  return cast(scaleShift(mul(cumsum(shown, 1), shown), 1, padding), 'i32')
}

/** Each use of a shared layer draws another pattern of dropout. */
const forUse = (ctx: ForwardContext, use: number): ForwardContext =>
  use === 0 || !ctx.training ? ctx : { ...ctx, seed: (ctx.seed ^ Math.imul(use, 0x9e3779b1)) >>> 0 }

function embed(m: Module, c: TransformerConfig, { ids, types }: TokenInput, ctx: ForwardContext): Tensor {
  let x = runChild(m, 'words', ids, ctx)
  if (m.children.types) x = add(x, runChild(m, 'types', types ?? tensor(new Int32Array(1), [1, 1]), ctx))
  else if (types) throw new OptionError('ERR_OPTION', 'transformer: this model has no sentence types, got the input types')
  const [tokens, room] = [ids.shape[1]!, maxTokens(c)]
  if (tokens > room) throw new ShapeError('ERR_SHAPE', `transformer: takes at most ${room} tokens, got ids ${ids}`)
  if (c.positionsFrom === 'padding') x = add(x, runChild(m, 'positions', positionsPastPadding(ids, c), ctx))
  else if (!c.rotary) x = runChild(m, 'positions', x, ctx)
  if (c.norm === 'post') x = runChild(m, 'norm', x, ctx)
  x = runChild(m, 'drop', x, ctx)
  return c.project ? runChild(m, 'project', x, ctx) : x
}

const makeTransformer = defineModule<TransformerConfig>({
  kind: 'transformer',
  config: transformerConfig,
  weights: () => ({}),
  children: (c) => ({
    words: embedding({ rows: c.vocabulary, width: c.embedding, paddingIndex: c.causal ? null : c.padding }),
    ...(c.rotary ? {} : { positions: positionTable(c) }),
    ...(c.types > 0 ? { types: embedding({ rows: c.types, width: c.embedding }) } : {}),
    ...(c.norm === 'post' ? { norm: layerNorm({ width: c.embedding, eps: c.eps }) } : {}),
    drop: dropout({ p: c.embeddingDropout }),
    ...(c.project ? { project: linear({ in: c.embedding, out: c.width, bias: true, init: 'glorot' }) } : {}),
    ...Object.fromEntries(Array.from({ length: c.distinct }, (_, i) => [`layer${i}`, layer(c)])),
    ...(c.norm === 'pre' ? { norm: (c.rotary ? rmsNorm : layerNorm)({ width: c.width, eps: c.eps }) } : {}),
  }),
  forward: (m, c, input, ctx) => {
    const tokens = tokenInput('transformer', input)
    let x = embed(m, c, tokens, ctx)
    const uses = c.layers / c.distinct
    const terms = { ...(c.rotary ? angles(c, c.rotary, tokens.ids.shape[1]!, ctx) : {}), ...(tokens.mask ? { mask: tokens.mask } : {}) }
    const plain = Object.keys(terms).length === 0
    for (let i = 0; i < c.layers; i++) x = runChild(m, `layer${Math.floor(i / uses)}`, plain ? x : { x, ...terms }, forUse(ctx, i % uses))
    return c.norm === 'pre' ? runChild(m, 'norm', x, ctx) : x
  },
  channels: (flow, c, _input, m) => {
    let x = flow.child('words', null)
    if (m.children.types) x = flow.join(x, flow.child('types', null))
    if (c.positionsFrom === 'padding') x = flow.join(x, flow.child('positions', null))
    else if (!c.rotary) x = flow.child('positions', x)
    if (c.norm === 'post') x = flow.child('norm', x)
    if (c.project) x = flow.child('project', x)
    const uses = c.layers / c.distinct
    for (let i = 0; i < c.layers; i++) x = flow.child(`layer${Math.floor(i / uses)}`, x)
    if (c.norm === 'pre') x = flow.child('norm', x)
    // Tied heads and their kin read the channels of the tables.
    flow.freeze(x, 'the stream between the layers')
    return x
  },
})

function positionTable(c: TransformerConfig): ModuleSpec {
  if (c.positionsFrom === 'padding') return embedding({ rows: c.positions, width: c.embedding, paddingIndex: c.padding })
  return learnedPositions({ positions: c.positions, width: c.embedding })
}

/** Tables of the angles of these tokens. */
function angles(c: TransformerConfig, rotary: RotaryConfig, tokens: number, ctx: ForwardContext): { cos: Tensor; sin: Tensor } {
  const first = ctx.cache?.advance(join(ctx.path, 'rotary'), tokens) ?? 0
  if (first + tokens > c.positions)
    throw new ShapeError('ERR_SHAPE', `transformer: there are ${c.positions} positions, got ${first + tokens} tokens`)
  const how = { width: rotary.headWidth, theta: rotary.theta, scaling: rotary.scaling }
  if (!ctx.wholeTables) return rotaryTables(how, first, tokens)
  const { cos, sin } = rotaryTables(how, 0, c.positions)
  const cut = (t: Tensor): Tensor => slice(t, [0, 0, 0], [tokens, 1, t.shape[2]!])
  return { cos: cut(cos), sin: cut(sin) }
}

function layer(c: TransformerConfig): ModuleSpec {
  if (c.rotary) {
    const { keyHeads, headWidth, interleaved, attentionBias, feedForwardBias, window } = c.rotary
    const sizes = { width: c.width, hidden: c.hidden, heads: c.heads, keyHeads, headWidth }
    const how = { activation: c.activation, eps: c.eps, interleaved, attentionBias, feedForwardBias, window }
    return rotaryBlock({ ...sizes, ...how, attentionDropout: c.attentionDropout })
  }
  const { width, heads, hidden, activation, eps, norm, causal, dropout: p, attentionDropout, dropoutAfter } = c
  return encoderBlock({ width, heads, hidden, activation, eps, norm, causal, dropout: p, attentionDropout, dropoutAfter })
}

/**
 * The body without a head. Heads: heads.ts; configurations of published models: published.ts.
 *
 * @example
 * transformer({ vocabulary: 100, embedding: 8, width: 8, layers: 2, heads: 2, hidden: 16, positions: 32, norm: 'post', causal: false, eps: 1e-12, activation: 'gelu' })
 */
export function transformer(config: z.input<typeof shape>): ModuleSpec {
  return makeTransformer(config as TransformerConfig)
}
