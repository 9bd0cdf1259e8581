/**
 * Attention of a decoder's states to the outputs of an encoder, with one score per pair of places, as recurrent translation models have it.
 *
 *   bahdanau   v . tanh(W q + U k + b) with v = g v' / |v'|     Bahdanau, Cho, Bengio 2015, eq. 6, normalised as in Salimans, Kingma 2016
 *   luong      q . W k                                          Luong, Pham, Manning 2015, section 3.1, "general"
 *
 * Scores of padding are hidden, softmax over the memory, then the mean of the memory by these weights.
 */
import { z } from 'zod'
import { ShapeError } from '../base/errors.js'
import { add, linear as product, matmul, mul, norm, reciprocal, reshape, scaleShift, softmax, tanh } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { needs } from './attention.js'
import { filled, uniformIn } from './init.js'
import { linear } from './linear.js'
import { defineModule, runChild, type ModuleSpec } from './module.js'

const config = z.strictObject({
  /** Width of the queries. */
  query: z.int().positive(),
  /** Width of the memory. */
  memory: z.int().positive(),
  /** Units of the score's hidden layer (bahdanau). */
  width: z.int().positive(),
  score: z.enum(['bahdanau', 'luong']).default('bahdanau'),
})
export type SequenceAttentionConfig = z.infer<typeof config>

const make = defineModule<SequenceAttentionConfig>({
  kind: 'sequenceAttention',
  config,
  weights: (c) =>
    c.score === 'luong'
      ? {}
      : {
          vector: { shape: [c.width], role: 'vector', init: (rng) => uniformIn(c.width, 0.1, rng) },
          scale: { shape: [1], role: 'vector', init: () => filled(1, 1 / Math.sqrt(c.width)) },
          bias: { shape: [c.width], role: 'vector', init: () => filled(c.width, 0) },
        },
  children: (c) =>
    c.score === 'luong'
      ? { key: linear({ in: c.memory, out: c.query, bias: false, init: 'glorot' }) }
      : {
          query: linear({ in: c.query, out: c.width, bias: false, init: 'glorot' }),
          key: linear({ in: c.memory, out: c.width, bias: false, init: 'glorot' }),
        },
  forward: (m, c, input, ctx) => {
    const { x, memory, mask } = needs(m, input, ['x', 'memory'])
    if (x.rank !== 3 || memory.rank !== 3 || memory.shape[0] !== x.shape[0])
      throw new ShapeError('ERR_SHAPE', `sequenceAttention: x must be [B, T, C] and memory [B, S, M], got ${x} and ${memory}`)
    const [b, t] = x.shape as [number, number]
    const s = memory.shape[1]!
    if (mask && (mask.rank !== 2 || mask.shape[0] !== b || mask.shape[1] !== s))
      throw new ShapeError('ERR_SHAPE', `sequenceAttention: mask must be [${b}, ${s}], got ${mask}`)
    const project = (): Tensor => runChild(m, 'key', memory, ctx)
    const keys = ctx.cache
      ? ctx.cache.fixed(ctx.path, () => {
          const k = project()
          return { keys: k, values: k }
        }).keys
      : project()
    const score = (): Tensor => {
      if (c.score === 'luong') return matmul(x, keys, false, true)
      const q = add(runChild(m, 'query', x, ctx), m.weights.bias!.dense())
      const h = tanh(add(reshape(q, [b, t, 1, c.width]), reshape(keys, [b, 1, s, c.width])))
      const v = m.weights.vector!.dense()
      const unit = mul(v, mul(m.weights.scale!.dense(), reciprocal(norm(v))))
      return reshape(product(h, reshape(unit, [1, c.width]), null), [b, t, s])
    }
    // -1e30 for padding leaves no weight; a memory of padding alone gives its mean.
    const scores = mask ? add(score(), reshape(scaleShift(mask, 1e30, -1e30), [b, 1, s])) : score()
    return matmul(softmax(scores), memory, false, false)
  },
})

/**
 * Named inputs `x` [B, T, query], `memory` [B, S, memory] and optionally `mask` [B, S] of 1 and 0 -> [B, T, memory]. With a `KeyValueCache` in the
 * context the keys are computed once.
 *
 * - shapes that do not fit: ERR_SHAPE; an input missing: ERR_OPTION
 *
 * @example
 * sequenceAttention({ query: 8, memory: 16, width: 8 })
 */
export function sequenceAttention(
  options: Pick<SequenceAttentionConfig, 'query' | 'memory' | 'width'> & Partial<SequenceAttentionConfig>,
): ModuleSpec {
  return make(options as SequenceAttentionConfig)
}
