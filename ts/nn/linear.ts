/** Fully connected layer: y = x W^T + b, x [..., in] -> [..., out]. */
import { z } from 'zod'
import { filled, glorotUniform, heUniform } from './init.js'
import { defineModule, single, vector } from './module.js'

const config = z.strictObject({
  in: z.int().positive(),
  out: z.int().positive(),
  bias: z.boolean().default(true),
  init: z.enum(['he', 'glorot']).default('he'),
})
export type LinearConfig = z.infer<typeof config>

export const linear = defineModule<LinearConfig>({
  kind: 'linear',
  config,
  weights: (c) => ({
    weight: {
      shape: [c.out, c.in],
      role: 'matrix',
      init: (rng) => (c.init === 'he' ? heUniform(c.out * c.in, c.in, rng) : glorotUniform(c.out * c.in, c.in, c.out, rng)),
    },
    ...(c.bias ? { bias: { shape: [c.out], role: 'vector' as const, init: () => filled(c.out, 0) } } : {}),
  }),
  forward: (m, _c, input, ctx) => {
    const x = single('linear', input)
    ctx.observe?.(ctx.path, x)
    return m.weights.weight!.apply(x, { op: 'linear', bias: vector(m, 'bias') })
  },
})
