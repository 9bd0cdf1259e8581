/** Straight-through estimators (Bengio, Leonard, Courville 2013): the forward of a step function with the gradient of the identity. */
import { definePrimitive } from '../../autograd/index.js'
import { callOp, type Tensor } from '../../tensor/index.js'

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
