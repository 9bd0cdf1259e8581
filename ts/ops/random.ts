/** Random numbers, f32, from Philox4x32-10 (Salmon et al. 2011): a value depends on seed, stream and position only. */
import { defineOp } from '../autograd/index.js'
import type { Shape } from '../base/shape.js'
import type { Tensor } from '../tensor/index.js'

const uniformOp = defineOp('random_uniform', {
  grad: null,
  samples: () => [
    [[2, 5], 1, 0],
    [[], 2, 3],
  ],
})
const normalOp = defineOp('random_normal', {
  grad: null,
  samples: () => [
    [[2, 5], 1, 0],
    [[7], 2, 3],
  ],
})

export interface RandomOptions {
  /** Integer in [0, 2^53). */
  readonly seed: number
  /** Independent sequences of one seed. */
  readonly stream?: number
}

/** Uniform in [0, 1). */
export function randomUniform(shape: Shape, { seed, stream = 0 }: RandomOptions): Tensor {
  return uniformOp(shape, seed, stream)
}

/** Standard normal. */
export function randomNormal(shape: Shape, { seed, stream = 0 }: RandomOptions): Tensor {
  return normalOp(shape, seed, stream)
}
