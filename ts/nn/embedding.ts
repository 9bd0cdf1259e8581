/** Table lookup: ids i32 [...] -> [..., width], and positions. */
import { z } from 'zod'
import { ShapeError } from '../base/errors.js'
import { add, narrowed, slice } from '../ops/index.js'
import { tensor, type Tensor } from '../tensor/index.js'
import { freezesChannels, mainInput } from './channels.js'
import { normals } from './init.js'
import { defineModule, single, type ForwardContext, type ModuleSpec } from './module.js'

const config = z
  .strictObject({
    rows: z.int().positive(),
    width: z.int().positive(),
    paddingIndex: z.int().min(0).nullable().default(null),
  })
  .refine((c) => c.paddingIndex === null || c.paddingIndex < c.rows, { error: 'paddingIndex must be below rows', path: ['paddingIndex'] })
export type EmbeddingConfig = z.infer<typeof config>

const makeEmbedding = defineModule<EmbeddingConfig>({
  kind: 'embedding',
  config,
  weights: (c) => ({
    weight: {
      shape: [c.rows, c.width],
      role: 'table',
      init: (rng) => {
        const values = normals(c.rows * c.width, 0.02, rng)
        if (c.paddingIndex !== null) values.fill(0, c.paddingIndex * c.width, (c.paddingIndex + 1) * c.width)
        return values
      },
    },
  }),
  forward: (m, c, input, ctx) =>
    m.weights.weight!.apply(
      single('embedding', input),
      c.paddingIndex === null ? { op: 'lookup' } : { op: 'lookup', paddingIndex: c.paddingIndex },
      ctx,
    ),
  channels: (flow, c) => {
    const units = flow.make(c.width, 'neuron')
    flow.slice('weight', 1, units, 'filter')
    flow.resize((count) => ({ width: count(units) }))
    return { axis: -1, units }
  },
})

/**
 * Rows of a table [rows, width]; an id outside is ERR_SHAPE. The row `paddingIndex` begins as zeros and gets no gradient.
 *
 * @example
 * embedding({ rows: 30522, width: 768, paddingIndex: 0 })
 */
export function embedding(config: Pick<EmbeddingConfig, 'rows' | 'width'> & Partial<EmbeddingConfig>): ModuleSpec {
  return makeEmbedding(config as EmbeddingConfig)
}

/** Position of the first token of x: behind those that the cache counts. */
function firstPosition(x: Tensor, ctx: ForwardContext): number {
  return ctx.cache ? ctx.cache.advance(ctx.path, x.shape[1]!) : 0
}
function expectSequence(kind: string, x: Tensor, width: number): Tensor {
  if (x.rank !== 3 || x.shape[2] !== width) throw new ShapeError('ERR_SHAPE', `${kind}: x must be [B, T, ${width}], got ${x}`)
  return x
}

const learnedConfig = z.strictObject({ positions: z.int().positive(), width: z.int().positive() })
export type LearnedPositionsConfig = z.infer<typeof learnedConfig>

/**
 * x [B, T, width] plus a learned row per position (Gehring et al. 2017). More than `positions` tokens are ERR_SHAPE. With a `KeyValueCache` in the context
 * positions go on from call to call.
 *
 * @example
 * learnedPositions({ positions: 512, width: 768 })
 */
export const learnedPositions = defineModule<LearnedPositionsConfig>({
  kind: 'learnedPositions',
  config: learnedConfig,
  weights: (c) => ({
    weight: { shape: [c.positions, c.width], role: 'table', init: (rng) => normals(c.positions * c.width, 0.02, rng) },
  }),
  forward: (m, c, input, ctx) => {
    const x = expectSequence('learnedPositions', single('learnedPositions', input), c.width)
    const [first, tokens] = [firstPosition(x, ctx), x.shape[1]!]
    if (first + tokens > c.positions)
      throw new ShapeError('ERR_SHAPE', `learnedPositions: there are ${c.positions} positions, got ${first + tokens} tokens`)
    return add(x, narrowed(slice(m.weights.weight!.dense(), [first, 0], [tokens, c.width])))
  },
  channels: (flow, c, input) => {
    const units = flow.take(mainInput(input), 'last', c.width)
    flow.slice('weight', 1, units, 'beside')
    flow.resize((count) => ({ width: count(units) }))
    return { axis: -1, rank: 3, units }
  },
})

const sinusoidalConfig = z.strictObject({ width: z.int().positive().multipleOf(2) })
export type SinusoidalPositionsConfig = z.infer<typeof sinusoidalConfig>

/**
 * x [B, T, width] plus sin(p / 10000^(2i / width)) in columns 2i and the cosine in columns 2i + 1 (Vaswani et al. 2017, section 3.5).
 *
 * @example
 * sinusoidalPositions({ width: 512 })
 */
export const sinusoidalPositions = defineModule<SinusoidalPositionsConfig>({
  kind: 'sinusoidalPositions',
  config: sinusoidalConfig,
  weights: () => ({}),
  forward: (_m, c, input, ctx) => {
    const x = expectSequence('sinusoidalPositions', single('sinusoidalPositions', input), c.width)
    return add(x, narrowed(sinusoids(firstPosition(x, ctx), x.shape[1]!, c.width)))
  },
  channels: freezesChannels('each channel has a sine of its own'),
})

/** f32 [tokens, width] for positions first, first + 1, ... */
function sinusoids(first: number, tokens: number, width: number): Tensor {
  const values = new Float32Array(tokens * width)
  for (let i = 0; i < width; i += 2) {
    const rate = Math.exp((-Math.log(10_000) * i) / width)
    for (let p = 0; p < tokens; p++) {
      values[p * width + i] = Math.sin((first + p) * rate)
      values[p * width + i + 1] = Math.cos((first + p) * rate)
    }
  }
  return tensor(values, [tokens, width])
}
