/** Normalisation layers. */
import { z } from 'zod'
import {
  add,
  batchNorm as batchNormOp,
  batchNormInference,
  groupNorm as groupNormOp,
  layerNorm as layerNormOp,
  relu,
  rmsNorm as rmsNormOp,
  scaleShift,
  type BatchNormThen,
} from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { blocks, freezesChannels, mainInput } from './channels.js'
import { filled } from './init.js'
import {
  defineModule,
  join,
  runChild,
  single,
  vector,
  type ForwardContext,
  type Module,
  type ModuleInput,
  type ModuleSpec,
} from './module.js'

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
  channels: freezesChannels('a layer norm takes mean and variance of all its channels together'),
})

const batchConfig = z.strictObject({
  channels: z.int().positive(),
  eps: z.number().positive().default(1e-5),
  momentum: z.number().min(0).max(1).default(0.1),
  /** Normalise with the running statistics also in training and leave them alone (fine-tuning). */
  frozen: z.boolean().default(false),
})
export type BatchNormConfig = z.infer<typeof batchConfig>

const makeBatchNorm = defineModule<BatchNormConfig>({
  kind: 'batchNorm',
  config: batchConfig,
  weights: (c) => ({
    gamma: { shape: [c.channels], role: 'vector', init: () => filled(c.channels, 1) },
    beta: { shape: [c.channels], role: 'vector', init: () => filled(c.channels, 0) },
  }),
  state: (c) => ({ mean: { shape: [c.channels], value: 0 }, variance: { shape: [c.channels], value: 1 } }),
  absorb: (_m, _c, next) =>
    next.kind === 'activation' && next.config.function === 'relu' ? (m, c, x, ctx) => normalise(m, c, x, ctx, { relu: true }) : undefined,
  forward: (m, c, x, ctx) => normalise(m, c, x, ctx, {}),
  channels: (flow, c, input) => {
    const x = mainInput(input)
    const units = flow.take(x, 'second', c.channels)
    flow.slice('gamma', 0, units, 'scale')
    for (const name of ['beta', 'mean', 'variance']) flow.slice(name, 0, units, 'beside')
    flow.resize((count) => ({ channels: count(units) }))
    return { axis: 1, ...(x?.rank === undefined ? {} : { rank: x.rank }), units }
  },
})

function normalise(m: Module, c: BatchNormConfig, input: ModuleInput, ctx: ForwardContext, then: BatchNormThen): Tensor {
  const x = single('batchNorm', input)
  const running = { mean: m.state.mean!, variance: m.state.variance! }
  const [gamma, beta] = [vector(m, 'gamma'), vector(m, 'beta')]
  if (!ctx.training || c.frozen) return finish(batchNormInference(x, running, gamma, beta, c.eps), then)
  const out = batchNormOp(x, gamma, beta, c.eps, then)
  if (ctx.stateUpdates) {
    for (const name of ['mean', 'variance'] as const)
      ctx.stateUpdates.set(join(ctx.path, name), add(scaleShift(running[name], 1 - c.momentum, 0), scaleShift(out[name], c.momentum, 0)))
  }
  return out.y
}

const finish = (y: Tensor, { residual, relu: clamped }: BatchNormThen): Tensor => {
  const sum = residual ? add(y, residual) : y
  return clamped ? relu(sum) : sum
}

/**
 * The child `name` of m, the sum with `residual` and the ReLU behind it, as one computation where the child is a batch norm. Values and gradients are those of
 * the separate steps.
 */
export function runNormThen(m: Module, name: string, x: Tensor, ctx: ForwardContext, then: BatchNormThen): Tensor {
  const child = m.children[name]
  const fits = then.residual?.sameShape(x) ?? true
  if (child?.kind !== 'batchNorm' || ctx.output || !fits) return finish(runChild(m, name, x, ctx), then)
  return normalise(child, child.config as BatchNormConfig, x, { ...ctx, path: join(ctx.path, name) }, then)
}

/**
 * Over all dimensions but the second of x [B, C, ...] (Ioffe and Szegedy 2015). Training uses batch statistics and moves the running ones:
 * running += momentum (batch - running). Without `stateUpdates` in the context (a second pass over the same batch, as SAM takes) they stay.
 */
export function batchNorm(config: Pick<BatchNormConfig, 'channels'> & Partial<BatchNormConfig>): ModuleSpec {
  return makeBatchNorm(config as BatchNormConfig)
}

const rmsConfig = z.strictObject({ width: z.int().positive(), eps: z.number().positive().default(1e-6) })
export type RmsNormConfig = z.infer<typeof rmsConfig>
const makeRmsNorm = defineModule<RmsNormConfig>({
  kind: 'rmsNorm',
  config: rmsConfig,
  weights: (c) => ({ gamma: { shape: [c.width], role: 'vector', init: () => filled(c.width, 1) } }),
  forward: (m, c, x) => rmsNormOp(single('rmsNorm', x), vector(m, 'gamma'), c.eps),
  channels: freezesChannels('an RMS norm takes the mean of all its channels together'),
})
/** By the root mean square over the last dimension (Zhang, Sennrich 2019). */
export function rmsNorm(config: Pick<RmsNormConfig, 'width'> & Partial<RmsNormConfig>): ModuleSpec {
  return makeRmsNorm(config as RmsNormConfig)
}

const groupConfig = z
  .strictObject({
    channels: z.int().positive(),
    /** `channels` groups are instance norm. */
    groups: z.int().positive(),
    eps: z.number().positive().default(1e-5),
    affine: z.boolean().default(true),
  })
  .refine((c) => c.channels % c.groups === 0, { error: 'channels must be a multiple of groups', path: ['groups'] })
export type GroupNormConfig = z.infer<typeof groupConfig>
const makeGroupNorm = defineModule<GroupNormConfig>({
  kind: 'groupNorm',
  config: groupConfig,
  weights: (c) =>
    c.affine
      ? {
          gamma: { shape: [c.channels], role: 'vector', init: () => filled(c.channels, 1) },
          beta: { shape: [c.channels], role: 'vector', init: () => filled(c.channels, 0) },
        }
      : {},
  forward: (m, c, x) => groupNormOp(single('groupNorm', x), c.groups, vector(m, 'gamma'), vector(m, 'beta'), c.eps),
  // A group has its own mean: it goes as a whole.
  channels: (flow, c, input) => {
    const x = mainInput(input)
    const units = flow.take(x, 'second', c.channels)
    const size = c.channels / c.groups
    for (const group of blocks(units, size)) flow.merge(group)
    if (c.affine) {
      flow.slice('gamma', 0, units, 'scale')
      flow.slice('beta', 0, units, 'beside')
    }
    flow.resize((count) => ({ channels: count(units), groups: count(units) / size }))
    return { axis: 1, ...(x?.rank === undefined ? {} : { rank: x.rank }), units }
  },
})
/** Over groups of channels of each example of [B, C, ...] (Wu, He 2018). */
export function groupNorm(config: Pick<GroupNormConfig, 'channels' | 'groups'> & Partial<GroupNormConfig>): ModuleSpec {
  return makeGroupNorm(config as GroupNormConfig)
}

/** Over each channel of each example of [B, C, ...] (Ulyanov et al. 2016): a groupNorm with as many groups as channels. */
export function instanceNorm(config: { readonly channels: number; readonly eps?: number; readonly affine?: boolean }): ModuleSpec {
  return groupNorm({ affine: false, ...config, groups: config.channels })
}
