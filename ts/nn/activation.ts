/** Activations as layers: element-wise functions, those with parameters, gates that halve an axis, and the learned slope. */
import { z } from 'zod'
import * as ops from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { isLast, isSecond, keepsChannels, mainInput } from './channels.js'
import { defineModule, single, vector, type ModuleSpec } from './module.js'

const activations = {
  relu: ops.relu,
  gelu: ops.gelu,
  tanh: ops.tanh,
  sigmoid: ops.sigmoid,
  geluTanh: ops.geluTanh,
  silu: ops.silu,
  mish: ops.mish,
  leakyRelu: (x: Tensor) => ops.leakyRelu(x),
  elu: (x: Tensor) => ops.elu(x),
  selu: ops.selu,
  relu6: ops.relu6,
  hardSwish: ops.hardSwish,
  hardSigmoid: ops.hardSigmoid,
  hardTanh: (x: Tensor) => ops.hardTanh(x),
  softplus: (x: Tensor) => ops.softplus(x),
  softsign: ops.softsign,
  logSigmoid: ops.logSigmoid,
} as const
/** Element-wise functions by name, with the parameters that their papers give. */
export const activationNames = [
  'relu',
  'gelu',
  'tanh',
  'sigmoid',
  'geluTanh',
  'silu',
  'mish',
  'leakyRelu',
  'elu',
  'selu',
  'relu6',
  'hardSwish',
  'hardSigmoid',
  'hardTanh',
  'softplus',
  'softsign',
  'logSigmoid',
] as const
export type ActivationName = (typeof activationNames)[number]

export function activate(name: ActivationName, x: Tensor): Tensor {
  return activations[name](x)
}

const activationConfig = z.strictObject({ function: z.enum(activationNames) })
export const activation = defineModule<z.infer<typeof activationConfig>>({
  kind: 'activation',
  config: activationConfig,
  weights: () => ({}),
  order: (c) => (c.function === 'relu' ? 'clamps' : undefined),
  forward: (_m, c, x) => activate(c.function, single('activation', x)),
  channels: keepsChannels,
})

const leakyConfig = z.strictObject({ slope: z.number() })
/** leakyRelu with a slope of its own. */
export const leakyRelu = defineModule<z.infer<typeof leakyConfig>>({
  kind: 'leakyRelu',
  config: leakyConfig,
  weights: () => ({}),
  forward: (_m, c, x) => ops.leakyRelu(single('leakyRelu', x), c.slope),
  channels: keepsChannels,
})

const preluConfig = z.strictObject({ channels: z.int().positive(), slope: z.number().default(0.25) })
export type PreluConfig = z.infer<typeof preluConfig>
const makePrelu = defineModule<PreluConfig>({
  kind: 'prelu',
  config: preluConfig,
  weights: (c) => ({ weight: { shape: [c.channels], role: 'vector', init: () => new Float32Array(c.channels).fill(c.slope) } }),
  forward: (m, c, input) => {
    const x = single('prelu', input)
    // One slope for all, or one per channel of [B, C, ...].
    const shape = c.channels === 1 || x.rank < 2 ? [c.channels] : [c.channels, ...x.shape.slice(2).map(() => 1)]
    return ops.prelu(x, ops.reshape(vector(m, 'weight')!, shape))
  },
  channels: (flow, c, input) => {
    const x = mainInput(input)
    if (c.channels === 1) return x
    const units = flow.take(x, 'second', c.channels)
    flow.slice('weight', 0, units, 'beside')
    flow.resize((count) => ({ channels: count(units) }))
    return { axis: 1, ...(x?.rank === undefined ? {} : { rank: x.rank }), units }
  },
})
/** x above 0, a learned slope times x below: one slope (channels 1) or one per channel of [B, C, ...]; starts at `slope` (He et al. 2015). */
export function prelu(config: { readonly channels: number; readonly slope?: number }): ModuleSpec {
  return makePrelu(config as PreluConfig)
}

const gates = { glu: ops.glu, swiglu: ops.swiglu, geglu: ops.geglu } as const
const gateConfig = z.strictObject({ function: z.enum(['glu', 'swiglu', 'geglu']), axis: z.int().default(-1) })
export type GateConfig = z.infer<typeof gateConfig>
const makeGate = defineModule<GateConfig>({
  kind: 'gate',
  config: gateConfig,
  weights: () => ({}),
  forward: (_m, c, x) => gates[c.function](single('gate', x), c.axis),
  // The halves go together, channel by channel.
  channels: (flow, c, input) => {
    const x = mainInput(input)
    if (!x) return null
    const half = x.units.length / 2
    const along = c.axis === -1 ? isLast(x) : c.axis === 1 ? isSecond(x) : x.axis === c.axis
    if (!along || x.runs || !Number.isInteger(half)) {
      flow.freeze(x, `gated along axis ${c.axis}`)
      return null
    }
    flow.couple(x.units.slice(0, half), x.units.slice(half))
    return { ...x, units: x.units.slice(0, half) }
  },
})
/** Halves `axis`: the first half times the function of the second. */
export function gate(config: { readonly function: GateConfig['function']; readonly axis?: number }): ModuleSpec {
  return makeGate(config as GateConfig)
}
