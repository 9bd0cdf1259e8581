/** 2-D convolution and pooling: x [B, C, H, W]. */
import { z } from 'zod'
import { avgPool2d as avgPool, maxPool2d as maxPool } from '../ops/index.js'
import { filled, initial, initRules, type InitRule } from './init.js'
import { defineModule, single, vector, type ModuleSpec } from './module.js'

const pair = z.tuple([z.int().positive(), z.int().positive()])
const convConfig = z.strictObject({
  in: z.int().positive(),
  out: z.int().positive(),
  kernel: pair,
  stride: pair.default([1, 1]),
  padding: z.tuple([z.int().nonnegative(), z.int().nonnegative()]).default([0, 0]),
  bias: z.boolean().default(true),
  init: z.enum(initRules).default('he'),
})
export type Conv2dConfig = z.infer<typeof convConfig>

const makeConv2d = defineModule<Conv2dConfig>({
  kind: 'conv2d',
  config: convConfig,
  weights: (c) => {
    const fanIn = c.in * c.kernel[0] * c.kernel[1]
    return {
      weight: {
        shape: [c.out, c.in, ...c.kernel],
        role: 'kernel',
        init: (rng) => initial(c.init, c.out * fanIn, { in: fanIn, out: c.out * c.kernel[0] * c.kernel[1] }, rng),
      },
      ...(c.bias ? { bias: { shape: [c.out], role: 'vector' as const, init: () => filled(c.out, 0) } } : {}),
    }
  },
  forward: (m, c, input, ctx) => {
    const x = single('conv2d', input)
    ctx.observe?.(ctx.path, x)
    return m.weights.weight!.apply(x, { op: 'conv2d', bias: vector(m, 'bias'), stride: c.stride, padding: c.padding })
  },
})

/** y [B, out, H', W'] with H' = floor((H + 2 padding - kernel) / stride) + 1. */
export function conv2d(config: Omit<Conv2dConfig, 'init'> & { readonly init?: InitRule }): ModuleSpec {
  return makeConv2d({ init: 'he', ...config })
}

const poolConfig = z.strictObject({ kernel: pair, stride: pair })
export type PoolConfig = z.infer<typeof poolConfig>

export const maxPool2d = defineModule<PoolConfig>({
  kind: 'maxPool2d',
  config: poolConfig,
  weights: () => ({}),
  forward: (_m, c, x) => maxPool(single('maxPool2d', x), c.kernel, c.stride),
})

export const avgPool2d = defineModule<PoolConfig>({
  kind: 'avgPool2d',
  config: poolConfig,
  weights: () => ({}),
  forward: (_m, c, x) => avgPool(single('avgPool2d', x), c.kernel, c.stride),
})
