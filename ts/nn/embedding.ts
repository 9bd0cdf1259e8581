/** Table lookup: ids i32 [...] -> [..., width]. */
import { z } from 'zod'
import { normals } from './init.js'
import { defineModule, single } from './module.js'

const config = z.strictObject({ rows: z.int().positive(), width: z.int().positive() })
export type EmbeddingConfig = z.infer<typeof config>

export const embedding = defineModule<EmbeddingConfig>({
  kind: 'embedding',
  config,
  weights: (c) => ({ weight: { shape: [c.rows, c.width], role: 'table', init: (rng) => normals(c.rows * c.width, 0.02, rng) } }),
  forward: (m, _c, input) => m.weights.weight!.apply(single('embedding', input), { op: 'lookup' }),
})
