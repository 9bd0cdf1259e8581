/** Pooling of images [B, C, H, W] and sequences [B, C, L]; the attributes mean what they mean in ts/ops. */
import { z } from 'zod'
import {
  adaptiveAvgPool2d as adaptiveAvgPool,
  adaptiveMaxPool2d as adaptiveMaxPool,
  avgPool1d as avgPoolLine,
  avgPool2d as avgPool,
  globalAvgPool as globalAverage,
  maxPool1d as maxPoolLine,
  maxPool2d as maxPool,
} from '../ops/index.js'
import { isSecond, keepsChannels, mainInput } from './channels.js'
import { defineModule, single, type ModuleSpec } from './module.js'

const size = z
  .int()
  .positive()
  .lt(2 ** 31)
const zeros = z
  .int()
  .nonnegative()
  .lt(2 ** 31)
const pair = z.tuple([size, size])
const common = { kernel: pair, stride: pair, padding: z.tuple([zeros, zeros]).default([0, 0]), ceil: z.boolean().default(false) }

const maxConfig = z.strictObject(common)
const avgConfig = z.strictObject({ ...common, countPadding: z.boolean().default(true) })
export type PoolConfig = z.infer<typeof maxConfig>
export type AvgPoolConfig = z.infer<typeof avgConfig>

/** What may be left out of a configuration. */
type Loose<C, Must extends keyof C> = Pick<C, Must> & Partial<C>

const makeMax = defineModule<PoolConfig>({
  kind: 'maxPool2d',
  config: maxConfig,
  weights: () => ({}),
  order: () => 'selects',
  forward: (_m, c, x) => maxPool(single('maxPool2d', x), c.kernel, c),
  channels: keepsChannels,
})
const makeAvg = defineModule<AvgPoolConfig>({
  kind: 'avgPool2d',
  config: avgConfig,
  weights: () => ({}),
  forward: (_m, c, x) => avgPool(single('avgPool2d', x), c.kernel, c),
  channels: keepsChannels,
})

/** Largest element of each window. */
export function maxPool2d(config: Loose<PoolConfig, 'kernel' | 'stride'>): ModuleSpec {
  return makeMax(config as PoolConfig)
}
/** Mean of each window. */
export function avgPool2d(config: Loose<AvgPoolConfig, 'kernel' | 'stride'>): ModuleSpec {
  return makeAvg(config as AvgPoolConfig)
}

const lineConfig = z.strictObject({ kernel: size, stride: size, padding: zeros.default(0), ceil: z.boolean().default(false) })
export type Pool1dConfig = z.infer<typeof lineConfig>
const makeMaxLine = defineModule<Pool1dConfig>({
  kind: 'maxPool1d',
  config: lineConfig,
  weights: () => ({}),
  forward: (_m, c, x) => maxPoolLine(single('maxPool1d', x), c.kernel, c),
  channels: keepsChannels,
})
const makeAvgLine = defineModule<Pool1dConfig>({
  kind: 'avgPool1d',
  config: lineConfig,
  weights: () => ({}),
  forward: (_m, c, x) => avgPoolLine(single('avgPool1d', x), c.kernel, c),
  channels: keepsChannels,
})
/** Largest element of each window of [B, C, L]. */
export function maxPool1d(config: Loose<Pool1dConfig, 'kernel' | 'stride'>): ModuleSpec {
  return makeMaxLine(config as Pool1dConfig)
}
/** Mean of each window of [B, C, L]. */
export function avgPool1d(config: Loose<Pool1dConfig, 'kernel' | 'stride'>): ModuleSpec {
  return makeAvgLine(config as Pool1dConfig)
}

const adaptiveConfig = z.strictObject({ size: pair })
export type AdaptivePoolConfig = z.infer<typeof adaptiveConfig>
export const adaptiveAvgPool2d = defineModule<AdaptivePoolConfig>({
  kind: 'adaptiveAvgPool2d',
  config: adaptiveConfig,
  weights: () => ({}),
  forward: (_m, c, x) => adaptiveAvgPool(single('adaptiveAvgPool2d', x), c.size),
  channels: keepsChannels,
})
export const adaptiveMaxPool2d = defineModule<AdaptivePoolConfig>({
  kind: 'adaptiveMaxPool2d',
  config: adaptiveConfig,
  weights: () => ({}),
  forward: (_m, c, x) => adaptiveMaxPool(single('adaptiveMaxPool2d', x), c.size),
  channels: keepsChannels,
})

const globalConfig = z.strictObject({})
/** [B, C, ...] -> [B, C], the mean of each channel. */
export const globalAvgPool = defineModule<z.infer<typeof globalConfig>>({
  kind: 'globalAvgPool',
  config: globalConfig,
  weights: () => ({}),
  forward: (_m, _c, x) => globalAverage(single('globalAvgPool', x)),
  channels: (flow, _c, input) => {
    const x = mainInput(input)
    if (!x || x.rank === 2) return x
    if (isSecond(x)) return { axis: 1, rank: 2, units: x.units }
    flow.freeze(x, 'averaged across its channels')
    return null
  },
})
