/** Normalisation layers. */
import { z } from 'zod'
import { add, batchNorm as batchNormOp, batchNormInference, layerNorm as layerNormOp, scaleShift } from '../ops/index.js'
import { filled } from './init.js'
import { defineModule, join, single, vector } from './module.js'

const layerConfig = z.strictObject({ width: z.int().positive(), eps: z.number().positive().default(1e-5) })
export type LayerNormConfig = z.infer<typeof layerConfig>

/** Over the last dimension (Ba et al. 2016). */
export const layerNorm = defineModule<LayerNormConfig>({
  kind: 'layerNorm',
  config: layerConfig,
  weights: (c) => ({
    gamma: { shape: [c.width], role: 'vector', init: () => filled(c.width, 1) },
    beta: { shape: [c.width], role: 'vector', init: () => filled(c.width, 0) },
  }),
  forward: (m, c, x) => layerNormOp(single('layerNorm', x), vector(m, 'gamma'), vector(m, 'beta'), c.eps),
})

const batchConfig = z.strictObject({
  channels: z.int().positive(),
  eps: z.number().positive().default(1e-5),
  momentum: z.number().min(0).max(1).default(0.1),
})
export type BatchNormConfig = z.infer<typeof batchConfig>

/**
 * Over all dimensions but the second of x [B, C, ...] (Ioffe and Szegedy 2015). Training uses batch statistics and moves the running ones:
 * running += momentum (batch - running).
 */
export const batchNorm = defineModule<BatchNormConfig>({
  kind: 'batchNorm',
  config: batchConfig,
  weights: (c) => ({
    gamma: { shape: [c.channels], role: 'vector', init: () => filled(c.channels, 1) },
    beta: { shape: [c.channels], role: 'vector', init: () => filled(c.channels, 0) },
  }),
  state: (c) => ({ mean: { shape: [c.channels], value: 0 }, variance: { shape: [c.channels], value: 1 } }),
  forward: (m, c, input, ctx) => {
    const x = single('batchNorm', input)
    const running = { mean: m.state.mean!, variance: m.state.variance! }
    const [gamma, beta] = [vector(m, 'gamma'), vector(m, 'beta')]
    if (!ctx.training) return batchNormInference(x, running, gamma, beta, c.eps)
    const out = batchNormOp(x, gamma, beta, c.eps)
    if (ctx.stateUpdates) {
      for (const name of ['mean', 'variance'] as const)
        ctx.stateUpdates.set(join(ctx.path, name), add(scaleShift(running[name], 1 - c.momentum, 0), scaleShift(out[name], c.momentum, 0)))
    }
    return out.y
  },
})
