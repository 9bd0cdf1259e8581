/**
 * Recurrent translation from one sequence to another, after GNMT (Wu et al. 2016, section 3): a bidirectional first encoder layer, then a stack of
 * LSTM layers with residual connections from the third on; a decoder of the same depth whose first layer asks the attention and whose other layers
 * all see what it found. The query is the first layer's state of the same step, as in MLPerf's GNMT, not of the step before: so a whole target
 * runs through each layer at once in training.
 *
 * Inputs by name: `source` i32 [B, S], `target` i32 [B, T] (the begin token, then what was said so far), `sourceLengths` i32 [B] -> scores of the next
 * token [B, T, V]. Training: the task `tokens(sequencePairs(...))`. Decoding: translate.ts.
 */
import { z } from 'zod'
import { OptionError, ShapeError } from '../base/errors.js'
import {
  defineModule,
  dropout,
  embedding,
  linear,
  lstm,
  runChild,
  sequenceAttention,
  type ForwardContext,
  type Module,
  type ModuleSpec,
} from '../nn/index.js'
import { add, concat } from '../ops/index.js'
import { tensor, type Tensor } from '../tensor/index.js'

const config = z.strictObject({
  sourceVocabulary: z.int().positive(),
  targetVocabulary: z.int().positive(),
  /** Of embeddings and of every layer. */
  width: z.int().positive(),
  /** Of the encoder and of the decoder. */
  layers: z.int().min(2).max(64).default(2),
  attention: z.enum(['bahdanau', 'luong']).default('bahdanau'),
  dropout: z.number().min(0).lt(1).default(0),
})
export type Seq2seqConfig = z.infer<typeof config>

const layer = (width: number, hidden: number, bidirectional = false): ModuleSpec =>
  lstm({ in: width, hidden, layers: 1, bidirectional, bias: true, dropout: 0, init: 0 })

const make = defineModule<Seq2seqConfig>({
  kind: 'seq2seq',
  config,
  weights: () => ({}),
  children: (c) => {
    const children: Record<string, ModuleSpec> = {
      sourceEmbedding: embedding({ rows: c.sourceVocabulary, width: c.width }),
      targetEmbedding: embedding({ rows: c.targetVocabulary, width: c.width }),
      attention: sequenceAttention({ query: c.width, memory: c.width, width: c.width, score: c.attention }),
      drop: dropout({ p: c.dropout }),
    }
    for (let i = 0; i < c.layers; i++) {
      children[`encoder${i}`] = i === 0 ? layer(c.width, c.width, true) : layer(i === 1 ? 2 * c.width : c.width, c.width)
      children[`decoder${i}`] = layer(i === 0 ? c.width : 2 * c.width, c.width)
    }
    children.classifier = linear({ in: c.width, out: c.targetVocabulary, bias: true, init: 'fanIn' })
    return children
  },
  forward: (m, c, input, ctx) => {
    const { source, target, sourceLengths } = ('handle' in input ? {} : input) as Readonly<Record<string, Tensor | undefined>>
    if (!source || !target)
      throw new OptionError('ERR_OPTION', 'seq2seq: takes the named inputs source, target and, where lengths differ, sourceLengths')
    const memory = encodeSource(m, c, source, sourceLengths ?? null, ctx)
    return decodeTarget(m, c, target, memory, ctx)
  },
})

/** What a decoder attends to: [B, S, width], with 1 for tokens and 0 for padding [B, S] where lengths differ. */
export interface Seq2seqMemory {
  readonly memory: Tensor
  readonly mask: Tensor | null
}

/** Dropout with draws of its own in front of each layer. */
function dropped(m: Module, x: Tensor, place: string, ctx: ForwardContext): Tensor {
  return runChild(m, 'drop', x, { ...ctx, path: ctx.path === '' ? place : `${ctx.path}.${place}` })
}

/** @internal The encoder. */
export function encodeSource(m: Module, c: Seq2seqConfig, source: Tensor, lengths: Tensor | null, ctx: ForwardContext): Seq2seqMemory {
  if (source.rank !== 2) throw new ShapeError('ERR_SHAPE', `seq2seq: source must be [B, S], got ${source}`)
  let x = runChild(m, 'sourceEmbedding', source, ctx)
  for (let i = 0; i < c.layers; i++) {
    const input = dropped(m, x, `encoder${i}`, ctx)
    const y = runChild(m, `encoder${i}`, lengths ? { x: input, lengths } : input, ctx)
    x = i >= 2 ? add(x, y) : y
  }
  if (!lengths) return { memory: x, mask: null }
  const [b, s] = source.shape as [number, number]
  const counts = lengths.read()
  const there = Float32Array.from({ length: b * s }, (_, i) => (i % s < Number(counts[Math.floor(i / s)]) ? 1 : 0))
  return { memory: x, mask: tensor(there, [b, s]) }
}

/** @internal The decoder; with `carried` in the context it goes on from where the call before stopped. */
export function decodeTarget(m: Module, c: Seq2seqConfig, target: Tensor, { memory, mask }: Seq2seqMemory, ctx: ForwardContext): Tensor {
  if (target.rank !== 2) throw new ShapeError('ERR_SHAPE', `seq2seq: target must be [B, T], got ${target}`)
  let x = runChild(m, 'decoder0', dropped(m, runChild(m, 'targetEmbedding', target, ctx), 'decoder0', ctx), ctx)
  const found = runChild(m, 'attention', mask ? { x, memory, mask } : { x, memory }, ctx)
  for (let i = 1; i < c.layers; i++) {
    const y = runChild(m, `decoder${i}`, concat([dropped(m, x, `decoder${i}`, ctx), found], 2), ctx)
    x = i >= 2 ? add(x, y) : y
  }
  return runChild(m, 'classifier', dropped(m, x, 'classifier', ctx), ctx)
}

/**
 * Architecture of a recurrent sequence-to-sequence model with attention; `layers` 2, `attention` 'bahdanau' and no dropout unless given.
 *
 * - a configuration out of range: ERR_OPTION
 *
 * @example
 * const spec = seq2seq({ sourceVocabulary: 30, targetVocabulary: 42, width: 128 })
 */
export function seq2seq(options: z.input<typeof config>): ModuleSpec {
  return make(options as Seq2seqConfig)
}
