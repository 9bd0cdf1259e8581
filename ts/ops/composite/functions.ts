/** Functions of one input made of others: rounding down and up, the rest of the trigonometric and hyperbolic ones, real powers. Differentiable where they are smooth. */
import { add } from '../../autograd/index.js'
import { full, scope, type Tensor } from '../../tensor/index.js'
import { div, mul, neg, scaleShift, sub } from '../arithmetic.js'
import { where } from '../along.js'
import { cast } from '../memory.js'
import { abs, clip, equal, greater, round, sign } from '../piecewise.js'
import { cos, exp, log, sin, sqrt, tanh } from '../smooth.js'

/** The largest integer <= x. Constant to the tape. */
export function floor(x: Tensor): Tensor {
  return scope(() => {
    const r = round(x)
    return sub(r, greater(r, x))
  })
}
/** The smallest integer >= x. Constant to the tape. */
export function ceil(x: Tensor): Tensor {
  return scope(() => {
    const r = round(x)
    return add(r, greater(x, r))
  })
}
/** x without its fraction. Constant to the tape. */
export function trunc(x: Tensor): Tensor {
  return scope(() => mul(sign(x), floor(abs(x))))
}

export function tan(x: Tensor): Tensor {
  return scope(() => div(sin(x), cos(x)))
}
export function cosh(x: Tensor): Tensor {
  return scope(() => scaleShift(add(exp(x), exp(neg(x))), 0.5))
}
/** Through tanh, which is exact near 0 where a difference of exponentials is not. */
export function sinh(x: Tensor): Tensor {
  return scope(() => where(greater(abs(x), full([], 1, x.dtype)), scaleShift(sub(exp(x), exp(neg(x))), 0.5), mul(tanh(x), cosh(x))))
}

/**
 * Arc tangent: three times atan x = 2 atan(x / (1 + sqrt(1 + x^2))), then its series, |x| <= 0.2 by then.
 *
 * @example
 * atan(tensor([1])).toArray()   // [0.785398...]
 */
export function atan(x: Tensor): Tensor {
  return scope(() => {
    let t = clip(x, -1e18, 1e18)
    for (let i = 0; i < 3; i++) t = div(t, scaleShift(sqrt(scaleShift(mul(t, t), 1, 1)), 1, 1))
    const s = mul(t, t)
    let series = full([], 1 / 17, x.dtype)
    for (let n = 15; n > 0; n -= 2) series = add(mul(neg(series), s), full([], 1 / n, x.dtype))
    return scaleShift(mul(t, series), 8)
  })
}
/** Arc sine; NaN outside [-1, 1]. */
export function asin(x: Tensor): Tensor {
  return scope(() => atan(div(x, sqrt(mul(scaleShift(x, -1, 1), scaleShift(x, 1, 1))))))
}
/** Arc cosine; NaN outside [-1, 1]. */
export function acos(x: Tensor): Tensor {
  return scope(() => scaleShift(atan(sqrt(div(scaleShift(x, -1, 1), scaleShift(x, 1, 1)))), 2))
}
export function asinh(x: Tensor): Tensor {
  return scope(() => {
    const a = abs(x)
    return mul(sign(x), log(add(a, sqrt(scaleShift(mul(a, a), 1, 1)))))
  })
}
/** NaN below 1. */
export function acosh(x: Tensor): Tensor {
  return scope(() => log(add(x, sqrt(mul(scaleShift(x, 1, -1), scaleShift(x, 1, 1))))))
}
/** NaN outside [-1, 1]. */
export function atanh(x: Tensor): Tensor {
  return scope(() => scaleShift(log(div(scaleShift(x, 1, 1), scaleShift(x, -1, 1))), 0.5))
}

/**
 * x to the power y for any real x as IEEE 754 has it: x < 0 takes integer powers and gives NaN for others, x^0 = 1. Broadcasts; computed in f64. The gradient for y exists where
 * x > 0.
 *
 * @example
 * realPower(tensor([-2, 4]), tensor([3, 0.5])).toArray()   // [-8, 2]
 */
export function realPower(x: Tensor, y: Tensor): Tensor {
  return scope(() => {
    const [a, b] = [x, y].map((t) => (t.dtype === 'f64' ? t : cast(t, 'f64'))) as [Tensor, Tensor]
    const number = (v: number): Tensor => full([], v, 'f64')
    const negative = greater(number(0), a)
    const whole = equal(b, round(b))
    const half = scaleShift(b, 0.5)
    const odd = mul(whole, scaleShift(equal(half, round(half)), -1, 1))
    const size = exp(mul(b, log(abs(a))))
    const signed = where(mul(negative, odd), neg(size), size)
    const real = where(mul(negative, scaleShift(whole, -1, 1)), number(NaN), signed)
    const power = where(equal(b, number(0)), number(1), where(equal(a, number(1)), number(1), real))
    return x.dtype === 'f64' ? power : cast(power, x.dtype)
  })
}
