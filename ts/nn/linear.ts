/** Fully connected layer: y = x W^T + b, x [..., in] -> [..., out]. */
import { z } from 'zod'
import { permute, reshape } from '../ops/index.js'
import { mainInput } from './channels.js'
import { filled, initial, initRules } from './init.js'
import { defineModule, single, vector } from './module.js'

const config = z.strictObject({
  in: z.int().positive(),
  out: z.int().positive(),
  bias: z.boolean().default(true),
  init: z.enum(initRules).default('he'),
})
export type LinearConfig = z.infer<typeof config>

export const linear = defineModule<LinearConfig>({
  kind: 'linear',
  config,
  weights: (c) => ({
    weight: {
      shape: [c.out, c.in],
      role: 'matrix',
      init: (rng) => initial(c.init, c.out * c.in, c, rng),
    },
    ...(c.bias ? { bias: { shape: [c.out], role: 'vector' as const, init: () => filled(c.out, 0) } } : {}),
  }),
  forward: (m, _c, input, ctx) => {
    const x = single('linear', input)
    ctx.observe?.(ctx.path, x)
    return m.weights.weight!.apply(x, { op: 'linear', bias: vector(m, 'bias') }, ctx)
  },
  columns: (c, x) => permute(reshape(x, [1, x.size / c.in, c.in]), [0, 2, 1]),
  channels: (flow, c, input) => {
    const x = mainInput(input)
    const from = flow.take(x, 'last', c.in)
    const units = flow.make(c.out, 'neuron')
    flow.slice('weight', 0, units, 'filter')
    flow.slice('weight', 1, from, 'input')
    if (c.bias) flow.slice('bias', 0, units, 'beside')
    flow.resize((count) => ({ in: count(from), out: count(units) }))
    return { axis: -1, units, ...(x?.rank === undefined ? {} : { rank: x.rank }) }
  },
})
