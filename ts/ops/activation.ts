/** Derivatives of the activations that products fuse, for the rules of those products. */
import type { Activation } from '../native/ops.gen.js'
import type { Tensor } from '../tensor/index.js'
import { mul, sub } from './arithmetic.js'
import { geluTanhSlope } from './nonlinear.js'
import { gate } from './piecewise.js'
import { geluSlope, sigmoid, tanh } from './smooth.js'

/** dy times the derivative of the activation at x. */
export const slopes: { readonly [A in Activation]: (dy: Tensor, x: () => Tensor) => Tensor } = {
  none: (dy) => dy,
  relu: (dy, x) => gate(dy, x()),
  gelu: (dy, x) => mul(dy, geluSlope(x())),
  tanh: (dy, x) => {
    const t = tanh(x())
    return sub(dy, mul(dy, mul(t, t)))
  },
  sigmoid: (dy, x) => {
    const t = sigmoid(x())
    return mul(dy, sub(t, mul(t, t)))
  },
  gelu_tanh: (dy, x) => mul(dy, geluTanhSlope(x())),
}
