/** Pooling of images [B, C, H, W]. */
import { z } from 'zod'
import { avgPool2d as avgPool, maxPool2d as maxPool } from '../ops/index.js'
import { defineModule, single } from './module.js'

const pair = z.tuple([z.int().positive(), z.int().positive()])
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
