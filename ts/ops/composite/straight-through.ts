/** Straight-through estimators (Bengio, Leonard, Courville 2013): the forward of a step function with the gradient of the identity. */
import { definePrimitive } from '../../autograd/index.js'
import { callOp, scope, type Tensor } from '../../tensor/index.js'
import { mul, scaleShift } from '../arithmetic.js'
import { clip, equal, step } from '../piecewise.js'

const rounded = definePrimitive<[x: Tensor], 'x'>({
  name: 'round_ste',
  inputs: { x: 0 },
  forward: (x) => callOp('round', [x]),
  grad: (_, dy) => ({ x: () => dy }),
})

const clipped = definePrimitive<[x: Tensor, lo: number, hi: number], 'x'>({
  name: 'clip_ste',
  inputs: { x: 0 },
  forward: (x, lo, hi) => callOp('clip', [x, lo, hi]),
  grad: (_, dy) => ({ x: () => dy }),
})

/** round(x) forward; the gradient passes unchanged. */
export function roundSte(x: Tensor): Tensor {
  return rounded(x)[0]!
}

/** x limited to [lo, hi] forward; the gradient passes unchanged, also outside. (`clip` itself stops it there.) */
export function clipSte(x: Tensor, lo: number, hi: number): Tensor {
  return clipped(x, lo, hi)[0]!
}

const signed = definePrimitive<[x: Tensor], 'x'>({
  name: 'sign_ste',
  inputs: { x: 0 },
  forward: (x) => scope(() => [scaleShift(step(scaleShift(x, -1)), -2, 1)]),
  grad: ({ args: [x] }, dy) => ({ x: () => mul(dy, equal(x, clip(x, -1, 1))) }),
})

/**
 * 1 where x >= 0, else -1 (NaN: 1); the gradient passes where |x| <= 1 and stops outside (Courbariaux et al. 2016, eq. 4).
 *
 * @example
 * signSte(tensor([-0.3, 0, 2])).toArray()   // [-1, 1, 1]
 */
export function signSte(x: Tensor): Tensor {
  return signed(x)[0]!
}
