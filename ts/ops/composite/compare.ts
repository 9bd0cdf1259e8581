/** Comparisons and logic on ones and zeros, constant to the tape; powers. */
import { full, scope, type Tensor } from '../../tensor/index.js'
import { mul, scaleShift } from '../arithmetic.js'
import { equal, greater, maximum } from '../piecewise.js'
import { exp, log } from '../smooth.js'

/** 1 where a < b, else 0. */
export function less(a: Tensor, b: Tensor): Tensor {
  return greater(b, a)
}
/** 1 where a >= b, else 0 (NaN: 0). */
export function greaterEqual(a: Tensor, b: Tensor): Tensor {
  return scope(() => maximum(greater(a, b), equal(a, b)))
}
/** 1 where a <= b, else 0 (NaN: 0). */
export function lessEqual(a: Tensor, b: Tensor): Tensor {
  return greaterEqual(b, a)
}
/** 1 where a differs from b, else 0 (NaN: 1). */
export function notEqual(a: Tensor, b: Tensor): Tensor {
  return scope(() => logicalNot(equal(a, b)))
}
/** 1 where both are not 0. */
export function logicalAnd(a: Tensor, b: Tensor): Tensor {
  return scope(() => mul(truth(a), truth(b)))
}
/** 1 where one is not 0. */
export function logicalOr(a: Tensor, b: Tensor): Tensor {
  return scope(() => maximum(truth(a), truth(b)))
}
/** 1 where x is 0. */
export function logicalNot(x: Tensor): Tensor {
  return scope(() => equal(x, full([], 0, x.dtype)))
}
const truth = (x: Tensor): Tensor => scaleShift(logicalNot(x), -1, 1)

/**
 * x to any power, for x > 0: e^(exponent log x). NaN below 0; `pow` takes integer powers of any x.
 *
 * @example
 * power(tensor([4, 9]), 0.5).toArray()   // [2, 3]
 */
export function power(x: Tensor, exponent: number | Tensor): Tensor {
  return scope(() => exp(typeof exponent === 'number' ? scaleShift(log(x), exponent) : mul(exponent, log(x))))
}
