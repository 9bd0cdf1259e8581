/**
 * Connectionist temporal classification (Graves, Fernandez, Gomez, Schmidhuber 2006), the loss of each sequence. First derivatives run in one native
 * call; when an outer tape records the rule, it is the gradient of the recursion spelled out in differentiable ops. Options and reductions: composite/ctc.ts.
 */
import { add, defineOp, grad, padSlice, reshape, slice, sum, type Op } from '../autograd/index.js'
import { full, tensor, zeros, type Tensor } from '../tensor/index.js'
import { gatherAlong } from './along.js'
import { mul, neg, scaleShift, sub } from './arithmetic.js'
import { concat } from './composite/concat.js'
import { pattern } from './pattern.js'
import { greater, maximum } from './piecewise.js'
import { cast } from './memory.js'
import { exp, log } from './smooth.js'

/** @internal log_probs [B, T, C], targets i32 [B, L], lengths i32 [B] or null -> [B]. */
export const ctcLossRows: Op<'ctc_loss'> = defineOp('ctc_loss', {
  grad: ({ args, higher }, dy) => {
    const [x, targets, inputs, lengths, blank, zeroInfinity] = args
    const first = (): Tensor => ctcLossGrad(x, targets, inputs, lengths, dy, blank, zeroInfinity)
    const second = (): Tensor => grad(() => sum(mul(ctcUnrolled(...args), dy), [], false), [x])[0]!
    return { logProbs: higher ? second : first, targets: null, inputLengths: null, targetLengths: null }
  },
  flops: ({ args: [x, targets] }) => x.shape[0]! * x.shape[1]! * (2 * targets.shape[1]! + 1) * 8,
  samples: (s) => [
    [s.normal(2, 5, 3), pattern('i32', [2, 2], 1, 2), pattern('i32', [2], 4, 5), pattern('i32', [2], 1, 2), 0, false],
    [s.normal(1, 4, 3), tensor(new Int32Array([1, 1]), [1, 2]), null, null, 2, false],
    [s.normal(2, 3, 2), zeros([2, 1], 'i32'), null, pattern('i32', [2], 0, 1), 1, true],
  ],
})

/** All gradients in one call. Constant to the tape: only first derivatives use it, and nothing records those. */
const ctcLossGrad = defineOp('ctc_loss_grad', {
  grad: null,
  flops: ({ args: [x, targets] }) => x.shape[0]! * x.shape[1]! * (2 * targets.shape[1]! + 1) * 20,
  samples: (s) => [
    [s.normal(2, 5, 3), pattern('i32', [2, 2], 1, 2), pattern('i32', [2], 4, 5), pattern('i32', [2], 1, 2), s.normal(2), 0, false],
    [s.normal(2, 3, 2), zeros([2, 1], 'i32'), null, null, s.normal(2), 1, true],
  ],
})

/** What stands for log 0: finite, so that differences of two are numbers. */
const NEVER = -1e30

/**
 * @internal ctc_loss step by step in differentiable ops (eq. 6-8 in logarithms): what second derivatives are made of, and a second opinion for tests.
 * Rows that no path can spell are 0 with zeroInfinity.
 */
export function ctcUnrolled(...[x, targets, inputs, lengths, blank, zeroInfinity]: Parameters<Op<'ctc_loss'>>): Tensor {
  const [batch, frames, classes] = x.shape as [number, number, number]
  const width = targets.shape[1]!
  const states = 2 * width + 1
  const label = targets.read() as Int32Array
  const counts = lengths ? (lengths.read() as Int32Array) : new Int32Array(batch).fill(width)
  const like = (values: readonly number[], shape: readonly number[]): Tensor => cast(tensor(Float64Array.from(values), shape), x.dtype)
  const each = <V>(f: (b: number, s: number) => V): V[] =>
    Array.from({ length: batch * states }, (_, i) => f(Math.floor(i / states), i % states))
  // Behind a target's end anything may stand: its last states are read before.
  const of = (b: number, s: number): number => (s % 2 === 0 || s >> 1 >= counts[b]! ? blank : label[b * width + (s >> 1)]!)
  const index = tensor(Int32Array.from(each(of)), [batch, states])
  const jump = like(
    each((b, s) => (s % 2 === 1 && s > 1 && of(b, s) !== of(b, s - 2) ? 0 : NEVER)),
    [batch, states],
  )
  const back = (a: Tensor, by: number): Tensor =>
    by >= states
      ? full([batch, states], NEVER, x.dtype)
      : concat([full([batch, by], NEVER, x.dtype), slice(a, [0, 0], [batch, states - by])], 1)
  let alpha = like(
    each((_, s) => (s < 2 ? 0 : NEVER)),
    [batch, states],
  )
  for (let t = 0; t < frames; t++) {
    const emitted = gatherAlong(reshape(slice(x, [0, t, 0], [batch, 1, classes]), [batch, classes]), index, 1)
    const reached = t === 0 ? alpha : logAdd(logAdd(alpha, back(alpha, 1)), add(back(alpha, 2), jump))
    const next = add(reached, emitted)
    const active = inputs ? reshape(cast(greater(inputs, full([1], t, 'i32')), x.dtype), [batch, 1]) : null
    // Times 0 or 1: the states of a sequence that has ended stay.
    alpha = active ? add(mul(next, active), mul(alpha, scaleShift(active, -1, 1))) : next
  }
  const at = (s: (b: number) => number): Tensor => {
    const places = Int32Array.from({ length: batch }, (_, b) => s(b))
    return gatherAlong(padSlice(alpha, [batch, states + 1], [0, 1]), tensor(places, [batch, 1]), 1)
  }
  // One column to the right; before the first state stands what no path reaches.
  const none = like(
    Array.from({ length: batch }, (_, b) => (counts[b] === 0 ? NEVER : 0)),
    [batch, 1],
  )
  const total = reshape(
    logAdd(
      at((b) => 2 * counts[b]! + 1),
      add(
        at((b) => 2 * counts[b]!),
        none,
      ),
    ),
    [batch],
  )
  if (!zeroInfinity) return neg(total)
  return mul(neg(total), cast(greater(total, full([1], NEVER / 2, x.dtype)), x.dtype))
}

/** log(e^a + e^b). */
function logAdd(a: Tensor, b: Tensor): Tensor {
  const top = maximum(a, b)
  return add(top, log(add(exp(sub(a, top)), exp(sub(b, top)))))
}
