/** Layers for sequences [B, T, C]: lightweight and dynamic convolution (Wu et al. 2019), highway (Srivastava et al. 2015). */
import { z } from 'zod'
import {
  add,
  dynamicConv as dynamicConvOp,
  glu,
  highway as highwayOp,
  lightweightConv as lightweightConvOp,
  reshape,
  sigmoid,
} from '../ops/index.js'
import { mainInput } from './channels.js'
import { filled, glorotUniform } from './init.js'
import { activate, activationNames, type ActivationName } from './activation.js'
import { linear } from './linear.js'
import { defineModule, runChild, single, type ModuleSpec } from './module.js'

const shared = {
  width: z.int().positive(),
  heads: z.int().positive(),
  kernel: z.int().positive(),
  padding: z.enum(['same', 'causal']).default('same'),
  /** Begin with a linear layer to 2 width and a gated linear unit, end with a linear layer (fig. 2 of the paper). */
  projections: z.boolean().default(true),
}
const fits = (c: { readonly width: number; readonly heads: number }): boolean => c.width % c.heads === 0
const misfit = { error: 'width must be a multiple of heads', path: ['heads'] }
type Config = {
  readonly width: number
  readonly heads: number
  readonly kernel: number
  readonly padding: 'same' | 'causal'
  readonly projections: boolean
}
const around = (c: Config): Record<string, ModuleSpec> =>
  c.projections
    ? {
        in: linear({ in: c.width, out: 2 * c.width, bias: true, init: 'glorot' }),
        out: linear({ in: c.width, out: c.width, bias: true, init: 'glorot' }),
      }
    : {}

const lightweightConfig = z.strictObject(shared).refine(fits, misfit)
export type LightweightConvConfig = z.infer<typeof lightweightConfig>
const makeLightweight = defineModule<LightweightConvConfig>({
  kind: 'lightweightConv',
  config: lightweightConfig,
  weights: (c) => ({
    weight: { shape: [c.heads, c.kernel], role: 'vector', init: (rng) => glorotUniform(c.heads * c.kernel, c.kernel, c.heads, rng) },
  }),
  children: around,
  forward: (m, c, input, ctx) => {
    const x = single('lightweightConv', input)
    const y = lightweightConvOp(c.projections ? glu(runChild(m, 'in', x, ctx)) : x, m.weights.weight!.dense(), { padding: c.padding })
    return c.projections ? runChild(m, 'out', y, ctx) : y
  },
})
/** A depthwise convolution over time with a softmax-normalised kernel [heads, kernel] shared by the channels of a head. */
export function lightweightConv(config: Pick<Config, 'width' | 'heads' | 'kernel'> & Partial<Config>): ModuleSpec {
  return makeLightweight(config as LightweightConvConfig)
}

const dynamicConfig = z.strictObject(shared).refine(fits, misfit)
const makeDynamic = defineModule<LightweightConvConfig>({
  kind: 'dynamicConv',
  config: dynamicConfig,
  weights: () => ({}),
  children: (c) => ({ ...around(c), kernels: linear({ in: c.width, out: c.heads * c.kernel, bias: true, init: 'glorot' }) }),
  forward: (m, c, input, ctx) => {
    let x = single('dynamicConv', input)
    if (c.projections) x = glu(runChild(m, 'in', x, ctx))
    const [b, t] = x.shape as readonly [number, number]
    const y = dynamicConvOp(x, reshape(runChild(m, 'kernels', x, ctx), [b, t, c.heads, c.kernel]), { padding: c.padding })
    return c.projections ? runChild(m, 'out', y, ctx) : y
  },
})
/** As lightweightConv, with the kernel of each place predicted from its input. */
export function dynamicConv(config: Pick<Config, 'width' | 'heads' | 'kernel'> & Partial<Config>): ModuleSpec {
  return makeDynamic(config as LightweightConvConfig)
}

const highwayConfig = z.strictObject({
  width: z.int().positive(),
  activation: z.enum(activationNames).default('relu'),
  /** Bias of the gate at the start: negative lets x through. */
  gateBias: z.number().default(-2),
})
export type HighwayConfig = z.infer<typeof highwayConfig>
const makeHighway = defineModule<HighwayConfig>({
  kind: 'highway',
  config: highwayConfig,
  weights: (c) => ({ gateBias: { shape: [c.width], role: 'vector', init: () => filled(c.width, c.gateBias) } }),
  children: (c) => ({
    transform: linear({ in: c.width, out: c.width, bias: true, init: 'he' }),
    gate: linear({ in: c.width, out: c.width, bias: false, init: 'glorot' }),
  }),
  forward: (m, c, input, ctx) => {
    const x = single('highway', input)
    const gate = sigmoid(add(runChild(m, 'gate', x, ctx), m.weights.gateBias!.dense()))
    return highwayOp(x, activate(c.activation, runChild(m, 'transform', x, ctx)), gate)
  },
  channels: (flow, c, input) => {
    const x = mainInput(input)
    const y = flow.join(flow.child('gate', x), flow.child('transform', x))
    const units = flow.take(y, 'last', c.width)
    flow.slice('gateBias', 0, units, 'beside')
    flow.resize((count) => ({ width: count(units) }))
    return flow.join(y, x)
  },
  skippable: () => true,
})
/** gate f(W x + b) + (1 - gate) x over the last dimension, gate = sigmoid(V x + c). */
export function highway(config: { readonly width: number; readonly activation?: ActivationName; readonly gateBias?: number }): ModuleSpec {
  return makeHighway(config as HighwayConfig)
}
