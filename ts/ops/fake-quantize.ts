/**
 * Fake quantization: the values that integer codes stand for, with a gradient that passes straight through the rounding (Bengio, Leonard, Courville 2013). Forward
 * and backward are one native call each; the values are bit for bit those of `dequantizeRows(quantizeRows(x))`, so codes made of the same scales compute what was trained.
 */
import { defineOp, definePrimitive, reshape, sum } from '../autograd/index.js'
import { callOp, ones, scope, type Tensor } from '../tensor/index.js'
import { OptionError } from '../base/errors.js'
import { div, mul, scaleShift, sub } from './arithmetic.js'

/** (clamp(round(x / scale) + zero, qmin, qmax) - zero) * scale for x [rows, cols], scale and zero [rows, groups] or [1, 1]. Constant to the tape. */
export const fakeQuantizeRows = defineOp('fake_quantize_rows', {
  grad: null,
  flops: ({ args: [x] }) => 4 * x.size,
  samples: (s) => [
    [s.normal(3, 8), s.uniform([3, 2], 0.01, 0.1), null, -128, 127],
    [s.normal(2, 5), s.uniform([1, 1], 0.1, 0.5), null, -8, 7],
  ],
})

/** Both gradients of fakeQuantizeRows in one pass; that of the scales is 0 unless the last argument says that they are learned. Constant to the tape. */
const fakeQuantizeRowsGrad = defineOp('fake_quantize_rows_grad', {
  grad: null,
  flops: ({ args: [x] }) => 6 * x.size,
  samples: (s) => [
    [s.normal(3, 8), s.normal(3, 8), s.uniform([3, 2], 0.01, 0.1), null, -128, 127, true],
    [s.normal(2, 5), s.normal(2, 5), s.uniform([1, 1], 0.1, 0.5), null, -8, 7, true],
    [s.normal(2, 5), s.normal(2, 5), s.uniform([2, 1], 0.1, 0.5), null, -2, 1, false],
  ],
})

/**
 * What the gradient does, with "inside" for values whose code needs no clamping:
 *   straight   passes everywhere (Q8BERT: Zafrir et al. 2019, section 3)
 *   clipped    passes inside, 0 outside (Jacob et al. 2018)
 *   learned    the same, and the scales get a gradient too (LSQ: Esser et al. 2020, eq. 3)
 */
export type FakeGradient = 'straight' | 'clipped' | 'learned'

export interface FakeQuantizeOptions {
  /** Codes, within [-128, 127]. */
  readonly qmin: number
  readonly qmax: number
  readonly gradient: FakeGradient
  /** Factor on the gradient of the scales: 1 / sqrt(values per scale * qmax) in LSQ, section 2.2. Default 1. */
  readonly scaleGradient?: number
}

const faked = definePrimitive<[x: Tensor, scale: Tensor, zero: Tensor | null, o: FakeQuantizeOptions], 'x' | 'scale'>({
  name: 'fake_quantize',
  reads: 'arguments',
  inputs: { x: 0, scale: 1 },
  forward: (x, scale, zero, { qmin, qmax }) => callOp('fake_quantize_rows', [x, scale, zero, qmin, qmax]),
  grad: ({ args: [x, scale, zero, { qmin, qmax, gradient, scaleGradient = 1 }], y, higher }, dy) => {
    const learned = gradient === 'learned'
    if (gradient === 'straight') return { x: () => dy, scale: null }
    const native = (of: Tensor, withScale: boolean): readonly Tensor[] => fakeQuantizeRowsGrad(x, of, scale, zero, qmin, qmax, withScale)
    if (!higher) {
      const [dx, dscale] = native(dy, learned)
      return { x: () => dx!, scale: learned ? () => scaleShift(dscale!, scaleGradient, 0) : null }
    }
    // Which values are inside, and the codes, are constants; what is left is spelled out.
    const inside = native(ones(x.shape, x.dtype), false)[0]!
    const rest = (): Tensor => {
      const each = perValue(scale, x)
      return sub(callOp('div', [y, each])[0]!, mul(inside, div(x, each)))
    }
    return {
      x: () => mul(dy, inside),
      scale: learned ? () => scaleShift(perRun(mul(dy, rest()), scale), scaleGradient, 0) : null,
    }
  },
  flops: ({ args: [x] }) => 4 * x.size,
})

/** scale [rows, groups] as it goes with x [rows, cols]. */
function perValue(scale: Tensor, x: Tensor): Tensor {
  const [rows, cols] = x.shape as [number, number]
  const groups = scale.shape[1]!
  if (groups === 1) return scale
  const run = evenRun(cols, groups)
  return reshape(mul(reshape(scale, [rows, groups, 1]), ones([1, 1, run])), [rows, cols])
}

/** Sums over the runs that share a scale: t [rows, cols] -> the shape of scale. */
function perRun(t: Tensor, scale: Tensor): Tensor {
  const [rows, cols] = t.shape as [number, number]
  const groups = scale.shape[1]!
  if (scale.size === 1) return reshape(sum(t, [], false), [1, 1])
  return sum(reshape(t, [rows, groups, evenRun(cols, groups)]), [2], false)
}

function evenRun(cols: number, groups: number): number {
  if (cols % groups === 0) return cols / groups
  throw new OptionError('ERR_OPTION', `fakeQuantize: second derivatives need groups of equal length, got ${groups} in ${cols} columns`)
}

/**
 * Values that codes stand for: x f32 [rows, cols], scale f32 [rows, groups], [rows, 1] or [1, 1] (> 0), zero (whole numbers) of the same shape or null. The
 * gradient goes to x and, where it is learned, to scale.
 *
 * - a scale that is not finite or not > 0, NaN in x: ERR_NUMERIC; wrong shapes: ERR_SHAPE, ERR_OPTION
 *
 * @example
 * fakeQuantize(tensor([[0.24, 0.26, 9]]), tensor([[0.5]]), null, { qmin: -7, qmax: 7, gradient: 'clipped' }).toArray()   // [[0, 0.5, 3.5]]
 */
export function fakeQuantize(x: Tensor, scale: Tensor, zero: Tensor | null, options: FakeQuantizeOptions): Tensor {
  return scope(() => faked(x, scale, zero, options)[0]!)
}
